use super::check::{check_as_gpu, check_op};

#[test]
fn device_agrees_with_reference() {
    check_op("unit_norm");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("unit_norm");
}
