//! The table of everything that is measured over training: a row for each quantity, and a row for each kind of record.
//!
//! The log, TensorBoard's event files, the Parquet tables, the figures, the report page and the live view iterate over
//! these rows. A new statistic needs a row here and code that computes it: a tensor that names the row with `Tape::watch`,
//! or a value that the trainer adds to a step.

mod row;

pub use row::{Axis, Cadence, Drawn, Extent, Kind, Live, Presence, Quantity, Stored};
use row::{curve, drawn_as, figure, kind, row};

/// Quantities are the rows of [`ALL`] and nothing else.
impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Quantity {}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Kind {}

impl Kind {
    /// The quantities of its records, in their order in a record.
    pub fn rows(&self) -> impl Iterator<Item = &'static Quantity> {
        ALL.iter().copied().filter(move |quantity| quantity.kind == self)
    }

    pub fn find(word: &str) -> Option<&'static Self> {
        KINDS.iter().copied().find(|kind| kind.word == word)
    }
}

impl Quantity {
    /// Its index in [`ALL`].
    pub fn index(&'static self) -> usize {
        ALL.iter().position(|&row| row == self).expect("every quantity is a row of the table")
    }
}

/// The drawn quantities whose extent satisfies `is`, in the order of their places.
pub fn drawn(is: fn(Extent) -> bool) -> Vec<(&'static Quantity, &'static Drawn)> {
    let row = |&quantity: &&'static Quantity| Some((quantity, quantity.drawn.as_ref()?));
    let mut rows: Vec<_> = ALL.iter().filter_map(row).filter(|(row, _)| is(row.extent)).collect();
    rows.sort_by_key(|(_, drawn)| drawn.place);
    rows
}

/// The drawn quantities of layers and heads.
pub fn of_layers() -> Vec<(&'static Quantity, &'static Drawn)> {
    drawn(|extent| extent != Extent::Step)
}

/// The drawn quantities of steps.
pub fn of_steps() -> Vec<(&'static Quantity, &'static Drawn)> {
    drawn(|extent| extent == Extent::Step)
}

