//! The records of `metrics.jsonl`: one JSON object per line, distinguished by `kind`.
//!
//! JSON has no NaN and no infinity, and a training log must not hide them: non-finite numbers are written as the strings
//! `"nan"`, `"inf"` and `"-inf"`. What the GPU measures in f32 stays f32, so it is written as the shortest decimal that
//! reads back to the same bits.
//!
//! The table of [`quantities`](super::quantities) lists the contents of each kind of record; only a non-finite number has
//! its own form of record.
//!
//! The log counts steps from 0, and evaluations by steps done. Users always see steps done: [`nth`].

use super::quantities::{Cadence, EVAL, EVAL_LOSS, EVAL_PPL, Extent, Kind, Presence, Quantity, Stored};
use crate::numbers::counted;
use serde::de::{Error, MapAccess};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize};
use serde_json::Map;

/// The numbers of one quantity at one step.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// One number for the step.
    Step(f64),
    /// `[n_layer]`
    Layers(Vec<f32>),
    /// `[n_layer]`, for a quantity that is a count.
    Counts(Vec<u64>),
    /// `[n_layer][n_head]`
    Heads(Vec<Vec<f32>>),
}

/// Some quantities with their numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured(Vec<(&'static Quantity, Values)>);

impl Measured {
    /// Adds a quantity, or replaces it.
    ///
    /// # Panics
    /// If the values do not match the quantity's extent.
    pub fn set(&mut self, quantity: &'static Quantity, values: Values) {
        let fits = match values {
            Values::Step(_) => quantity.extent == Extent::Step,
            Values::Layers(_) => quantity.extent == Extent::Layer && quantity.stored != Stored::Whole,
            Values::Counts(_) => quantity.extent == Extent::Layer && quantity.stored == Stored::Whole,
            Values::Heads(_) => quantity.extent == Extent::Head,
        };
        assert!(fits, "{} has other values than {values:?}", quantity.name);
        match self.0.iter_mut().find(|(own, _)| *own == quantity) {
            Some((_, own)) => *own = values,
            None => self.0.push((quantity, values)),
        }
    }

    pub fn get(&self, quantity: &Quantity) -> Option<&Values> {
        self.0.iter().find(|(own, _)| *own == quantity).map(|(_, values)| values)
    }

    /// The number of a quantity of the step.
    pub fn number(&self, quantity: &Quantity) -> Option<f64> {
        match self.get(quantity)? {
            Values::Step(number) => Some(*number),
            _ => None,
        }
    }

    /// `[n_layer]`; empty if it was not measured, like the next two.
    pub fn layers(&self, quantity: &Quantity) -> &[f32] {
        match self.get(quantity) {
            Some(Values::Layers(layers)) => layers,
            _ => &[],
        }
    }

    /// `[n_layer]`
    pub fn counts(&self, quantity: &Quantity) -> &[u64] {
        match self.get(quantity) {
            Some(Values::Counts(counts)) => counts,
            _ => &[],
        }
    }

    /// `[n_layer][n_head]`
    pub fn heads(&self, quantity: &Quantity) -> &[Vec<f32>] {
        match self.get(quantity) {
            Some(Values::Heads(heads)) => heads,
            _ => &[],
        }
    }

    /// Adds or replaces all values that `newer` has.
    pub fn update(&mut self, newer: &Self) {
        newer.0.iter().for_each(|(quantity, values)| self.set(quantity, values.clone()));
    }

    /// The part that a record of `kind` holds; `None` if it lacks a value that every such record has, or if there is none.
    pub fn of(&self, kind: &'static Kind) -> Option<Self> {
        let lacks = |row: &Quantity| row.presence != Presence::Sometimes && self.get(row).is_none();
        if kind.rows().any(lacks) {
            return None;
        }
        let part = Self(kind.rows().filter_map(|row| Some((row, self.get(row)?.clone()))).collect());
        (!part.0.is_empty()).then_some(part)
    }
}

