//! Holds the device against the f64 reference, case by case. `normfree verify` and the test suite run the
//! same cases: every op, forward and adjoint, over random and awkward shapes, with poisoned outputs.

mod case;
mod check;
mod differences;

pub use case::{Case, CaseBuilder, Fill, Target};
pub use check::{Outcome, check, on_device, on_reference};
pub use differences::adjoint_error;

use crate::fault::Result;
use crate::gpu::Gpu;

/// The bound of cases with f16 tensors. Each number that is stored in f16 is off by 2⁻¹⁰ of itself at most, whichever
/// way the device rounds; operands start as f16 and cost nothing. A compared tensor sees up to three such roundings, its
/// own and those of two intermediates, each times a factor near one: in long sums they average out, and in short
/// ones all terms may err one way.
pub const HALF_BOUND: f64 = 4.0 / 1024.0;

/// Every case of every op for one seed.
pub fn all_cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (_, list) in crate::ops::CASES {
        cases.extend(list(seed));
    }
    cases
}

/// Runs every case on a device that the device has the numbers for.
pub fn run(gpu: &Gpu, seed: u64, mut each: impl FnMut(&Outcome)) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for case in all_cases(seed).iter().filter(|case| gpu.traits().f16 || !case.needs_f16()) {
        let outcome = check(gpu, case)?;
        each(&outcome);
        outcomes.push(outcome);
    }
    Ok(outcomes)
}
