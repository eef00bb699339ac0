//! The records of `metrics.jsonl`: one JSON object a line, told apart by `kind`.
//!
//! JSON has no NaN and no infinity, and a training log must not hide them: non-finite numbers are the
//! strings `"nan"`, `"inf"` and `"-inf"`. What the GPU measures in f32 is kept as f32, so that the shortest
//! decimal that reads back to the same bits is written.
//!
//! The log counts steps from 0, and evaluations by the steps done. People are told of steps done everywhere: [`nth`].

use serde::{Deserialize, Serialize};

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    Step(Step),
    Attention(Attention),
    Slopes(Slopes),
    EntropyThresholds(EntropyThresholds),
    FfnScales(FfnScales),
    Layers(Layers),
    Eval(Eval),
    Nonfinite(Nonfinite),
}

impl Record {
    /// The values of `kind` that this version knows.
    pub const KINDS: [&'static str; 8] =
        ["step", "attention", "slopes", "entropy_thresholds", "ffn_scales", "layers", "eval", "nonfinite"];

    /// The step it is of; of an evaluation, the steps that were done.
    pub fn step(&self) -> u64 {
        match self {
            Self::Step(record) => record.step,
            Self::Attention(record) => record.step,
            Self::Slopes(record) => record.step,
            Self::EntropyThresholds(record) => record.step,
            Self::FfnScales(record) => record.step,
            Self::Layers(record) => record.step,
            Self::Eval(record) => record.step,
            Self::Nonfinite(record) => record.step,
        }
    }

    /// The record with its step counted as steps done, as an evaluation's is already.
    pub fn by_steps_done(mut self) -> Self {
        let step = match &mut self {
            Self::Step(record) => &mut record.step,
            Self::Attention(record) => &mut record.step,
            Self::Slopes(record) => &mut record.step,
            Self::EntropyThresholds(record) => &mut record.step,
            Self::FfnScales(record) => &mut record.step,
            Self::Layers(record) => &mut record.step,
            Self::Nonfinite(record) => &mut record.step,
            Self::Eval(_) => return self,
        };
        *step = nth(*step);
        self
    }

    /// The lists with an entry for each layer, by their keys, with their lengths.
    fn of_layers(&self) -> Vec<(&'static str, usize)> {
        match self {
            Self::Step(_) | Self::Eval(_) | Self::Nonfinite(_) => Vec::new(),
            Self::Attention(record) => vec![
                ("head_entropy", record.head_entropy.len()),
                ("layer_entropy", record.layer_entropy.len()),
                ("nonfinite", record.nonfinite.len()),
            ],
            Self::Slopes(record) => vec![("slopes", record.slopes.len())],
            Self::EntropyThresholds(record) => vec![("thresholds", record.thresholds.len())],
            Self::FfnScales(record) => vec![("alpha", record.alpha.len()), ("beta", record.beta.len())],
            Self::Layers(record) => {
                let share = |list: &[f32]| if list.is_empty() { record.grad_norm.len() } else { list.len() };
                vec![
                    ("grad_norm", record.grad_norm.len()),
                    ("zeros", share(&record.zeros)),
                    ("dead", share(&record.dead)),
                    ("residual_max", record.residual_max.len()),
                    ("residual_median", record.residual_median.len()),
                ]
            }
        }
    }

    /// The lists with an entry for each head of each layer, by their keys.
    fn of_heads(&self) -> Option<(&'static str, &[Vec<f32>])> {
        match self {
            Self::Attention(record) => Some(("head_entropy", &record.head_entropy)),
            Self::EntropyThresholds(record) => Some(("thresholds", &record.thresholds)),
            _ => None,
        }
    }
}

/// How many layers a log is about, and how many heads each of them has: what the configuration says, or else its first
/// record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    pub layers: Option<usize>,
    pub heads: Option<usize>,
}

