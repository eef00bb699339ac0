//! Compares the device with the f64 reference, case by case. `normfree verify` and the test suite run the same cases:
//! every op, forward and adjoint, over random and awkward shapes, with poisoned outputs.

mod check;
mod differences;

pub use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND, Target};
pub use check::{Outcome, check, on_device, on_reference};
pub use differences::adjoint_error;

use crate::device::Device;
use crate::fault::Result;

/// Every case of every op for one seed.
pub fn all_cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (_, list) in crate::ops::CASES {
        cases.extend(list(seed));
    }
    cases
}

/// Runs every case whose number types the device supports.
///
/// # Errors
/// Errors of [`check`].
pub fn run(device: &Device, seed: u64, mut each: impl FnMut(&Outcome)) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for case in all_cases(seed).iter().filter(|case| device.traits().f16 || !case.needs_f16()) {
        let outcome = check(device, case)?;
        each(&outcome);
        outcomes.push(outcome);
    }
    Ok(outcomes)
}
