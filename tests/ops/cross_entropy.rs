use super::check::{
    check_adjoint, check_as_gpu, check_case, check_made, check_op, check_variants, each_device,
};
use crate::support::{gpu, seed};
use normfree::ops::cross_entropy::{Logits, Targets};
use normfree::tape::DType;
use normfree::tape::shapes;
use normfree::verify::{CaseBuilder, Fill, HALF_BOUND};
use rand::Rng;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn device_agrees_with_reference() {
    check_op("cross_entropy");
}

#[test]
fn gpu_variant_agrees_with_reference() {
    check_as_gpu("cross_entropy");
}

#[test]
fn every_variant_agrees_with_reference() {
    check_variants("cross_entropy");
}

#[test]
fn adjoint_agrees_with_central_differences() {
    check_adjoint("cross_entropy");
}

/// Pieces of so many bytes, of which none is kept.
fn memory(piece_bytes: u64) -> Logits {
    Logits { piece_bytes, kept_bytes: 0 }
}

/// The gradient, but not the loss, is multiplied by the loss scale.
#[test]
fn the_loss_scale_is_in_the_gradient() {
    check_made(|seed| {
        let mut case = CaseBuilder::new("cross_entropy", "loss scale 256", seed);
        let x = case.input_of("x", &[9, 16], DType::F16, Fill::Normal(1.0));
        let table = case.matrix("table", &[100, 16], true, Fill::Normal(1.0));
        let picks: Vec<u32> = (0..9).map(|_| case.random.random_range(0..100)).collect();
        let targets = case.indices("targets", &[9], &picks);
        let scale = case.constant("scale", &[1], DType::F32, vec![1.0 / 9.0]);
        let loss = case.observation("loss", &[1], 0.5);
        let scaling = Some(case.constant("scaling", &[4], DType::F32, vec![256.0, 0.0, 0.0, 0.0]));
        case.tape.head_cross_entropy(x, table, Targets { targets, scale, loss, scaling }, memory(1 << 20));
        case.finish_loss(loss, HALF_BOUND)
    });
}

/// A driver compiles once for each size of pieces, wherever they are in the vocabulary.
#[test]
fn pieces_of_a_size_share_their_kernels() {
    let mut case = CaseBuilder::new("cross_entropy", "GPT-2's vocabulary", seed());
    let x = case.input("x", &[4, 4], Fill::Normal(1.0));
    let table = case.parameter("table", &[50_257, 4], Fill::Normal(1.0));
    let targets = case.indices("targets", &[4], &[0, 1, 2, 3]);
    let scale = case.constant("scale", &[1], DType::F32, vec![0.25]);
    let loss = case.observation("loss", &[1], 0.0);
    case.tape.head_cross_entropy(x, table, Targets { targets, scale, loss, scaling: None }, memory(1 << 27));
    let case = case.finish_loss(loss, 1e-5);
    let device = gpu().traits().clone();
    let mut kernels: BTreeMap<&str, (usize, BTreeSet<String>)> = BTreeMap::new();
    for node in case.tape.nodes() {
        for dispatch in node.op.recipe(&shapes(&case.tape, node), &device).dispatches {
            let (count, texts) = kernels.entry(dispatch.kernel.entry).or_default();
            *count += 1;
            texts.insert(format!("{:?} {}", dispatch.kernel.constants, dispatch.kernel.text));
        }
    }
    for entry in ["update", "gradient"] {
        let (count, texts) = &kernels[entry];
        assert_eq!((*count, texts.len()), (25, 2), "{entry}: pieces, and kernels: one for the last piece");
    }
}

/// More rows than one loop may walk on every driver: the loss is summed over all of them.
#[test]
fn more_rows_than_one_loop_may_walk() {
    let seed = seed();
    let make = |whole: bool| {
        let rows = 70_000;
        let mut case = CaseBuilder::new("cross_entropy", format!("N={rows} d=4 V=8"), seed);
        let x = case.input("x", &[rows, 4], Fill::Normal(1.0));
        let table = case.parameter("table", &[8, 4], Fill::Normal(1.0));
        let picks: Vec<u32> = (0..rows).map(|_| case.random.random_range(0..8)).collect();
        let targets = case.indices("targets", &[rows], &picks);
        let scale = case.constant("scale", &[1], DType::F32, vec![1.0 / rows as f32]);
        let loss = case.observation("loss", &[1], 0.5);
        case.tape.head_cross_entropy(
            x,
            table,
            Targets { targets, scale, loss, scaling: None },
            memory(1 << 27),
        );
        // Sums of 70,000 terms, some of them one after the other.
        let bound = 5e-5;
        if whole { case.finish_loss(loss, bound) } else { case.finish(&[], &[], bound) }
    };
    check_case(&gpu(), &make(true));
    // On GPUs the gradient's product over all rows is tiled, with one turn for each row: too many for a CPU driver that only
    // pretends to be a GPU.
    let forward = make(false);
    each_device(|gpu| check_case(gpu, &forward));
}
