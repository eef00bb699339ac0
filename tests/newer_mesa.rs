//! What `make test-newer-mesa` runs beside the tests of all ops: products and attention on the matrix units that a newer
//! Mesa's software driver lists.

use crate::ops::check::check_case;
use crate::support::{open, seed};
use normfree::gpu::OpenOptions;
use normfree::ops::{CASES, Choices, Traits};
use normfree::tape::shapes;
use normfree::verify::Case;
use std::collections::{BTreeMap, BTreeSet};

/// The kernels of a case that use matrix units: entry point and op.
fn on_units(case: &Case, device: &Traits) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for node in case.tape.nodes() {
        for dispatch in node.op.recipe(&shapes(&case.tape, node), device).dispatches {
            if dispatch.kernel.text.contains("coopMultiplyAdd") {
                found.insert(format!("{} of {}", dispatch.kernel.entry, node.op.name()));
            }
        }
    }
    found
}

/// A device that makes the `at`-th choice of a case's ops that have so many.
fn chosen(case: &Case, device: &Traits, at: usize) -> (Choices, Vec<String>) {
    let (mut choices, mut names) = (Choices::default(), Vec::new());
    for node in case.tape.nodes() {
        let Some(tuning) = node.op.tuning(&shapes(&case.tape, node), device) else { continue };
        let way = &tuning.ways[at % tuning.ways.len()];
        names.push(format!("{}: {way}", tuning.key));
        choices.set(tuning.key, way.clone());
    }
    (choices, names)
}

/// Every case of which a kernel is one on matrix units, in the default variant and in one more, which differs from case to
/// case.
#[test]
#[ignore = "takes a driver with matrix units; make test-newer-mesa brings it"]
fn ops_agree_with_reference_on_matrix_units() {
    let mut gpu = open(&OpenOptions { software_matrix_units: true, ..OpenOptions::default() });
    let side = gpu.traits().cooperative;
    println!("{}, {}: fragments of {side}x{side}", gpu.description().name, gpu.description().driver);
    assert!(side > 0, "this driver has no matrix units that multiply right");
    gpu.pretend(|traits| traits.software = false);
    let seed = seed();
    let mut ran: BTreeMap<&str, usize> = BTreeMap::new();
    for (stem, cases) in CASES {
        for (i, case) in cases(seed).iter().enumerate() {
            for at in [0, 1 + i] {
                gpu.set_choices(Choices::default());
                let (choices, names) = chosen(case, gpu.traits(), at);
                gpu.set_choices(choices);
                let kernels = on_units(case, gpu.traits());
                if kernels.is_empty() {
                    continue;
                }
                check_case(&gpu, case);
                println!("{stem} {}: {kernels:?}; {names:?}", case.label);
                *ran.entry(stem).or_default() += 1;
            }
        }
    }
    println!("on matrix units: {ran:?}");
    assert!(ran.get("matmul").is_some_and(|&count| count > 10), "{ran:?}");
}
