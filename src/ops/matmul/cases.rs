//! Test cases of products: all layouts, operands of both types, biases and addends, gradients that add or overwrite.

use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::DType;

/// The layers' products at awkward sizes: one, primes, not a multiple of any tile; with and without addend and bias (also
/// a bias shorter than a row). Their adjoints cover all three layouts and accumulation.
pub fn cases(seed: u64) -> Vec<Case> {
    let sizes = [
        (1, 1, 1),
        (1, 4, 4),
        (3, 5, 7),
        (17, 12, 20),
        (33, 64, 68),
        (67, 36, 129),
        (130, 128, 96),
        (256, 64, 256),
        (128, 128, 128),
        // Long enough that several workgroups share K.
        (20, 1_100, 24),
        // One operand of a gradient fits an image, the other does not.
        (68, 36, 64),
    ];
    let mut cases = Vec::new();
    for (i, (m, k, n)) in sizes.into_iter().enumerate() {
        // Sums of k products of N(0, 1): the rounding errors, relative to a result that grows like √k, grow like √k too.
        // The adjoint sums over m and n.
        let bound = 4e-7 * (m.max(k).max(n) as f64).sqrt().max(4.0);
        let mut case = CaseBuilder::new("matmul", format!("{m}x{k} · {k}x{n}, bias, addend"), seed);
        let x = case.input("x", &[m, k], Fill::Normal(1.0));
        let w = case.parameter("w", &[k, n], Fill::Normal(1.0));
        let bias = case.parameter("bias", &[n - n / 3], Fill::Normal(1.0));
        let addend = case.input("addend", &[m, n], Fill::Normal(1.0));
        let y = match i % 2 {
            0 => case.tape.linear_onto(addend, x, w, Some(bias)),
            _ => {
                let y = case.tape.linear(x, w, Some(bias));
                case.tape.add(y, addend)
            }
        };
        cases.push(case.finish(&[y], &[], bound));
        let mut case = CaseBuilder::new("matmul", format!("{m}x{k} · ({n}x{k})ᵀ"), seed);
        let x = case.input("x", &[m, k], Fill::Normal(1.0));
        let w = case.parameter("w", &[n, k], Fill::Normal(1.0));
        let y = case.tape.matmul_nt(x, w);
        cases.push(case.finish(&[y], &[], bound));
    }
    for (m, k, n) in [(1, 4, 4), (3, 5, 7), (33, 64, 68), (67, 36, 129), (130, 128, 256), (128, 128, 128)] {
        let mut case = CaseBuilder::new("matmul", format!("f16 {m}x{k} · {k}x{n}, bias, addend"), seed);
        let x = case.input_of("x", &[m, k], DType::F16, Fill::Normal(1.0));
        let inner = case.matrix("inner", &[k, n], true, Fill::Normal((k as f64).powf(-0.5)));
        let outer = case.matrix("outer", &[n, k], true, Fill::Normal((n as f64).powf(-0.5)));
        let bias = case.parameter("bias", &[n - n / 3], Fill::Normal(1.0));
        let addend = case.input("addend", &[m, k], Fill::Normal(1.0));
        let hidden = case.tape.linear(x, inner, Some(bias));
        let y = case.tape.linear_onto(addend, hidden, outer, None);
        cases.push(case.finish(&[y], &[], HALF_BOUND));
        let mut case = CaseBuilder::new("matmul", format!("f16 {m}x{k} · ({n}x{k})ᵀ of f32"), seed);
        let x = case.input("x", &[m, k], Fill::Normal(1.0));
        let w = case.matrix("w", &[n, k], true, Fill::Normal(1.0));
        let y = case.tape.matmul_nt(x, w);
        cases.push(case.finish(&[y], &[], HALF_BOUND));
    }
    cases.extend([false, true].into_iter().flat_map(|half| in_blocks(half, seed)));
    for half in [false, true] {
        let sizes = [(120, 128, 2, 384), (128, 64, 2, 192), (120, 256, 688, 688)];
        cases.extend(sizes.map(|sizes| beside_another(half, sizes, seed)));
        cases.push(from_narrow_rows(half, seed));
    }
    cases
}

