use super::check::{check_adjoint, check_as_gpu, check_op};

#[test]
fn device_agrees_with_reference() {
    check_op("grouped_heads");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("grouped_heads");
}

#[test]
fn adjoint_agrees_with_central_differences() {
    check_adjoint("grouped_heads");
}
