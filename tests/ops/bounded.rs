use super::check::{check_adjoint, check_as_gpu, check_op, check_some_variants};

#[test]
fn device_agrees_with_reference() {
    check_op("bounded");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("bounded");
}

#[test]
fn every_variant_agrees_with_reference() {
    // Larger and smaller blocks of rows.
    check_some_variants("bounded", 2);
}

#[test]
fn adjoint_agrees_with_central_differences() {
    check_adjoint("bounded");
}
