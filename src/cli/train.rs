//! `normfree train`.

use super::memory_plan::{Planned, choices};
use super::memory_table::memory_table;
use super::picture::{check_place, picture_file, write_picture};
use super::progress::{Display, TrainProgress};
use super::wanted::{Asked, Wanted};
use super::{Global, Kernels, counted, operations, say, stop, thousands};
use crate::config::Config;
use crate::data::{Corpus, TokenFile};
use crate::device::Device;
use crate::fault::{Fault, Kind, Result};
use crate::model::parameter_count;
use crate::ops::Choices;
use crate::shell;
use crate::train::engine::Blueprint;
use crate::train::run_folder::RunFolder;
use crate::train::trainer::{Event, Trainer};
use crate::train::{kernel_choice, memory};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
CONFIG is a TOML file with the tables [model], [data], [train] and [observe], or
the name of a preset (`normfree presets`). `normfree keys` lists every key;
`normfree init` writes a file with all of them. --set accepts every key and
checks it as in the file. --data names prepared data, or text, which is first
prepared beside the run; without CONFIG, everything else has a default.
The run folder gets the resolved config.toml, env.json, metrics.jsonl (one JSON
object per line) and checkpoints/. Ctrl-C finishes the step, writes a checkpoint
and exits with code 130. --resume continues bit for bit as if the run had never
stopped, even after a crash. With --set train.steps=N a resumed run gets more
steps; its learning rate then is that of a run of N steps.

Examples:
  normfree train sm_r --data ~/code
  normfree train --data book.txt --set train.steps=500
  normfree train configs/small/sm_r.toml --set data.path=data/small
  normfree train configs/small/sm_r.toml --set train.seed=2 --run runs/sm_r_2
  normfree train --resume runs/sm_r_2
  normfree train --resume runs/sm_r_2 --set train.steps=5000
  normfree train configs/paper/sm_g.toml --dry-run
  normfree train configs/paper/sm_g.toml --dry-run --memory
  normfree train configs/paper/sm_g.toml --dry-run --memory-picture plan.svg";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Configuration, a TOML file or the name of a preset; optional with --data and --resume
    config: Option<PathBuf>,
    /// Data: a folder made by `normfree prepare`, or text to prepare on the way (a folder, a file, a glob)
    #[arg(long, value_name = "DIR|TEXT", conflicts_with = "resume")]
    data: Option<PathBuf>,
    /// Set one key, as in model.n_layer=3; may be repeated, the last one wins
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Run folder [default: runs/ and the name of CONFIG, or of the data]
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Resume RUN, or the run given with --run; CONFIG and --set may then change only how often it is
    /// evaluated, logged and saved, train.on_nonfinite, train.recompute, data.path, if it holds the same
    /// data, and train.steps, to a larger number
    #[arg(long, value_name = "RUN", num_args = 0..=1)]
    resume: Option<Option<PathBuf>>,
    /// Print parameters, work and memory, check the data, and write nothing
    #[arg(long, conflicts_with = "resume")]
    dry_run: bool,
    /// With --dry-run: also print the plan of intermediates, the tensors at the peak, and what
    /// train.recompute would save
    #[arg(long, requires = "dry_run")]
    memory: bool,
    /// With --dry-run: draw which tensors are alive at each node of a training pass; may be repeated
    #[arg(long, requires = "dry_run", value_name = "FILE.svg|png", value_parser = picture_file)]
    memory_picture: Vec<PathBuf>,
    #[command(flatten)]
    kernels: Kernels,
    #[command(flatten)]
    display: Display,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let Arguments { config, data, run, resume, set, dry_run, .. } = arguments;
    let wanted = Wanted::of(Asked {
        paths: resume.iter().flatten().chain(config).collect(),
        data: data.as_deref(),
        run: run.as_deref(),
        resume: resume.is_some(),
        set,
        dry_run: *dry_run,
    })?;
    if *dry_run {
        return self::dry_run(&wanted.new_config(global)?, arguments, global);
    }
    let path = wanted.path()?;
    let (config, folder) = if wanted.resume {
        let folder = RunFolder::open(&path)?;
        (wanted.config_to_resume(&folder, global)?, folder)
    } else {
        // Refused before any text is prepared for it.
        if RunFolder::is_at(&path) {
            RunFolder::create(&path)?;
        }
        (wanted.new_config(global)?, RunFolder::create(&path)?)
    };
    let kernels = if wanted.resume { None } else { Some(&arguments.kernels) };
    let go_on = format!("{}{}{}", shell::resume(&path), global.typed(), arguments.display.options());
    let mut trainer = open(&config, folder, kernels, global.open(), (global, go_on))?;
    let steps = config.train.steps;
    if trainer.done() {
        let done = if steps == 1 {
            "its one step is done".to_owned()
        } else {
            format!("all {} steps are done", thousands(steps))
        };
        return say(format!("{}: {done}; more with `--resume --set train.steps=N`", path.display()));
    }
    let work = (steps as f64, trainer.step() as f64);
    let title = path.display().to_string();
    let mut progress = TrainProgress::new((global.quiet, arguments.display), &title, work);
    progress.begin("", &config, trainer.step(), 1.0);
    let trained = drive(&mut trainer, &mut progress);
    progress.leave();
    trained.map_err(with_command)?;
    say(format!(
        "{}: {} done; draw it with `normfree plot {}`",
        path.display(),
        counted(steps, "step"),
        shell::operand(&path)
    ))
}

