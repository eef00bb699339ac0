//! `normfree remove-norm`.

use super::earlier::{past, refuse_other_settings};
use super::held::Held;
use super::located::locate;
use super::progress::{Display, TrainProgress};
use super::train::{drive, inside_out, open, with_command};
use super::{Global, Kernels, counted, say, stop, thousands};
use crate::config::{Config, TrainConfig};
use crate::data::Corpus;
use crate::fault::{Fault, Kind, Result};
use crate::files::write_atomic;
use crate::observe::quantities::EVAL_LOSS;
use crate::report::run::{RunData, paper_name};
use crate::report::table::Table;
use crate::shell;
use crate::train::checkpoint::{Checkpoint, WeightFile};
use crate::train::evaluate::evaluate;
use crate::train::folded::write_folded;
use crate::train::loader::layout;
use crate::train::places;
use crate::train::run_folder::RunFolder;
use serde_json::json;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Trains a model with LayerNorm or RMSNorm on while its norms are removed one
after the other (arXiv 2507.02559): a removed norm divides by a constant, the
running mean of its rows' deviations. First those of the feed-forward networks
are removed, block by block, then those of queries and keys, of values, and the
one before the head. The run is an ordinary one, in OUT. OUT/norm_free is then
the same model without norms, their constants folded into its matrices. Called
again, the command resumes where it stopped.

Examples:
  normfree remove-norm runs/sm_ln_g
  normfree remove-norm runs/sm_ln_g --steps 2000 --control --out runs/removed
  normfree remove-norm runs/sm_ln_g --set train.removal_gap_v=6
  normfree eval runs/sm_ln_g_removed/norm_free
  normfree plot runs/sm_ln_g_removed";

/// A published schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Published {
    /// That of GPT-2 small: 300 steps
    Gpt2,
}

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Run folder, the folder of one of its checkpoints, or, with --config, a folder with model.safetensors
    #[arg(value_name = "RUN|CHECKPOINT|FOLDER")]
    path: PathBuf,
    /// The configuration of the model in FOLDER, and of the data to train it on
    #[arg(long, value_name = "TOML")]
    config: Option<PathBuf>,
    /// The schedule to follow; its learning rate, warm-up and weight decay come with it
    #[arg(long, value_enum, default_value = "gpt2")]
    schedule: Published,
    /// Stretch the schedule to N steps [default: its own number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    steps: Option<u64>,
    /// Run folder of the removal [default: RUN with `_removed`]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Also train with the norms for as many steps, in OUT/control, to compare with
    #[arg(long)]
    control: bool,
    /// Set one key, as in train.removal_start=40; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    kernels: Kernels,
    #[command(flatten)]
    display: Display,
}

/// A trained model with norms.
struct Source {
    config: Config,
    weights: PathBuf,
    /// What the run folder of the removal is named after.
    name: PathBuf,
}

/// The file of results in the run folder of the removal.
const RESULTS: &str = "removal.json";

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let source = Source::find(arguments, global)?;
    let removal = removal(&source, arguments)?;
    let out = arguments.out.clone().unwrap_or_else(|| {
        let mut name = source.name.clone().into_os_string();
        name.push("_removed");
        PathBuf::from(name)
    });
    explain(&removal, arguments, global);
    let mut work = Work { arguments, held: Held::new(global) };
    work.train(&out, &removal, &paper_name(&removal))?;
    let norm_free = work.write_norm_free(&out, &removal)?;
    let control = Config { model: source.config.model.clone(), ..removal.clone() };
    if arguments.control {
        work.train(&out.join("control"), &control, &paper_name(&control))?;
    }
    let loss_of = |path: &Path| -> Result<Option<f64>> {
        Ok(RunData::load(path)?.log.numbers(&EVAL_LOSS).last().map(|&(_, loss)| loss))
    };
    let weights = WeightFile::open_to_start(&source.weights, &layout(&control))?;
    let before = work.evaluate(&control, weights)?;
    let folded = Checkpoint::latest(&RunFolder::read(&out.join(NORM_FREE))?)?.expect("it was just written");
    let folded = work.evaluate(&norm_free, folded.checkpoint.model(&layout(&norm_free))?)?;
    let trained = if arguments.control { loss_of(&out.join("control"))? } else { None };
    let rows = [
        ("before", Some(before)),
        ("trained on with its norms", trained),
        ("trained on, norms removed", loss_of(&out)?),
        ("the same, folded", Some(folded)),
    ];
    let results = json!({
        "before": before,
        "control": trained,
        "removed": rows[2].1,
        "norm_free": folded,
        "steps": removal.train.steps,
        "norms_end_at": removal.norms_end_at(),
        "eval_chunks": removal.train.eval_chunks,
    });
    write_atomic(&out.join(RESULTS), format!("{results:#}\n").as_bytes())?;
    let row = |(what, loss): (&str, Option<f64>)| {
        loss.map(|loss| vec![what.to_owned(), format!("{loss:.4}"), format!("{:.3}", loss.exp())])
    };
    let table = Table {
        header: ["", "nats per token", "perplexity"].map(str::to_owned).to_vec(),
        rows: rows.into_iter().filter_map(row).collect(),
        notes: Vec::new(),
    };
    say(table.plain().trim_end())?;
    say(format!("{}: the model without norms", out.join(NORM_FREE).display()))
}

const NORM_FREE: &str = "norm_free";

