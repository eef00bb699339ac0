//! Run by `make test-newer-mesa` in addition to the tests of all ops: products and attention on the matrix units that a newer
//! Mesa's software driver lists.

use crate::ops::attention::{of_made_gradients, of_width};
use crate::ops::check::check_case;
use crate::support::{open, seed};
use normfree::device::Device;
use normfree::gpu::OpenOptions;
use normfree::ops::{CASES, Choices, Traits};
use normfree::tape::DType;
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

/// A device that makes the `at`-th choice of a case's ops that have so many. For attention on matrix units it takes the
/// variant with the shortest text instead, except for the first choice: this driver compiles the others of a wide head for
/// minutes.
fn chosen(case: &Case, device: &Traits, at: usize) -> (Choices, Vec<String>) {
    let (mut choices, mut names) = (Choices::default(), Vec::new());
    for node in case.tape.nodes() {
        let Some(tuning) = node.op.tuning(&shapes(&case.tape, node), device) else { continue };
        let least = tuning.variants.iter().find(|variant| variant.contains("rows by 16,")).filter(|_| at > 0);
        let variant = least.unwrap_or(&tuning.variants[at % tuning.variants.len()]);
        names.push(format!("{}: {variant}", tuning.key));
        choices.set(tuning.key, variant.clone());
    }
    (choices, names)
}

/// A device with matrix units that is given the kernels of a GPU.
fn opened() -> Device {
    let mut gpu = open(&OpenOptions { software_matrix_units: true, ..OpenOptions::default() });
    let side = gpu.traits().cooperative;
    println!("{}, {}: fragments of {side}x{side}", gpu.description().name, gpu.description().driver);
    assert!(side > 0, "this driver has no matrix units that multiply right");
    gpu.pretend(|traits| traits.software = false);
    gpu
}

/// Checks a case in the variants that its ops have at `at`; returns which kernels ran on matrix units.
fn checked(gpu: &mut Device, case: &Case, at: usize) -> BTreeSet<String> {
    gpu.set_choices(Choices::default());
    let (choices, names) = chosen(case, gpu.traits(), at);
    gpu.set_choices(choices);
    let kernels = on_units(case, gpu.traits());
    if !kernels.is_empty() {
        let began = std::time::Instant::now();
        check_case(gpu, case);
        println!("{:.1} s: {}: {kernels:?}; {names:?}", began.elapsed().as_secs_f64(), case.label);
    }
    kernels
}

/// Every case with a kernel on matrix units. Products run in the default variant and in one more, which differs from case to
/// case; attention once, in the default variant. Then heads whose fragments are shared by subgroups, or wider than the head;
/// and gradients far below the smallest f16.
#[test]
#[ignore = "takes a driver with matrix units; make test-newer-mesa brings it"]
fn ops_agree_with_reference_on_matrix_units() {
    let mut gpu = opened();
    let seed = seed();
    let mut ran: BTreeMap<String, usize> = BTreeMap::new();
    for (stem, cases) in CASES {
        for (i, case) in cases(seed).iter().enumerate() {
            let attention_again = *stem == "attention" && ran.contains_key("forward of attention");
            for at in [0, 1 + i].into_iter().filter(|&at| at > 0 || !attention_again) {
                for kernel in checked(&mut gpu, case, at) {
                    *ran.entry(kernel).or_default() += 1;
                }
            }
        }
    }
    println!("on matrix units: {ran:?}");
    assert!(gpu.traits().attention_units, "{:?}", gpu.remarks());
    for (kernel, least) in [
        ("matmul of matmul", 10),
        ("forward of attention", 5),
        ("query_gradient of attention.backward", 5),
        ("key_gradient of attention.backward", 5),
        ("query_gradient of attention.backward.guided", 1),
        ("key_gradient of attention.backward.guided", 1),
    ] {
        assert!(ran.get(kernel).is_some_and(|&count| count > least), "{kernel}: {ran:?}");
    }
    let [ragged, shared] = [(44, 77, true), (72, 67, false)]
        .map(|(width, sequence, guided)| of_width(seed, DType::F16, width, sequence, guided));
    for case in [of_made_gradients(seed), ragged, shared] {
        let kernels = checked(&mut gpu, &case, 1);
        assert_eq!(kernels.len(), 3, "{}: {kernels:?}", case.label);
    }
}
