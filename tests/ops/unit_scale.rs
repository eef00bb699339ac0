use super::check::{check_adjoint, check_as_gpu, check_op};

#[test]
fn device_agrees_with_reference() {
    check_op("unit_scale");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("unit_scale");
}

#[test]
fn adjoint_agrees_with_central_differences() {
    check_adjoint("unit_scale");
}
