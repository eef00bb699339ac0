//! The cases that compare Muon's parts with the reference.

use super::terms::{Constants, Operands, Scale};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::DType;

/// Wide, tall and square matrices, one and three side by side; both scales; with and without decay, copies and second
/// moments; an open and a closed gate.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, columns, count, scale, neurons, copied, open) in [
        (4, 12, 1, Scale::MatchRms, None, false, true),
        (36, 20, 1, Scale::Original, None, false, true),
        (20, 60, 3, Scale::MatchRms, None, true, true),
        (64, 128, 2, Scale::Original, Some(0.95), true, true),
        (40, 13, 1, Scale::MatchRms, Some(0.95), false, true),
        (20, 60, 3, Scale::MatchRms, Some(0.9), false, false),
        (96, 96, 1, Scale::MatchRms, None, true, false),
    ] {
        let label = format!(
            "{count} in [{rows}, {columns}], {scale}, neurons {neurons:?}, a copy {copied}, open {open}"
        );
        let mut case = CaseBuilder::new("muon", label, seed);
        let gradient = case.input("gradient", &[rows, columns], Fill::Normal(1e-3));
        let rates = vec![0.0, 0.0, 1e-3, 0.0, 0.0, 0.0, 0.0, 0.02];
        let hyper = case.constant("hyper", &[8], DType::F32, rates);
        let gate = if open { 1.0 } else { 0.0 };
        let verdict = case.constant("verdict", &[4], DType::F32, vec![2.0, 0.5, gate, 0.0]);
        let [parameter, momentum] =
            ["parameter", "momentum"].map(|name| case.observation(name, &[rows, columns], 0.0));
        for (tensor, spread) in [(parameter, 0.02), (momentum, 1e-2)] {
            let values = (0..rows * columns).map(|_| case.draw(Fill::Normal(spread))).collect();
            case.set(tensor, values);
        }
        let second = neurons.map(|_| case.observation("second", &[columns], 0.05));
        let copy = copied.then(|| case.observation_of("copy", &[rows, columns], DType::F16, 0.5));
        let operands = Operands { gradient, parameter, momentum, neurons: second, copy, hyper, verdict };
        let constants = Constants { momentum: 0.95, scale, ratio: 1.5, neurons, decays: count != 2 };
        case.tape.enter("matrix");
        case.tape.muon(operands, count, constants);
        // Five steps multiply the smallest singular values by up to 3.4 each, and a rounding error along with them: 500·6e-8
        // of the largest, which is 1. The update is at most half of the parameter's largest. A copy adds one rounding.
        cases.push(case.finish(&[], &[], if copied { 1.0 / 1024.0 } else { 3e-5 }));
    }
    cases
}