/// Opens a run's trainer on a device, passing on the error if the device could not be opened. Without `kernels`, the
/// run is resumed with the kernels it was begun with. If opening fails or a stop was requested, what a new run has
/// written is removed. Once it returns, a signal asks the training to stop, and `go_on` is the command line that
/// resumes it.
pub(super) fn open(
    config: &Config,
    folder: RunFolder,
    kernels: Option<&Kernels>,
    device: Result<Device>,
    (global, go_on): (&Global, String),
) -> Result<Trainer> {
    let path = folder.path().to_owned();
    let opened = (|| {
        let mut device = device?;
        let Some(kernels) = kernels else {
            device.set_choices(choices_of(&folder));
            compare_environments(&folder, config, &device, global)?;
            let mut waiting = global.wait("checking data and checkpoint");
            device.listen(Some(waiting.text().of_device()));
            let trainer = Trainer::resume(device, config, folder, &mut |event| {
                if let Event::Note(note) = event {
                    waiting.make_way();
                    global.note(note);
                }
            })?;
            drop(waiting);
            trainer.run_folder().write_config(&config.to_toml())?;
            return Ok(trainer);
        };
        let mut waiting = global.wait("checking data and weights");
        let make_ready = |folder: &RunFolder| {
            waiting.end();
            kernels.prepare(&mut device, config, global)?;
            // Written first: with it the folder can be resumed, and without it the run can be begun again.
            folder.write_config(&config.to_toml())?;
            folder.write_environment(&environment(config, &device))?;
            waiting = global.wait("preparing the run");
            device.listen(Some(waiting.text().of_device()));
            Ok(device)
        };
        Trainer::start_on(make_ready, config, folder)
    })();
    let begun = opened.and_then(|trainer| stop::training_begins(go_on).map(|()| trainer));
    if begun.is_err() && kernels.is_some() {
        RunFolder::abandon(&path);
    }
    begun
}

/// Trains to the end or until asked to stop, and reports to `progress`.
pub(super) fn drive(trainer: &mut Trainer, progress: &mut TrainProgress) -> Result<()> {
    let trained = trainer.train(stop::flag(), &mut |event| progress.watch(&event));
    stop::training_ends();
    trained
}

/// Adds a remedy to a run folder's fault: `--out` chooses another folder.
pub(super) fn inside_out(fault: Fault) -> Fault {
    match fault.kind {
        Kind::RunFolder => fault.remedy("choose another folder with --out"),
        _ => fault,
    }
}

/// The fault of a run that has begun, with the command line that resumes it.
pub(super) fn with_command(fault: Fault) -> Fault {
    let command = format!("continue with: {}", stop::go_on());
    match fault.kind {
        Kind::Interrupted => fault.remedy(command),
        // The remedy differs and is already given.
        Kind::NonFinite => fault,
        _ => fault.also(command),
    }
}

/// The kernels a run was begun with.
fn choices_of(folder: &RunFolder) -> Choices {
    let read =
        || -> Option<Value> { serde_json::from_slice(&std::fs::read(folder.environment()).ok()?).ok() };
    let choices = read().map(|mut environment| environment["kernels"]["choices"].take());
    choices.and_then(|choices| serde_json::from_value(choices).ok()).unwrap_or_default()
}

