//! The table of keys.

use super::schema::{Accepts, Changes, Otherwise, Row, Span};
use super::{
    Accumulation, Activation, AttentionGate, Bias, EntropyPenalty, EntropyReference, Family, FeedForward,
    MuonScale, Norm, NormFunction, NormPosition, OnNonfinite, Optimizer, Order, Precision, QkNorm, Recompute,
    Residual, Schedule, SlopeScope,
};
use crate::model::family::Setting;

const U32: u64 = u32::MAX as u64;

use Accepts::{Flag, FlagOrWord, Integer, Number, PowerOfTwo, Text, Words};
use Otherwise::{Absent, Required, Times};

const fn count(number: i128) -> Otherwise {
    Otherwise::Is(Setting::Integer(number))
}

const fn is(number: f64) -> Otherwise {
    Otherwise::Is(Setting::Number(number))
}

const fn flag(flag: bool) -> Otherwise {
    Otherwise::Is(Setting::Flag(flag))
}

const fn word(word: &'static str) -> Otherwise {
    Otherwise::Is(Setting::Word(word))
}

const fn row(
    key: &'static str,
    accepts: Accepts,
    otherwise: Otherwise,
    changes: Changes,
    about: &'static str,
) -> Row {
    Row { key, accepts, otherwise, changes, about }
}

