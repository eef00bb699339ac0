use super::check::{check_adjoint, check_as_gpu, check_op, check_variants};

#[test]
fn device_agrees_with_reference() {
    check_op("learned_scale");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("learned_scale");
}

#[test]
fn every_variant_agrees_with_reference() {
    check_variants("learned_scale");
}

#[test]
fn adjoint_agrees_with_central_differences() {
    check_adjoint("learned_scale");
}
