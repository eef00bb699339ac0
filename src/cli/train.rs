//! `normfree train`.

use super::memory_table::memory_table;
use super::progress::TrainProgress;
use super::{Global, say, stop, thousands};
use crate::config::Config;
use crate::data::{Corpus, TokenFile};
use crate::fault::{Fault, Kind, Result};
use crate::gpu::Gpu;
use crate::train::engine::Blueprint;
use crate::train::memory;
use crate::train::run_folder::RunFolder;
use crate::train::trainer::{Event, Trainer};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

const AFTER_HELP: &str = "\
CONFIG is a TOML file with the tables [model], [data], [train] and [observe];
the README lists every key, and configs/ has the paper's experiments. --set
reaches every key and is checked like the file.
The run folder gets the resolved config.toml, env.json, metrics.jsonl (one JSON
object a line) and checkpoints/. Ctrl-C finishes the step, writes a checkpoint
and exits with 130; --resume goes on, bit for bit, as if it had never stopped,
also after a crash.

Examples:
  normfree train configs/small/sm_r.toml --set data.path=data/small
  normfree train configs/small/sm_r.toml --set train.seed=2 --run runs/sm_r_2
  normfree train --resume --run runs/sm_r_2
  normfree train configs/paper/sm_g.toml --dry-run";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// The experiment, TOML; may be left out with --resume
    #[arg(required_unless_present = "resume")]
    config: Option<PathBuf>,
    /// Set one key, as in model.n_layer=3; may be repeated, the last one counts
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The run folder [default: runs/ and the name of CONFIG]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Go on with the run in that folder; CONFIG and --set may then change only how often it is
    /// evaluated, logged and saved, and train.on_nonfinite
    #[arg(long)]
    resume: bool,
    /// Print parameters, work and memory, check the data, and make nothing
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    if arguments.dry_run {
        return dry_run(&new_config(arguments)?, global);
    }
    let path = run_path(arguments)?;
    let (config, folder) = if arguments.resume {
        let folder = RunFolder::open(&path)?;
        (config_to_resume(arguments, &folder)?, folder)
    } else {
        (new_config(arguments)?, RunFolder::create(&path)?)
    };
    let stop = stop::on_signal(stop::SAVING)?;
    let mut trainer = open(&config, folder, arguments.resume, global)?;
    let steps = config.train.steps;
    if trainer.done() {
        return say(format!("{}: all {} steps are done", path.display(), thousands(steps)));
    }
    let mut progress = TrainProgress::new(global.quiet, steps, trainer.step());
    progress.begin("", tokens_per_step(&config));
    let trained = drive(&mut trainer, &stop, &mut progress);
    progress.finish();
    trained?;
    say(format!("{}: {} steps done; draw it with `normfree plot {0}`", path.display(), thousands(steps)))
}

/// Opens a run's device and trainer. What a new run has written is taken back where that fails.
pub(super) fn open(config: &Config, folder: RunFolder, resume: bool, global: &Global) -> Result<Trainer> {
    let path = folder.path().to_owned();
    let opened = (|| {
        let gpu = global.open()?;
        if resume {
            compare_environments(&folder, config, &gpu, global)?;
            let trainer = Trainer::resume(gpu, config, folder, &mut |event| {
                if let Event::Note(note) = event {
                    global.note(note);
                }
            })?;
            trainer.run_folder().write_config(&config.to_toml())?;
            return Ok(trainer);
        }
        // First of all: with it, the folder can be resumed, and without it it can be begun anew.
        folder.write_config(&config.to_toml())?;
        folder.write_environment(&environment(config, &gpu))?;
        Trainer::start(gpu, config, folder)
    })();
    if opened.is_err() && !resume {
        RunFolder::abandon(&path);
    }
    opened
}

/// Trains to the end and tells `progress`.
pub(super) fn drive(trainer: &mut Trainer, stop: &AtomicBool, progress: &mut TrainProgress) -> Result<()> {
    trainer.train(stop, &mut |event| progress.watch(&event))
}

pub(super) fn tokens_per_step(config: &Config) -> u64 {
    let train = &config.train;
    (train.batch_size * train.gradient_accumulation_steps * train.sequence_length) as u64
}

fn new_config(arguments: &Arguments) -> Result<Config> {
    match &arguments.config {
        Some(path) => Config::load(path, &arguments.set),
        None => Err(Fault::new(Kind::Usage, "there is no configuration to train").remedy("name a TOML file")),
    }
}

fn run_path(arguments: &Arguments) -> Result<PathBuf> {
    if let Some(path) = &arguments.run {
        return Ok(path.clone());
    }
    let stem = arguments.config.as_deref().and_then(Path::file_stem);
    stem.map(|stem| Path::new("runs").join(stem)).ok_or_else(|| {
        Fault::new(Kind::Usage, "it is not said which run to resume").remedy("name its folder with --run")
    })
}