impl Extent {
    /// Whether every list of the record is as long as that.
    ///
    /// # Errors
    /// Which list is not, and how long it is.
    pub fn check(&mut self, record: &Record) -> Result<(), String> {
        for (key, length) in record.of_layers() {
            let layers = *self.layers.get_or_insert(length);
            if length != layers {
                return Err(format!("{key} for {length} of {layers} layers"));
            }
        }
        let Some((key, rows)) = record.of_heads() else { return Ok(()) };
        for (layer, row) in rows.iter().enumerate() {
            let heads = *self.heads.get_or_insert(row.len());
            if row.len() != heads {
                return Err(format!("{key} for {} of {heads} heads in layer {layer}", row.len()));
            }
        }
        Ok(())
    }
}

/// Which step that is, counted from 1, for a step that the log counts from 0: the steps done when it is.
pub fn nth(step: u64) -> u64 {
    step.saturating_add(1)
}

/// One optimizer step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub step: u64,
    /// Mean cross-entropy over the targets of the step, in nats per token. Absent where no target of the step counts.
    #[serde(default, with = "perhaps", skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// What attention entropy adds to the loss in what is trained for, λ included; with the regularizer alone.
    #[serde(default, with = "perhaps", skip_serializing_if = "Option::is_none")]
    pub entropy_penalty: Option<f32>,
    #[serde(with = "number")]
    pub lr: f64,
    /// Global L2 norm of the gradient before clipping.
    #[serde(with = "number")]
    pub grad_norm: f64,
    /// Tokens seen since the start of the run, this step included.
    pub tokens: u64,
    #[serde(with = "number")]
    pub tokens_per_s: f64,
    /// What the gradient was multiplied with on its way through f16; with mixed precision alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f32>,
    /// The gradient overflowed at that scale: the update was left out, and the scale halved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overflow: bool,
}

/// What attention did in one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attention {
    pub step: u64,
    /// Mean entropy of each head in nats, `[n_layer][n_head]`.
    #[serde(with = "grid")]
    pub head_entropy: Vec<Vec<f32>>,
    /// Mean over the heads of a layer in nats, `[n_layer]`.
    #[serde(with = "numbers")]
    pub layer_entropy: Vec<f32>,
    /// Non-finite attention probabilities counted in each layer, `[n_layer]`: summed over heads, where the code
    /// behind arXiv 2410.09637 takes the mean over them.
    pub nonfinite: Vec<u64>,
}

/// The learnable slopes of the activation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slopes {
    pub step: u64,
    /// `[n_layer]`; a global slope is repeated for every layer.
    #[serde(with = "numbers")]
    pub slopes: Vec<f32>,
}

/// The learned thresholds of the entropy regularizer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EntropyThresholds {
    pub step: u64,
    /// Of each head, as a share of ln T, `[n_layer][n_head]`.
    #[serde(with = "grid")]
    pub thresholds: Vec<Vec<f32>>,
}

/// The learned scales of the feed-forward networks: a block ends in β·x + FFN(x)/α.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FfnScales {
    pub step: u64,
    /// `[n_layer]`
    #[serde(with = "numbers")]
    pub alpha: Vec<f32>,
    /// `[n_layer]`
    #[serde(with = "numbers")]
    pub beta: Vec<f32>,
}

/// What the layers' tensors held in one step. Every list is `[n_layer]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Layers {
    pub step: u64,
    /// L2 norm of the gradient of the block's parameters, before clipping.
    #[serde(with = "numbers")]
    pub grad_norm: Vec<f32>,
    /// Share of the feed-forward network's activations that are exactly zero; it and the next are empty where the network
    /// is one matrix, which has none.
    #[serde(with = "numbers")]
    pub zeros: Vec<f32>,
    /// Share of its units that were zero for every token of every step observed since the last such record.
    #[serde(with = "numbers")]
    pub dead: Vec<f32>,
    /// Largest magnitude in the residual stream behind the block.
    #[serde(with = "numbers")]
    pub residual_max: Vec<f32>,
    /// Median magnitude there.
    #[serde(with = "numbers")]
    pub residual_median: Vec<f32>,
}

/// One pass over held-out text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Eval {
    pub step: u64,
    /// Mean cross-entropy in nats per token.
    #[serde(with = "number")]
    pub loss: f64,
    /// Perplexity, e^loss.
    #[serde(with = "number")]
    pub ppl: f64,
}

