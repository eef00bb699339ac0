//! Every key: what it accepts, and what it is where the file is silent.
//!
//! The same rows check a file, a `--set`, and a [`super::Config`] made in code.

use super::value::Value;
use super::{
    Accumulation, Activation, Bias, EntropyPenalty, EntropyReference, Family, FeedForward, Norm, OnNonfinite,
    Optimizer, Order, Precision, Recompute, SlopeScope,
};
use crate::model::family::Setting;
use crate::words::Word;

/// The tables, in the order in which they are written.
pub(crate) const TABLES: [&str; 4] = ["model", "data", "train", "observe"];

/// One key.
pub(super) struct Row {
    /// With its table: `model.n_layer`.
    pub key: &'static str,
    pub accepts: Accepts,
    pub otherwise: Otherwise,
}

/// Which values a key takes.
pub(super) enum Accepts {
    /// Both ends included.
    Integer(u64, u64),
    /// From 2⁰ to 2 to this power.
    PowerOfTwo(u32),
    Number(Span),
    Flag,
    /// Not empty.
    Text,
    Words(&'static [Word]),
}

/// Ranges of numbers. Every one of them must also be finite in f32, which is what the device computes in.
#[derive(Clone, Copy)]
pub(super) enum Span {
    Any,
    /// Greater than zero, and not so small that a device may flush it to zero.
    Positive,
    NotNegative,
    /// [0, 1)
    BelowOne,
    /// [0, 1]
    Share,
}

/// What a key is where nobody sets it, and the family has no default of its own.
#[derive(Clone, Copy)]
pub(super) enum Otherwise {
    Required,
    /// Stays unset.
    Absent,
    Is(Setting),
    /// A multiple of another key, required and an integer.
    Times(i128, &'static str),
}

const U32: u64 = u32::MAX as u64;

use Accepts::{Flag, Integer, Number, PowerOfTwo, Text, Words};
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

const fn row(key: &'static str, accepts: Accepts, otherwise: Otherwise) -> Row {
    Row { key, accepts, otherwise }
}

/// All keys, table by table. The largest sizes keep every product of them inside 64 bits.
pub(super) const ROWS: &[Row] = &[
    row("model.family", Words(Family::WORDS), word("gpt2")),
    row("model.n_layer", Integer(1, 1000), Required),
    row("model.n_head", Integer(1, 4096), Required),
    row("model.n_embd", Integer(4, 65_536), Required),
    // A single position has no next token to predict.
    row("model.n_positions", Integer(2, 1 << 20), Required),
    row("model.rotary_pct", Number(Span::Share), Absent),
    row("model.vocab_size", Integer(2, 1 << 24), Required),
    row("model.n_inner", Integer(1, 1 << 20), Times(4, "model.n_embd")),
    row("model.norm", Words(Norm::WORDS), Required),
    row("model.final_norm", Flag, flag(true)),
    row("model.layer_norm_epsilon", Number(Span::Positive), is(1e-5)),
    row("model.activation_function", Words(Activation::WORDS), Required),
    row("model.leaky_slope", Number(Span::Any), is(0.01)),
    row("model.slope_init", Number(Span::Any), is(0.01)),
    row("model.slope_scope", Words(SlopeScope::WORDS), word("per_layer")),
    row("model.ffn", Words(FeedForward::WORDS), word("standard")),
    row("model.ffn_scaling", Flag, flag(false)),
    row("model.learnable_temperature", Flag, flag(false)),
    row("model.temperature_init", Number(Span::Positive), is(1.0)),
    row("model.entropy_regularization", Number(Span::NotNegative), is(0.0)),
    row("model.entropy_penalty", Words(EntropyPenalty::WORDS), word("row_sum")),
    row("model.entropy_margin", Number(Span::NotNegative), is(0.2)),
    row("model.entropy_threshold_init", Number(Span::Any), is(0.5)),
    row("model.bias", Words(Bias::WORDS), word("query_key")),
    row("model.embd_pdrop", Number(Span::BelowOne), is(0.1)),
    row("model.initializer_range", Number(Span::Positive), is(0.02)),
    row("model.scale_residual_projections", Flag, flag(false)),
    row("data.path", Text, Required),
    row("data.order", Words(Order::WORDS), word("shuffle")),
    row("train.steps", Integer(1, U32), Required),
    row("train.batch_size", Integer(1, 65_536), Required),
    row("train.gradient_accumulation_steps", Integer(1, 65_536), count(1)),
    row("train.accumulation", Words(Accumulation::WORDS), word("mean")),
    row("train.sequence_length", Integer(2, 1 << 20), Times(1, "model.n_positions")),
    row("train.learning_rate", Number(Span::Positive), Required),
    row("train.final_learning_rate", Number(Span::NotNegative), is(1e-7)),
    row("train.warmup_ratio", Number(Span::Share), is(0.05)),
    row("train.weight_decay", Number(Span::NotNegative), is(0.1)),
    row("train.decay_slopes", Flag, flag(true)),
    row("train.max_grad_norm", Number(Span::NotNegative), is(1.0)),
    row("train.optimizer", Words(Optimizer::WORDS), word("adamw_hf")),
    row("train.adam_beta1", Number(Span::BelowOne), is(0.9)),
    row("train.adam_beta2", Number(Span::BelowOne), is(0.999)),
    row("train.adam_epsilon", Number(Span::Positive), is(1e-8)),
    row("train.checkpoint_every", Integer(1, U32), Required),
    row("train.keep_checkpoints", Integer(1, U32), count(2)),
    row("train.eval_every", Integer(1, U32), Required),
    row("train.eval_chunks", Integer(0, U32), count(0)),
    row("train.init_from", Text, Absent),
    row("train.seed", Integer(0, u64::MAX), count(0)),
    row("train.on_nonfinite", Words(OnNonfinite::WORDS), word("stop")),
    row("train.ignore_end_of_text", Flag, flag(true)),
    row("train.precision", Words(Precision::WORDS), word("f32")),
    row("train.recompute", Words(Recompute::WORDS), word("none")),
    row("train.loss_scale", PowerOfTwo(24), count(1 << 16)),
    row("train.loss_scale_window", Integer(1, 1 << 24), count(2000)),
    row("observe.entropy", Flag, flag(true)),
    row("observe.entropy_every", Integer(1, U32), count(100)),
    row("observe.slopes_every", Integer(1, U32), count(100)),
    row("observe.layers", Flag, flag(true)),
    row("observe.layers_every", Integer(1, U32), count(100)),
    row("observe.sample_every", Integer(1, U32), count(10)),
    row("observe.tensorboard", Flag, flag(true)),
    row("observe.entropy_reference", Words(EntropyReference::WORDS), word("observed_max")),
];

/// The row of a full key.
pub(super) fn find(key: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.key == key)
}

/// The names of a table's keys, without the table.
pub(super) fn names(table: &str) -> impl Iterator<Item = &'static str> {
    ROWS.iter().filter_map(move |row| row.key.strip_prefix(table)?.strip_prefix('.'))
}

