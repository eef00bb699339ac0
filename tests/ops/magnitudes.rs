use super::check::{check_as_gpu, check_made, check_op};
use normfree::ops::magnitudes::WITH_MEDIAN;
use normfree::verify::{CaseBuilder, Fill};

#[test]
fn device_agrees_with_reference() {
    check_op("magnitudes");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("magnitudes");
}

/// More elements than one loop may walk on every driver, and more parts than a workgroup has lanes.
#[test]
fn more_elements_than_one_loop_may_walk() {
    check_made(|seed| {
        let mut case = CaseBuilder::new("magnitudes", "300001x3", seed);
        let x = case.input("x", &[300_001, 3], Fill::Normal(3.0));
        let out = case.observation("out", &[WITH_MEDIAN], 0.5);
        case.tape.magnitudes(x, out);
        // A lane adds up 16 vectors, the workgroup 64 lanes, the last one 220 workgroups.
        case.finish(&[], &[], 4e-6)
    });
}
