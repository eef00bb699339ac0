//! Gates on the CPU, in f32: threads share rows of gates.

use crate::cores::functions::{logistic, sum};
use crate::cores::{rows_per_block, simd};
use rayon::prelude::*;

/// z from a and g, of which each belongs to `span` columns.
pub(super) fn forward(span: usize, inputs: &[&[f32]], z: &mut [f32]) {
    let (a, g) = (inputs[0], inputs[1]);
    // A block holds whole gates.
    let gates = rows_per_block(span);
    let blocks = z.par_chunks_mut(gates * span).zip(a.par_chunks(gates * span)).zip(g.par_chunks(gates));
    blocks.for_each(|((z, a), g)| scale(span, z, a, g));
}

/// da and dg from a, g and dz.
pub(super) fn backward(span: usize, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let ([a, g, dz], [da, dg]) = (inputs, outputs) else { unreachable!("three inputs, two outputs") };
    let gates = rows_per_block(span);
    let blocks =
        da.par_chunks_mut(gates * span).zip(dz.par_chunks(gates * span)).zip(a.par_chunks(gates * span));
    let blocks = blocks.zip(dg.par_chunks_mut(gates).zip(g.par_chunks(gates)));
    blocks.for_each(|(((da, dz), a), (dg, g))| {
        scale(span, da, dz, g);
        simd(
            #[inline(always)]
            || match span {
                1 => {
                    for ((dg, g), (a, dz)) in dg.iter_mut().zip(g).zip(a.iter().zip(dz)) {
                        *dg = logistic(*g).1 * a * dz;
                    }
                }
                _ => {
                    let columns = a.chunks_exact(span).zip(dz.chunks_exact(span));
                    for ((dg, g), (a, dz)) in dg.iter_mut().zip(g).zip(columns) {
                        *dg = logistic(*g).1 * sum([a, dz], |[a, dz]| a * dz);
                    }
                }
            },
        );
    });
}

/// Each `span` elements of `from` times σ of their gate.
fn scale(span: usize, to: &mut [f32], from: &[f32], gates: &[f32]) {
    simd(
        #[inline(always)]
        || match span {
            1 => to.iter_mut().zip(from.iter().zip(gates)).for_each(|(z, (a, g))| *z = a * logistic(*g).0),
            _ => {
                let rows = to.chunks_exact_mut(span).zip(from.chunks_exact(span));
                for ((to, from), g) in rows.zip(gates) {
                    let s = logistic(*g).0;
                    to.iter_mut().zip(from).for_each(|(z, a)| *z = a * s);
                }
            }
        },
    );
}
