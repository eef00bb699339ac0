//! A validated [`Config`] from a TOML file and `--set key=value`.
//!
//! `rows` has a row for each key: accepted values, default, where it may change, documentation. `sheet` holds what
//! was typed and where. The rest of the program reads the structs.

mod draft;
mod init;
mod keys;
mod lasting;
mod place;
mod presets;
mod removal;
mod rows;
mod schedule;
mod schema;
mod sheet;
mod source;
mod train;
mod unknown;
mod value;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use crate::model::config::{
    AttentionGate, Bias, EntropyPenalty, FinalNorm, ModelConfig, NormPosition, QkNorm, SlopeScope, WeightNorm,
};
pub use crate::model::family::Family;
pub use crate::model::join::Residual;
pub use crate::model::network::FeedForward;
pub use crate::model::pass::{Accumulation, Precision, Recompute};
pub use crate::ops::activation::Activation;
pub use crate::ops::bounded::NormFunction;
pub use crate::ops::muon::Scale as MuonScale;
pub use crate::ops::norms::Norm;
pub use crate::optimizer::Optimizer;
pub use draft::Draft;
pub use init::init;
pub use keys::{free_in_comparison, free_on_resume, keys, keys_of};
pub use presets::{PRESETS, Preset, preset};
pub use train::{DataConfig, EntropyReference, ObserveConfig, OnNonfinite, Order, Schedule, TrainConfig};

pub(crate) use schema::TABLES;
pub(crate) use sheet::Sheet;
pub(crate) use source::{Source, read_text};
pub(crate) use unknown::{nearest, nearest_key};
pub(crate) use value::Value;

use crate::fault::{Fault, Kind, Result};
use crate::model::family::{Arrangement, Head, Positions, Projections};
use crate::numbers::counted;

/// The widest head that the attention kernels support.
const MAX_HEAD_DIM: usize = 256;

/// A complete description of a run: one experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub model: ModelConfig,
    pub data: DataConfig,
    pub train: TrainConfig,
    pub observe: ObserveConfig,
}

impl Config {
    /// Whether the layers are observed in this step.
    pub fn looks_at_layers(&self, step: u64) -> bool {
        let observe = &self.observe;
        let every = |steps: u64| step.is_multiple_of(steps);
        let due = every(observe.sample_every) || every(observe.layers_every) || self.train.is_end(step + 1);
        observe.layers && due
    }

