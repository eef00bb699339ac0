use super::check::{check_as_gpu, check_op};
use normfree::ops::attention_logits::{QUANTITIES, RECENT};
use normfree::reference::Memory;
use normfree::tape::{DType, Tape};

#[test]
fn device_agrees_with_reference() {
    check_op("attention_logits");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("attention_logits");
}

/// Equal logits are spread by nothing, and weigh every visible key alike: a query at position i gives the first key 1/(i + 1).
#[test]
fn equal_scores_are_told_by_hand() {
    let (sequence, width) = (20, 4);
    let mut tape = Tape::new();
    let qkv = tape.input("qkv", &[sequence, 3 * width], DType::F32);
    let attended = tape.attention(qkv, 1, sequence, false);
    let out = tape.observation("out", &[QUANTITIES]);
    tape.attention_logits(qkv, attended.lse, None, out);
    let mut memory = Memory::new(&tape);
    memory.set(&tape, qkv, &vec![1.0; sequence * 3 * width]);
    memory.run(&tape);
    let found = memory.get(&tape, out);
    let mean = |of: &dyn Fn(usize) -> f64| (1..=sequence).map(of).sum::<f64>() / sequence as f64;
    let wanted = [
        2.0, // 4·1·1/√4
        0.0,
        mean(&|keys| 1.0 / keys as f64),
        mean(&|keys| keys.min(RECENT) as f64 / keys as f64),
        // Every query with two keys or more is at its ceiling.
        1.0,
        1.0,
        1.0,
        1.0,
    ];
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() < 1e-12, "{found} instead of {wanted}");
    }
}