/// Keys that change neither weights nor data, and so may change where a run goes on.
const FREE: [&str; 8] = [
    "train.on_nonfinite",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.eval_every",
    "train.eval_chunks",
    "observe.entropy_every",
    "observe.slopes_every",
    "observe.entropy_reference",
];

/// The run's configuration, with what was typed where that may change it.
fn config_to_resume(arguments: &Arguments, folder: &RunFolder) -> Result<Config> {
    let own = Config::load(&folder.config(), &[])?;
    let typed = match &arguments.config {
        Some(path) => Config::load(path, &arguments.set)?,
        None => Config::load(&folder.config(), &arguments.set)?,
    };
    let differences = differences(&own, &typed, &FREE);
    if differences.is_empty() {
        return Ok(typed);
    }
    Err(Fault::new(Kind::Config, "the run was begun with another configuration")
        .at(folder.config().display())
        .found(differences.join(", "))
        .remedy("leave CONFIG and --set out to go on as it was begun, or begin a new run with another --run"))
}

/// Says where a run goes on elsewhere than it was begun: its bits are those of one program on one device.
fn compare_environments(folder: &RunFolder, config: &Config, gpu: &Gpu, global: &Global) -> Result<()> {
    let now = environment(config, gpu);
    let Some(before) =
        std::fs::read(folder.environment()).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok())
    else {
        return folder.write_environment(&now);
    };
    let show = |environment: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
        let adapter = &environment["adapter"];
        let (version, name, driver) = (&environment["version"], &adapter["name"], &adapter["driver"]);
        format!("{}, {}, normfree {}", text(name), text(driver), text(version))
    };
    let (then, here) = (show(&before), show(&now));
    if then != here {
        global.note(format!(
            "the run was begun on {then}, and goes on on {here}: its last bits will not be those of a run on one of \
             them"
        ));
    }
    Ok(())
}

/// Keys that differ, each with both values; those that are `free` to differ are left out.
pub(super) fn differences(own: &Config, typed: &Config, free: &[&str]) -> Vec<String> {
    let [own, typed] = [own, typed].map(|config| json!(config));
    let none = serde_json::Map::new();
    let mut found = Vec::new();
    for table in ["model", "data", "train", "observe"] {
        let [a, b] = [&own, &typed].map(|config| config[table].as_object().unwrap_or(&none));
        let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
        for key in keys.filter(|key| a.get(*key) != b.get(*key)) {
            let show = |value: Option<&Value>| value.map_or("unset".to_owned(), Value::to_string);
            let name = format!("{table}.{key}");
            if !free.contains(&name.as_str()) {
                found.push(format!("{name} = {} there, {} here", show(a.get(key)), show(b.get(key))));
            }
        }
    }
    found
}

/// What a run runs on, for `env.json`.
fn environment(config: &Config, gpu: &Gpu) -> Value {
    let traits = gpu.traits();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "command": std::env::args_os().map(|part| part.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "parameters": config.model.parameter_count(),
        "adapter": gpu.description(),
        "kernels": {
            "lanes": traits.lanes,
            "software": traits.software,
            "max_invocations": traits.max_invocations,
            "workgroup_memory": traits.workgroup_memory,
            "max_binding": traits.max_binding,
            "f16": traits.f16,
        },
        "precision": config.train.precision,
    })
}

/// Says what a run would take. Makes nothing, and allocates nothing on the device.
fn dry_run(config: &Config, global: &Global) -> Result<()> {
    let gpu = global.open()?;
    let blueprint = Blueprint::new(config, gpu.traits());
    let needs = memory::Needs::new(config, &blueprint, gpu.traits(), data_bytes(config, global)?);
    let (per_step, steps) = (tokens_per_step(config), config.train.steps);
    let flops = blueprint.flops() as f64;
    say(format!(
        "parameters   {}\ntokens       {} a step, {} in {} steps\nwork         {} a step, {} in all",
        thousands(config.model.parameter_count() as u64),
        thousands(per_step),
        thousands(per_step * steps),
        thousands(steps),
        operations(flops),
        operations(flops * steps as f64),
    ))?;
    say(memory_table(&needs, gpu.description(), memory::available()))?;
    memory::check(&blueprint, gpu.traits(), gpu.description())
}

/// Bytes of the token files, which training maps into memory. Where they are there they are checked.
fn data_bytes(config: &Config, global: &Global) -> Result<u64> {
    let folder = Path::new(&config.data.path);
    if !folder.exists() {
        global.note(format!("there is no data at {} yet; its size is left out", folder.display()));
        return Ok(0);
    }
    let corpus = Corpus::open(folder, config.train.sequence_length, config.model.vocab_size)?;
    Ok([corpus.train, corpus.valid].iter().map(TokenFile::bytes).sum())
}

/// A count of floating-point operations, for a person.
fn operations(count: f64) -> String {
    const UNITS: [(&str, f64); 4] = [("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6)];
    let (unit, size) = UNITS.into_iter().find(|(_, size)| count >= *size).unwrap_or(("FLOP", 1.0));
    format!("{:.1} {unit}", count / size)
}
