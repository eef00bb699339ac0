use super::check::{check_as_gpu, check_op};

#[test]
fn device_agrees_with_reference() {
    check_op("weight_norm");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("weight_norm");
}