/// A product beside another of the same rows, in a step of one micro-batch: a gate for each head beside queries, keys and
/// values, or gate and up of a gated network. Rows are whole tiles or not.
fn beside_another(half: bool, (rows, from, few, many): (usize, usize, usize, usize), seed: u64) -> Case {
    let stored = if half { "f16" } else { "f32" };
    let label = format!("{stored} {rows}x{from} · {from}x{few} beside {from}x{many}");
    let mut case = CaseBuilder::new("matmul", label, seed);
    case.tape.overwrite_gradients();
    let x = case.input("x", &[rows, from], Fill::Normal(1.0));
    let [few, others] = [("few", few), ("many", many)]
        .map(|(name, to)| case.matrix(name, &[from, to], half, Fill::Normal((from as f64).powf(-0.5))));
    let outputs = [few, others].map(|w| case.tape.linear(x, w, None));
    // As in the other cases.
    case.finish(&outputs, &[], if half { HALF_BOUND } else { 4e-7 * (many as f64).sqrt() })
}

/// Rows that fit no image onto rows that do, in a step of one micro-batch.
fn from_narrow_rows(half: bool, seed: u64) -> Case {
    let stored = if half { "f16" } else { "f32" };
    let mut case = CaseBuilder::new("matmul", format!("{stored} 120x688 · 688x256 onto 120x256"), seed);
    case.tape.overwrite_gradients();
    let x = case.input_of("x", &[120, 688], if half { DType::F16 } else { DType::F32 }, Fill::Normal(1.0));
    let w = case.matrix("w", &[688, 256], half, Fill::Normal(688_f64.powf(-0.5)));
    let addend = case.input("addend", &[120, 256], Fill::Normal(1.0));
    let y = case.tape.linear_onto(addend, x, w, None);
    // As in the other cases.
    case.finish(&[y], &[], if half { HALF_BOUND } else { 4e-7 * 688_f64.sqrt() })
}

/// Products as in the model's blocks, in a step of one micro-batch: the gradients of the matrices overwrite, and the input's
/// gradient is added to the one that bypasses the products. Rows are whole tiles or not, and numerous enough that several
/// workgroups share a sum.
fn in_blocks(half: bool, seed: u64) -> Vec<Case> {
    /// Whether there is a bias, and whether there are two products.
    const PLAIN: (bool, bool) = (false, true);
    const BOTH: (bool, bool) = (true, true);
    const BIASED: (bool, bool) = (true, false);
    let mut cases = Vec::new();
    let sizes = [
        (3, 5, &[BOTH][..]),
        (33, 64, &[BOTH, BIASED]),
        (40, 36, &[PLAIN, BIASED]),
        (64, 64, &[PLAIN, BOTH, BIASED]),
        (64, 128, &[PLAIN, BIASED]),
        (128, 128, &[PLAIN, BOTH, BIASED]),
        (1_100, 24, &[PLAIN]),
    ];
    for (m, n, forms) in sizes {
        for &(bias, two) in forms {
            let (stored, products) = (if half { "f16" } else { "f32" }, if two { 2 } else { 1 });
            let label = format!("{stored} {m}x{n}, {products} products past which x goes, bias {bias}");
            let mut case = CaseBuilder::new("matmul", label, seed);
            case.tape.overwrite_gradients();
            let x = case.input("x", &[m, n], Fill::Normal(1.0));
            let linear = |case: &mut CaseBuilder, name: &str, (from, to): (usize, usize)| {
                let w = case.matrix(name, &[from, to], half, Fill::Normal((from as f64).powf(-0.5)));
                let bias = bias.then(|| case.parameter(&format!("bias of {name}"), &[to], Fill::Normal(1.0)));
                (w, bias)
            };
            let read = if half { case.tape.half(x) } else { x };
            let y = if two {
                let (inner, of_inner) = linear(&mut case, "inner", (n, 2 * n));
                let (outer, of_outer) = linear(&mut case, "outer", (2 * n, n));
                let hidden = case.tape.linear(read, inner, of_inner);
                case.tape.linear_onto(x, hidden, outer, of_outer)
            } else {
                let (w, bias) = linear(&mut case, "w", (n, n));
                case.tape.linear_onto(x, read, w, bias)
            };
            // As in the other cases, through two products.
            let bound = if half { HALF_BOUND } else { 8e-7 * (m.max(2 * n) as f64).sqrt().max(4.0) };
            cases.push(case.finish(&[y], &[], bound));
        }
    }
    cases
}