/// Notes that a run resumes in a different environment: its bits are those of one program on one device.
fn compare_environments(folder: &RunFolder, config: &Config, device: &Device, global: &Global) -> Result<()> {
    let now = environment(config, device);
    let Some(before) =
        std::fs::read(folder.environment()).ok().and_then(|text| serde_json::from_slice::<Value>(&text).ok())
    else {
        return folder.write_environment(&now);
    };
    let show = |environment: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
        let adapter = &environment["adapter"];
        let [name, api, driver] = ["name", "api", "driver"].map(|key| text(&adapter[key]));
        let units = if adapter["cooperative"].as_u64() > Some(0) { " with matrix units" } else { "" };
        format!("{name} through {api}{units}, {driver}, normfree {}", text(&environment["version"]))
    };
    let (then, here) = (show(&before), show(&now));
    if then != here {
        global.note(format!(
            "the run was started on {then} and continues on {here}: its last bits will differ from those of a run on \
             one of them"
        ));
    }
    Ok(())
}

/// A run's environment, for `env.json`.
fn environment(config: &Config, device: &Device) -> Value {
    let traits = device.traits();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "command": std::env::args_os().map(|part| part.to_string_lossy().into_owned()).collect::<Vec<_>>(),
        "parameters": parameter_count(&config.model),
        "adapter": device.description(),
        "threads": device.threads(),
        "kernels": {
            "lanes": traits.lanes,
            "software": traits.software,
            "max_invocations": traits.max_invocations,
            "workgroup_memory": traits.workgroup_memory,
            "max_binding": traits.max_binding,
            "choices": kernel_choice::used(&Blueprint::new(config, traits), traits),
            "f16": traits.f16,
        },
        "precision": config.train.precision,
    })
}

/// Prints what a run would take. Writes only pictures, and allocates nothing on the device.
fn dry_run(config: &Config, arguments: &Arguments, global: &Global) -> Result<()> {
    arguments.memory_picture.iter().try_for_each(|path| check_place(path))?;
    let device = global.open()?;
    let blueprint = Blueprint::new(config, device.traits());
    let data = data_bytes(config, global)?;
    let needs = memory::Needs::new(config, &blueprint, device.traits(), data);
    let (per_step, steps) = (config.train.tokens_per_step(), config.train.steps);
    let flops = blueprint.flops() as f64;
    say(format!(
        "parameters   {}\ntokens       {} a step, {} in {}\nwork         {} a step, {} in all",
        thousands(parameter_count(&config.model) as u64),
        thousands(per_step),
        thousands(per_step * steps),
        counted(steps, "step"),
        operations(flops),
        operations(flops * steps as f64),
    ))?;
    say(memory_table(&needs, &device, memory::available()))?;
    if arguments.memory || !arguments.memory_picture.is_empty() {
        let planned = Planned::new(&blueprint, device.traits());
        if arguments.memory {
            say(planned.text())?;
            say(choices(config, device.traits(), data))?;
        }
        let picture = planned.picture(&picture_title(config, arguments));
        for path in &arguments.memory_picture {
            write_picture(&picture, path)?;
        }
    }
    memory::check(&blueprint, device.traits(), device.description())
}

/// The experiment that a picture belongs to.
fn picture_title(config: &Config, arguments: &Arguments) -> String {
    let name = arguments.config.as_deref().and_then(Path::file_stem).unwrap_or_default().to_string_lossy();
    let (model, train) = (&config.model, &config.train);
    format!(
        "{name}: {}, width {}, {} × {} tokens, recompute {}",
        counted(model.n_layer as u64, "layer"),
        model.n_embd,
        train.batch_size,
        train.sequence_length,
        train.recompute
    )
}

/// Bytes of the token files, which training maps into memory. Existing files are checked.
fn data_bytes(config: &Config, global: &Global) -> Result<u64> {
    let folder = Path::new(&config.data.path);
    if !folder.exists() {
        global.note(format!("there is no data at {} yet; its size is not counted", folder.display()));
        return Ok(0);
    }
    let corpus = Corpus::open(folder, config.train.sequence_length, config.model.vocab_size)?
        .with_train_tokens(config.data.train_tokens)?;
    Ok([corpus.train, corpus.valid].iter().map(TokenFile::bytes).sum())
}
