//! Matrices of one head by panels, and their products. Every vector width makes the same bits: an element of a line is one
//! sum, from its first term to its last.

use crate::cores::functions::LANES;
use crate::cores::{Line, Simd};
use std::ops::Range;

/// A matrix with 16 columns side by side: panel after panel, each with one line per row. There are as many rows as whole
/// panels have; those beyond the matrix are zero, and so are the columns beyond it.
pub struct Panels {
    lines: Vec<Line>,
    height: usize,
}

impl Panels {
    /// Zeros, for `rows` of `width` elements.
    pub fn new(rows: usize, width: usize) -> Self {
        let height = rows.next_multiple_of(LANES);
        Self { lines: vec![Line::ZERO; width.div_ceil(LANES) * height], height }
    }

    /// Rows, padding included.
    pub fn height(&self) -> usize {
        self.height
    }

    /// How many panels lie side by side.
    #[inline(always)]
    pub fn panels(&self) -> usize {
        self.lines.len() / self.height
    }

    #[inline(always)]
    pub fn panel(&self, panel: usize) -> &[Line] {
        &self.lines[panel * self.height..][..self.height]
    }

    #[inline(always)]
    fn panel_mut(&mut self, panel: usize) -> &mut [Line] {
        &mut self.lines[panel * self.height..][..self.height]
    }

    /// Columns, padding included.
    pub fn width(&self) -> usize {
        self.panels() * LANES
    }

    #[inline(always)]
    pub fn clear(&mut self) {
        self.lines.fill(Line::ZERO);
    }

    /// Copies `row`, times `scale`, as row `t`.
    #[inline(always)]
    pub fn copy(&mut self, t: usize, row: &[f32], scale: f32) {
        let (whole, rest) = row.as_chunks::<LANES>();
        for (panel, part) in whole.iter().enumerate() {
            let Line(line) = &mut self.lines[panel * self.height + t];
            for l in 0..LANES {
                line[l] = part[l] * scale;
            }
        }
        if !rest.is_empty() {
            let Line(line) = &mut self.lines[whole.len() * self.height + t];
            line.iter_mut().zip(rest).for_each(|(to, from)| *to = from * scale);
        }
    }

    /// 16 rows by columns, from row `first` on: a line for each column.
    #[inline(always)]
    pub fn across(&self, first: usize, to: &mut [Line]) {
        /// Squares of so many rows are vectors that every CPU has.
        const SIDE: usize = 4;
        for (columns, to) in to.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let lines = &self.panel(columns)[first..first + LANES];
            for (k, to) in to.as_chunks_mut::<SIDE>().0.iter_mut().enumerate() {
                for (t, from) in lines.as_chunks::<SIDE>().0.iter().enumerate() {
                    let square = from.each_ref().map(|line| line.0.as_chunks::<SIDE>().0[k]);
                    for i in 0..SIDE {
                        to[i].0.as_chunks_mut::<SIDE>().0[t] = square.map(|row| row[i]);
                    }
                }
            }
        }
    }

    /// Writes row `t` to `row`.
    #[inline(always)]
    pub fn write(&self, t: usize, row: &mut [f32]) {
        for panel in 0..self.panels() {
            store(row, panel, self.panel(panel)[t], 1.0);
        }
    }
}

/// Writes a row's part in a panel, times `factor`.
#[inline(always)]
pub fn store(row: &mut [f32], panel: usize, Line(mut sums): Line, factor: f32) {
    sums.iter_mut().for_each(|sum| *sum *= factor);
    let to = &mut row[panel * LANES..];
    match to.first_chunk_mut() {
        Some(to) => *to = sums,
        None => to.iter_mut().zip(sums).for_each(|(to, sum)| *to = sum),
    }
}

/// How many vectors a line is.
#[inline(always)]
fn parts<S: Simd>() -> usize {
    LANES / S::F32_LANES
}

/// Does the work of a product in tiles of so many rows and vectors of a line that all sums are in registers, as many as sums
/// need not to wait for their last term: eight rows where a line is one vector, else four rows of two.
macro_rules! in_tiles {
    ($work:ident::<$S:ident>($($argument:expr),*)) => {
        match parts::<$S>() {
            1 => $work::<$S, 8, 1>($($argument),*),
            _ => $work::<$S, 4, 2>($($argument),*),
        }
    };
}

/// Sums of `ROWS` rows, in some vectors of their lines.
type Sums<S, const ROWS: usize, const PARTS: usize> = [[<S as Simd>::f32s; PARTS]; ROWS];

#[inline(always)]
fn set<S: Simd, const ROWS: usize, const PARTS: usize>(
    lines: &mut [Line; ROWS],
    part: usize,
    sums: Sums<S, ROWS, PARTS>,
) {
    for r in 0..ROWS {
        let line: &mut [S::f32s] = bytemuck::cast_slice_mut(&mut lines[r].0);
        line[part..part + PARTS].copy_from_slice(&sums[r]);
    }
}

/// Adds the line, from one of its vectors on, times the coefficients of those rows that count.
#[inline(always)]
fn add<S: Simd, const ROWS: usize, const PARTS: usize>(
    simd: S,
    sums: &mut Sums<S, ROWS, PARTS>,
    coefficients: [f32; ROWS],
    (line, part): (&Line, usize),
    counts: impl Fn(usize) -> bool,
) {
    let line: &[S::f32s] = bytemuck::cast_slice(&line.0);
    for r in 0..ROWS {
        if counts(r) {
            let coefficient = simd.splat_f32s(coefficients[r]);
            for p in 0..PARTS {
                sums[r][p] = simd.mul_add_f32s(coefficient, line[part + p], sums[r][p]);
            }
        }
    }
}

