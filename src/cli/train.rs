//! `normfree train`.

use super::memory_table::memory_table;
use super::progress::TrainProgress;
use super::{Global, say, stop, thousands};
use crate::config::Config;
use crate::fault::{Fault, Kind, Result};
use crate::gpu::Gpu;
use crate::train::engine::Blueprint;
use crate::train::memory;
use crate::train::run_folder::RunFolder;
use crate::train::trainer::Trainer;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

const AFTER_HELP: &str = "\
CONFIG is a TOML file with the tables [model], [data], [train] and [observe]; the README lists every key, and
configs/ has the paper's experiments. --set reaches every key and is checked like the file.
The run folder gets the resolved config.toml, env.json, metrics.jsonl (one JSON object a line) and checkpoints/.
Ctrl-C finishes the step, writes a checkpoint and exits with 130; --resume goes on, bit for bit, as if it had never
stopped, also after a crash.

Examples:
  normfree train configs/small/sm_r.toml --set data.path=data/small
  normfree train configs/small/sm_r.toml --set train.seed=2 --run runs/sm_r_2
  normfree train --resume --run runs/sm_r_2
  normfree train configs/paper/sm_g.toml --dry-run      parameters, work and memory; makes nothing";

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
    /// Go on with the run in that folder; CONFIG and --set must then say what they said
    #[arg(long)]
    resume: bool,
    /// Print parameters, work and memory, and stop there
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
    let stop = stop::on_signal()?;
    let mut trainer = open(&config, folder, arguments.resume, global)?;
    let steps = config.train.steps;
    if trainer.step() >= steps {
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
            return Trainer::resume(gpu, config, folder, &mut |event| {
                if let crate::train::trainer::Event::Note(note) = event {
                    global.note(note);
                }
            });
        }
        folder.write_environment(&environment(config, &gpu))?;
        folder.write_config(&config.to_toml())?;
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

/// The run's own configuration, which what was typed must not contradict.
fn config_to_resume(arguments: &Arguments, folder: &RunFolder) -> Result<Config> {
    let own = Config::load(&folder.config(), &[])?;
    let typed = match &arguments.config {
        Some(path) => Config::load(path, &arguments.set)?,
        None => Config::load(&folder.config(), &arguments.set)?,
    };
    let differences = differences(&own, &typed);
    if differences.is_empty() {
        return Ok(own);
    }
    Err(Fault::new(Kind::Config, "the run was begun with another configuration")
        .at(folder.config().display())
        .found(differences.join(", "))
        .remedy("leave CONFIG and --set out to go on as it was begun, or begin a new run with another --run"))
}

/// Keys that differ, each with both values.
pub(super) fn differences(own: &Config, typed: &Config) -> Vec<String> {
    let [own, typed] = [own, typed].map(|config| json!(config));
    let none = serde_json::Map::new();
    let mut found = Vec::new();
    for table in ["model", "data", "train", "observe"] {
        let [a, b] = [&own, &typed].map(|config| config[table].as_object().unwrap_or(&none));
        let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
        for key in keys.filter(|key| a.get(*key) != b.get(*key)) {
            let show = |value: Option<&Value>| value.map_or("unset".to_owned(), Value::to_string);
            found.push(format!("{table}.{key} = {} there, {} here", show(a.get(key)), show(b.get(key))));
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
        },
    })
}

/// Says what a run would take. Makes nothing, and allocates nothing on the device.
fn dry_run(config: &Config, global: &Global) -> Result<()> {
    let gpu = global.open()?;
    let blueprint = Blueprint::new(config, gpu.traits());
    let needs = memory::Needs::new(config, &blueprint, gpu.traits(), data_bytes(config, global));
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

/// Bytes of the token files, which training maps into memory.
fn data_bytes(config: &Config, global: &Global) -> u64 {
    let folder = Path::new(&config.data.path);
    let length = |name: &str| std::fs::metadata(folder.join(name)).map_or(0, |file| file.len());
    let total = ["train.bin", "valid.bin", "val.bin"].map(length).iter().sum();
    if total == 0 {
        global.note(format!("there is no data at {} yet; its size is left out", folder.display()));
    }
    total
}

/// A count of floating-point operations, for a person.
fn operations(count: f64) -> String {
    const UNITS: [(&str, f64); 4] = [("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6)];
    let (unit, size) = UNITS.into_iter().find(|(_, size)| count >= *size).unwrap_or(("FLOP", 1.0));
    format!("{:.1} {unit}", count / size)
}
