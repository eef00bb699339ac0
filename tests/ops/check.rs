//! The helper of all op tests: forward and adjoint on the device compared with the f64 reference, with and without subgroups,
//! and the f64 adjoint compared with central differences.

use crate::support::{open, seed};
use normfree::device::Device;
use normfree::fault::Kind;
use normfree::gpu::OpenOptions;
use normfree::ops::{CASES, Choices, Traits, Tuning};
use normfree::tape::shapes;
use normfree::verify::{Case, adjoint_error, check};
use std::collections::BTreeSet;

/// Runs all cases of the op `stem` for a random seed.
pub fn check_op(stem: &str) {
    let seed = seed();
    for plain in [false, true] {
        check_on(&open(&OpenOptions { plain, ..OpenOptions::default() }), stem, seed, |_| true);
    }
}

/// The same with the kernels for a GPU, whatever the device of the test is.
pub fn check_as_gpu(stem: &str) {
    check_with(stem, |traits| traits.software = false, |_| true);
}

/// The cases `wanted`, with the kernels a device of other traits gets.
pub fn check_with(stem: &str, change: impl FnOnce(&mut Traits), wanted: impl Fn(&Case) -> bool) {
    let mut gpu = open(&OpenOptions::default());
    gpu.pretend(change);
    check_on(&gpu, stem, seed(), wanted);
}

fn check_on(gpu: &Device, stem: &str, seed: u64, wanted: impl Fn(&Case) -> bool) {
    let (_, cases) = CASES.iter().find(|(name, _)| *name == stem).expect("the op is in the list");
    let cases: Vec<Case> = cases(seed).into_iter().filter(wanted).collect();
    assert!(!cases.is_empty());
    for case in cases.iter().filter(|case| applies(gpu, case)) {
        let began = std::time::Instant::now();
        check_case(gpu, case);
        println!("{:.1} s: {} {}", began.elapsed().as_secs_f64(), case.stem, case.label);
    }
}

/// Whether a device has the element types a case needs. If it has no f16, it must say so.
pub fn applies(gpu: &Device, case: &Case) -> bool {
    if gpu.traits().f16 || !case.needs_f16() {
        return true;
    }
    let fault = check(gpu, case).expect_err("f16 on a device without");
    assert_eq!(fault.kind, Kind::Device);
    assert!(fault.to_string().contains("SHADER_F16"), "{fault}");
    println!("refused: {} {}: {fault}", case.stem, case.label);
    false
}

/// One case on one device.
pub fn check_case(gpu: &Device, case: &Case) {
    let outcome = check(gpu, case).unwrap_or_else(|fault| panic!("{} {}: {fault}", case.stem, case.label));
    assert!(
        outcome.passed(),
        "{} {} ({:?}): error {:.3e} above {:.1e} at {}",
        case.stem,
        case.label,
        gpu.traits(),
        outcome.worst,
        outcome.bound,
        outcome.place
    );
}

/// A device for every kind of kernel: those for this device, the same without subgroups, and those for a GPU.
pub fn each_device(mut look: impl FnMut(&Device)) {
    look(&open(&OpenOptions::default()));
    look(&open(&OpenOptions { plain: true, ..OpenOptions::default() }));
    let mut gpu = open(&OpenOptions::default());
    gpu.pretend(|traits| traits.software = false);
    look(&gpu);
}

/// A case made for one test, on every kind of device.
pub fn check_made(make: impl FnOnce(u64) -> Case) {
    let case = make(seed());
    each_device(|gpu| {
        if applies(gpu, &case) {
            check_case(gpu, &case);
        }
    });
}

/// Every variant of the op `stem` that a device has besides the default, each on a few of the cases.
pub fn check_variants(stem: &str) {
    check_some_variants(stem, 3);
}

/// The same for an op that has only few; at least so many are found.
pub fn check_some_variants(stem: &str, least: usize) {
    let (_, cases) = CASES.iter().find(|(name, _)| *name == stem).expect("the op is in the list");
    let cases = cases(seed());
    let mut checked = BTreeSet::new();
    let mut look = |gpu: &mut Device| {
        // Without f16, `check_op` checks the refusal.
        let able = |case: &Case| gpu.traits().f16 || !case.needs_f16();
        let tunings = |case: &Case| -> Vec<Tuning> {
            let nodes = case.tape.nodes().iter();
            let tunings = nodes.filter_map(|node| node.op.tuning(&shapes(&case.tape, node), gpu.traits()));
            tunings.filter(|tuning| tuning.variants.len() > 1).collect()
        };
        let possible = cases.iter().filter(|case| able(case)).map(|case| (case, tunings(case)));
        let possible: Vec<_> = possible.filter(|(_, tunings)| !tunings.is_empty()).collect();
        // Every variant is compiled anew: four cases each keep that to minutes.
        let apart = (possible.len() / 4).clamp(1, 9);
        for (i, (case, tunings)) in possible.into_iter().enumerate() {
            let most = tunings.iter().map(|tuning| tuning.variants.len()).max().unwrap_or(0);
            for at in (1..most).filter(|at| (i + at).is_multiple_of(apart)) {
                let mut choices = Choices::default();
                for tuning in &tunings {
                    if let Some(name) = tuning.variants.get(at) {
                        choices.set(tuning.key.clone(), name.clone());
                        checked.insert(name.clone());
                    }
                }
                gpu.set_choices(choices);
                check_case(gpu, case);
            }
        }
    };
    let mut gpu = open(&OpenOptions::default());
    look(&mut gpu);
    gpu.pretend(|traits| traits.software = false);
    look(&mut gpu);
    println!("{stem}: {checked:?}");
    assert!(checked.len() >= least, "{stem} has hardly any variants: {checked:?}");
}

/// The adjoint of the op `stem`, in f64, compared with central differences.
pub fn check_adjoint(stem: &str) {
    let seed = seed();
    let (_, cases) = CASES.iter().find(|(name, _)| *name == stem).expect("the op is in the list");
    let mut looked_at = 0;
    for case in cases(seed).iter().filter(|case| !case.leaves.is_empty()) {
        let error = adjoint_error(case, seed);
        // For a smooth function truncation is O(h⁴) ≈ 1e-15; rounding is 1e-16 / h ≈ 1e-12 of the loss.
        assert!(error < 1e-6, "{stem} {}: adjoint and central differences differ by {error:e}", case.label);
        looked_at += 1;
    }
    assert!(looked_at > 0, "{stem} has no case with a gradient");
}
