use super::check::{check_adjoint, check_as_gpu, check_op, check_with};
use normfree::ops::embedding::sort_by_token;

#[test]
fn device_agrees_with_reference() {
    check_op("embedding");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("embedding");
}

/// The table of 1,009 × 64 takes seven windows of 160 rows, the last one short; narrower tables start their
/// windows at rows where 64 elements and a row's end meet.
#[test]
fn windows_of_the_table_agree_with_reference() {
    check_with("embedding", |traits| traits.max_binding = 160 * 64 * 4, |case| case.label.contains("1009"));
    check_with("embedding", |traits| traits.max_binding = 3 * 1_024, |case| case.label.contains("300"));
}

#[test]
fn adjoint_agrees_with_central_differences() {
    check_adjoint("embedding");
}

#[test]
fn sorting_is_stable_and_marks_each_token() {
    let (sorted, segments) = sort_by_token(&[5, 2, 5, 9, 2]);
    assert_eq!(sorted, [1, 4, 0, 2, 3]);
    assert_eq!(segments, [0, 2, 4, 5, 5, 5]);
}
