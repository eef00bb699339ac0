//! The product on the CPU, by the crate `gemm`.
//!
//! Bits do not depend on the number of threads: the crate shares tiles of C among them, each of which one thread sums over
//! all of K, in blocks whose length follows from the extents and the CPU's caches alone.
#![allow(unsafe_code)]

use super::{Layout, MatMul, Sizes};
use crate::cores::{TASK, rows_per_task, simd};
use crate::tape::Io;
use gemm::Parallelism;
use rayon::prelude::*;

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
    if m > 1 {
        product((m, n, k), a, b, c, add, Parallelism::Rayon(0));
        return;
    }
    // The crate leaves a product of one row, which generation needs for each token, to one thread.
    let columns = (TASK / k + 1).next_multiple_of(COLUMNS);
    c.par_chunks_mut(columns).enumerate().for_each(|(i, c)| {
        let b = Matrix { values: &b.values[i * columns * b.column..], ..b };
        product((1, c.len(), k), a, b, c, add, Parallelism::None);
    });
}

/// An operand, with the steps from one row to the next and from one column to the next.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    row: usize,
    column: usize,
}

impl Matrix<'_> {
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
