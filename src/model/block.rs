//! The block of every decoder, and the parts it is made of.

use super::guidance::{Regularizer, Residual, Temperature};
use super::naming::Naming;
use super::{Pass, names};
use crate::config::{Activation, Bias, FeedForward, ModelConfig, Norm, Precision, Recompute, SlopeScope};
use crate::tape::{DType, Decays, Declaration, Filed, Start, Tape, TensorId};

/// How products store what they read: their matrices, and the norms' results.
pub(super) fn operands(precision: Precision) -> DType {
    match precision {
        Precision::F32 => DType::F32,
        Precision::Mixed => DType::F16,
    }
}

/// A table that has a row for each token or position.
pub(super) fn table(config: &ModelConfig) -> Declaration {
    Declaration::new(Start::Normal { spread: config.initializer_range })
}

/// What products read of a matrix: itself, or its f16 copy.
pub(super) fn operand(tape: &mut Tape, matrix: TensorId, precision: Precision) -> TensorId {
    match precision {
        Precision::F32 => matrix,
        Precision::Mixed => tape.half_copy(matrix),
    }
}

/// A norm with its vectors.
pub(super) struct Normalize {
    norm: Norm,
    vectors: Vec<TensorId>,
    epsilon: f32,
    result: DType,
}

impl Normalize {
    /// Declares the vectors of the norm `name`; of a block, or of none.
    pub fn declare(
        tape: &mut Tape,
        config: &ModelConfig,
        precision: Precision,
        norm: Norm,
        (name, block): (&str, Option<usize>),
    ) -> Self {
        let vector = |&(part, start): &(&str, f64)| {
            let vector = Declaration { block, ..Declaration::new(Start::Constant(start)).undecayed() };
            tape.declare_parameter(&format!("{name}.{part}"), &[config.n_embd], vector)
        };
        let vectors = norm.parameters.iter().map(vector).collect();
        Self { norm, vectors, epsilon: config.layer_norm_epsilon as f32, result: operands(precision) }
    }

    /// The identity records nothing.
    pub fn apply(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        self.norm.record.map_or(x, |record| record(tape, x, &self.vectors, self.epsilon, self.result))
    }
}

/// A matrix with its bias, if it has one.
pub(super) struct Linear {
    weight: TensorId,
    bias: Option<TensorId>,
}

/// What a matrix of a block is: between which widths, of how many heads' q | k | v where it makes these, with how many
/// columns that have a bias, and whether it ends in the residual stream.
struct Matrix {
    from: usize,
    to: usize,
    heads: Option<usize>,
    biased: usize,
    ends: bool,
}

impl Linear {
    /// Declares `name.weight` [from, to] of block `layer`, and a bias for its first columns.
    fn declare(
        tape: &mut Tape,
        config: &ModelConfig,
        precision: Precision,
        (name, layer): (&str, usize),
        matrix: Matrix,
    ) -> Self {
        let Matrix { from, to, heads, biased, ends } = matrix;
        let scaled = ends && config.scale_residual_projections;
        let scale = if scaled { (2.0 * config.n_layer as f64).sqrt() } else { 1.0 };
        let start = Start::Normal { spread: config.initializer_range / scale };
        let filed = Filed::Matrix { heads, lacks_bias: biased == 0 };
        let weight = Declaration::new(start).in_block(layer).filed(filed);
        let weight = tape.declare_parameter(&format!("{name}.weight"), &[from, to], weight);
        let weight = operand(tape, weight, precision);
        let bias = (biased > 0).then(|| {
            let bias = Declaration::new(Start::Constant(0.0)).undecayed().in_block(layer);
            let bias = bias.filed(Filed::Bias { heads, columns: to });
            tape.declare_parameter(&format!("{name}.bias"), &[biased], bias)
        });
        Self { weight, bias }
    }

    /// `x · W + b`.
    pub fn apply(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        tape.linear(x, self.weight, self.bias)
    }

    /// `residual + x · W + b`.
    pub fn apply_onto(&self, tape: &mut Tape, residual: TensorId, x: TensorId) -> TensorId {
        tape.linear_onto(residual, x, self.weight, self.bias)
    }
}

/// Columns of a matrix with `to` columns that have a bias.
pub(super) fn biased(config: &ModelConfig, to: usize) -> usize {
    if config.bias == Bias::All { to } else { 0 }
}

/// Columns of the packed query, key and value matrix that have a bias.
pub(super) fn biased_attention(config: &ModelConfig) -> usize {
    match config.bias {
        Bias::QueryKey => 2 * config.n_embd,
        Bias::All => 3 * config.n_embd,
        Bias::None => 0,
    }
}

