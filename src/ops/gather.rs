//! `out[i] = table[indices[i]]`: rows of a table by index. Generation uses it to embed tokens and positions, and to pick
//! the row that predicts the next token.
//!
//! Shapes: indices `[N]` of u32, table [V, d], out [N, d]. An index past the table, such as [`NO_ROW`], yields zeros. The
//! table may exceed one binding: it is read in windows of rows. No adjoint: training embeds with
//! [`super::embedding`].

use super::embedding::windows;
use super::team::Vectors;
use super::unroll::unrolled;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::cores::rows_per_task;
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{DType, Io, Tape, TensorId};
use rand::Rng;
use rayon::prelude::*;
use std::sync::Arc;

/// The index of a missing row.
pub const NO_ROW: u32 = u32::MAX;

/// The op. Inputs: indices, table. Output: out.
#[derive(Debug)]
pub struct Gather {
    /// Whether to treat the table as a single column of all its elements.
    pub elements: bool,
}

impl Tape {
    /// Records a gather of the rows `indices` `[N]`, of u32, of `table` [V, d].
    pub fn gather(&mut self, indices: TensorId, table: TensorId) -> TensorId {
        let info = self.info(indices);
        assert_eq!(info.dtype, DType::U32, "gather: {}", info.name);
        let rows = info.shape.elements();
        let out = self.intermediate("gather", &[rows, self.shape(table).as_matrix().1]);
        self.record(Gather { elements: false }, &[indices, table], &[out]);
        out
    }

    /// Records a gather of the elements of `table` at `indices`, of u32. The result has the shape of the indices.
    pub fn gather_elements(&mut self, indices: TensorId, table: TensorId) -> TensorId {
        let info = self.info(indices);
        assert_eq!(info.dtype, DType::U32, "gather: {}", info.name);
        let dims = info.shape.dims().to_vec();
        let out = self.intermediate("gather", &dims);
        self.record(Gather { elements: true }, &[indices, table], &[out]);
        out
    }
}

impl Gather {
    /// Rows and columns of the table.
    fn table(&self, shapes: &Shapes<'_>) -> (usize, usize) {
        if self.elements { (shapes.input_elements(1), 1) } else { shapes.inputs[1].as_matrix() }
    }
}

impl Op for Gather {
    fn stem(&self) -> &'static str {
        "gather"
    }

    fn name(&self) -> &'static str {
        "gather"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = self.table(&io.shapes);
        let (inputs, outputs) = io.split();
        for (out, &index) in outputs[0].chunks_mut(width).zip(inputs[0]) {
            match inputs[1].chunks(width).nth(index as usize) {
                Some(row) => out.copy_from_slice(row),
                None => out.fill(0.0),
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (count, width) = self.table(&io.shapes);
        let (inputs, outputs) = io.split();
        let (rows, table) = (rows_per_task(width), inputs[1]);
        let tasks = outputs[0].par_chunks_mut(rows * width).zip(inputs[0].par_chunks(rows));
        tasks.for_each(|(out, indices)| {
            for (out, index) in out.chunks_exact_mut(width).zip(indices) {
                match index.to_bits() as usize {
                    index if index < count => out.copy_from_slice(&table[index * width..][..width]),
                    _ => out.fill(0.0),
                }
            }
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let table = self.table(shapes);
        let (rows, vectors) = (shapes.input_elements(0), Vectors::of(table.1));
        let numbers = [("lanes", element::LANES), ("vector", vectors.size)];
        let text: Arc<str> = unrolled(include_str!("../../shaders/gather.wgsl"), &numbers, &[]);
        let dispatch = |(first, count): (usize, usize)| Dispatch {
            kernel: Kernel::new(
                text.clone(),
                "gather",
                &[
                    ("ROWS", rows as f64),
                    ("WIDTH", vectors.width as f64),
                    ("TABLE", table.0 as f64),
                    ("FIRST", first as f64),
                    ("COUNT", count as f64),
                ],
            ),
            bindings: vec![
                ("indices", Operand::Input(0)),
                (
                    "table",
                    Operand::InputWindow { input: 1, offset: first * table.1, length: count * table.1 },
                ),
                ("out", Operand::Output(0)),
            ],
            groups: element::lanes(rows * vectors.width),
        };
        let windows = windows(table, device).into_iter().map(|window| (window.first, window.rows));
        Recipe { dispatches: windows.map(dispatch).collect(), ..Recipe::default() }
    }

    /// Each gathered row once.
    fn bytes(&self, shapes: &Shapes<'_>) -> u64 {
        4 * (shapes.input_elements(0) + 2 * shapes.output_elements(0)) as u64
    }
}

/// Widths with and without vec4, one row and many, repeated rows and missing rows.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, table, width) in [(1, 1, 1), (7, 5, 3), (130, 300, 20), (33, 1_009, 64)] {
        let label = format!("{rows} rows of {table}, width {width}");
        let mut case = CaseBuilder::new("gather", label, seed);
        let draw = |_| match case.random.random_range(0..5) {
            0 => NO_ROW,
            _ => case.random.random_range(0..table),
        };
        let indices: Vec<u32> = (0..rows).map(draw).collect();
        let indices = case.indices("indices", &[rows], &indices);
        let table = case.parameter("table", &[table as usize, width], Fill::Normal(1.0));
        let out = case.tape.gather(indices, table);
        cases.push(case.finish(&[], &[out], 0.0)); // a copy
    }
    let mut case = CaseBuilder::new("gather", "6 elements of 4x5", seed);
    let indices = case.indices("indices", &[3, 2], &[0, 19, 7, NO_ROW, 7, 20]);
    let table = case.parameter("table", &[4, 5], Fill::Normal(1.0));
    let out = case.tape.gather_elements(indices, table);
    cases.push(case.finish(&[], &[out], 0.0));
    cases
}
