//! The cases that compare the head and its loss with the reference.

use super::{IGNORED, Targets};
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::DType;
use rand::Rng;

/// One piece, several pieces, a vocabulary that is not a multiple of four, ignored targets, large logits; in f32 and f16,
/// with a loss scale of one.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, width, vocabulary, piece_bytes, spread, half) in [
        (1, 4, 1, 1 << 20, 1.0, false),
        (5, 8, 67, 1 << 20, 1.0, false),
        (7, 16, 200, 7 * 64 * 4, 1.0, false),
        (33, 64, 515, 33 * 128 * 4, 1.0, false),
        (16, 32, 2048, 1 << 20, 8.0, false),
        (5, 8, 67, 1 << 20, 1.0, true),
        (7, 16, 200, 7 * 64 * 4, 1.0, true),
        (33, 64, 515, 33 * 128 * 4, 1.0, true),
        (40, 36, 300, 1 << 20, 1.0, false),
        (40, 20, 97, 1 << 20, 1.0, false),
        (40, 64, 300, 1 << 20, 1.0, false),
        (40, 64, 300, 1 << 20, 1.0, true),
        (40, 128, 300, 1 << 20, 1.0, true),
        (64, 64, 515, 64 * 128 * 4, 1.0, false),
        (64, 128, 515, 64 * 128 * 4, 1.0, true),
        (16, 128, 2048, 1 << 20, 1.0, true),
        // Many pieces, the last of which is read element by element.
        (9, 8, 1_109, 9 * 64 * 4, 1.0, false),
        (9, 8, 1_109, 9 * 64 * 4, 1.0, true),
    ] {
        let stored = if half { DType::F16 } else { DType::F32 };
        let label = format!("N={rows} d={width} V={vocabulary} piece={piece_bytes} {stored:?}");
        let mut case = CaseBuilder::new("cross_entropy", label, seed);
        // Gradients overwrite, as in a step of one micro-batch.
        if rows >= 40 {
            case.tape.overwrite_gradients();
        }
        let x = case.input_of("x", &[rows, width], stored, Fill::Normal(spread));
        let table = case.matrix("table", &[vocabulary, width], half, Fill::Normal(1.0));
        let picks: Vec<u32> = (0..rows)
            .map(|i| if i % 5 == 4 { IGNORED } else { case.random.random_range(0..vocabulary as u32) })
            .collect();
        let targets = case.indices("targets", &[rows], &picks);
        let scale = case.constant("scale", &[1], DType::F32, vec![1.0 / rows as f32]);
        let loss = case.observation("loss", &[1], 0.5);
        let scaling = half.then(|| case.constant("scaling", &[4], DType::F32, vec![1.0, 0.0, 1.0, 0.0]));
        case.tape.head_cross_entropy(x, table, Targets { targets, scale, loss, scaling }, piece_bytes);
        // Logits of magnitude `spread`·√d have a rounding error of that times 6e-8·√d, which the exponential turns
        // into a relative error of the probabilities.
        let bound = if half { HALF_BOUND } else { 2e-6 * spread * (width as f64).sqrt().max(2.0) };
        cases.push(case.finish_loss(loss, bound));
    }
    cases
}
