//! The table of everything that is measured over training: a row for each quantity, and a row for each kind of record.
//!
//! The log, TensorBoard's event files, the Parquet tables, the figures, the report page and the live view iterate over
//! these rows. A new statistic needs a row here and code that computes it: a tensor that names the row with `Tape::watch`,
//! or a value that the trainer adds to a step.

/// A kind of record in the log: its `kind`, and how often one is written.
#[derive(Debug)]
pub struct Kind {
    /// The value of `kind` in the log.
    pub word: &'static str,
    /// The stem of its Parquet table. Rows of an extent other than `extent` have their own table.
    pub table: &'static str,
    pub extent: Extent,
    pub cadence: Cadence,
}

/// How often a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cadence {
    EveryStep,
    /// Every `observe.entropy_every` steps.
    Entropy,
    /// Every `observe.slopes_every` steps.
    Slopes,
    /// Every `observe.layers_every` steps, among the observed ones.
    Layers,
    /// At each evaluation; the record counts the steps done.
    Evaluation,
}

/// What each number of a quantity belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Step,
    /// Each layer, `[n_layer]`.
    Layer,
    /// Each head of each layer, `[n_layer][n_head]`.
    Head,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    F64,
    /// As the shortest decimal that reads back to the same f32.
    F32,
    Whole,
    /// `true`; omitted otherwise.
    Flag,
}

/// Which records contain a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// In every record of its kind; there is no record without it.
    Always,
    /// In every record, as an empty list if the model has nothing to measure.
    MayBeEmpty,
    /// In some records. This includes every quantity that older logs lack.
    Sometimes,
}

/// The vertical axis of a quantity's curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    Linear,
    /// Zero is a dashed line.
    Signed,
    /// From zero up.
    Share,
    /// From zero up, with the causal ceiling of an entropy as a dashed line.
    Entropy,
    /// For values that differ by orders of magnitude.
    Logarithmic,
    /// The range within reach of the runs' initial losses.
    Loss,
    /// The same range for e^loss.
    Perplexity,
}

/// How a quantity is drawn: with one number per layer or head, as a figure and as curves in the report page; with one per
/// step, only as curves in the page.
#[derive(Debug)]
pub struct Drawn {
    /// Its position among the drawn quantities of its extent.
    pub place: u8,
    /// The stem of the figure's file, and the key in the report page.
    pub stem: &'static str,
    pub title: &'static str,
    /// The label of the axis, with the unit.
    pub label: &'static str,
    pub axis: Axis,
    /// The approximate number of points of a run's per-step curve in the report page.
    pub points: usize,
    /// A configuration where this is zero throughout is not drawn if it is non-zero in others.
    pub unless_zero: Option<&'static Quantity>,
    /// The key of `[model]` and the value for which all layers have the same number, so that one line is drawn.
    pub shared: Option<(&'static str, &'static str)>,
}

/// How the live view shows a quantity.
#[derive(Debug)]
pub enum Live {
    /// The newest number of a step, after its name.
    Number(&'static str, fn(f64) -> String),
    /// The newest numbers of the layers, on one line. The line starts with the first text if all are the same, otherwise
    /// with the second.
    Layers(&'static str, &'static str),
}

/// A quantity.
#[derive(Debug)]
pub struct Quantity {
    pub kind: &'static Kind,
    /// Its key in the log's record.
    pub name: &'static str,
    pub extent: Extent,
    pub stored: Stored,
    pub presence: Presence,
    /// Its tag in TensorBoard; `None` if it is not sent there.
    pub tag: Option<&'static str>,
    /// Its column in the Parquet table.
    pub column: &'static str,
    pub drawn: Option<Drawn>,
    pub live: Option<Live>,
}

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

/// A row with the common settings: f32, under its own name in TensorBoard and Parquet, in some records, not drawn.
const fn row(kind: &'static Kind, name: &'static str, extent: Extent) -> Quantity {
    Quantity {
        kind,
        name,
        extent,
        stored: Stored::F32,
        presence: Presence::Sometimes,
        tag: Some(name),
        column: name,
        drawn: None,
        live: None,
    }
}

const fn drawn_as(
    place: u8,
    stem: &'static str,
    axis: Axis,
    label: &'static str,
    title: &'static str,
) -> Drawn {
    Drawn { place, stem, title, label, axis, points: 0, unless_zero: None, shared: None }
}

const fn figure(
    place: u8,
    stem: &'static str,
    axis: Axis,
    label: &'static str,
    title: &'static str,
) -> Option<Drawn> {
    Some(drawn_as(place, stem, axis, label, title))
}

const fn curve(
    place: u8,
    stem: &'static str,
    axis: Axis,
    points: usize,
    title: &'static str,
) -> Option<Drawn> {
    Some(Drawn { points, ..drawn_as(place, stem, axis, title, title) })
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

const fn kind(word: &'static str, table: &'static str, extent: Extent, cadence: Cadence) -> Kind {
    Kind { word, table, extent, cadence }
}

table! { KINDS: Kind;
    STEP = kind("step", "steps", Step, Cadence::EveryStep);
    /// What attention did in a step.
    ATTENTION = kind("attention", "attention", Head, Cadence::Entropy);
    ACTIVATION_SLOPES = kind("slopes", "slopes", Layer, Cadence::Slopes);
    ENTROPY_THRESHOLDS = kind("entropy_thresholds", "entropy_thresholds", Head, Cadence::Slopes);
    FFN_SCALES = kind("ffn_scales", "ffn_scales", Layer, Cadence::Slopes);
    /// What the layers' tensors held in a step.
    LAYERS = kind("layers", "layers", Layer, Cadence::Layers);
    /// One pass over held-out text.
    EVAL = kind("eval", "evals", Step, Cadence::Evaluation);
}

table! {
    /// Mean cross-entropy over the targets of the step, in nats per token. Absent where no target of the step counts.
    LOSS = Quantity {
        stored: Stored::F64,
        tag: Some("train/loss"),
        drawn: curve(0, "loss", Axis::Loss, 1200, "Training loss (nats per token)"),
        ..row(&STEP, "loss", Step)
    };
    /// What attention entropy adds to the training objective, λ included; only with the regularizer.
    ENTROPY_PENALTY = Quantity { tag: Some("train/entropy_penalty"), ..row(&STEP, "entropy_penalty", Step) };
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

    /// L2 norm of the gradient of the block's parameters, before clipping.
    LAYER_GRAD_NORM = Quantity {
        presence: Always,
        drawn: figure(
            6, "layer_grad_norm", Axis::Logarithmic, "Gradient norm",
            "L2 norm of the gradient of each layer's parameters over training",
        ),
        ..row(&LAYERS, "grad_norm", Layer)
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

    /// Mean cross-entropy on held-out text, in nats per token.
    EVAL_LOSS = Quantity {
        stored: Stored::F64,
        presence: Always,
        tag: Some("held_out/loss"),
        drawn: curve(1, "held_out", Axis::Loss, usize::MAX, "Held-out loss (nats per token)"),
        ..row(&EVAL, "loss", Step)
    };
    /// Perplexity, e^loss.
    EVAL_PPL = Quantity {
        stored: Stored::F64,
        presence: Always,
        tag: Some("held_out/ppl"),
        drawn: curve(2, "perplexity", Axis::Perplexity, usize::MAX, "Held-out perplexity"),
        ..row(&EVAL, "ppl", Step)
    };
}
