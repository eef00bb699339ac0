//! The position of heads in packed rows, for kernels and for the reference.

use super::cap::capped;
use crate::ops::packed::{Packed, Part};
use crate::ops::{Shapes, fits_image};
use crate::tape::DType;

/// The layout of heads in packed rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    pub batch: usize,
    pub n_head: usize,
    pub sequence: usize,
    /// Columns of one head.
    pub width: usize,
    /// Whether qkv, output and their gradients are f16.
    pub half: bool,
    /// Scores are capped at this: see [`super::cap`].
    pub cap: Option<f32>,
}

impl Heads {
    /// Whether the packed rows, and those of the output, can be read as images.
    pub fn fits_images(&self) -> bool {
        let (rows, packed) = (self.batch * self.sequence, self.packed());
        let dtype = if self.half { DType::F16 } else { DType::F32 };
        fits_image(rows, packed.part(), dtype) && fits_image(rows, packed.columns(), dtype)
    }

    /// The largest head width that the kernels support.
    pub const MAX_WIDTH: usize = 256;

    pub fn new(rows: usize, columns: usize, n_head: usize, sequence: usize) -> Self {
        assert!(rows.is_multiple_of(sequence), "{rows} rows are not whole sequences of {sequence}");
        let Packed { width, .. } = Packed::of(columns, n_head, 4);
        assert!(width <= Self::MAX_WIDTH, "a head of {width} columns: up to {} would do", Self::MAX_WIDTH);
        Self { batch: rows / sequence, n_head, sequence, width, half: false, cap: None }
    }

    /// The layout of the packed rows in a node's first input.
    pub fn of(shapes: &Shapes<'_>, n_head: usize, sequence: usize) -> Self {
        let (rows, columns) = shapes.inputs[0].as_matrix();
        Self { half: shapes.half_input(0), ..Self::new(rows, columns, n_head, sequence) }
    }

    /// The same with capped scores, if there is a cap.
    pub fn capped(self, cap: Option<f32>) -> Self {
        Self { cap, ..self }
    }

    /// The constants of every kernel.
    pub fn constants(&self) -> Vec<(&'static str, f64)> {
        let cap = self.cap.map(|cap| ("CAP", f64::from(cap)));
        let own =
            [("HEADS", self.n_head as f64), ("SEQUENCE", self.sequence as f64), ("SCALE", self.scale())];
        own.into_iter().chain(cap).collect()
    }

    /// The tuning key of this layout.
    pub fn key(&self, op: &str) -> String {
        let half = if self.half { " in f16" } else { "" };
        let capped = if self.cap.is_some() { ", capped" } else { "" };
        format!("{op} {}x{} of {}x{}{half}{capped}", self.batch, self.n_head, self.sequence, self.width)
    }

    pub fn packed(&self) -> Packed {
        Packed { heads: self.n_head, width: self.width }
    }

    pub fn scale(&self) -> f64 {
        1.0 / (self.width as f64).sqrt()
    }

    /// The most loop iterations of one lane: over tiles, over their loads, and over the keys in them.
    pub fn iterations(&self) -> usize {
        2 * self.sequence
    }

    /// The number of pairs of a query and a key that it sees.
    pub fn pairs(&self) -> u64 {
        let sequence = self.sequence as u64;
        (self.batch * self.n_head) as u64 * sequence * (sequence + 1) / 2
    }

    /// Every head of every batch element.
    pub fn heads(self) -> impl Iterator<Item = Head> {
        let heads = (0..self.batch).flat_map(move |b| (0..self.n_head).map(move |h| (b, h)));
        heads.map(move |(b, h)| Head { layout: self, b, h })
    }
}

/// The position of the rows of one head of one batch element.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub layout: Heads,
    pub b: usize,
    pub h: usize,
}

impl Head {
    /// The index of row `t` in lse and entropy.
    pub fn line(&self, t: usize) -> usize {
        (self.b * self.layout.n_head + self.h) * self.layout.sequence + t
    }

    /// The head's elements of row `t` in output.
    pub fn out(&self, t: usize) -> std::ops::Range<usize> {
        let Heads { n_head, sequence, width, .. } = self.layout;
        let start = ((self.b * sequence + t) * n_head + self.h) * width;
        start..start + width
    }

    /// The head's elements of row `t` in qkv.
    pub fn packed(&self, t: usize, part: Part) -> std::ops::Range<usize> {
        let packed = self.layout.packed();
        let row = (self.b * self.layout.sequence + t) * packed.columns();
        let own = packed.head(part, self.h);
        row + own.start..row + own.end
    }

    /// The scores of query `i` with the keys that it sees.
    pub fn scores(&self, qkv: &[f64], i: usize) -> Vec<f64> {
        let q = &qkv[self.packed(i, Part::Query)];
        let score = |j| dot(q, &qkv[self.packed(j, Part::Key)]) * self.layout.scale();
        match self.layout.cap.map(f64::from) {
            Some(cap) => (0..=i).map(|j| capped(score(j), cap)).collect(),
            None => (0..=i).map(score).collect(),
        }
    }
}

pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