impl Source {
    fn find(arguments: &Arguments, global: &Global) -> Result<Self> {
        let path = &arguments.path;
        let Some(file) = &arguments.config else {
            if !RunFolder::is_at(path)
                && path.join("model.safetensors").is_file()
                && !path.join("trainer_state.json").is_file()
            {
                return Err(Fault::new(Kind::Usage, "the folder does not say what model it holds")
                    .at(path.display())
                    .found("weights without a run")
                    .remedy(
                        "describe model and data in a file, as `normfree import` writes one: --config TOML",
                    ));
            }
            let located = locate(path, global)?;
            let Some((run, checkpoint)) = located.run() else {
                unreachable!("a run, or a checkpoint of one")
            };
            let mut config = located.config.clone();
            config.data.path = places::data(run, &config)[0].display().to_string();
            return Ok(Self { config, weights: checkpoint.weights(), name: run.path().to_owned() });
        };
        let config = Config::load(file, &[])?;
        let weights = path.join("model.safetensors");
        let weights = if weights.is_file() { weights } else { path.clone() };
        WeightFile::open_to_start(&weights, &layout(&config))?;
        let name = Path::new("runs").join(path.file_stem().unwrap_or_default());
        Ok(Self { config, weights, name })
    }
}

/// The configuration of the removal.
fn removal(source: &Source, arguments: &Arguments) -> Result<Config> {
    let mut config = source.config.removing_norms()?;
    let train = &mut config.train;
    match arguments.schedule {
        Published::Gpt2 => {
            train.follow_removal_of_gpt2(arguments.steps.unwrap_or(TrainConfig::REMOVAL_STEPS));
        }
    }
    train.init_from = Some(source.weights.display().to_string());
    // The source's own history is not that of this run.
    train.extended_from = None;
    // The source's cadences are those of a longer run.
    let often = |every: u64, times: u64| every.min((train.steps / times).max(1));
    (train.eval_every, train.checkpoint_every) =
        (often(train.eval_every, 30), often(train.checkpoint_every, 3));
    let observe = &mut config.observe;
    for every in [
        &mut observe.entropy_every,
        &mut observe.slopes_every,
        &mut observe.layers_every,
        &mut observe.sample_every,
    ] {
        *every = often(*every, 100);
    }
    let config = Config::parse(&config.to_toml(), "the removal's configuration", &arguments.set)?;
    config.check_removal()?;
    Ok(config)
}

/// Says how the removal differs from the published one.
fn explain(config: &Config, arguments: &Arguments, global: &Global) {
    let train = &config.train;
    if let Some(steps) = arguments.steps {
        global.note(format!(
            "the published schedule of {} is stretched to {}: the first norm is removed at step {}, the last at step {}",
            counted(TrainConfig::REMOVAL_STEPS, "step"),
            thousands(steps),
            train.removal_start.ceil(),
            thousands(config.norms_end_at())
        ));
    }
    if train.tokens_per_step() != TrainConfig::REMOVAL_TOKENS {
        global.note(format!(
            "a step has {}; that of the published schedule has {}",
            counted(train.tokens_per_step(), "token"),
            thousands(TrainConfig::REMOVAL_TOKENS)
        ));
    }
}

/// The command's device, and what it does there.
struct Work<'a> {
    arguments: &'a Arguments,
    held: Held<'a>,
}

impl Work<'_> {
    /// Trains a run to its end, from where it stopped.
    fn train(&mut self, path: &Path, config: &Config, label: &str) -> Result<()> {
        stop::between_runs()?;
        let past = past(path, config)?;
        if past.is_some_and(|past| past.whole) {
            self.held.global().note(format!("{} is already trained", path.display()));
            return Ok(());
        }
        let global = self.held.global();
        let folder = if past.is_some() { RunFolder::open(path) } else { RunFolder::create(path) };
        let kernels = past.is_none().then_some(&self.arguments.kernels);
        let place = (global, shell::same_command());
        let mut trainer = open(config, folder.map_err(inside_out)?, kernels, self.held.take(), place)?;
        let work = (config.train.steps as f64, trainer.step() as f64);
        let title = path.display().to_string();
        let mut progress = TrainProgress::new((global.quiet, self.arguments.display), &title, work);
        progress.begin(label, config, trainer.step(), 1.0);
        let trained = drive(&mut trainer, &mut progress);
        progress.leave();
        self.held.give_back(trainer, &trained);
        trained.map_err(with_command)
    }

    /// Writes the run of the same model without norms, which begins with the folded weights, with a checkpoint of them. Returns its
    /// configuration.
    fn write_norm_free(&mut self, out: &Path, removal: &Config) -> Result<Config> {
        let (path, file) = (out.join(NORM_FREE), out.join("norm_free.safetensors"));
        let mut config = Config { model: removal.model.without_norms()?, ..removal.clone() };
        config.train.init_from = Some(file.display().to_string());
        config.validate()?;
        refuse_other_settings(&path, &config, &[])?;
        let begun = RunFolder::is_at(&path);
        if begun && Checkpoint::latest(&RunFolder::read(&path)?)?.is_some() {
            return Ok(config);
        }
        let located = locate(out, self.held.global())?;
        write_folded(removal, located.weights, &config, &file)?;
        let folder = if begun { RunFolder::open(&path) } else { RunFolder::create(&path) };
        let kernels = (!begun).then_some(&self.arguments.kernels);
        let place = (self.held.global(), shell::same_command());
        let mut trainer = open(&config, folder.map_err(inside_out)?, kernels, self.held.take(), place)?;
        let saved = trainer.save_beginning(&mut |_| {});
        stop::training_ends();
        self.held.give_back(trainer, &saved);
        saved.map(|()| config)
    }

    /// The loss of weights on the held-out chunks of a run with this configuration.
    fn evaluate(&mut self, config: &Config, weights: WeightFile) -> Result<f64> {
        let (train, model) = (&config.train, &config.model);
        let corpus = Corpus::open(Path::new(&config.data.path), train.sequence_length, model.vocab_size)?;
        let device = self.held.take()?;
        evaluate(device, config, weights, corpus, train.eval_chunks, &mut |_| {}).map(|found| found.loss)
    }
}
