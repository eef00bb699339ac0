//! The product on the CPU, by the crate `gemm`.
//!
//! Bits do not depend on the number of threads: the crate shares tiles of C among them, each of which one thread sums over
//! all of K, in blocks whose length follows from the extents and the CPU's caches alone.
#![allow(unsafe_code)]

use super::{Layout, MatMul, Sizes};
use crate::host::simd;
use crate::tape::Io;
use rayon::prelude::*;

/// Elements of C that one task fills.
const FILLED: usize = 1 << 15;

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
    let rows = (FILLED / width).max(1);
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
    assert!(a.len() == m * k && b.len() == k * n && c.len() == m * n, "{layout:?} of {sizes:?}");
    // Steps from row to row, and from column to column.
    let (a_row, a_column) = if layout == Layout::TN { (1, a_columns) } else { (a_columns, 1) };
    let (b_row, b_column) = if layout == Layout::NT { (1, b_columns) } else { (b_columns, 1) };
    let step = |step: usize| isize::try_from(step).expect("no slice has more elements");
    // SAFETY: the lengths are those of the matrices, so every element that these extents and steps name lies in its slice;
    // and C, being borrowed mutably, is apart from A and B.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            step(n),
            add,
            a.as_ptr(),
            step(a_column),
            step(a_row),
            b.as_ptr(),
            step(b_column),
            step(b_row),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::Rayon(0),
        );
    }
}
