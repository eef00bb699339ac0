//! A run folder as the report sees it: what was trained, and what the log contains.

use std::borrow::Borrow;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Deserialize;

use super::stats::Reference;
use crate::config::{Accumulation, Config, FeedForward};
use crate::data::DataSeal;
use crate::fault::{Fault, Kind, Result};
use crate::model::join::{self, Residual};
use crate::observe::history::History;
use crate::observe::quantities::{EVAL_LOSS, HEAD_ENTROPY, LOSS, NONFINITE_ATTENTION, TOKENS};
use crate::observe::record::{Nonfinite, Record, Sample, Sizes};
use crate::ops::activation::{Activation, Parameter};
use crate::ops::norms::{Curve, Norm};
use crate::pattern::Patterns;

/// A run whose loss is this many times its first, and this many nats above it, no longer learns.
const DIVERGED: (f64, f64) = (2.0, 3.0);

/// The log of one run and what its configuration says about it. Records are in step order, and all of them count steps
/// done: the first step is 1, although the log writes 0.
#[derive(Clone, Debug, Default)]
pub struct RunData {
    pub dir: PathBuf,
    /// The configuration in the paper's notation ("SM+LN+G"), or else the name of the folder.
    pub name: String,
    /// T, the context length used in training.
    pub context: Option<usize>,
    /// Number of trained parameters, if `env.json` has it as `parameters`.
    pub parameters: Option<u64>,
    /// What the configuration takes as the largest possible entropy: `observe.entropy_reference`.
    pub reference: Option<Reference>,
    /// `train.seed`.
    pub seed: Option<u64>,
    /// The identity of the tokens it was trained on, from its newest checkpoint.
    pub data: Option<TrainedOn>,
    /// The name of the configuration that this run is compared with, if not the comparison's baseline.
    pub baseline: Option<String>,
    /// The configuration inside a study: runs of one configuration differ only in their seed.
    pub configuration: Option<String>,
    /// Which of the studies that are compared it belongs to.
    pub study: Option<usize>,
    /// Which of the studies' configurations it has, counted through all studies: it has one colour, however many of the
    /// others have begun.
    pub style: Option<usize>,
    /// `config.toml`; empty if there is none.
    pub settings: toml::Table,
    /// `env.json`; null if there is none.
    pub environment: serde_json::Value,
    /// The source of values that were not measured here, such as a paper's.
    pub published: Option<String>,
    /// What was measured.
    pub log: History,
    pub nonfinite: Vec<Nonfinite>,
    /// Texts of its evaluations, in step order.
    pub samples: Vec<Sample>,
    /// What the heads of its checkpoints read in the beginning of its held-out text, with their steps, for the page; whoever
    /// has a device adds them.
    pub patterns: Vec<(u64, Patterns)>,
}

/// Only the kind of a record, so that kinds of later versions can be skipped.
#[derive(Deserialize)]
struct KindOf {
    kind: String,
}

impl RunData {
    /// The reference M of the first run whose configuration names one, or else the default.
    pub fn reference_of(runs: &[Self]) -> Reference {
        runs.iter().find_map(|run| run.reference).unwrap_or_default()
    }