impl<const N: usize> From<[(&'static Quantity, Values); N]> for Measured {
    fn from(all: [(&'static Quantity, Values); N]) -> Self {
        let mut measured = Self::default();
        all.into_iter().for_each(|(quantity, values)| measured.set(quantity, values));
        measured
    }
}

/// One pass over held-out text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Eval {
    /// Steps done.
    pub step: u64,
    /// Mean cross-entropy in nats per token.
    pub loss: f64,
    /// Perplexity, e^loss.
    pub ppl: f64,
}

impl Eval {
    pub fn new(step: u64, loss: f64) -> Self {
        Self { step, loss, ppl: loss.exp() }
    }

    pub fn values(&self) -> Measured {
        Measured::from([(&EVAL_LOSS, Values::Step(self.loss)), (&EVAL_PPL, Values::Step(self.ppl))])
    }

    pub fn record(&self) -> Record {
        Record::Measured { kind: &EVAL, step: self.step, values: self.values() }
    }
}

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    Measured { kind: &'static Kind, step: u64, values: Measured },
    Nonfinite(Nonfinite),
    Sample(Sample),
}

/// The `kind` of a record of a non-finite number, and of one of a text.
const NONFINITE: &str = "nonfinite";
const SAMPLE: &str = "sample";

impl Record {
    /// Whether this version knows this `kind`.
    pub fn knows(kind: &str) -> bool {
        [NONFINITE, SAMPLE].contains(&kind) || Kind::find(kind).is_some()
    }

    pub fn is_eval(&self) -> bool {
        matches!(self, Self::Measured { kind, .. } if *kind == &EVAL)
    }

    /// Whether an evaluation wrote it: its numbers, or a text.
    pub fn is_of_evaluation(&self) -> bool {
        match self {
            Self::Measured { kind, .. } => kind.cadence == Cadence::Evaluation,
            Self::Sample(_) => true,
            Self::Nonfinite(_) => false,
        }
    }

    /// Its step; for an evaluation or a text, the number of steps done.
    pub fn step(&self) -> u64 {
        match self {
            Self::Measured { step, .. } => *step,
            Self::Nonfinite(record) => record.step,
            Self::Sample(sample) => sample.step,
        }
    }

    /// The record with its step counted as steps done, as it already is for an evaluation.
    #[must_use]
    pub fn by_steps_done(mut self) -> Self {
        match &mut self {
            Self::Measured { kind, step, .. } if kind.cadence != Cadence::Evaluation => *step = nth(*step),
            Self::Measured { .. } | Self::Sample(_) => {}
            Self::Nonfinite(record) => record.step = nth(record.step),
        }
        self
    }
}

/// A record with its kind in front.
#[derive(Serialize)]
struct Line<'a, T> {
    kind: &'a str,
    #[serde(flatten)]
    record: &'a T,
}

impl Serialize for Record {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let (kind, step, values) = match self {
            Self::Measured { kind, step, values } => (*kind, step, values),
            Self::Nonfinite(record) => return Line { kind: NONFINITE, record }.serialize(out),
            Self::Sample(record) => return Line { kind: SAMPLE, record }.serialize(out),
        };
        let mut line = out.serialize_map(None)?;
        line.serialize_entry("kind", kind.word)?;
        line.serialize_entry("step", step)?;
        for row in kind.rows() {
            let Some(values) = values.get(row) else { continue };
            match (values, row.stored) {
                (Values::Step(number), Stored::F64) => line.serialize_entry(row.name, &Number(*number))?,
                (Values::Step(number), Stored::F32) => {
                    line.serialize_entry(row.name, &Number(*number as f32))?;
                }
                (Values::Step(number), Stored::Whole) => line.serialize_entry(row.name, &(*number as u64))?,
                (Values::Step(number), Stored::Flag) if *number != 0.0 => {
                    line.serialize_entry(row.name, &true)?;
                }
                (Values::Step(_), Stored::Flag) => {}
                (Values::Counts(counts), _) => line.serialize_entry(row.name, counts)?,
                (Values::Layers(layers), _) => line.serialize_entry(row.name, &numbers(layers))?,
                (Values::Heads(heads), _) => {
                    let rows: Vec<_> = heads.iter().map(|row| numbers(row)).collect();
                    line.serialize_entry(row.name, &rows)?;
                }
            }
        }
        line.end()
    }
}

