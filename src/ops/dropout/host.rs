//! Dropout on the CPU.

use super::Dropout;
use crate::cores::{fill, simd};
use crate::ops::random::{LANES, Stream};

/// Elements whose words are computed at once; a task is a whole number of these.
const BLOCK: usize = 4 * LANES;

pub(super) fn drop_out(op: &Dropout, x: &[f32], key: &[f32], y: &mut [f32]) {
    let stream = Stream::new([0, 1, 2, 3].map(|i| key[i].to_bits()));
    let scale = op.scale() as f32;
    fill(y, |first, y| {
        let x = &x[first..][..y.len()];
        simd(
            #[inline(always)]
            || {
                let (x_blocks, x_rest) = x.as_chunks::<BLOCK>();
                let (y_blocks, y_rest) = y.as_chunks_mut::<BLOCK>();
                let mut group = first / 4;
                for (y, x) in y_blocks.iter_mut().zip(x_blocks) {
                    let words = stream.words(group);
                    for (i, (y, x)) in y.iter_mut().zip(x).enumerate() {
                        *y = if words[i % 4][i / 4] >= op.threshold { x * scale } else { 0.0 };
                    }
                    group += LANES;
                }
                let words = stream.words(group);
                for (i, (y, x)) in y_rest.iter_mut().zip(x_rest).enumerate() {
                    *y = if words[i % 4][i / 4] >= op.threshold { x * scale } else { 0.0 };
                }
            },
        );
    });
}
