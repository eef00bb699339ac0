use super::check::{check_adjoint, check_as_gpu, check_op};

#[test]
fn device_agrees_with_reference() {
    check_op("spectral_norm");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("spectral_norm");
}

#[test]
fn adjoint_agrees_with_central_differences() {
    check_adjoint("spectral_norm");
}