/// Where a number that is not finite first arose in a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nonfinite {
    pub step: u64,
    pub micro_batch: usize,
    /// `forward`, `backward`, `parameters` where a weight itself is not finite, or `update` where only the
    /// gradient's norm is not.
    pub phase: String,
    /// The place in the model, e.g. `h.3.attn`.
    pub scope: String,
    /// The op that made it.
    pub op: String,
    pub tensor: String,
    /// Element of the tensor, row-major.
    pub index: u64,
    #[serde(with = "number")]
    pub value: f64,
}

/// A float that JSON can carry whatever its value; `T` is f32 or f64.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Number<T>(T);

impl<T: Copy + Into<f64> + Serialize> Serialize for Number<T> {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let value: f64 = self.0.into();
        if value.is_nan() {
            out.serialize_str("nan")
        } else if value.is_infinite() {
            out.serialize_str(if value > 0.0 { "inf" } else { "-inf" })
        } else {
            self.0.serialize(out)
        }
    }
}

/// The two float widths, made from the f64 that JSON numbers are read as.
trait Narrow {
    fn narrow(value: f64) -> Self;
}

impl Narrow for f32 {
    fn narrow(value: f64) -> Self {
        value as f32
    }
}

impl Narrow for f64 {
    fn narrow(value: f64) -> Self {
        value
    }
}

impl<'de, T: Narrow> Deserialize<'de> for Number<T> {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Either;
        impl serde::de::Visitor<'_> for Either {
            type Value = f64;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, or one of \"nan\", \"inf\", \"-inf\"")
            }
            fn visit_f64<E>(self, value: f64) -> Result<f64, E> {
                Ok(value)
            }
            fn visit_u64<E>(self, value: u64) -> Result<f64, E> {
                Ok(value as f64)
            }
            fn visit_i64<E>(self, value: i64) -> Result<f64, E> {
                Ok(value as f64)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<f64, E> {
                match text {
                    "nan" => Ok(f64::NAN),
                    "inf" => Ok(f64::INFINITY),
                    "-inf" => Ok(f64::NEG_INFINITY),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        input.deserialize_any(Either).map(|value| Number(T::narrow(value)))
    }
}

/// `#[serde(with)]` for one f64.
mod number {
    use super::*;

    pub fn serialize<S: serde::Serializer>(value: &f64, out: S) -> Result<S::Ok, S::Error> {
        Number(*value).serialize(out)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
        Number::deserialize(input).map(|number| number.0)
    }
}

/// `#[serde(with)]` for a float that may not be there.
mod perhaps {
    use super::*;

    pub fn serialize<T, S>(value: &Option<T>, out: S) -> Result<S::Ok, S::Error>
    where
        T: Copy + Into<f64> + Serialize,
        S: serde::Serializer,
    {
        value.map(Number).serialize(out)
    }

    pub fn deserialize<'de, T: Narrow, D: serde::Deserializer<'de>>(input: D) -> Result<Option<T>, D::Error> {
        Ok(Option::<Number<T>>::deserialize(input)?.map(|number| number.0))
    }
}

/// `#[serde(with)]` for a row of f32.
mod numbers {
    use super::*;

    pub fn serialize<S: serde::Serializer>(row: &[f32], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(row.iter().map(|&value| Number(value)))
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<f32>, D::Error> {
        let row = Vec::<Number<f32>>::deserialize(input)?;
        Ok(row.into_iter().map(|number| number.0).collect())
    }
}

/// `#[serde(with)]` for rows of f32.
mod grid {
    use super::*;

    pub fn serialize<S: serde::Serializer>(rows: &[Vec<f32>], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(rows.iter().map(|row| row.iter().map(|&value| Number(value)).collect::<Vec<_>>()))
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<Vec<f32>>, D::Error> {
        let rows = Vec::<Vec<Number<f32>>>::deserialize(input)?;
        Ok(rows.into_iter().map(|row| row.into_iter().map(|number| number.0).collect()).collect())
    }
}