    /// Reads `metrics.jsonl`, and `config.toml` and `env.json` if they exist.
    ///
    /// A last line that is incomplete and lacks its line end was cut off by a crash and is ignored. Records of unknown
    /// kinds are skipped. If a resumed run wrote a step again, the later record counts.
    ///
    /// # Errors
    /// `RunFolder` if there is no log or a line of it is damaged; `Config` if `config.toml` is not TOML; `Io` if a file
    /// cannot be read.
    pub fn load(dir: &Path) -> Result<Self> {
        let metrics = dir.join("metrics.jsonl");
        if !metrics.is_file() {
            let found = if dir.is_dir() { "a folder without metrics.jsonl" } else { "no such folder" };
            return Err(Fault::new(Kind::RunFolder, "this is not a run folder")
                .at(dir.display())
                .found(found)
                .remedy("give a folder written by `normfree train`"));
        }
        let folder = folder_name(dir);
        let mut run = Self { dir: dir.to_path_buf(), name: folder, ..Self::default() };
        let config = read_optional(&dir.join("config.toml"))?;
        if let Some(text) = config {
            run.configure(&text)?;
        }
        if let Some(text) = read_optional(&dir.join("env.json"))? {
            // The report works without the machine's description, so a damaged one is no reason to stop.
            run.environment = serde_json::from_str(&text).unwrap_or_default();
            run.parameters = run.environment.get("parameters").and_then(serde_json::Value::as_u64);
        }
        run.data = TrainedOn::read(&dir.join("checkpoints"));
        let bytes = std::fs::read(&metrics).map_err(|error| Fault::io("read the log", &metrics, &error))?;
        run.read_log(&bytes, &metrics)?;
        Ok(run)
    }

