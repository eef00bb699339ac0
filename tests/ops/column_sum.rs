use super::check::{check_as_gpu, check_made, check_op, check_variants};
use normfree::ops::column_sum::ColumnSum;
use normfree::verify::{CaseBuilder, Fill};

#[test]
fn device_agrees_with_reference() {
    check_op("column_sum");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("column_sum");
}

#[test]
fn every_variant_agrees_with_reference() {
    check_variants("column_sum");
}

/// More rows than one loop may walk on every driver.
#[test]
fn more_rows_than_one_loop_may_walk() {
    check_made(|seed| {
        let mut case = CaseBuilder::new("column_sum", "4 of 300000x4", seed);
        let x = case.input("x", &[300_000, 4], Fill::Normal(1.0));
        let out = case.observation("out", &[4], 0.5);
        case.tape.record(ColumnSum::new(true), &[x], &[out]);
        // Blocks of 4,700 terms one after the other; a loop cut short would be off by the sum itself.
        case.finish(&[], &[], 2e-5)
    });
}