fn numbers(row: &[f32]) -> Vec<Number<f32>> {
    row.iter().copied().map(Number).collect()
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Line;
        impl<'de> serde::de::Visitor<'de> for Line {
            type Value = Record;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a record")
            }

            // Errors are created in here, so that they include their position in the line.
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Record, A::Error> {
                let mut line = Map::new();
                while let Some((key, value)) = entries.next_entry::<String, serde_json::Value>()? {
                    line.insert(key, value);
                }
                let word = line.remove("kind").ok_or_else(|| A::Error::missing_field("kind"))?;
                if word == NONFINITE {
                    let record = serde_json::from_value(line.into()).map_err(A::Error::custom)?;
                    return Ok(Record::Nonfinite(record));
                }
                if word == SAMPLE {
                    let record = serde_json::from_value(line.into()).map_err(A::Error::custom)?;
                    return Ok(Record::Sample(record));
                }
                let kind = word.as_str().and_then(Kind::find);
                let kind = kind.ok_or_else(|| A::Error::custom(format!("unknown kind {word}")))?;
                let step = line.remove("step").ok_or_else(|| A::Error::missing_field("step"))?;
                let step = serde_json::from_value(step).map_err(A::Error::custom)?;
                let mut values = Measured::default();
                for row in kind.rows() {
                    match line.remove(row.name).filter(|value| !value.is_null()) {
                        Some(value) => {
                            let read = read(row, value);
                            let read = read.map_err(|e| A::Error::custom(format!("{}: {e}", row.name)))?;
                            values.0.push((row, read));
                        }
                        None if row.presence == Presence::Sometimes => {}
                        None => return Err(A::Error::missing_field(row.name)),
                    }
                }
                Ok(Record::Measured { kind, step, values })
            }
        }
        input.deserialize_map(Line)
    }
}

/// Reads the values of a quantity from JSON.
fn read(row: &Quantity, value: serde_json::Value) -> serde_json::Result<Values> {
    let plain = |row: Vec<Number<f32>>| row.into_iter().map(|number| number.0).collect();
    Ok(match (row.extent, row.stored) {
        (Extent::Step, Stored::F64) => Values::Step(serde_json::from_value::<Number<f64>>(value)?.0),
        (Extent::Step, Stored::F32) => Values::Step(serde_json::from_value::<Number<f32>>(value)?.0.into()),
        (Extent::Step, Stored::Whole) => Values::Step(serde_json::from_value::<u64>(value)? as f64),
        (Extent::Step, Stored::Flag) => {
            Values::Step(f64::from(u8::from(serde_json::from_value::<bool>(value)?)))
        }
        (Extent::Layer, Stored::Whole) => Values::Counts(serde_json::from_value(value)?),
        (Extent::Layer, _) => Values::Layers(plain(serde_json::from_value(value)?)),
        (Extent::Head, _) => {
            let rows: Vec<Vec<Number<f32>>> = serde_json::from_value(value)?;
            Values::Heads(rows.into_iter().map(plain).collect())
        }
    })
}

/// The number of layers in a log, and of heads in each layer: from the configuration, or else from its first record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    pub layers: Option<usize>,
    pub heads: Option<usize>,
}

impl Sizes {
    /// Checks that every list of the record has that length; the first record sets it if nothing else has.
    ///
    /// # Errors
    /// Which list does not, and how long it is.
    pub fn check(&mut self, record: &Record) -> Result<(), String> {
        let Record::Measured { values, .. } = record else { return Ok(()) };
        for (row, values) in &values.0 {
            let length = match values {
                Values::Step(_) => continue,
                Values::Layers(layers) => layers.len(),
                Values::Counts(counts) => counts.len(),
                Values::Heads(heads) => heads.len(),
            };
            if length == 0 && row.presence == Presence::MayBeEmpty {
                continue;
            }
            let layers = *self.layers.get_or_insert(length);
            if length != layers {
                return Err(format!("{} for {length} of {}", row.name, counted(layers as u64, "layer")));
            }
        }
        for (row, values) in &values.0 {
            let Values::Heads(of_layers) = values else { continue };
            for (layer, of_layer) in of_layers.iter().enumerate() {
                let heads = *self.heads.get_or_insert(of_layer.len());
                if of_layer.len() != heads {
                    return Err(format!(
                        "{} for {} of {} in layer {layer}",
                        row.name,
                        of_layer.len(),
                        counted(heads as u64, "head")
                    ));
                }
            }
        }
        Ok(())
    }
}

/// The number, counted from 1, of a step that the log counts from 0: the steps done after it.
pub fn nth(step: u64) -> u64 {
    step.saturating_add(1)
}

/// Where a number that is not finite first arose in a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nonfinite {
    pub step: u64,
    pub micro_batch: usize,
    /// `forward`, `backward`, `parameters` if a weight itself is not finite, or `update` if only the gradient's norm is
    /// not.
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

/// What the model made of a text after an evaluation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Steps done.
    pub step: u64,
    pub prompt: String,
    /// The continuation.
    pub text: String,
    /// Its tokens.
    pub tokens: usize,
}

/// A float that can be written to JSON whatever its value; `T` is f32 or f64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number<T>(pub T);

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
