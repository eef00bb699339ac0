use super::check::{check_adjoint, check_as_gpu, check_op};

#[test]
fn device_agrees_with_reference() {
    check_op("scale_loss");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("scale_loss");
}

#[test]
fn adjoint_agrees_with_central_differences() {
    check_adjoint("scale_loss");
}