/// Declares each row as a static, and a list of all rows.
macro_rules! table {
    ($($(#[$doc:meta])* $name:ident = $row:expr;)*) => { table!(ALL: Quantity; $($(#[$doc])* $name = $row;)*); };
    ($all:ident: $type:ty; $($(#[$doc:meta])* $name:ident = $row:expr;)*) => {
        $($(#[$doc])* pub static $name: $type = $row;)*
        /// Every row, in order.
        pub static $all: &[&$type] = &[$(&$name),*];
    };
}

use Extent::{Head, Layer, Step};
use Presence::{Always, MayBeEmpty};

table! { KINDS: Kind;
    STEP = kind("step", "steps", Step, Cadence::EveryStep);
    /// What attention did in a step.
    ATTENTION = kind("attention", "attention", Head, Cadence::Entropy);
    ACTIVATION_SLOPES = kind("slopes", "slopes", Layer, Cadence::Slopes);
    ENTROPY_THRESHOLDS = kind("entropy_thresholds", "entropy_thresholds", Head, Cadence::Slopes);
    FFN_SCALES = kind("ffn_scales", "ffn_scales", Layer, Cadence::Slopes);
    /// What norms learn for a whole row.
    NORM_SCALES = kind("norm_scales", "norm_scales", Layer, Cadence::Slopes);
    /// What bounded norms did in a step.
    NORMS = kind("norms", "norms", Layer, Cadence::Layers);
    /// Learned factors of branches: `model.residual`.
    RESIDUAL_SCALES = kind("residual_scales", "residual_scales", Layer, Cadence::Slopes);
    /// Singular values and gains of scaled matrices: `model.weight_norm`.
    WEIGHT_NORMS = kind("weight_norms", "weight_norms", Layer, Cadence::Layers);
    /// What the layers' tensors held in a step.
    LAYERS = kind("layers", "layers", Layer, Cadence::Layers);
    /// The spectra of the feed-forward networks over held-out text: `observe.spectrum`.
    SPECTRUM = kind("spectrum", "spectrum", Layer, Cadence::Evaluation);
    /// One pass over held-out text.
    EVAL = kind("eval", "evals", Step, Cadence::Evaluation);
}

table! {
    /// Mean cross-entropy over the targets of the step, in nats per token. Absent where no target of the step counts.
    LOSS = Quantity {
        stored: Stored::F64,
        tag: Some("Loss/train"),
        drawn: curve(0, "loss", Axis::Loss, 1200, "Training loss (nats per token)"),
        ..row(&STEP, "loss", Step)
    };
    /// What attention entropy adds to the training objective, λ included; only with the regularizer.
    ENTROPY_PENALTY = Quantity { tag: Some("train/entropy_penalty"), ..row(&STEP, "entropy_penalty", Step) };
    /// What the scale of the residual stream before the head adds to the training objective, λ included: `model.scale_loss`.
    SCALE_LOSS = Quantity { tag: Some("train/scale_loss"), ..row(&STEP, "scale_loss", Step) };
    LEARNING_RATE = Quantity {
        stored: Stored::F64,
        presence: Always,
        tag: Some("train/lr"),
        drawn: curve(4, "lr", Axis::Linear, 300, "Learning rate"),
        live: Some(Live::Number("learning rate", |rate| format!("{rate:.3e}"))),
        ..row(&STEP, "lr", Step)
    };
    /// Global L2 norm of the gradient before clipping.
    GRAD_NORM = Quantity {
        stored: Stored::F64,
        presence: Always,
        tag: Some("train/grad_norm"),
        drawn: curve(3, "grad_norm", Axis::Logarithmic, 1200, "Gradient norm before clipping"),
        live: Some(Live::Number("gradient", |norm| format!("{norm:.3}"))),
        ..row(&STEP, "grad_norm", Step)
    };
    /// Tokens seen since the start of the run, this step included.
    TOKENS = Quantity { stored: Stored::Whole, presence: Always, tag: None, ..row(&STEP, "tokens", Step) };
    TOKENS_PER_S = Quantity {
        stored: Stored::F64,
        presence: Always,
        tag: Some("train/tokens_per_s"),
        drawn: curve(5, "tokens_per_s", Axis::Linear, 600, "Tokens per second"),
        ..row(&STEP, "tokens_per_s", Step)
    };
    /// What the gradient was multiplied by on its way through f16; only with mixed precision.
    LOSS_SCALE = Quantity {
        tag: Some("train/loss_scale"),
        drawn: curve(6, "loss_scale", Axis::Linear, 300, "Loss scale"),
        live: Some(Live::Number("loss scale", |scale| scale.to_string())),
        ..row(&STEP, "loss_scale", Step)
    };
    /// The gradient overflowed at that scale: the update was skipped and the scale halved.
    OVERFLOW = Quantity { stored: Stored::Flag, tag: Some("train/overflow"), ..row(&STEP, "overflow", Step) };

    /// Mean entropy of each head, in nats.
    HEAD_ENTROPY = Quantity { presence: Always, column: "entropy", ..row(&ATTENTION, "head_entropy", Head) };
    /// Mean over the heads of a layer, in nats.
    LAYER_ENTROPY = Quantity {
        presence: Always,
        column: "entropy",
        drawn: figure(
            0, "layer_entropy", Axis::Entropy, "Entropy (nats)",
            "Mean attention entropy of each layer over training, nats",
        ),
        ..row(&ATTENTION, "layer_entropy", Layer)
    };
    /// Attention probabilities that are not finite, summed over heads; the code behind arXiv 2410.09637 takes the mean over
    /// heads.
    NONFINITE_ATTENTION = Quantity {
        stored: Stored::Whole,
        presence: Always,
        tag: Some("nonfinite_attention"),
        ..row(&ATTENTION, "nonfinite", Layer)
    };

    /// Learnable slope of the activation for negative inputs; a global slope is repeated for every layer.
    SLOPES = Quantity {
        presence: Always,
        column: "slope",
        drawn: Some(Drawn {
            shared: Some(("slope_scope", "shared")),
            ..drawn_as(
                1, "slopes", Axis::Signed, "Slope",
                "Learnable slope of the activation in each layer over training",
            )
        }),
        live: Some(Live::Layers("slope of every layer", "slopes, layer by layer")),
        ..row(&ACTIVATION_SLOPES, "slopes", Layer)
    };

    /// Learned threshold of the entropy regularizer, as a share of ln T.
    THRESHOLDS = Quantity {
        presence: Always,
        tag: Some("entropy_threshold"),
        column: "threshold",
        drawn: figure(
            7, "entropy_thresholds", Axis::Linear, "Threshold (share of ln T)",
            "Learned entropy threshold, mean of each layer's heads, as a share of ln T, over training",
        ),
        ..row(&ENTROPY_THRESHOLDS, "thresholds", Head)
    };

    /// What a feed-forward network's result is divided by: a block ends in β·x + FFN(x)/α.
    FFN_ALPHA = Quantity {
        presence: Always,
        tag: Some("ffn_alpha"),
        drawn: figure(
            8, "ffn_alpha", Axis::Linear, "α",
            "Learned divisor α of each layer's feed-forward network over training",
        ),
        ..row(&FFN_SCALES, "alpha", Layer)
    };
    /// What the residual stream is multiplied by there.
    FFN_BETA = Quantity {
        presence: Always,
        tag: Some("ffn_beta"),
        drawn: figure(
            9, "ffn_beta", Axis::Linear, "β",
            "Learned factor β of the residual stream in each layer over training",
        ),
        ..row(&FFN_SCALES, "beta", Layer)
    };

    /// Learned α of the bounded norm before attention: y = f(α·x + s)·γ + β.
    ATTENTION_NORM_ALPHA = Quantity {
        drawn: figure(
            20, "attention_norm_alpha", Axis::Linear, "α",
            "Learned α of the bounded norm before attention in each layer over training",
        ),
        ..row(&NORM_SCALES, "attention_norm_alpha", Layer)
    };
    /// Its learned s.
    ATTENTION_NORM_SHIFT = row(&NORM_SCALES, "attention_norm_shift", Layer);
    /// Learned λ of BHyT there.
    ATTENTION_NORM_LAMBDA = row(&NORM_SCALES, "attention_norm_lambda", Layer);
    /// TaperNorm's running scale there, or what a fake norm holds for queries and keys: one over the running deviation.
    ATTENTION_NORM_SCALE = row(&NORM_SCALES, "attention_norm_scale", Layer);
    /// Its mean γ.
    ATTENTION_NORM_GAIN = row(&NORMS, "attention_norm_gain", Layer);
    /// Share of its input with |α·x + s| above 0.5.
    ATTENTION_NORM_ABOVE_0_5 = row(&NORMS, "attention_norm_above_0_5", Layer);
    /// Share of its input with |α·x + s| above 1.
    ATTENTION_NORM_ABOVE_1 = row(&NORMS, "attention_norm_above_1", Layer);
    /// Share of its input with |α·x + s| above 2.
    ATTENTION_NORM_ABOVE_2 = Quantity {
        drawn: figure(
            21, "attention_norm_above_2", Axis::Share, "Share of inputs",
            "Share of |α·x + s| above 2 at the norm before attention, by layer, over training",
        ),
        ..row(&NORMS, "attention_norm_above_2", Layer)
    };
    /// Share of its input with |α·x + s| above 3.
    ATTENTION_NORM_ABOVE_3 = row(&NORMS, "attention_norm_above_3", Layer);
    /// Learned α of the bounded norm before the feed-forward network: y = f(α·x + s)·γ + β.
    FFN_NORM_ALPHA = Quantity {
        drawn: figure(
            22, "ffn_norm_alpha", Axis::Linear, "α",
            "Learned α of the bounded norm before the feed-forward network in each layer over training",
        ),
        ..row(&NORM_SCALES, "ffn_norm_alpha", Layer)
    };
    /// Its learned s.
    FFN_NORM_SHIFT = row(&NORM_SCALES, "ffn_norm_shift", Layer);
    /// Learned λ of BHyT there.
    FFN_NORM_LAMBDA = row(&NORM_SCALES, "ffn_norm_lambda", Layer);
    /// TaperNorm's running scale there, or what a fake norm holds.
    FFN_NORM_SCALE = row(&NORM_SCALES, "ffn_norm_scale", Layer);
    /// Its mean γ.
    FFN_NORM_GAIN = row(&NORMS, "ffn_norm_gain", Layer);
    /// Share of its input with |α·x + s| above 0.5.
    FFN_NORM_ABOVE_0_5 = row(&NORMS, "ffn_norm_above_0_5", Layer);
    /// Share of its input with |α·x + s| above 1.
    FFN_NORM_ABOVE_1 = row(&NORMS, "ffn_norm_above_1", Layer);
    /// Share of its input with |α·x + s| above 2.
    FFN_NORM_ABOVE_2 = Quantity {
        drawn: figure(
            23, "ffn_norm_above_2", Axis::Share, "Share of inputs",
            "Share of |α·x + s| above 2 at the norm before the feed-forward network, by layer, over training",
        ),
        ..row(&NORMS, "ffn_norm_above_2", Layer)
    };
    /// Share of its input with |α·x + s| above 3.
    FFN_NORM_ABOVE_3 = row(&NORMS, "ffn_norm_above_3", Layer);
    /// Learned α of the bounded norm before the head: y = f(α·x + s)·γ + β.
    FINAL_NORM_ALPHA = row(&NORM_SCALES, "final_norm_alpha", Step);
    /// Its learned s.
    FINAL_NORM_SHIFT = row(&NORM_SCALES, "final_norm_shift", Step);
    /// Learned λ of BHyT there.
    FINAL_NORM_LAMBDA = row(&NORM_SCALES, "final_norm_lambda", Step);
    /// TaperNorm's running scale there, or what a fake norm holds.
    FINAL_NORM_SCALE = row(&NORM_SCALES, "final_norm_scale", Step);
    /// Its mean γ.
    FINAL_NORM_GAIN = row(&NORMS, "final_norm_gain", Step);
    /// Share of its input with |α·x + s| above 0.5.
    FINAL_NORM_ABOVE_0_5 = row(&NORMS, "final_norm_above_0_5", Step);
    /// Share of its input with |α·x + s| above 1.
    FINAL_NORM_ABOVE_1 = row(&NORMS, "final_norm_above_1", Step);
    /// Share of its input with |α·x + s| above 2.
    FINAL_NORM_ABOVE_2 = row(&NORMS, "final_norm_above_2", Step);
    /// Share of its input with |α·x + s| above 3.
    FINAL_NORM_ABOVE_3 = row(&NORMS, "final_norm_above_3", Step);
    /// The learned factor of each layer's attention, where a branch has one of its own.
    ATTENTION_SCALE = Quantity { tag: Some("attention_scale"), ..row(&RESIDUAL_SCALES, "attention", Layer) };
    /// The same of its feed-forward network.
    FFN_SCALE = Quantity { tag: Some("ffn_scale"), ..row(&RESIDUAL_SCALES, "ffn", Layer) };
    /// The learned factor that both branches of a block share.
    BLOCK_SCALE = Quantity { tag: Some("block_scale"), ..row(&RESIDUAL_SCALES, "block", Layer) };

    /// The root mean square that `model.scale_loss` holds the rows of the residual stream at.
    SCALE_TARGET = row(&NORM_SCALES, "scale_target", Step);
    /// What the embedding is multiplied by.
    EMBEDDING_SCALE = row(&NORM_SCALES, "embedding_scale", Step);

    /// The largest singular value σ of the matrix that makes queries, by power iteration.
    QUERY_SIGMA = Quantity {
        drawn: figure(
            40, "query_sigma", Axis::Logarithmic, "σ",
            "Largest singular value of each layer's query matrix over training",
        ),
        ..row(&WEIGHT_NORMS, "query_sigma", Layer)
    };
    /// The learned gain γ of queries: products read γ/σ times the matrix.
    QUERY_GAMMA = Quantity {
        drawn: figure(
            41, "query_gamma", Axis::Linear, "γ",
            "Learned gain of each layer's query matrix over training",
        ),
        ..row(&WEIGHT_NORMS, "query_gamma", Layer)
    };
    /// σ of the matrix that makes keys.
    KEY_SIGMA = row(&WEIGHT_NORMS, "key_sigma", Layer);
    /// Its γ.
    KEY_GAMMA = Quantity {
        drawn: figure(
            42, "key_gamma", Axis::Linear, "γ",
            "Learned gain of each layer's key matrix over training",
        ),
        ..row(&WEIGHT_NORMS, "key_gamma", Layer)
    };
    /// σ of the matrix that makes values.
    VALUE_SIGMA = row(&WEIGHT_NORMS, "value_sigma", Layer);
    /// Its γ.
    VALUE_GAMMA = row(&WEIGHT_NORMS, "value_gamma", Layer);
    /// σ of the matrix of attention's gate.
    ATTENTION_GATE_SIGMA = row(&WEIGHT_NORMS, "attention_gate_sigma", Layer);
    /// Its γ.
    ATTENTION_GATE_GAMMA = row(&WEIGHT_NORMS, "attention_gate_gamma", Layer);
    /// σ of attention's last matrix.
    ATTENTION_OUT_SIGMA = row(&WEIGHT_NORMS, "attention_out_sigma", Layer);
    /// Its γ.
    ATTENTION_OUT_GAMMA = row(&WEIGHT_NORMS, "attention_out_gamma", Layer);
    /// σ of the matrix of a gated feed-forward network's gates.
    FFN_GATE_SIGMA = row(&WEIGHT_NORMS, "ffn_gate_sigma", Layer);
    /// Its γ.
    FFN_GATE_GAMMA = row(&WEIGHT_NORMS, "ffn_gate_gamma", Layer);
    /// σ of the first matrix of the feed-forward network, or of what a gated one multiplies its gates with.
    FFN_IN_SIGMA = row(&WEIGHT_NORMS, "ffn_in_sigma", Layer);
    /// Its γ.
    FFN_IN_GAMMA = row(&WEIGHT_NORMS, "ffn_in_gamma", Layer);
    /// σ of the last matrix of the feed-forward network.
    FFN_OUT_SIGMA = row(&WEIGHT_NORMS, "ffn_out_sigma", Layer);
    /// Its γ.
    FFN_OUT_GAMMA = Quantity {
        drawn: figure(
            43, "ffn_out_gamma", Axis::Linear, "γ",
            "Learned gain of the last matrix of each layer's feed-forward network over training",
        ),
        ..row(&WEIGHT_NORMS, "ffn_out_gamma", Layer)
    };

    /// L2 norm of the gradient of the block's parameters, before clipping.
    LAYER_GRAD_NORM = Quantity {
        presence: Always,
        drawn: figure(
            6, "layer_grad_norm", Axis::Logarithmic, "Gradient norm",
            "L2 norm of the gradient of each layer's parameters over training",
        ),
        ..row(&LAYERS, "grad_norm", Layer)
    };
    /// ‖ΔW‖/‖W‖ of the step: the L2 norm of what the update changed in all matrices of the block, over their norm before it.
    UPDATE_RATIO = Quantity {
        drawn: figure(
            16, "update_ratio", Axis::Logarithmic, "Update over weight norm",
            "Norm of the update of each layer's matrices over that of their weights, over training",
        ),
        ..row(&LAYERS, "update_ratio", Layer)
    };
    /// Share of the feed-forward network's activations that are exactly zero. This quantity and the next are empty if the
    /// network is a single matrix, which has no activations.
    ZEROS = Quantity {
        presence: MayBeEmpty,
        drawn: Some(Drawn {
            unless_zero: Some(&ZEROS),
            ..drawn_as(
                2, "activation_zeros", Axis::Share, "Share of zeros",
                "Share of feed-forward activations that are zero, by layer, over training",
            )
        }),
        ..row(&LAYERS, "zeros", Layer)
    };
    /// Share of its units that were zero for every token of every step observed since the last such record.
    DEAD = Quantity {
        presence: MayBeEmpty,
        drawn: Some(Drawn {
            unless_zero: Some(&ZEROS),
            ..drawn_as(
                3, "dead_units", Axis::Share, "Share of dead units",
                "Share of feed-forward units that are zero for every token, by layer, over training",
            )
        }),
        ..row(&LAYERS, "dead", Layer)
    };
    /// Largest magnitude in the residual stream after the block.
    RESIDUAL_MAX = Quantity {
        presence: Always,
        drawn: figure(
            4, "residual_max", Axis::Logarithmic, "Largest magnitude",
            "Largest magnitude in the residual stream behind each layer over training",
        ),
        ..row(&LAYERS, "residual_max", Layer)
    };
    /// Median magnitude there.
    RESIDUAL_MEDIAN = Quantity {
        presence: Always,
        drawn: figure(
            5, "residual_median", Axis::Logarithmic, "Median magnitude",
            "Median magnitude in the residual stream behind each layer over training",
        ),
        ..row(&LAYERS, "residual_median", Layer)
    };

    /// Root mean square of the residual stream after the block.
    RESIDUAL_RMS = Quantity {
        drawn: figure(
            15, "residual_rms", Axis::Logarithmic, "Root mean square",
            "Root mean square of the residual stream behind each layer over training",
        ),
        ..row(&LAYERS, "residual_rms", Layer)
    };

    /// Root mean square of the model's logits, for the first 16 positions of the micro-batch and the first 8,192 tokens of the
    /// vocabulary.
    LOGIT_RMS = row(&LAYERS, "logit_rms", Step);

    /// Largest attention logit of each head.
    LARGEST_LOGIT = Quantity {
        tag: Some("largest_logit"),
        drawn: figure(
            10, "largest_logit", Axis::Linear, "Largest logit",
            "Largest attention logit, mean of each layer's heads, over training",
        ),
        ..row(&LAYERS, "largest_logit", Head)
    };
    /// Variance of a query's logits over the keys that it sees, mean over the queries.
    LOGIT_VARIANCE = Quantity {
        tag: Some("logit_variance"),
        drawn: figure(
            11, "logit_variance", Axis::Logarithmic, "Variance of the logits",
            "Variance of attention logits, mean of each layer's heads, over training",
        ),
        ..row(&LAYERS, "logit_variance", Head)
    };
    /// Attention on the first position, mean over the queries.
    SINK_MASS = Quantity {
        tag: Some("sink_mass"),
        drawn: figure(
            12, "sink_mass", Axis::Share, "Attention on the first position",
            "Attention on the first position, mean of each layer's heads, over training",
        ),
        ..row(&LAYERS, "sink_mass", Head)
    };
    /// Attention on the 16 latest positions, the query's own included, mean over the queries.
    RECENCY = Quantity {
        tag: Some("recency"),
        drawn: figure(
            13, "recency", Axis::Share, "Attention on the 16 latest positions",
            "Attention on the 16 latest positions, mean of each layer's heads, over training",
        ),
        ..row(&LAYERS, "recency", Head)
    };

    /// Entropy of a query's attention as a share of ln(number of keys that it sees), mean over the queries in the first quarter
    /// of the context.
    NORMALIZED_ENTROPY_1 = row(&LAYERS, "normalized_entropy_1", Head);
    /// The same in the second quarter.
    NORMALIZED_ENTROPY_2 = row(&LAYERS, "normalized_entropy_2", Head);
    /// The same in the third quarter.
    NORMALIZED_ENTROPY_3 = row(&LAYERS, "normalized_entropy_3", Head);
    /// The same in the last quarter.
    NORMALIZED_ENTROPY_4 = Quantity {
        drawn: figure(
            14, "normalized_entropy", Axis::Share, "Entropy / ln(keys), last quarter",
            "Entropy as a share of its ceiling, last quarter of the context, mean of each layer's heads, over training",
        ),
        ..row(&LAYERS, "normalized_entropy_4", Head)
    };

    /// Spectral entropy of the feed-forward network before its activation, in nats: −Σ λ ln λ, where λ are the eigenvalues of the
    /// covariance of its units over held-out tokens, divided by their sum (NerVE).
    PRE_ENTROPY = Quantity {
        presence: Always,
        drawn: figure(
            30, "pre_spectral_entropy", Axis::Linear, "Spectral entropy (nats)",
            "Spectral entropy of each layer's units before the activation over training",
        ),
        ..row(&SPECTRUM, "pre_entropy", Layer)
    };
    /// The same after it.
    POST_ENTROPY = Quantity {
        presence: Always,
        drawn: figure(
            31, "post_spectral_entropy", Axis::Linear, "Spectral entropy (nats)",
            "Spectral entropy of each layer's units after the activation over training",
        ),
        ..row(&SPECTRUM, "post_entropy", Layer)
    };
    /// Participation ratio before the activation, (Σ λ)² / Σ λ²: how many directions the units use.
    PRE_PARTICIPATION = Quantity {
        presence: Always,
        drawn: figure(
            32, "pre_participation", Axis::Logarithmic, "Participation ratio",
            "Participation ratio of each layer's units before the activation over training",
        ),
        ..row(&SPECTRUM, "pre_participation", Layer)
    };
    /// The same after it.
    POST_PARTICIPATION = Quantity {
        presence: Always,
        drawn: figure(
            33, "post_participation", Axis::Logarithmic, "Participation ratio",
            "Participation ratio of each layer's units after the activation over training",
        ),
        ..row(&SPECTRUM, "post_participation", Layer)
    };
    /// Early enrichment before the activation: how far the cumulated spectrum is above a flat one, from 0 to 1.
    PRE_ENRICHMENT = Quantity { presence: Always, ..row(&SPECTRUM, "pre_enrichment", Layer) };
    /// The same after it.
    POST_ENRICHMENT = Quantity { presence: Always, ..row(&SPECTRUM, "post_enrichment", Layer) };
    /// Jensen-Shannon divergence between the spectra before and after the activation, in nats.
    SPECTRAL_DIVERGENCE = Quantity {
        presence: Always,
        drawn: figure(
            34, "spectral_divergence", Axis::Linear, "Divergence (nats)",
            "Divergence of each layer's spectra before and after the activation over training",
        ),
        ..row(&SPECTRUM, "divergence", Layer)
    };

    /// Mean cross-entropy on held-out text, in nats per token.
    EVAL_LOSS = Quantity {
        stored: Stored::F64,
        presence: Always,
        tag: Some("Loss/held_out"),
        drawn: curve(1, "held_out", Axis::Loss, usize::MAX, "Held-out loss (nats per token)"),
        ..row(&EVAL, "loss", Step)
    };
    /// Perplexity, e^loss.
    EVAL_PPL = Quantity {
        stored: Stored::F64,
        presence: Always,
        tag: Some("Loss/perplexity"),
        drawn: curve(2, "perplexity", Axis::Perplexity, usize::MAX, "Held-out perplexity"),
        ..row(&EVAL, "ppl", Step)
    };
}

/// For each quarter of the context.
pub static NORMALIZED_ENTROPY: [&Quantity; 4] =
    [&NORMALIZED_ENTROPY_1, &NORMALIZED_ENTROPY_2, &NORMALIZED_ENTROPY_3, &NORMALIZED_ENTROPY_4];

/// σ of the linear maps of a block: query, key, value, attention's gate and last matrix, the network's gate, first and last matrix.
pub static SINGULAR_VALUES: [&Quantity; 8] = [
    &QUERY_SIGMA,
    &KEY_SIGMA,
    &VALUE_SIGMA,
    &ATTENTION_GATE_SIGMA,
    &ATTENTION_OUT_SIGMA,
    &FFN_GATE_SIGMA,
    &FFN_IN_SIGMA,
    &FFN_OUT_SIGMA,
];

/// γ of the same.
pub static GAINS: [&Quantity; 8] = [
    &QUERY_GAMMA,
    &KEY_GAMMA,
    &VALUE_GAMMA,
    &ATTENTION_GATE_GAMMA,
    &ATTENTION_OUT_GAMMA,
    &FFN_GATE_GAMMA,
    &FFN_IN_GAMMA,
    &FFN_OUT_GAMMA,
];

/// What is measured of the norm in one place.
#[derive(Debug)]
pub struct NormSite {
    pub alpha: &'static Quantity,
    pub shift: &'static Quantity,
    pub lambda: &'static Quantity,
    pub scale: &'static Quantity,
    pub gain: &'static Quantity,
    /// For each of the thresholds of `ops::saturation`, in their order.
    pub above: [&'static Quantity; 4],
}

/// Before attention, before the feed-forward network, before the head.
pub static NORM_SITES: [NormSite; 3] = [
    NormSite {
        alpha: &ATTENTION_NORM_ALPHA,
        shift: &ATTENTION_NORM_SHIFT,
        lambda: &ATTENTION_NORM_LAMBDA,
        scale: &ATTENTION_NORM_SCALE,
        gain: &ATTENTION_NORM_GAIN,
        above: [
            &ATTENTION_NORM_ABOVE_0_5,
            &ATTENTION_NORM_ABOVE_1,
            &ATTENTION_NORM_ABOVE_2,
            &ATTENTION_NORM_ABOVE_3,
        ],
    },
    NormSite {
        alpha: &FFN_NORM_ALPHA,
        shift: &FFN_NORM_SHIFT,
        lambda: &FFN_NORM_LAMBDA,
        scale: &FFN_NORM_SCALE,
        gain: &FFN_NORM_GAIN,
        above: [&FFN_NORM_ABOVE_0_5, &FFN_NORM_ABOVE_1, &FFN_NORM_ABOVE_2, &FFN_NORM_ABOVE_3],
    },
    NormSite {
        alpha: &FINAL_NORM_ALPHA,
        shift: &FINAL_NORM_SHIFT,
        lambda: &FINAL_NORM_LAMBDA,
        scale: &FINAL_NORM_SCALE,
        gain: &FINAL_NORM_GAIN,
        above: [&FINAL_NORM_ABOVE_0_5, &FINAL_NORM_ABOVE_1, &FINAL_NORM_ABOVE_2, &FINAL_NORM_ABOVE_3],
    },
];