    fn configure(&mut self, text: &str) -> Result<()> {
        let path = self.dir.join("config.toml");
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Fault::new(Kind::Config, "the configuration of the run is not TOML")
                .at(format!("{}, line {line}", path.display()))
                .found(error.message())
        })?;
        if let Some(train) = table.get_mut("train").and_then(toml::Value::as_table_mut) {
            let micro_batches = train.get("gradient_accumulation_steps").and_then(toml::Value::as_integer);
            let before = Accumulation::of_earlier_runs(micro_batches.unwrap_or(1).into());
            train.entry("accumulation").or_insert_with(|| before.word().into());
        }
        if let Some(name) = configuration_name(&table) {
            self.name = name;
        }
        let size = |section: &str, key: &str| {
            let value = table.get(section)?.get(key)?.as_integer()?;
            usize::try_from(value).ok().filter(|&size| size > 0)
        };
        self.context = size("train", "sequence_length").or_else(|| size("model", "n_positions"));
        let reference = || table.get("observe")?.get("entropy_reference")?.as_str();
        self.reference = reference().and_then(|word| Reference::from_str(word, false).ok());
        let seed = table.get("train").and_then(|train| train.get("seed")?.as_integer());
        self.seed = seed.and_then(|seed| u64::try_from(seed).ok());
        self.settings = table;
        Ok(())
    }

    fn read_log(&mut self, bytes: &[u8], path: &Path) -> Result<()> {
        let size = |key: &str| usize::try_from(self.setting("model", key)?.as_integer()?).ok();
        let mut sizes = Sizes { layers: size("n_layer"), heads: size("n_head") };
        for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let damaged = |place: String, found: &str| {
                Fault::new(Kind::RunFolder, "a line of the log is damaged")
                    .at(format!("{}, line {}{place}", path.display(), index + 1))
                    .found(found)
                    .remedy("delete the line to continue without it")
            };
            match parse(line) {
                Ok(Some(record)) => {
                    sizes.check(&record).map_err(|found| damaged(String::new(), &found))?;
                    self.take(record.by_steps_done());
                }
                Ok(None) => {}
                // Only the last line can lack its end.
                Err(_) if line.last() != Some(&b'\n') => {}
                Err(error) => {
                    // serde_json ends its message with a position inside this one line.
                    let message = error.to_string();
                    let message = message.split(" at line ").next().unwrap_or_default();
                    return Err(damaged(format!(", column {}", error.column()), message));
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, record: Record) {
        match record {
            Record::Measured { kind, step, values } => self.log.push(kind, step, &values),
            Record::Nonfinite(new) => {
                self.nonfinite.retain(|record| record.step < new.step);
                self.nonfinite.push(new);
            }
            Record::Sample(new) => {
                self.samples.retain(|record| record.step < new.step);
                self.samples.push(new);
            }
        }
    }

    /// The newest head entropies in nats, `[layer][head]`.
    pub fn entropies(&self) -> Option<Vec<Vec<f64>>> {
        Some(widen(&self.log.heads(&HEAD_ENTROPY).last()?.1))
    }

    /// Steps done, by the newest record of a step or of an evaluation.
    pub fn steps_done(&self) -> u64 {
        let newest = |quantity| self.log.numbers(quantity).last().map_or(0, |record| record.0);
        newest(&TOKENS).max(newest(&EVAL_LOSS))
    }

    /// The training losses of the steps that have one, with the steps done.
    pub fn losses(&self) -> impl DoubleEndedIterator<Item = (u64, f64)> + '_ {
        self.log.numbers(&LOSS).iter().copied()
    }

    /// A value of `config.toml`.
    pub fn setting(&self, section: &str, key: &str) -> Option<&toml::Value> {
        self.settings.get(section)?.get(key)
    }

    /// The constant factor that the activation multiplies a negative input by, if it has one: 0 for ReLU, 1 without an
    /// activation.
    pub fn fixed_slope(&self) -> Option<f64> {
        let activation = Activation::find(self.setting("model", "activation_function")?.as_str()?)?;
        activation.slope_below_zero(self.setting("model", "leaky_slope").and_then(number).unwrap_or(0.01))
    }

    /// The first step in which a number was not finite.
    pub fn broke_at(&self) -> Option<u64> {
        let told = self.nonfinite.first().map(|record| record.step);
        let step = self.losses().find(|(_, loss)| !loss.is_finite()).map(|(step, _)| step);
        let mut counts = self.log.counts(&NONFINITE_ATTENTION).iter();
        let attention = counts.find(|(_, layers)| layers.iter().any(|&count| count > 0));
        [told, step, attention.map(|record| record.0)].into_iter().flatten().min()
    }

    /// The step from which the run no longer learns: from there to the end of its log, the loss is not finite or more than
    /// twice the first one (and 3 nats above it), or a non-finite number ended the run. A run that recovers, for example by
    /// skipping such steps, has not diverged.
    pub fn diverged_at(&self) -> Option<u64> {
        let losses: Vec<(u64, f64)> = self.losses().collect();
        let first = losses.iter().map(|step| step.1).find(|loss| loss.is_finite());
        let most = first.map_or(f64::INFINITY, |first| (first * DIVERGED.0).max(first + DIVERGED.1));
        let good = |loss: f64| loss.is_finite() && loss <= most;
        let done = self.log.numbers(&TOKENS).last().map_or(0, |step| step.0);
        let eval = self.log.numbers(&EVAL_LOSS).last().filter(|_| self.published.is_none());
        if eval.is_some_and(|&(step, loss)| step >= done && good(loss)) {
            return None;
        }
        let held = losses.iter().rposition(|step| good(step.1));
        let lost = losses.get(held.map_or(0, |at| at + 1)).map(|step| step.0);
        let learnt = held.map_or(0, |at| losses[at].0);
        let told = self.nonfinite.iter().map(|record| record.step).find(|&step| step >= learnt);
        let evaluated = eval.filter(|eval| eval.0 >= learnt && !good(eval.1)).map(|eval| eval.0);
        [lost, told, evaluated].into_iter().flatten().min()
    }

    /// Whether the run still learns at this step, so that its record may be compared with other runs; `diverged` is the
    /// result of [`Self::diverged_at`].
    pub fn learns_at(diverged: Option<u64>, step: u64) -> bool {
        diverged.is_none_or(|lost| step < lost)
    }
}

/// The identity of a run's data: a digest of all its bytes, or of samples of them if an older program trained it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TrainedOn {
    #[serde(rename = "data_fingerprint")]
    pub samples: u64,
    #[serde(rename = "data")]
    pub seal: Option<DataSeal>,
}

impl TrainedOn {
    /// The identity in the newest readable checkpoint.
    fn read(checkpoints: &Path) -> Option<Self> {
        let folders = std::fs::read_dir(checkpoints).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        let mut folders: Vec<PathBuf> = folders.collect();
        folders.sort();
        let state = |folder: &PathBuf| std::fs::read(folder.join("trainer_state.json")).ok();
        let mut states = folders.iter().rev().filter_map(state);
        states.find_map(|state| serde_json::from_slice(&state).ok())
    }