impl Accepts {
    /// Whether `value` will do; if not, what is wrong with it.
    pub fn check(&self, value: &Value) -> Result<(), &'static str> {
        let (fits, otherwise) = match (self, value) {
            (Self::Integer(least, most), Value::Integer(number)) => {
                let range = i128::from(*least)..=i128::from(*most);
                (range.contains(number), "value out of range")
            }
            (Self::PowerOfTwo(most), Value::Integer(number)) => {
                ((0..=*most).any(|power| *number == 1 << power), "value out of range")
            }
            (Self::Number(span), Value::Float(number)) => (span.contains(*number), "value out of range"),
            (Self::Number(span), Value::Integer(number)) => {
                (span.contains(*number as f64), "value out of range")
            }
            (Self::Flag, Value::Flag(_)) => (true, ""),
            (Self::Text, Value::Text(text)) => (!text.trim().is_empty(), "empty text"),
            (Self::Words(words), Value::Text(text)) => {
                (words.iter().any(|word| word.word == text), "unknown word")
            }
            _ => (false, "wrong type"),
        };
        if fits { Ok(()) } else { Err(otherwise) }
    }

    /// What would do, as a noun phrase.
    pub fn would_do(&self) -> String {
        match self {
            Self::Integer(least, most) => format!("an integer from {least} to {most}"),
            Self::PowerOfTwo(most) => format!("a power of two from 1 to {}", 1_u64 << most),
            Self::Number(span) => span.would_do().to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Text => "a text that is not empty".to_owned(),
            Self::Words(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("\"{}\"", word.word)).collect();
                quoted.join(" or ")
            }
        }
    }
}

impl Span {
    fn contains(self, number: f64) -> bool {
        let on_device = number as f32;
        on_device.is_finite()
            && match self {
                Self::Any => true,
                Self::Positive => on_device >= f32::MIN_POSITIVE,
                Self::NotNegative => number >= 0.0,
                // 0.99999999999 is 1 in f32.
                Self::BelowOne => number >= 0.0 && on_device < 1.0,
                Self::Share => (0.0..=1.0).contains(&number),
            }
    }

    fn would_do(self) -> &'static str {
        match self {
            Self::Any => "a finite number",
            Self::Positive => "a number greater than 0 (in f32: from 1.2e-38 to 3.4e38)",
            Self::NotNegative => "a finite number, 0 or greater",
            Self::BelowOne => "a number from 0 to below 1 (in f32)",
            Self::Share => "a number from 0 to 1",
        }
    }
}
