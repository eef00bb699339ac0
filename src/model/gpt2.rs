//! The GPT-2 family: learned positions, pre-norm blocks (or none), a head tied to the token table.
//!
//! x = dropout(wte[token] + wpe[position]); per block x ← x + attention(norm₁ x), x ← x + ffn(norm₂ x);
//! logits = final_norm(x) · wteᵀ. The norm-free models of arXiv 2410.09637 keep the final norm.

use super::block::{
    Activate, Linear, Normalization, Regularizer, Residual, Temperature, biased, biased_attention,
    loss_scale, losses, operand,
};
use super::{Pass, Recorded, names};
use crate::config::{Activation, FeedForward, ModelConfig, Norm, Precision, Recompute, SlopeScope};
use crate::ops::cross_entropy::Targets;
use crate::ops::magnitudes::WITH_MEDIAN;
use crate::tape::{DType, Tape, TensorId};

/// Name of the slope that every block shares.
pub(crate) const SHARED_SLOPE: &str = "transformer.act.slopes";

struct Block {
    norm_1: Normalization,
    attention: Linear,
    temperature: Temperature,
    regularizer: Regularizer,
    project: Linear,
    norm_2: Normalization,
    /// Not there where the feed-forward network is one matrix.
    expand: Option<Linear>,
    activate: Activate,
    contract: Linear,
    residual: Residual,
}

struct Gpt2 {
    tokens: TensorId,
    /// The token table as the head reads it.
    head: TensorId,
    positions: TensorId,
    blocks: Vec<Block>,
    final_norm: Normalization,
}

pub(super) fn record(config: &ModelConfig, pass: &Pass) -> Recorded {
    let mut tape = Tape::new();
    let model = Gpt2::declare(&mut tape, config, pass.precision);
    let loss = model.forward(&mut tape, config, pass);
    if pass.training {
        if pass.micro_batches == 1 {
            tape.overwrite_gradients();
        }
        let losses = losses(&tape, config, loss);
        tape.backward_of(&losses);
    }
    Recorded { tape, loss }
}

impl Gpt2 {
    /// Declares the parameters in the order of the Hugging Face file.
    fn declare(tape: &mut Tape, config: &ModelConfig, precision: Precision) -> Self {
        let width = config.n_embd;
        let tokens = tape.parameter("transformer.wte.weight", &[config.vocab_size, width]);
        let head = operand(tape, tokens, precision);
        let positions = tape.parameter("transformer.wpe.weight", &[config.n_positions, width]);
        let learned = config.activation_function == Activation::LearnableLrelu;
        let one = learned && config.slope_scope == SlopeScope::Shared;
        let shared = one.then(|| tape.parameter(SHARED_SLOPE, &[1]));
        let block = |layer| Block::declare(tape, config, precision, layer, shared);
        let blocks = (0..config.n_layer).map(block).collect();
        let norm = if config.final_norm { Norm::LayerNorm } else { Norm::None };
        let final_norm = Normalization::declare(tape, config, precision, norm, "transformer.ln_f");
        Self { tokens, head, positions, blocks, final_norm }
    }

    fn forward(&self, tape: &mut Tape, config: &ModelConfig, pass: &Pass) -> TensorId {
        let places = pass.batch * pass.sequence;
        let tokens = tape.input(names::TOKENS, &[places], DType::U32);
        let sorted = tape.input(names::SORTED, &[places], DType::U32);
        let segments = tape.input(names::SEGMENTS, &[places + 1], DType::U32);
        tape.enter("embedding");
        let mut x = tape.embedding(tokens, sorted, segments, self.tokens, self.positions, pass.sequence);
        if pass.training && config.embd_pdrop > 0.0 {
            let key = tape.input(names::DROPOUT_KEY, &[4], DType::U32);
            x = tape.dropout(x, config.embd_pdrop, key);
        }
        for (layer, block) in self.blocks.iter().enumerate() {
            let again = pass.recompute == Recompute::Block;
            x = remade_if(again, tape, |tape| block.forward(tape, config, pass, layer, x));
            if pass.layers {
                tape.observing(|tape| {
                    let residual = tape.observation(&names::residual(layer), &[WITH_MEDIAN]);
                    tape.magnitudes(x, residual);
                });
            }
        }
        tape.enter("head");
        let x = self.final_norm.apply(tape, x);
        let targets = tape.input(names::TARGETS, &[places], DType::U32);
        let scale = tape.input(names::SCALE, &[1], DType::F32);
        let scaling = loss_scale(tape, pass.precision);
        let loss = tape.observation(names::LOSS, &[1]);
        tape.tied_cross_entropy(x, self.head, Targets { targets, scale, loss, scaling }, pass.piece_bytes);
        loss
    }
}