    /// Whether the tokens are the same, as far as the two identities can tell.
    pub fn same(&self, other: &Self) -> bool {
        match (&self.seal, &other.seal) {
            (Some(one), Some(other)) => one.same_tokens(other),
            _ => self.samples == other.samples,
        }
    }

    /// Whether the held-out tokens are the same, as far as the two identities can tell.
    pub fn same_text(&self, other: &Self) -> bool {
        match (&self.seal, &other.seal) {
            (Some(one), Some(other)) => one.same_text(other),
            _ => true,
        }
    }
}

/// A grid of records as f64.
pub(super) fn widen(grid: &[Vec<f32>]) -> Vec<Vec<f64>> {
    grid.iter().map(|row| row.iter().map(|&entropy| f64::from(entropy)).collect()).collect()
}

/// A TOML number, integer or float.
fn number(value: &toml::Value) -> Option<f64> {
    value.as_float().or(value.as_integer().map(|whole| whole as f64))
}

fn parse(line: &[u8]) -> serde_json::Result<Option<Record>> {
    let of: KindOf = serde_json::from_slice(line)?;
    if !Record::knows(&of.kind) {
        return Ok(None);
    }
    serde_json::from_slice(line).map(Some)
}

fn read_optional(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::io("read the run folder", path, &error)),
    }
}

/// The last component of a path, resolved first so that "." and "runs/.." have one too.
pub(super) fn folder_name(dir: &Path) -> String {
    let whole = dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
    whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned()
}

/// The name the paper gives to a whole configuration.
pub fn paper_name(config: &Config) -> String {
    let table = config.to_toml().parse().expect("a configuration is written as TOML");
    configuration_name(&table).expect("every configuration has a norm and an activation")
}

/// The name the paper gives to a configuration: softmax, LayerNorm if there is one, activation. As in its sequel (arXiv
/// 2501.03489), `SM(t)` stands for learned temperatures, `ScFuFFN` for a scaled and fused feed-forward network, and
/// `EReg(…)` around the whole name for the entropy regularizer.
fn configuration_name(config: &toml::Table) -> Option<String> {
    let model = config.get("model")?;
    let is_on = |key: &str| model.get(key).and_then(toml::Value::as_bool) == Some(true);
    let text = |key: &str| model.get(key).and_then(toml::Value::as_str);
    let cap = model.get("attention_softcap").and_then(number).filter(|&cap| cap > 0.0);
    let cap = cap.map(|cap| format!("cap {cap}"));
    let marks = [
        is_on("learnable_temperature").then_some("t"),
        match text("qk_norm") {
            Some("rms_norm") => Some("QK-norm"),
            Some("plain") => Some("plain QK-norm"),
            Some("unit") => Some("unit QK"),
            _ => None,
        },
        cap.as_deref(),
        is_on("attention_sink").then_some("sink"),
        match text("attention_gate") {
            Some("head") => Some("head gate"),
            Some("element") => Some("gate"),
            _ => None,
        },
    ];
    let marks: Vec<&str> = marks.into_iter().flatten().collect();
    let mut name = if marks.is_empty() { "SM".to_owned() } else { format!("SM({})", marks.join(", ")) };
    let word = model.get("norm")?.as_str()?;
    let norm = Norm::find(word);
    let label = norm.map_or(word, |norm| norm.label);
    if !label.is_empty() {
        name.push_str(&format!("+{label}"));
    }
    let details = norm_details(model, norm);
    if !details.is_empty() {
        name.push_str(&format!("({})", details.join(", ")));
    }
    let word = model.get("activation_function")?.as_str()?;
    let label = Activation::find(word).map_or(word, |activation| activation.label);
    if !label.is_empty() {
        name.push_str(&format!("+{label}"));
    }
    match Activation::find(word).map(|activation| activation.parameter) {
        Some(Parameter::Fixed) => {
            let slope = model.get("leaky_slope").and_then(number);
            name.push_str(&format!("({})", slope.unwrap_or(0.01)));
        }
        Some(Parameter::Learned(_)) => {
            if let Some(scope) = model.get("slope_scope").and_then(toml::Value::as_str) {
                name.push_str(&format!("({})", scope.replace('_', " ")));
            }
        }
        _ => {}
    }
    if text("weight_norm") == Some("sigma_reparam") {
        name.push_str("+σReparam");
    }
    let gained = match [is_on("ffn_gains"), is_on("head_gains")] {
        [true, true] => "+gains",
        [true, false] => "+FFN gains",
        [false, true] => "+head gains",
        [false, false] => "",
    };
    name.push_str(gained);
    let scaled = if is_on("ffn_scaling") { join::SCALED.label } else { "" };
    let network = model.get("ffn").and_then(toml::Value::as_str).and_then(FeedForward::find);
    let ffn = format!("{scaled}{}", network.map_or("", |network| network.label));
    if !ffn.is_empty() {
        name.push_str(&format!("+{ffn}FFN"));
    }
    let residual = text("residual").and_then(Residual::find).map_or("", |join| join.label);
    if !residual.is_empty() {
        name.push_str(&format!("+{residual}"));
    }
    let regularized = model.get("entropy_regularization").and_then(number).is_some_and(|lambda| lambda > 0.0);
    Some(if regularized { format!("EReg({name})") } else { name })
}

