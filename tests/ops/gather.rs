use super::check::check_op;

#[test]
fn device_agrees_with_reference() {
    check_op("gather");
}