/// All keys, table by table. The largest sizes keep every product of them within 64 bits.
pub(super) const ROWS: &[Row] = &[
    row("model.family", Words(Family::WORDS), word("gpt2"), Changes::Never, "the architecture"),
    row("model.n_layer", Integer(1, 1000), Required, Changes::Never, "blocks"),
    row(
        "model.n_head",
        Integer(1, 4096),
        Required,
        Changes::Never,
        "attention heads per block; the width of a head, `n_embd`/`n_head`, is a multiple of 4 and at most 256",
    ),
    row("model.n_embd", Integer(4, 65_536), Required, Changes::Never, "width of the residual stream"),
    // A single position has no next token to predict.
    row(
        "model.n_positions",
        Integer(2, 1 << 20),
        Required,
        Changes::Never,
        "rows of the position table; with rotary positions, the longest context",
    ),
    row(
        "model.rotary_pct",
        Number(Span::Share),
        Absent,
        Changes::Never,
        "share of a head's columns that rotary positions turn, rounded down; only for families that have them",
    ),
    row(
        "model.rope_theta",
        Number(Span::Positive),
        Absent,
        Changes::Never,
        "the base of rotary positions' angles, 10000 unless it is set",
    ),
    row(
        "model.n_kv_head",
        Integer(1, 4096),
        Absent,
        Changes::Never,
        "key and value heads, a divisor of `n_head`, each shared by as many query heads; `n_head` unless it is set, which only `family = \"llama\"` allows",
    ),
    row(
        "model.tie_embeddings",
        Flag,
        Absent,
        Changes::Never,
        "whether the head is the token table; as in the family unless it is set",
    ),
    row(
        "model.vocab_size",
        Integer(2, 1 << 24),
        Required,
        Changes::Never,
        "rows of the token table: the data's vocabulary, or up to 127 more",
    ),
    row(
        "model.n_inner",
        Integer(1, 1 << 20),
        Times(4, "model.n_embd"),
        Changes::Never,
        "inner width of the feed-forward network; with `ffn = \"gated\"` the default is two thirds of that, rounded up to a multiple of 8",
    ),
    row(
        "model.norm",
        Words(Norm::WORDS),
        Required,
        Changes::Never,
        "the normalization inside the blocks, two in each",
    ),
    row(
        "model.attention_norm",
        Words(Norm::WORDS),
        Absent,
        Changes::Never,
        "the norm of attention; `norm` if absent",
    ),
    row(
        "model.ffn_norm",
        Words(Norm::WORDS),
        Absent,
        Changes::Never,
        "the norm of the feed-forward network; `norm` if absent",
    ),
    row(
        "model.norm_layers",
        Text,
        Absent,
        Changes::Never,
        "the blocks that have norms, counted from 0, as in `\"0-2,5\"`; all if absent",
    ),
    row(
        "model.norm_position",
        Words(NormPosition::WORDS),
        word("pre"),
        Changes::Never,
        "where the norms of a block stand",
    ),
    row(
        "model.final_norm",
        FlagOrWord(Norm::WORDS),
        flag(true),
        Changes::Never,
        "a norm before the head: with `true` that of the blocks, or LayerNorm if they have none; or one with its word. The original keeps it in its norm-free models",
    ),
    row(
        "model.embedding_scale",
        Flag,
        flag(false),
        Changes::Never,
        "multiply the embedding by a learned number that starts at √`n_embd`, as DyT and Derf do in language models",
    ),
    row(
        "model.layer_norm_epsilon",
        Number(Span::Positive),
        Otherwise::OfNorm(|norm| norm.epsilon),
        Changes::Never,
        "ε of every norm that has one",
    ),
    row(
        "model.norm_function",
        Words(NormFunction::WORDS),
        word("tanh"),
        Changes::Never,
        "the f of the norm `bounded`, with u = α·x + s",
    ),
    row("model.alpha_init", Number(Span::Positive), is(0.5), Changes::Never, "initial α of a bounded norm"),
    row(
        "model.attention_alpha_init",
        Number(Span::Positive),
        Absent,
        Changes::Never,
        "the same for the norms before attention; `alpha_init` if absent",
    ),
    row("model.lambda_init", Number(Span::Positive), is(2.0), Changes::Never, "initial λ of the norm `bhyt`"),
    row(
        "model.kappa",
        Number(Span::Positive),
        is(10.0),
        Changes::Never,
        "κ of the norm `bhyt`: inputs of tanh have a root mean square of λ/κ",
    ),
    row(
        "model.activation_function",
        Words(Activation::WORDS),
        Required,
        Changes::Never,
        "the activation between the matrices of the feed-forward network",
    ),
    row(
        "model.leaky_slope",
        Number(Span::Any),
        is(0.01),
        Changes::Never,
        "the p of an activation with a fixed one: a slope, or where a derivative begins",
    ),
    row(
        "model.slope_init",
        Number(Span::Any),
        is(0.01),
        Changes::Never,
        "initial value of a learned p, which is a slope or a factor",
    ),
    row(
        "model.slope_scope",
        Words(SlopeScope::WORDS),
        word("per_layer"),
        Changes::Never,
        "which blocks share a learned p",
    ),
    row(
        "model.ffn",
        Words(FeedForward::WORDS),
        word("standard"),
        Changes::Never,
        "the feed-forward network of a block",
    ),
    row(
        "model.residual",
        Words(Residual::WORDS),
        word("plain"),
        Changes::Never,
        "how attention and feed-forward network, F, join the residual stream",
    ),
    row(
        "model.residual_scale",
        Number(Span::Any),
        Absent,
        Changes::Never,
        "λ of `scaled`, or where the learned factors of `rezero`, `skip_init` and `layer_scale` start",
    ),
    row(
        "model.ffn_scaling",
        Flag,
        flag(false),
        Changes::Never,
        "each block ends in β·x + FFN(x)/α instead of x + FFN(x), with a learned α and β that start at 1",
    ),
    row(
        "model.learnable_temperature",
        Flag,
        flag(false),
        Changes::Never,
        "divide attention scores by a learned temperature for each head and position",
    ),
    row(
        "model.temperature_init",
        Number(Span::Positive),
        is(1.0),
        Changes::Never,
        "initial temperature; at 1, attention starts as it is without temperatures. The paper says 0.01, which its published code does not show: it trains here, but AdamW's steps take a third of the temperatures past zero",
    ),
    row(
        "model.qk_norm",
        Words(QkNorm::WORDS),
        word("none"),
        Changes::Never,
        "a norm of each query and key head",
    ),
    row(
        "model.attention_softcap",
        Number(Span::NotNegative),
        is(0.0),
        Changes::Never,
        "c: attention scores become c·tanh(score/c), and entropies are of these; 0 leaves them as they are",
    ),
    row(
        "model.attention_sink",
        Flag,
        flag(false),
        Changes::Never,
        "a learned logit b for each head, from 0, in the denominator of its softmax: e^s/(e^b + Σ e^s). Entropies are those of the weights over the keys",
    ),
    row(
        "model.attention_gate",
        Words(AttentionGate::WORDS),
        word("none"),
        Changes::Never,
        "a gate on the heads' weighted values, times σ(norm₁(x)·W), with a matrix W that starts like the others",
    ),
    row(
        "model.entropy_regularization",
        Number(Span::NotNegative),
        is(0.0),
        Changes::Never,
        "λ: weight of the entropy penalty, a mean over heads and layers, in the loss; 0 switches the regularizer and its learned thresholds off",
    ),
    row(
        "model.entropy_penalty",
        Words(EntropyPenalty::WORDS),
        word("row_sum"),
        Changes::Never,
        "what the regularizer compares with a head's threshold; deviations beyond the margin count squared",
    ),
    row(
        "model.entropy_margin",
        Number(Span::NotNegative),
        is(0.2),
        Changes::Never,
        "γ: how far an entropy may be from its threshold at no cost, as a share of ln T",
    ),
    row(
        "model.entropy_threshold_init",
        Number(Span::Any),
        is(0.5),
        Changes::Never,
        "initial value of the learned thresholds, as a share of ln T; the paper does not say. At the default, with the default margin, an entropy above 0.7 or below 0.3 of ln T is penalized",
    ),
    row(
        "model.bias",
        Words(Bias::WORDS),
        word("query_key"),
        Changes::Never,
        "which matrices of a block have a trained bias",
    ),
    row(
        "model.embd_pdrop",
        Number(Span::BelowOne),
        is(0.1),
        Changes::Never,
        "dropout after the sum of the embeddings; the blocks have none",
    ),
    row(
        "model.initializer_range",
        Number(Span::Positive),
        is(0.02),
        Changes::Never,
        "standard deviation of the normal distribution that matrices and embeddings start from",
    ),
    row(
        "model.scale_residual_projections",
        Flag,
        flag(false),
        Changes::Never,
        "start the two residual projections of each block at `initializer_range`/√(2·`n_layer`), as GPT-2 does",
    ),
    row(
        "data.path",
        Text,
        Required,
        Changes::OnResume,
        "a folder made by `normfree prepare`, or one of nanoGPT's; relative to the working directory. A run can be resumed after its data was moved",
    ),
    row(
        "data.order",
        Words(Order::WORDS),
        word("shuffle"),
        Changes::Never,
        "the order in which training chunks are taken",
    ),
    row(
        "data.train_tokens",
        Integer(1, u64::MAX),
        Absent,
        Changes::Never,
        "train on this many tokens only, in whole sequences spread evenly over the data; by default on all. It asks what a little data does, seen many times",
    ),
    row("train.steps", Integer(1, U32), Required, Changes::Never, "updates of the weights"),
    row("train.batch_size", Integer(1, 65_536), Required, Changes::Never, "sequences in a micro-batch"),
    row(
        "train.gradient_accumulation_steps",
        Integer(1, 65_536),
        count(1),
        Changes::Never,
        "micro-batches in a step",
    ),
    row(
        "train.accumulation",
        Words(Accumulation::WORDS),
        word("mean"),
        Changes::Never,
        "the loss of a step with several micro-batches. The two differ only if micro-batches have unequal numbers of targets: with `ignore_end_of_text`, on data that contains ends of text. `configs/paper` and `configs/study/paper.toml` use `\"mean_of_means\"`, as do older runs with several micro-batches when they are resumed; no other preset has several. Either way, dropout is drawn again for each micro-batch",
    ),
    row(
        "train.sequence_length",
        Integer(2, 1 << 20),
        Times(1, "model.n_positions"),
        Changes::Never,
        "tokens in a sequence, at most `n_positions`",
    ),
    row(
        "train.learning_rate",
        Number(Span::Positive),
        Required,
        Changes::Never,
        "the peak, reached at the end of the warm-up",
    ),
    row(
        "train.final_learning_rate",
        Number(Span::NotNegative),
        is(1e-7),
        Changes::Never,
        "the end of the decay, reached at step `steps`",
    ),
    row(
        "train.lr_schedule",
        Words(Schedule::WORDS),
        word("linear"),
        Changes::Never,
        "the learning rate after the warm-up",
    ),
    row(
        "train.decay_ratio",
        Number(Span::Share),
        is(0.2),
        Changes::Never,
        "share of `steps` at the end in which the rate of `wsd` falls",
    ),
    row(
        "train.warmup_ratio",
        Number(Span::Share),
        is(0.05),
        Changes::Never,
        "share of `steps` taken by the warm-up; the first step has rate 0",
    ),
    row(
        "train.taper_start",
        Number(Span::Share),
        is(0.25),
        Changes::Never,
        "share of `steps` after which the gate of the norm `taper_norm` begins to close",
    ),
    row(
        "train.taper_end",
        Number(Span::Share),
        is(0.75),
        Changes::Never,
        "share of `steps` after which that gate is closed, and nothing of a row's statistics is left",
    ),
    row(
        "train.weight_decay",
        Number(Span::NotNegative),
        is(0.1),
        Changes::Never,
        "decoupled decay of matrices and embeddings; biases and norms do not decay",
    ),
    row(
        "train.decay_slopes",
        Flag,
        flag(true),
        Changes::Never,
        "whether learned slopes decay as well; the original decays them, which pulls them to zero",
    ),
    row(
        "train.max_grad_norm",
        Number(Span::NotNegative),
        is(1.0),
        Changes::Never,
        "largest global norm of the gradient; 0 switches clipping off",
    ),
    row(
        "train.adaptive_clipping",
        Number(Span::NotNegative),
        is(0.0),
        Changes::Never,
        "largest norm of the gradient of a unit (the weights of one output, the row of a table, a vector), relative to that of its weights (arXiv 2102.06171, which takes 0.01); 0 switches this off",
    ),
    row(
        "train.project_weights",
        Flag,
        flag(false),
        Changes::Never,
        "after each update, every matrix and table returns to the norm that it started with (arXiv 2407.01800)",
    ),
    row(
        "train.optimizer",
        Words(Optimizer::WORDS),
        word("adamw_hf"),
        Changes::Never,
        "how the weights are updated",
    ),
    row("train.adam_beta1", Number(Span::BelowOne), is(0.9), Changes::Never, "AdamW's β₁"),
    row("train.adam_beta2", Number(Span::BelowOne), is(0.999), Changes::Never, "AdamW's β₂"),
    row("train.adam_epsilon", Number(Span::Positive), is(1e-8), Changes::Never, "AdamW's ε"),
    row(
        "train.momentum",
        Number(Span::BelowOne),
        is(0.95),
        Changes::Never,
        "μ of `muon`, `normuon` and `sgd`; the first two take Nesterov's step",
    ),
    row(
        "train.muon_learning_rate",
        Number(Span::Positive),
        Absent,
        Changes::Never,
        "Muon's own peak, `learning_rate` if it is unset; both follow the schedule, in one ratio",
    ),
    row(
        "train.muon_scale",
        Words(MuonScale::WORDS),
        word("match_rms"),
        Changes::Never,
        "the factor of Muon's orthogonal update",
    ),
    row("train.checkpoint_every", Integer(1, U32), Required, Changes::Freely, "steps between checkpoints"),
    row(
        "train.keep_checkpoints",
        Integer(1, U32),
        count(2),
        Changes::Freely,
        "how many of the newest checkpoints are kept",
    ),
    row(
        "train.eval_every",
        Integer(1, U32),
        Required,
        Changes::OnResume,
        "steps between evaluations on the held-out chunks",
    ),
    row(
        "train.eval_chunks",
        Integer(0, U32),
        count(0),
        Changes::OnResume,
        "held-out chunks in an evaluation; 0 takes all",
    ),
    row(
        "train.init_from",
        Text,
        Absent,
        Changes::Never,
        "a safetensors file to start from, with Hugging Face's names for the family, an index of several such files, or a folder with either; a `config.json` beside it must describe this model; learned temperatures, entropy thresholds, `ffn_scaling`'s scales, gates, sinks, gains of `qk_norm`, factors and biases of `residual`, and what norms learn besides γ and β, that it lacks get their initial values",
    ),
    row(
        "train.seed",
        Integer(0, u64::MAX),
        count(0),
        Changes::InComparison,
        "seed of the initial weights, the order of the data, and dropout",
    ),
    row(
        "train.on_nonfinite",
        Words(OnNonfinite::WORDS),
        word("stop"),
        Changes::OnResume,
        "what to do when the loss or a gradient is not finite",
    ),
    row(
        "train.ignore_end_of_text",
        Flag,
        flag(true),
        Changes::Never,
        "no loss on the end-of-text token, as in the original, where it is the padding token; a step without any other target is reported, and has no `loss` in the log",
    ),
    row("train.precision", Words(Precision::WORDS), word("f32"), Changes::Never, "how numbers are stored"),
    row(
        "train.recompute",
        Words(Recompute::WORDS),
        word("none"),
        Changes::Freely,
        "what the backward pass computes again, bit for bit, instead of keeping it: less memory for more time",
    ),
    row(
        "train.loss_scale",
        PowerOfTwo(24),
        count(1 << 16),
        Changes::Never,
        "with `\"mixed\"`: initial factor of the gradients in f16, a power of two; when they overflow, it halves and the update is skipped",
    ),
    row(
        "train.loss_scale_window",
        Integer(1, 1 << 24),
        count(2000),
        Changes::Never,
        "steps without overflow after which the loss scale doubles",
    ),
    row(
        "observe.entropy",
        Flag,
        flag(true),
        Changes::Never,
        "measure the entropy of every head at every step",
    ),
    row(
        "observe.entropy_every",
        Integer(1, U32),
        count(100),
        Changes::OnResume,
        "steps between `attention` records in the log",
    ),
    row(
        "observe.slopes_every",
        Integer(1, U32),
        count(100),
        Changes::OnResume,
        "steps between `slopes` records",
    ),
    row(
        "observe.layers",
        Flag,
        flag(true),
        Changes::OnResume,
        "observe the layers: gradients, units of the feed-forward network, the residual stream",
    ),
    row(
        "observe.layers_every",
        Integer(1, U32),
        count(100),
        Changes::OnResume,
        "steps between `layers` records",
    ),
    row(
        "observe.sample_every",
        Integer(1, U32),
        count(10),
        Changes::OnResume,
        "steps between observations of the layers; a unit is dead if it was zero for every token of every observation since the last record",
    ),
    row(
        "observe.spectrum",
        Flag,
        flag(false),
        Changes::OnResume,
        "measure the spectra of the feed-forward networks' units at each evaluation, for which it takes memory for two matrices of `n_inner` by `n_inner` in each layer",
    ),
    row(
        "observe.tensorboard",
        Flag,
        flag(true),
        Changes::OnResume,
        "write TensorBoard's event files beside the log",
    ),
    row(
        "observe.entropy_reference",
        Words(EntropyReference::WORDS),
        word("observed_max"),
        Changes::OnResume,
        "the entropy that counts as the full scale when heads are binned; `plot --reference` overrides it",
    ),
];

/// The row of a full key.
pub(super) fn find(key: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.key == key)
}

/// The rows of a table, each with its key without the table's name.
pub(super) fn of_table(table: &str) -> impl Iterator<Item = (&'static str, &'static Row)> {
    ROWS.iter().filter_map(move |row| Some((row.key.strip_prefix(table)?.strip_prefix('.')?, row)))
}