/// A learned slope, of which nothing is said yet but how it starts and decays.
pub(super) fn slope(config: &ModelConfig) -> Declaration {
    Declaration { decays: Decays::AsSlopes, ..Declaration::new(Start::Constant(config.slope_init)) }
}

/// The feed-forward network's activation, with the entry of a vector that it learns, if it learns anything.
pub(super) struct Activate {
    activation: Activation,
    fixed: f32,
    learned: Option<(TensorId, usize)>,
}

impl Activate {
    /// Declares the slope of block `layer` where the activation learns one. `shared` is the slope of the whole
    /// model, if there is such.
    pub fn declare(tape: &mut Tape, config: &ModelConfig, layer: usize, shared: Option<TensorId>) -> Self {
        let naming = Naming::of(config.family);
        let activation = config.activation_function;
        // Of how many entries the layer's own slope is, and which one the layer uses.
        let mut own = |entries: usize, used: usize| {
            let slope = slope(config).in_block(layer);
            let slope = slope.watched(names::SLOPES, used..used + 1, layer..layer + 1);
            (tape.declare_parameter(&naming.slopes(layer), &[entries], slope), used)
        };
        let learned = match (activation.learns(), config.slope_scope) {
            (false, _) => None,
            (true, SlopeScope::PerLayer) => Some(own(config.n_layer, layer)),
            (true, SlopeScope::PerBlock) => Some(own(1, 0)),
            (true, SlopeScope::Shared) => shared.map(|slope| (slope, 0)),
        };
        Self { activation, fixed: config.leaky_slope as f32, learned }
    }

    /// The identity records nothing.
    pub fn apply(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        match self.learned {
            _ if self.activation.is_identity() => x,
            Some(slope) => tape.learned_activation(x, self.activation, slope),
            None => tape.activation_function(x, self.activation, self.fixed),
        }
    }
}

