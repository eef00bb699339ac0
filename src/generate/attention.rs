//! What the heads of a trained model read in one text: the training pass, forward only, replayed node by node up to its last
//! attention. The queries and keys of one layer at a time come back, after everything that changes them, and no matrix of
//! weights is ever on the device.

use crate::config::{Accumulation, ModelConfig, Precision};
use crate::device::{Device, Plan, Store};
use crate::fault::Result;
use crate::model::pass::Recompute;
use crate::model::{Pass, names, record};
use crate::ops::cross_entropy::Logits;
use crate::ops::packed::Packed;
use crate::pattern::{Head, Layer};
use crate::tape::{Role, Tape, TensorId};

/// The op whose weights are wanted, and the one that gives it a sink.
const ATTENTION: &str = "attention";
const SINK: &str = "attention_sink";

/// Reads `tokens` with the weights that `load` writes into a store, in f32, and hands over every head, layer after layer. Returns the largest
/// difference, in nats, between a row's entropy as computed here in f64 and as the device's attention measured it.
///
/// # Errors
/// [`crate::fault::Kind::Memory`] where the device has no room; those of `load`, of the device, and of `each`.
///
/// # Panics
/// If there are no tokens, more than the model has positions, or one outside its vocabulary.
pub fn attend(
    device: &Device,
    model: &ModelConfig,
    load: impl FnOnce(&Device, &Store) -> Result<()>,
    tokens: &[u32],
    each: &mut dyn FnMut(Head) -> Result<()>,
) -> Result<f64> {
    assert!((1..=model.n_positions).contains(&tokens.len()), "{} tokens to read", tokens.len());
    assert!(tokens.iter().all(|&token| (token as usize) < model.vocab_size), "a token of another model");
    let tape = record(model, &pass(tokens.len(), device.traits().max_binding)).tape;
    let mut store = Store::new(device);
    let outlives = |role| matches!(role, Role::Parameter | Role::Input | Role::Observation);
    for info in tape.ids().map(|id| tape.info(id)).filter(|info| outlives(info.role) && info.parent.is_none())
    {
        store.allocate(device, &info.name, info.shape.elements(), info.dtype)?;
    }
    for (tensor, values) in tape.constants() {
        store.write(device, &tape.info(tensor).name, values);
    }
    load(device, &store)?;
    store.write(device, names::TOKENS, tokens);
    let plan = Plan::build(device, &tape, &store)?;
    Plan::load_kernels(device, &[&plan])?;
    device.keep_pipelines();
    let mut layer = 0;
    let mut largest = 0.0_f64;
    // Nothing after the last attention is wanted.
    let wanted = 1 + tape.nodes().iter().rposition(|node| node.op.name() == ATTENTION).unwrap_or(0);
    for (index, node) in tape.nodes()[..wanted].iter().enumerate() {
        plan.run_node(device, index)?;
        if node.op.name() != ATTENTION {
            continue;
        }
        let read = |tensor| plan.read(device, &tape, &store, tensor);
        let (_, columns) = tape.shape(node.inputs[0]).as_matrix();
        let (qkv, measured) = (read(node.inputs[0])?, read(node.outputs[2])?);
        let sinks = sinks(&tape, node.outputs[1]).map(read).transpose()?;
        let cap = (model.attention_softcap > 0.0).then_some(f64::from(model.attention_softcap as f32));
        let packed = Packed::of(columns, model.n_head, 4);
        let heads = Layer { layer, packed, qkv: &qkv, cap, sinks: sinks.as_deref() }.heads();
        for (head, measured) in heads.into_iter().zip(measured.chunks_exact(tokens.len())) {
            let rows = head.entropies.iter().zip(measured);
            let differences = rows.map(|(nats, &measured)| (nats - f64::from(measured)).abs());
            // A row that is not finite is not finite in both.
            largest = differences.filter(|difference| !difference.is_nan()).fold(largest, f64::max);
            each(head)?;
        }
        layer += 1;
    }
    Ok(largest)
}

/// One sequence, forward only, with entropies.
fn pass(tokens: usize, piece_bytes: u64) -> Pass {
    Pass {
        batch: 1,
        sequence: tokens,
        micro_batches: 1,
        accumulation: Accumulation::Mean,
        training: false,
        entropy: true,
        layers: false,
        spectrum: false,
        truncated: false,
        logits: Logits { piece_bytes, kept_bytes: 0 },
        recompute: Recompute::None,
        precision: Precision::F32,
    }
}

/// The parameter of the sinks of the attention with this `lse`, if it has any.
fn sinks(tape: &Tape, lse: TensorId) -> Option<TensorId> {
    let node = tape.nodes().iter().find(|node| node.op.name() == SINK && node.inputs[0] == lse)?;
    Some(node.inputs[1])
}