/// What is special about the norms of a configuration: the function of a bounded one, norms of single sites, places.
fn norm_details(model: &toml::Value, norm: Option<Norm>) -> Vec<String> {
    let word = |key: &str| model.get(key).and_then(toml::Value::as_str);
    let label = |word: &str| match Norm::find(word) {
        Some(norm) if !norm.label.is_empty() => norm.label.to_owned(),
        _ => word.to_owned(),
    };
    let picked = norm.is_some_and(|norm| norm.curve == Curve::Picked);
    let function = word("norm_function").filter(|_| picked).map(str::to_owned);
    let sites = [("attention_norm", "attention"), ("ffn_norm", "FFN"), ("final_norm", "final")];
    let sites = sites.into_iter().filter_map(|(key, site)| Some(format!("{site} {}", label(word(key)?))));
    let layers = word("norm_layers").map(|layers| format!("blocks {layers}"));
    let position = word("norm_position").filter(|&position| position != "pre").map(str::to_owned);
    function.into_iter().chain(sites).chain(layers).chain(position).collect()
}

/// A name for each run, with its folder or path if the configuration alone does not tell runs apart.
pub fn distinct_names<R: Borrow<RunData>>(runs: &[R]) -> Vec<String> {
    let runs: Vec<&RunData> = runs.iter().map(Borrow::borrow).collect();
    let shared = |run: &RunData| runs.iter().filter(|other| other.name == run.name).count() > 1;
    // Runs of different studies are told apart by the study's folder.
    let folder = |run: &RunData| match (run.configuration.as_ref(), run.dir.parent()) {
        (Some(_), Some(study)) => folder_name(study),
        _ => folder_name(&run.dir),
    };
    let place = |run: &RunData| run.published.clone().unwrap_or_else(|| folder(run));
    let mut names: Vec<String> = runs
        .iter()
        .map(|run| match place(run) {
            place if shared(run) && place != run.name => format!("{} ({place})", run.name),
            _ => run.name.clone(),
        })
        .collect();
    let ambiguous: Vec<usize> = (0..names.len())
        .filter(|&index| names.iter().filter(|name| **name == names[index]).count() > 1)
        .collect();
    for index in ambiguous {
        names[index] = format!("{} ({})", runs[index].name, runs[index].dir.display());
    }
    names
}
