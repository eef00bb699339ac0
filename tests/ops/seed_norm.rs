use super::check::{check_adjoint, check_as_gpu, check_op, check_variants};

#[test]
fn device_agrees_with_reference() {
    check_op("seed_norm");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("seed_norm");
}

#[test]
fn every_variant_agrees_with_reference() {
    check_variants("seed_norm");
}

#[test]
fn adjoint_agrees_with_central_differences() {
    check_adjoint("seed_norm");
}