impl Block {
    fn declare(
        tape: &mut Tape,
        config: &ModelConfig,
        precision: Precision,
        layer: usize,
        shared: Option<TensorId>,
    ) -> Self {
        let name = |part: &str| format!("transformer.h.{layer}.{part}");
        let width = config.n_embd;
        let fused = config.ffn == FeedForward::Fused;
        let inner = if fused { width } else { config.inner() };
        let norm =
            |tape: &mut Tape, part| Normalization::declare(tape, config, precision, config.norm, &name(part));
        let linear =
            |tape: &mut Tape, part, size, biased| Linear::declare(tape, precision, &name(part), size, biased);
        Self {
            norm_1: norm(tape, "ln_1"),
            attention: linear(tape, "attn.c_attn", (width, 3 * width), biased_attention(config)),
            temperature: Temperature::declare(tape, config, &name("attn")),
            regularizer: Regularizer::declare(tape, config, &name("attn")),
            project: linear(tape, "attn.c_proj", (width, width), biased(config, width)),
            norm_2: norm(tape, "ln_2"),
            expand: (!fused).then(|| linear(tape, "mlp.c_fc", (width, inner), biased(config, inner))),
            activate: Activate::declare(tape, config, layer, shared),
            contract: linear(tape, "mlp.c_proj", (inner, width), biased(config, width)),
            residual: Residual::declare(tape, config, &name("mlp")),
        }
    }

    fn forward(
        &self,
        tape: &mut Tape,
        config: &ModelConfig,
        pass: &Pass,
        layer: usize,
        x: TensorId,
    ) -> TensorId {
        tape.enter(&format!("h.{layer}.attn"));
        let a = self.norm_1.apply(tape, x);
        let qkv = self.attention.apply(tape, a);
        let qkv = self.temperature.apply(tape, qkv, pass.sequence);
        let entropies = pass.entropy || self.regularizer.wants_entropy(pass);
        let heads = tape.attention(qkv, config.n_head, pass.sequence, entropies);
        self.regularizer.apply(tape, config, pass, layer, heads.entropy);
        if let (true, Some(entropy)) = (pass.entropy, heads.entropy) {
            let mean = tape.observation(&names::head_entropy(layer), &[config.n_head]);
            let nonfinite = tape.observation(&names::nonfinite(layer), &[config.n_head]);
            tape.head_entropy(entropy, mean, nonfinite, 1.0 / pass.micro_batches as f32);
        }
        let x = self.project.apply_onto(tape, x, heads.output);
        tape.enter(&format!("h.{layer}.mlp"));
        let f = self.norm_2.apply(tape, x);
        let f = self.expand.as_ref().map_or(f, |expand| expand.apply(tape, f));
        remade_if(pass.recompute == Recompute::Ffn, tape, |tape| {
            let f = self.activate.apply(tape, f);
            let x = self.residual.apply(tape, x, &self.contract, f);
            // After the product, which on some devices has had an image made of f.
            if pass.layers && self.expand.is_some() {
                tape.observing(|tape| {
                    let units = tape.observation(&names::active_units(layer), &[config.inner()]);
                    tape.count_nonzero(f, units);
                });
            }
            x
        })
    }
}

/// Records, where `again` as a region that the backward pass makes again.
fn remade_if(again: bool, tape: &mut Tape, record: impl FnOnce(&mut Tape) -> TensorId) -> TensorId {
    if again { tape.remade(record) } else { record(tape) }
}
