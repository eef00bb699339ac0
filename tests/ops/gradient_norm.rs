use super::check::{check_as_gpu, check_made, check_op, check_variants};
use normfree::tape::DType;
use normfree::verify::{CaseBuilder, Fill};

#[test]
fn device_agrees_with_reference() {
    check_op("gradient_norm");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("gradient_norm");
}

#[test]
fn every_variant_agrees_with_reference() {
    check_variants("gradient_norm");
}

/// More vectors than one loop, or one subgroup of eight lanes, may walk on every driver.
#[test]
fn more_elements_than_one_loop_may_walk() {
    check_made(|seed| {
        let elements = 4 * (8 * 65_536 + 64);
        let mut case = CaseBuilder::new("gradient_norm", format!("P={elements}"), seed);
        let gradients = case.input("gradients", &[elements], Fill::Normal(1e-2));
        let loss = case.constant("loss", &[1], DType::F32, vec![3.0]);
        let policy = case.constant("policy", &[2], DType::F32, vec![1.0, 0.0]);
        let verdict = case.observation("verdict", &[4], 0.0);
        case.tape.gradient_norm(gradients, loss, policy, verdict, None);
        case.finish(&[], &[], 2e-5)
    });
}