/// Adds to each row's sums Σ_k coefficient_rk line_k, over the lines from `first` on, where they count for the row.
#[inline(always)]
fn add_block<S: Simd, const ROWS: usize, const PARTS: usize>(
    simd: S,
    sums: &mut Sums<S, ROWS, PARTS>,
    coefficients: &[Line; ROWS],
    (lines, first): (&[Line; LANES], usize),
    part: usize,
    counts: impl Fn(usize, usize) -> bool,
) {
    for (k, line) in lines.iter().enumerate().skip(first) {
        let column = coefficients.each_ref().map(|row| row.0[k]);
        add(simd, sums, column, (line, part), |r| counts(r, k));
    }
}

/// The products of the first rows of `rows` with the 16 columns of a panel.
#[inline(always)]
pub fn products<S: Simd>(simd: S, rows: &Panels, columns: &[Line], out: &mut [Line]) {
    in_tiles!(tiled_products::<S>(simd, rows, columns, out));
}

#[inline(always)]
fn tiled_products<S: Simd, const ROWS: usize, const PARTS: usize>(
    simd: S,
    rows: &Panels,
    columns: &[Line],
    out: &mut [Line],
) {
    let (columns, _) = columns.as_chunks::<LANES>();
    let (out, _) = out.as_chunks_mut::<ROWS>();
    for (tile, out) in out.iter_mut().enumerate() {
        for part in (0..parts::<S>()).step_by(PARTS) {
            let mut sums = [[simd.splat_f32s(0.0); PARTS]; ROWS];
            for (panel, lines) in columns.iter().enumerate() {
                let rows = &rows.panel(panel).as_chunks().0[tile];
                add_block(simd, &mut sums, rows, (lines, 0), part, |_, _| true);
            }
            set::<S, ROWS, PARTS>(out, part, sums);
        }
    }
}

/// For each of 16 queries Σ_j coefficient_jq line_j over the keys that it sees: the last 16 coefficients are those of the
/// keys at the queries' own positions. Others are left out rather than multiplied by zero, which would spread their NaN.
#[inline(always)]
pub fn mix<S: Simd>(simd: S, coefficients: &[Line], lines: &[Line]) -> [Line; LANES] {
    in_tiles!(tiled_mix::<S>(simd, coefficients, lines))
}

#[inline(always)]
fn tiled_mix<S: Simd, const ROWS: usize, const PARTS: usize>(
    simd: S,
    coefficients: &[Line],
    lines: &[Line],
) -> [Line; LANES] {
    let mut all = [Line::ZERO; LANES];
    let (earlier, own) = coefficients.split_at(coefficients.len() - LANES);
    let (lines, own_lines) = lines.split_at(earlier.len());
    for (tile, all) in all.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
        let column = |line: &Line| line.0.as_chunks::<ROWS>().0[tile];
        for part in (0..parts::<S>()).step_by(PARTS) {
            let mut sums = [[simd.splat_f32s(0.0); PARTS]; ROWS];
            for (coefficients, line) in earlier.iter().zip(lines) {
                add(simd, &mut sums, column(coefficients), (line, part), |_| true);
            }
            for (key, (coefficients, line)) in own.iter().zip(own_lines).take((tile + 1) * ROWS).enumerate() {
                let seen = |r| tile * ROWS + r >= key;
                add(simd, &mut sums, column(coefficients), (line, part), seen);
            }
            set::<S, ROWS, PARTS>(all, part, sums);
        }
    }
    all
}

/// Adds what the queries of some panels contribute to each key's row: Σ_q coefficient_jq line_q over those that see key j.
#[inline(always)]
pub fn add_queries<S: Simd, const BLOCK: usize>(
    simd: S,
    to: &mut Panels,
    coefficients: &[Vec<Line>; BLOCK],
    lines: &Panels,
    block: Range<usize>,
) {
    for columns in 0..to.panels() {
        let (to, lines) = (to.panel_mut(columns), lines.panel(columns));
        in_tiles!(tiled_queries::<S>(simd, to, coefficients, lines, block.clone()));
    }
}

#[inline(always)]
fn tiled_queries<S: Simd, const ROWS: usize, const PARTS: usize>(
    simd: S,
    to: &mut [Line],
    coefficients: &[Vec<Line>],
    lines: &[Line],
    block: Range<usize>,
) {
    let (lines, _) = lines.as_chunks::<LANES>();
    let (tiles, _) = to.as_chunks_mut::<ROWS>();
    for (tile, to) in tiles[..block.end * LANES / ROWS].iter_mut().enumerate() {
        // The panel of the keys' own positions, and the first of them.
        let (own, first) = (tile * ROWS / LANES, tile * ROWS % LANES);
        for part in (0..parts::<S>()).step_by(PARTS) {
            let mut sums = [[simd.splat_f32s(0.0); PARTS]; ROWS];
            for r in 0..ROWS {
                let line: &[S::f32s] = bytemuck::cast_slice(&to[r].0);
                sums[r].copy_from_slice(&line[part..part + PARTS]);
            }
            for panel in block.start.max(own)..block.end {
                let coefficients = &coefficients[panel % coefficients.len()].as_chunks().0[tile];
                let lines = &lines[panel];
                if panel > own {
                    add_block(simd, &mut sums, coefficients, (lines, 0), part, |_, _| true);
                } else {
                    let seen = |r, query| first + r <= query;
                    add_block(simd, &mut sums, coefficients, (lines, first), part, seen);
                }
            }
            set::<S, ROWS, PARTS>(to, part, sums);
        }
    }
}
