use super::check::{check_as_gpu, check_made, check_op};
use normfree::verify::{CaseBuilder, Fill};

#[test]
fn device_agrees_with_reference() {
    check_op("head_entropy");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("head_entropy");
}

/// More rows than one loop may walk on every driver.
#[test]
fn more_rows_than_one_loop_may_walk() {
    check_made(|seed| {
        let mut case = CaseBuilder::new("head_entropy", "B=140 H=2 T=1024", seed);
        let entropy = case.input("entropy", &[140, 2, 1024], Fill::Around(2.0, 0.5));
        let mut values = case.values(entropy).to_vec();
        for (at, value) in values.iter_mut().enumerate().filter(|(at, _)| at % 1009 == 5) {
            *value = if at % 2 == 0 { f32::NAN } else { f32::INFINITY };
        }
        case.set(entropy, values);
        let mean = case.observation("mean", &[2], 0.25);
        let nonfinite = case.observation("nonfinite", &[2], 1.0);
        case.tape.head_entropy(entropy, mean, nonfinite, 0.5);
        // Each lane adds up 2,240 terms of one sign.
        case.finish(&[], &[], 1e-5)
    });
}
