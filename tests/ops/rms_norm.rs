use super::check::{check_adjoint, check_as_gpu, check_op, check_variants};

#[test]
fn device_agrees_with_reference() {
    check_op("rms_norm");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("rms_norm");
}

#[test]
fn every_variant_agrees_with_reference() {
    check_variants("rms_norm");
}

#[test]
fn adjoint_agrees_with_central_differences() {
    check_adjoint("rms_norm");
}