    /// Reads a TOML file, applies `overrides` (`key=value` each, in order), fills in defaults and validates.
    ///
    /// # Errors
    /// [`Kind::Io`] if the file cannot be read; [`Kind::Config`] for everything [`Config::parse`] refuses.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        Self::parse(&read_text(path)?, &path.display().to_string(), overrides)
    }

    /// The same for the `config.toml` in a run's folder. A file from an earlier version, without `train.accumulation`,
    /// keeps the arithmetic that the run began with.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_of_run(path: &Path, overrides: &[String]) -> Result<Self> {
        let mut sheet = Sheet::read(&read_text(path)?, &path.display().to_string())?;
        sheet.keep_accumulation();
        Self::complete_with(sheet, overrides)
    }

    /// The same from text; messages call the file `name`.
    ///
    /// # Errors
    /// [`Kind::Config`]: bad TOML, an unknown or missing key, a wrong type, a value out of range, or keys
    /// that conflict. The message names the line or the `--set`, the key, and what is accepted.
    pub fn parse(text: &str, name: &str, overrides: &[String]) -> Result<Self> {
        Self::complete_with(Sheet::read(text, name)?, overrides)
    }

    fn complete_with(mut sheet: Sheet, overrides: &[String]) -> Result<Self> {
        for argument in overrides {
            sheet.set(argument)?;
        }
        Self::complete(sheet)
    }

    /// Checks what was typed, and fills in the rest.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub(crate) fn complete(mut sheet: Sheet) -> Result<Self> {
        sheet.check()?;
        // Values that pass the schema fit the structs; if they ever do not, this message still helps.
        let config = Self::deserialize(sheet.to_json()).map_err(|error| {
            Fault::new(Kind::Config, "the configuration cannot be read").at(sheet.name()).found(error)
        })?;
        config.check_together(&sheet)?;
        Ok(config)
    }

    /// The whole configuration as TOML: every key that is set, including defaults. Parses back to an equal one.
    pub fn to_toml(&self) -> String {
        toml::to_string(self)
            .expect("strings, numbers, flags and words in one level of tables are always TOML")
    }

    /// Checks a configuration made or changed in code as [`Config::parse`] checks a file.
    ///
    /// # Errors
    /// [`Kind::Config`], naming the key.
    pub fn validate(&self) -> Result<()> {
        let mut sheet = Sheet::of_code(&self.to_toml())?;
        sheet.check()?;
        self.check_together(&sheet)
    }

    /// Keys in which this configuration differs from `other`, each with both values, except those that are `free` to
    /// differ.
    pub fn differences(&self, other: &Self, free: &[&str]) -> Vec<String> {
        let [own, other] = [self, other].map(|config| serde_json::json!(config));
        let none = serde_json::Map::new();
        let mut found = Vec::new();
        for table in TABLES {
            let [a, b] = [&own, &other].map(|config| config[table].as_object().unwrap_or(&none));
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            for key in keys.filter(|key| a.get(*key) != b.get(*key)) {
                let show =
                    |value: Option<&serde_json::Value>| value.map_or("unset".to_owned(), ToString::to_string);
                let name = format!("{table}.{key}");
                if !free.contains(&name.as_str()) {
                    found.push(format!("{name} = {} there, {} here", show(a.get(key)), show(b.get(key))));
                }
            }
        }
        found
    }

    /// Whether rotary positions rotate whole pairs of columns, in a family that has them.
    fn check_rotary(&self, sheet: &Sheet) -> Result<()> {
        let (family, head) = (self.model.family, self.model.head_dim());
        let rotary = family.positions == Positions::Rotary;
        match self.model.rotary_pct {
            Some(_) if !rotary => {
                let others = Family::all().filter(|other| other.positions == Positions::Rotary);
                let others: Vec<String> = others.map(|other| format!("family = \"{other}\"")).collect();
                Err(Fault::new(Kind::Config, format!("a {family} has no rotary positions"))
                    .at(sheet.places(&["model.rotary_pct", "model.family"]))
                    .remedy(format_args!("omit rotary_pct, or set {}", others.join(" or "))))
            }
            None if rotary => Err(Fault::new(Kind::Config, format!("a {family} needs rotary positions"))
                .at(sheet.places(&["model.family"]))
                .remedy("set model.rotary_pct, 0.25 in Pythia")),
            Some(share) => {
                let columns = self.model.rotary_columns();
                if columns >= 2 && columns.is_multiple_of(2) {
                    return Ok(());
                }
                // Rounded up, because the product is rounded down again.
                let enough = (columns.next_multiple_of(2).max(2) as f64 / head as f64 * 1e4).ceil() / 1e4;
                Err(Fault::new(Kind::Config, "rotary positions turn the columns of a head in pairs")
                    .at(sheet.places(&["model.rotary_pct", "model.n_embd", "model.n_head"]))
                    .found(format_args!("{columns} of {head} columns at rotary_pct = {share:?}"))
                    .remedy(format_args!("use rotary_pct = {enough:?}")))
            }
            None => Ok(()),
        }
    }

    /// Whether keys that only some families have are those of this one, and key heads divide the query heads.
    fn check_family(&self, sheet: &Sheet) -> Result<()> {
        let ModelConfig { family, n_head, n_kv_head, rope_theta, .. } = self.model;
        if rope_theta.is_some() && family.positions != Positions::Rotary {
            return Err(Fault::new(Kind::Config, format!("a {family} has no rotary positions"))
                .at(sheet.places(&["model.rope_theta", "model.family"]))
                .remedy("omit rope_theta"));
        }
        let Some(keys) = n_kv_head else { return Ok(()) };
        let at = sheet.places(&["model.n_kv_head", "model.n_head"]);
        if family.projections != Projections::Apart {
            let what = format!("the heads of a {family} do not share keys");
            return Err(Fault::new(Kind::Config, what)
                .at(at)
                .remedy("omit n_kv_head, or set family = \"llama\""));
        }
        if !n_head.is_multiple_of(keys) {
            return Err(Fault::new(Kind::Config, "n_head is not a multiple of n_kv_head")
                .at(at)
                .found(format_args!("n_head = {n_head}, n_kv_head = {keys}"))
                .remedy("use a divisor of n_head"));
        }
        Ok(())
    }

    /// Where norms stand.
    fn check_norms(&self, sheet: &Sheet) -> Result<()> {
        let fault = |what: &str, keys: &[&str]| Fault::new(Kind::Config, what).at(sheet.places(keys));
        let ModelConfig { n_layer, family, norm_position: position, .. } = self.model;
        if let Some(text) = &self.model.norm_layers
            && self.model.normalized_layers().is_none()
        {
            return Err(fault("the blocks with norms are not blocks of the model", &["model.norm_layers"])
                .found(format_args!("\"{text}\" of {}", counted(n_layer as u64, "block")))
                .remedy(format_args!(
                    "use numbers from 0 to {} and ranges of them, as in \"0-2,5\", or omit the key",
                    n_layer - 1
                )));
        }
        if position == NormPosition::Pre {
            return Ok(());
        }
        let ModelConfig { norm, attention_norm, ffn_norm, .. } = self.model;
        let fakes = |norm: &Norm| norm.removes.is_some();
        if let Some(fake) = [Some(norm), attention_norm, ffn_norm].into_iter().flatten().find(fakes) {
            return Err(fault("a norm is removed from before a branch alone", &["model.norm_position"])
                .found(format_args!("{fake} with norm_position = \"{position}\""))
                .remedy("use norm_position = \"pre\""));
        }
        let found = format!("norm_position = \"{position}\"");
        if family.arrangement == Arrangement::Parallel {
            let keys = ["model.norm_position", "model.family"];
            return Err(fault(
                "attention and network of this family are added at once, behind their norms",
                &keys,
            )
            .found(found)
            .remedy("use norm_position = \"pre\", or family = \"gpt2\""));
        }
        let residual = self.model.residual;
        if residual.unit && position == NormPosition::Post {
            let keys = ["model.norm_position", "model.residual"];
            return Err(fault("a norm behind an addition takes the length one from the stream", &keys)
                .found(format_args!("{found}, residual = \"{residual}\""))
                .remedy("use norm_position = \"pre\", or another residual"));
        }
        if residual.divides_norms || position == NormPosition::Both && residual.word != "plain" {
            let keys = ["model.norm_position", "model.residual"];
            return Err(fault("this way to add a branch is for norms before it", &keys)
                .found(format_args!("{found}, residual = \"{residual}\""))
                .remedy("use residual = \"plain\", or norm_position = \"pre\""));
        }
        if position == NormPosition::Both {
            // What is normalized before the addition is f32, and is added as it is.
            if self.train.precision == Precision::Mixed {
                let keys = ["model.norm_position", "train.precision"];
                return Err(fault(
                    "norms behind a branch read f32, which mixed precision does not make there",
                    &keys,
                )
                .found(found)
                .remedy("use precision = \"f32\", or norm_position = \"pre\" or \"post\""));
            }
            if self.model.ffn_scaling {
                let keys = ["model.norm_position", "model.ffn_scaling"];
                return Err(fault("a norm behind the branch undoes the scales of ffn_scaling", &keys)
                    .found(found)
                    .remedy("use ffn_scaling = false, or norm_position = \"pre\" or \"post\""));
            }
        }
        Ok(())
    }

    /// Checks that involve several keys. Each value is already in its own range.
    fn check_together(&self, sheet: &Sheet) -> Result<()> {
        let fault = |what: &str, keys: &[&str]| Fault::new(Kind::Config, what).at(sheet.places(keys));
        let ModelConfig { n_head, n_embd, n_positions, .. } = self.model;
        let width = ["model.n_embd", "model.n_head"];
        let found = format!("n_embd = {n_embd}, n_head = {n_head}");
        // The kernels read heads, and so rows of n_embd, four numbers at a time.
        let unit = 4 * n_head;
        if n_embd % unit != 0 {
            let what = if n_embd % n_head == 0 {
                "the size of a head, n_embd / n_head, is not a multiple of 4"
            } else {
                "n_embd is not divisible by n_head"
            };
            let (below, above) = (n_embd / unit * unit, n_embd.next_multiple_of(unit));
            let below = if below > 0 { format!("{below} or ") } else { String::new() };
            return Err(fault(what, &width)
                .found(found)
                .remedy(format_args!("with n_head = {n_head}, use n_embd = {below}{above}")));
        }
        if self.model.head_dim() > MAX_HEAD_DIM {
            let heads = n_embd.div_ceil(MAX_HEAD_DIM);
            return Err(fault("the size of a head, n_embd / n_head, is too large", &width)
                .found(found)
                .remedy(format_args!(
                    "use at most {MAX_HEAD_DIM}: set n_head to {heads} or more, a divisor of n_embd"
                )));
        }
        self.check_rotary(sheet)?;
        self.check_family(sheet)?;
        self.check_norms(sheet)?;
        let ModelConfig { ffn, activation_function: activation, n_inner, .. } = self.model;
        if !(ffn.takes)(activation) {
            let takes = |ffn: FeedForward| Activation::all().filter(move |&one| (ffn.takes)(one));
            let quoted = |word: &str| format!("\"{word}\"");
            let activations: Vec<String> = takes(ffn).map(|one| quoted(one.word)).collect();
            let networks = FeedForward::all().filter(|other| (other.takes)(activation));
            let networks: Vec<String> = networks.map(|one| quoted(one.word)).collect();
            let keys = ["model.ffn", "model.activation_function"];
            let what = format!("a {ffn} feed-forward network does not take the activation {activation}");
            return Err(fault(&what, &keys).remedy(format_args!(
                "use activation_function = {}, or ffn = {}",
                activations.join(" or "),
                networks.join(" or ")
            )));
        }
        if !ffn.units && n_inner != 4 * n_embd {
            let keys = ["model.ffn", "model.n_inner"];
            return Err(fault(
                &format!("a {ffn} feed-forward network is one matrix: it has no inner width"),
                &keys,
            )
            .found(format_args!("ffn = \"{ffn}\", n_inner = {n_inner}"))
            .remedy("omit n_inner, or set ffn = \"standard\""));
        }
        let vectors = ffn == FeedForward::GATED || activation.own.is_some_and(|own| own.by_vectors);
        if ffn.units && vectors && n_inner % 4 != 0 {
            let keys = ["model.n_inner", "model.ffn", "model.activation_function"];
            let what = "the inner width is not a multiple of 4, as this network or this activation needs it";
            return Err(fault(what, &keys)
                .found(format_args!("n_inner = {n_inner}"))
                .remedy(format_args!("use n_inner = {}", n_inner.next_multiple_of(4))));
        }
        let ModelConfig { residual, residual_scale, ffn_scaling, .. } = self.model;
        if let (Some(scale), None) = (residual_scale, residual.scale) {
            let with: Vec<String> =
                Residual::all().filter(|one| one.scale.is_some()).map(|one| format!("\"{one}\"")).collect();
            let keys = ["model.residual_scale", "model.residual"];
            return Err(fault("this way of joining branches has no scale to set", &keys)
                .found(format_args!("residual = \"{residual}\", residual_scale = {scale:?}"))
                .remedy(format_args!("omit residual_scale, or set residual to {}", with.join(" or "))));
        }
        if ffn_scaling && residual != Residual::PLAIN {
            let keys = ["model.ffn_scaling", "model.residual"];
            return Err(fault("a branch joins the residual stream in one way", &keys)
                .found(format_args!("ffn_scaling = true, residual = \"{residual}\""))
                .remedy("omit one of them"));
        }
        if self.model.weight_norm == WeightNorm::SigmaReparam && residual.fixup {
            let keys = ["model.weight_norm", "model.residual"];
            return Err(fault("a matrix that starts at zero cannot be divided by its singular value", &keys)
                .found(format_args!("weight_norm = \"sigma_reparam\", residual = \"{residual}\""))
                .remedy("use weight_norm = \"none\", or another residual"));
        }
        if self.model.ffn_gains && self.model.weight_norm != WeightNorm::None {
            let keys = ["model.ffn_gains", "model.weight_norm"];
            return Err(fault("a matrix is scaled in one way", &keys)
                .found(format_args!("ffn_gains = true, weight_norm = \"{}\"", self.model.weight_norm))
                .remedy("omit one of them"));
        }
        if self.model.ffn_gains && !ffn.units {
            let keys = ["model.ffn_gains", "model.ffn"];
            let what =
                format!("a {ffn} feed-forward network has no first matrix whose columns could have gains");
            return Err(fault(&what, &keys)
                .found(format_args!("ffn_gains = true, ffn = \"{ffn}\""))
                .remedy("use ffn_gains = false, or ffn = \"standard\""));
        }
        if self.model.head_gains && matches!(self.model.head(), Head::Tied(_)) {
            let keys = ["model.head_gains", "model.tie_embeddings"];
            return Err(fault("a head that is the token table has no gains of its own", &keys)
                .found("head_gains = true with a tied head")
                .remedy("use tie_embeddings = false, or head_gains = false"));
        }
        if residual.unit && self.model.embedding_scale {
            let keys = ["model.residual", "model.embedding_scale"];
            return Err(fault("a stream whose rows have length one has no scale at its start", &keys)
                .found(format_args!("residual = \"{residual}\", embedding_scale = true"))
                .remedy("use embedding_scale = false, or another residual"));
        }
        if self.train.unit_weights && self.train.project_weights {
            let keys = ["train.unit_weights", "train.project_weights"];
            return Err(fault("weights return either to length one or to their first norm", &keys)
                .found("unit_weights = true, project_weights = true")
                .remedy("omit one of them"));
        }
        if self.train.unit_weights && residual.fixup {
            let keys = ["train.unit_weights", "model.residual"];
            return Err(fault("a matrix that starts at zero has no vectors of length one", &keys)
                .found(format_args!("unit_weights = true, residual = \"{residual}\""))
                .remedy("use unit_weights = false, or another residual"));
        }
        let micro_batches = self.train.gradient_accumulation_steps;
        if self.model.regularizes_entropy()
            && self.model.entropy_penalty == EntropyPenalty::HeadMean
            && self.train.accumulation == Accumulation::Mean
            && micro_batches > 1
        {
            let keys = ["model.entropy_penalty", "train.gradient_accumulation_steps"];
            return Err(fault(
                "the mean entropy of a head over a whole step is known only after the step",
                &keys,
            )
            .found(format_args!(
                "entropy_penalty = \"head_mean\", gradient_accumulation_steps = {micro_batches}"
            ))
            .remedy(
                "set train.accumulation = \"mean_of_means\", which takes the mean of each micro-batch alone, or \
                     gradient_accumulation_steps = 1, or entropy_penalty = \"row_mean\"",
            ));
        }
        let length = self.train.sequence_length;
        if length > n_positions {
            return Err(fault(
                "the sequence is longer than n_positions allows",
                &["train.sequence_length", "model.n_positions"],
            )
            .found(format_args!("sequence_length = {length}, n_positions = {n_positions}"))
            .remedy(format_args!("use a sequence_length from 2 to {n_positions}")));
        }
        let ModelConfig { norm, attention_norm, ffn_norm, .. } = self.model;
        let norms = [Some(norm), attention_norm, ffn_norm, Some(self.model.head_norm())];
        if self.train.recompute == Recompute::Block
            && let Some(norm) = norms.into_iter().flatten().find(|norm| norm.keeps_statistics())
        {
            let keys = ["train.recompute", "model.norm"];
            return Err(fault(
                "a norm that changes its statistics cannot be computed twice in a step",
                &keys,
            )
            .found(format_args!("{norm} with recompute = \"block\""))
            .remedy("use recompute = \"ffn\" or \"none\""));
        }
        let (start, end) = (self.train.taper_start, self.train.taper_end);
        if start > end {
            return Err(fault(
                "the taper would end before it begins",
                &["train.taper_end", "train.taper_start"],
            )
            .found(format_args!("taper_end = {end:?}, taper_start = {start:?}"))
            .remedy(format_args!("use a taper_end from {start:?} to 1")));
        }
        if self.train.extensions().is_none() {
            return Err(fault(
                "these are not numbers of steps that a run was extended from",
                &["train.extended_from", "train.steps"],
            )
            .found(format_args!(
                "extended_from = {:?}, steps = {}",
                self.train.extended_from.as_deref().unwrap_or_default(),
                self.train.steps
            ))
            .remedy("use ascending numbers below steps, as in \"2000,5000\", or omit the key"));
        }
        let (peak, last) = (self.train.learning_rate, self.train.final_learning_rate);
        let TrainConfig { lr_schedule: schedule, warmup_ratio: warmup, decay_ratio: decay, .. } = self.train;
        if schedule == Schedule::Wsd && warmup + decay > 1.0 {
            let keys = ["train.warmup_ratio", "train.decay_ratio", "train.lr_schedule"];
            return Err(fault("the learning rate would fall before it has risen", &keys)
                .found(format_args!("warmup_ratio = {warmup:?}, decay_ratio = {decay:?}"))
                .remedy("use two shares of the steps that are 1 together or less"));
        }
        if last > peak {
            return Err(fault(
                "the learning rate would end above its peak",
                &["train.final_learning_rate", "train.learning_rate"],
            )
            .found(format_args!("final_learning_rate = {last:?}, learning_rate = {peak:?}"))
            .remedy(format_args!("use a final_learning_rate from 0 to {peak:?}")));
        }
        Ok(())
    }
}