/// Which rows a block works on.
pub(super) enum Rows<'a> {
    /// Whole sequences, as training and evaluation have them.
    Sequences(&'a Pass),
    /// Single rows that look at a cache of those before: generation.
    Cached(&'a Cached),
}

/// What the blocks of such a pass share.
pub(super) struct Cached {
    /// u32 [rows].
    pub positions: TensorId,
    /// Rows of a cache.
    pub context: usize,
}

/// Attention and feed-forward network, each on the normalized residual stream.
pub(super) struct Block {
    norm_1: Normalize,
    attention: Linear,
    temperature: Temperature,
    regularizer: Regularizer,
    project: Linear,
    norm_2: Normalize,
    /// Not there where the feed-forward network is one matrix.
    expand: Option<Linear>,
    activate: Activate,
    contract: Linear,
    residual: Residual,
}

impl Block {
    /// Declares the parameters of block `layer`; `shared` is the slope of the whole model, if there is such.
    pub fn declare(
        tape: &mut Tape,
        config: &ModelConfig,
        precision: Precision,
        (naming, layer): (&Naming, usize),
        shared: Option<TensorId>,
    ) -> Self {
        let name = |part: &str| naming.in_block(layer, part);
        let width = config.n_embd;
        let fused = config.ffn == FeedForward::Fused;
        let inner = if fused { width } else { config.inner() };
        let norm = |tape: &mut Tape, part| {
            Normalize::declare(tape, config, precision, config.norm, (&name(part), Some(layer)))
        };
        let linear = |tape: &mut Tape, part, matrix| {
            Linear::declare(tape, config, precision, (&name(part), layer), matrix)
        };
        let matrix = |from, to, ends| Matrix { from, to, heads: None, biased: biased(config, to), ends };
        let packed = Matrix {
            heads: Some(config.n_head),
            biased: biased_attention(config),
            ..matrix(width, 3 * width, false)
        };
        let attention_module = name(naming.attention_module);
        Self {
            norm_1: norm(tape, naming.norm_1),
            attention: linear(tape, naming.attention, packed),
            temperature: Temperature::declare(tape, config, (&attention_module, layer)),
            regularizer: Regularizer::declare(tape, config, (&attention_module, layer)),
            project: linear(tape, naming.project, matrix(width, width, true)),
            norm_2: norm(tape, naming.norm_2),
            expand: (!fused).then(|| linear(tape, naming.expand, matrix(width, inner, false))),
            activate: Activate::declare(tape, config, layer, shared),
            contract: linear(tape, naming.contract, matrix(inner, width, true)),
            residual: Residual::declare(tape, config, (&name("mlp"), layer)),
        }
    }

    /// One after the other: x ← x + attention(norm₁ x), x ← x + ffn(norm₂ x).
    pub fn forward(
        &self,
        tape: &mut Tape,
        config: &ModelConfig,
        rows: &Rows<'_>,
        layer: usize,
        x: TensorId,
    ) -> TensorId {
        tape.enter(&format!("h.{layer}.attn"));
        let qkv = self.packed(tape, x);
        let x = self.attend(tape, config, rows, layer, (x, qkv));
        tape.enter(&format!("h.{layer}.mlp"));
        let f = self.expanded(tape, x);
        self.feed(tape, config, rows, layer, (x, f))
    }

    /// Beside each other, with rotary positions: x + attention(norm₁ x) + ffn(norm₂ x).
    pub fn forward_in_parallel(
        &self,
        tape: &mut Tape,
        config: &ModelConfig,
        rows: &Rows<'_>,
        layer: usize,
        x: TensorId,
    ) -> TensorId {
        let [attention, network] = ["attn", "mlp"].map(|part| format!("h.{layer}.{part}"));
        // All that reads x comes before what adds to it: in the backward pass the residual stream's gradient then is
        // there first, and the other two ride along with what makes them.
        tape.enter(&attention);
        let qkv = self.packed(tape, x);
        let (heads, columns) = (config.n_head, config.rotary_columns());
        match rows {
            Rows::Sequences(pass) => tape.rotary(qkv, heads, pass.sequence, columns),
            Rows::Cached(cached) => tape.rotary_at(qkv, heads, (cached.positions, cached.context), columns),
        }
        tape.enter(&network);
        let f = self.expanded(tape, x);
        tape.enter(&attention);
        let x = self.attend(tape, config, rows, layer, (x, qkv));
        tape.enter(&network);
        self.feed(tape, config, rows, layer, (x, f))
    }

    /// Queries, keys and values of the normalized `x`.
    fn packed(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        let a = self.norm_1.apply(tape, x);
        self.attention.apply(tape, a)
    }

    /// The feed-forward network on the normalized `x` up to its activation.
    fn expanded(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        let f = self.norm_2.apply(tape, x);
        self.expand.as_ref().map_or(f, |expand| expand.apply(tape, f))
    }

    /// x + attention over what `qkv` holds.
    fn attend(
        &self,
        tape: &mut Tape,
        config: &ModelConfig,
        rows: &Rows<'_>,
        layer: usize,
        (x, qkv): (TensorId, TensorId),
    ) -> TensorId {
        let qkv = self.temperature.apply(tape, qkv, rows);
        let output = match rows {
            Rows::Sequences(pass) => {
                let entropies = pass.entropy || self.regularizer.wants_entropy(pass);
                let heads = tape.attention(qkv, config.n_head, pass.sequence, entropies);
                self.regularizer.apply(tape, config, pass, layer, heads.entropy);
                if let (true, Some(entropy)) = (pass.entropy, heads.entropy) {
                    let mean = tape.observation(&names::head_entropy(layer), &[config.n_head]);
                    let nonfinite = tape.observation(&names::nonfinite(layer), &[config.n_head]);
                    tape.head_entropy(entropy, mean, nonfinite, 1.0 / pass.micro_batches as f32);
                }
                heads.output
            }
            Rows::Cached(cached) => {
                let cache = tape.observation(&names::cache(layer), &[cached.context, 2 * config.n_embd]);
                tape.cached_attention(qkv, cached.positions, cache, config.n_head)
            }
        };
        self.project.apply_onto(tape, x, output)
    }

    /// x + the rest of the feed-forward network behind its first matrix, which made `f`.
    fn feed(
        &self,
        tape: &mut Tape,
        config: &ModelConfig,
        rows: &Rows<'_>,
        layer: usize,
        (x, f): (TensorId, TensorId),
    ) -> TensorId {
        let (again, layers) = match rows {
            Rows::Sequences(pass) => (pass.recompute == Recompute::Ffn, pass.layers),
            Rows::Cached(_) => (false, false),
        };
        remade_if(again, tape, |tape| {
            let f = self.activate.apply(tape, f);
            let x = self.residual.apply(tape, x, &self.contract, f);
            // After the product, which on some devices has had an image made of f.
            if layers && self.expand.is_some() {
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
pub(super) fn remade_if(
    again: bool,
    tape: &mut Tape,
    record: impl FnOnce(&mut Tape) -> TensorId,
) -> TensorId {
    if again { tape.remade(record) } else { record(tape) }
}
