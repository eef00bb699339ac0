//! Test cases of the sum of two tensors, an op of the tape itself: `tape/add.rs`.

use super::case::{Case, CaseBuilder, Fill};

/// Both forms at sizes below and above those of a vector and a workgroup.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in [[1, 1], [3, 5], [7, 64], [33, 129]] {
        let mut case = CaseBuilder::new("add", format!("{shape:?}"), seed);
        let a = case.input("a", &shape, Fill::Normal(1.0));
        let b = case.parameter("b", &shape, Fill::Normal(1.0));
        let c = case.tape.add(a, b);
        // One rounding of a sum: half a unit in the last place.
        cases.push(case.finish(&[c], &[], 1.2e-7));
    }
    cases
}
