//! The product on the CPU, by the crate `gemm`.
//!
//! Bits depend neither on the number of threads, nor on the width of vectors, nor on the sizes of caches. The crate shares
//! tiles of C among threads, each of which one thread sums over K from the first term to the last. Left to itself it would
//! cut K by the CPU's caches, so it gets K in blocks that it does not cut. And it sums along vectors where C has one row or
//! column or few elements, and both operands lie along K: those products are not its own.
#![allow(unsafe_code)]

use super::{Layout, MatMul, Sizes};
use crate::cores::functions::sum;
use crate::cores::{TASK, rows_per_task, simd};
use crate::tape::Io;
use gemm::Parallelism;
use rayon::prelude::*;

/// The longest K that the crate never cuts: the least length of its blocks, whatever the caches.
const BLOCK: usize = 512;

/// The crate sums along vectors if C has no more elements.
const FEW: usize = 16 * 16;

/// The columns of a task, where C is one row, are a multiple of this: whole vectors.
const COLUMNS: usize = 64;

impl MatMul {
    pub(super) fn on_host(&self, io: &mut Io<'_, f32>) {
        let sizes = self.sizes(&io.shapes);
        let (inputs, outputs) = io.split();
        let bias: &[f32] = if self.bias { inputs[2] } else { &[] };
        let addend = self.addend.then(|| inputs[self.addend_input()]);
        let c = &mut *outputs[0];
        let starts = self.accumulate || addend.is_some() || !bias.is_empty();
        begin(c, sizes.n, bias, addend, self.accumulate);
        multiply(self.layout, &sizes, inputs[0], inputs[1], c, starts);
    }
}

/// What the product is added to: the addend plus the bias of each row, on top of the contents if they count.
fn begin(c: &mut [f32], width: usize, bias: &[f32], addend: Option<&[f32]>, accumulate: bool) {
    if bias.is_empty() && addend.is_none() {
        return;
    }
    let rows = rows_per_task(width);
    c.par_chunks_mut(rows * width).enumerate().for_each(|(i, c)| {
        let addend = addend.map(|addend| &addend[i * rows * width..][..c.len()]);
        simd(
            #[inline(always)]
            || {
                match addend {
                    Some(addend) if accumulate => c.iter_mut().zip(addend).for_each(|(c, a)| *c += a),
                    Some(addend) => c.copy_from_slice(addend),
                    None if accumulate => {}
                    None => c.fill(0.0),
                }
                for row in c.chunks_exact_mut(width) {
                    row.iter_mut().zip(bias).for_each(|(c, b)| *c += b);
                }
            },
        );
    });
}

/// C = A · B, or C += A · B.
fn multiply(layout: Layout, sizes: &Sizes, a: &[f32], b: &[f32], c: &mut [f32], add: bool) {
    let &Sizes { m, n, k, a_columns, b_columns, .. } = sizes;
    let (row, column) = if layout == Layout::TN { (1, a_columns) } else { (a_columns, 1) };
    let a = Matrix { values: a, row, column };
    let (row, column) = if layout == Layout::NT { (1, b_columns) } else { (b_columns, 1) };
    let b = Matrix { values: b, row, column };
    let along = layout == Layout::NT || (layout == Layout::NN && n == 1);
    if along && (m == 1 || n == 1 || m * n <= FEW) {
        dots((m, n, k), a.values, b.values, c, add);
        return;
    }
    if m > 1 {
        let blocks = k.div_ceil(BLOCK);
        let each = k.div_ceil(blocks);
        for first in (0..k).step_by(each) {
            let (a, b) = (a.from(first * a.column), b.from(first * b.row));
            let add = add || first > 0;
            product((m, n, each.min(k - first)), a, b, c, add, Parallelism::Rayon(0));
        }
        return;
    }
    // The crate leaves a product of one row, which generation needs for each token, to one thread.
    let columns = columns_per_task(k);
    c.par_chunks_mut(columns).enumerate().for_each(|(i, c)| {
        product((1, c.len(), k), a, b.from(i * columns * b.column), c, add, Parallelism::None);
    });
}

/// Columns of a row of C that make up a task.
fn columns_per_task(k: usize) -> usize {
    (TASK / k + 1).next_multiple_of(COLUMNS)
}

/// C = A · B, or C += A · B, of few elements, each of which is the product of a row of `a` and one of `b`.
fn dots((m, n, k): (usize, usize, usize), a: &[f32], b: &[f32], c: &mut [f32], add: bool) {
    let (a, b) = (&a[..m * k], &b[..n * k]);
    for (c, a) in c.chunks_exact_mut(n).zip(a.chunks_exact(k)) {
        let columns = columns_per_task(k);
        c.par_chunks_mut(columns).zip(b.par_chunks(columns * k)).for_each(|(c, b)| {
            simd(
                #[inline(always)]
                || {
                    for (c, b) in c.iter_mut().zip(b.chunks_exact(k)) {
                        let dot = sum([a, b], |[a, b]| a * b);
                        *c = if add { *c + dot } else { dot };
                    }
                },
            );
        });
    }
}

/// An operand, with the steps from one row to the next and from one column to the next.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    row: usize,
    column: usize,
}

impl Matrix<'_> {
    /// The part from an element on.
    fn from(self, first: usize) -> Self {
        Self { values: &self.values[first..], ..self }
    }

    /// # Panics
    /// If it does not have so many rows and columns.
    fn assert_holds(&self, rows: usize, columns: usize) {
        let last = (rows - 1) * self.row + (columns - 1) * self.column;
        assert!(last < self.values.len(), "{rows}×{columns} of {} elements", self.values.len());
    }
}

/// The crate's product of M×K and K×N, into the whole of C or onto it.
fn product(
    (m, n, k): (usize, usize, usize),
    a: Matrix<'_>,
    b: Matrix<'_>,
    c: &mut [f32],
    add: bool,
    parallelism: Parallelism,
) {
    a.assert_holds(m, k);
    b.assert_holds(k, n);
    assert_eq!(c.len(), m * n, "C is {m}×{n}");
    let step = |step: usize| isize::try_from(step).expect("no slice has more elements");
    // SAFETY: the operands hold every element that the extents and steps name, as asserted; and C, being borrowed mutably,
    // is apart from A and B.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            step(n),
            add,
            a.values.as_ptr(),
            step(a.column),
            step(a.row),
            b.values.as_ptr(),
            step(b.column),
            step(b.row),
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
