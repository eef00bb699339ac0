use super::check::{check_adjoint, check_as_gpu, check_op};
use normfree::reference::Memory;
use normfree::tape::{DType, Tape};

#[test]
fn device_agrees_with_reference() {
    check_op("dropout");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("dropout");
}

#[test]
fn adjoint_agrees_with_central_differences() {
    check_adjoint("dropout");
}

#[test]
fn probability_zero_records_nothing() {
    let mut tape = Tape::new();
    let x = tape.input("x", &[4], DType::F32);
    let key = tape.input("key", &[4], DType::U32);
    assert_eq!(tape.dropout(x, 0.0, key), x);
    assert!(tape.nodes().is_empty());
}

#[test]
fn the_share_dropped_is_p() {
    let mut tape = Tape::new();
    let x = tape.input("x", &[256, 1024], DType::F32);
    let key = tape.input("key", &[4], DType::U32);
    let y = tape.dropout(x, 0.1, key);
    let mut memory = Memory::new(&tape);
    memory.set(&tape, x, &vec![1.0; 256 * 1024]);
    memory.set(&tape, key, &[11.0, 0.0, 5.0, 0.0]);
    memory.run(&tape);
    let values = memory.get(&tape, y);
    let dropped = values.iter().filter(|&&v| v == 0.0).count() as f64 / values.len() as f64;
    // Five standard deviations of 262,144 draws.
    assert!((dropped - 0.1).abs() < 5.0 * (0.1_f64 * 0.9 / values.len() as f64).sqrt(), "{dropped}");
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    assert!((mean - 1.0).abs() < 5e-3, "the mean is kept: {mean}");
}
