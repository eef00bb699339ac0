use super::check::{check_adjoint, check_as_gpu, check_op, check_variants};
use crate::support::open;
use normfree::gpu::OpenOptions;
use normfree::ops::activation::Activation;
use normfree::verify::{CaseBuilder, Fill, check};

#[test]
fn device_agrees_with_reference() {
    check_op("activation");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("activation");
}

#[test]
fn adjoint_agrees_with_central_differences() {
    check_adjoint("activation");
}

#[test]
fn every_variant_agrees_with_reference() {
    check_variants("activation");
}

/// A value that is not finite must not come out as a number: the count of such values would miss it.
#[test]
fn nan_stays_nan() {
    let gpu = open(&OpenOptions::default());
    for activation in Activation::all().filter(|one| one.is_by_element() && !one.learns()) {
        let mut case = CaseBuilder::new("activation", format!("{activation} of NaN"), 0);
        let x = case.input("x", &[8], Fill::Normal(1.0));
        case.set(x, vec![f32::NAN, 1.0, f32::INFINITY, -1.0, -f32::NAN, 0.0, 2.0, -0.5]);
        let y = case.tape.activation_function(x, activation, 0.1);
        let outcome = check(&gpu, &case.finish(&[], &[y], 1e-6)).unwrap();
        assert!(outcome.passed(), "{}: {}", outcome.label, outcome.place);
    }
}
