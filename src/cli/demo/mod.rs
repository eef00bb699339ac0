//! `normfree demo`: source code, four small models, and the paper's picture.

mod findings;

use super::earlier::{past, refuse_other_settings};
use super::held::Held;
use super::progress::{Display, TrainProgress};
use super::second::{self, Compared};
use super::shown::add_patterns;
use super::train::{drive, inside_out, open, with_command};
use super::{Global, Kernels, counted, prepare, say, stop, thousands};
use crate::config::Config;
use crate::data::{Meta, PrepareOptions};
use crate::fault::{Fault, Kind, Result};
use crate::files::write_atomic;
use crate::host::Host;
use crate::report::comparison::Comparison;
use crate::report::figures::Options;
use crate::report::outcome::outcomes;
use crate::report::page::write_page;
use crate::report::run::{RunData, paper_name};
use crate::report::write_comparison;
use crate::shell;
use crate::train::run_folder::RunFolder;
use findings::findings;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Prepares source code found on this machine, trains SM+LN+G, SM+LN+R, SM+G and
SM+R (softmax attention, with and without LayerNorm, GELU or ReLU) at a small
scale, evaluates them on held-out files, draws the entropy of every attention
head and puts it all on one page, report.html. At the end it repeats some steps
on a second device and says how far the numbers agree. Called again, it resumes
where it stopped and trains nothing twice.

Examples:
  normfree demo
  normfree demo --seed 2      other weights and order, in runs/demo_seed_2
  normfree demo --set train.steps=50 --out /tmp/look";

/// The four experiments: folder and configuration.
const EXPERIMENTS: [(&str, &str); 4] = [
    ("sm_ln_g", include_str!("../../../configs/demo/sm_ln_g.toml")),
    ("sm_ln_r", include_str!("../../../configs/demo/sm_ln_r.toml")),
    ("sm_g", include_str!("../../../configs/demo/sm_g.toml")),
    ("sm_r", include_str!("../../../configs/demo/sm_r.toml")),
];

/// The one whose first steps are repeated on a second device: without normalization, where rounding grows fastest.
const REPEATED: &str = "sm_g";

/// More text would only take longer to prepare.
const TEXT: u64 = 12 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Output folder [default: runs/demo, with the seed in its name if it is not 1]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder made by `normfree prepare`, instead of source code found here
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Seed of the weights and of the order of the text
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    seed: u64,
    /// Set one key in all four configurations; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Resume what was started; fail if the folder holds nothing to resume
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    display: Display,
}

pub(super) fn run(arguments: Arguments, global: &Global) -> Result<()> {
    let out = arguments.out.clone().unwrap_or_else(|| match arguments.seed {
        1 => PathBuf::from("runs/demo"),
        seed => PathBuf::from(format!("runs/demo_seed_{seed}")),
    });
    if arguments.resume && !EXPERIMENTS.iter().any(|(stem, _)| RunFolder::is_at(&out.join(stem))) {
        return Err(stop::nothing_to_resume(&out));
    }
    let plain = configs(&arguments, None)?;
    // Checked before data that belongs to other runs could be replaced; checks that depend on the data come later.
    for ((stem, _), config) in EXPERIMENTS.iter().zip(&plain) {
        refuse_other_settings(&out.join(stem), config, &["data.path", "model.vocab_size"])?;
    }
    let (data, meta) = data(&arguments, &out, &plain[0], global)?;
    let configs = configs(&arguments, Some((&data, meta.as_ref())))?;
    let runs = train(&configs, &out, (global, arguments.display))?;

    let mut comparison =
        Comparison { title: "The demo's four models".to_owned(), ..Comparison::new(runs, None) };
    let options = Options { reference: RunData::reference_of(&comparison.runs), ..Options::default() };
    let files = write_comparison(&comparison, &out, &options)?;
    let mut found = findings(&comparison.runs, options.reference)?;
    // What was chosen has been said before.
    let first = Global { quiet: true, ..global.clone() }.open();
    match first.and_then(|first| Compared::of(&out.join(REPEATED), (second::STEPS, None), first, global)) {
        Ok(compared) => {
            found.push(format!("- The same on a second device, {REPEATED}: {}.", compared.sentence()))
        }
        Err(fault) => {
            global.note(format!("the numbers are not compared with those of a second device: {fault}"))
        }
    }
    let path = out.join("findings.txt");
    write_atomic(&path, (found.join("\n") + "\n").as_bytes())?;
    say(outcomes(&comparison, options.reference)?.table().plain())?;
    for line in found {
        say(line)?;
    }
    let page = out.join("report.html");
    if let Some(why) = add_patterns(&mut comparison, &Host::open(global.threads)?.into(), global) {
        global.note(format!("some heads have no pattern to open: {why}"));
    }
    write_page(&comparison, &page, &options)?;
    say("")?;
    // The file to open comes last.
    for file in files.iter().chain([&path, &page]) {
        say(file.display())?;
    }
    Ok(())
}

/// The four configurations as requested, with `data` and its actual vocabulary once these are known.
fn configs(arguments: &Arguments, data: Option<(&Path, Option<&Meta>)>) -> Result<Vec<Config>> {
    let mut overrides = vec![format!("train.seed={}", arguments.seed)];
    overrides.extend(arguments.set.iter().cloned());
    EXPERIMENTS
        .iter()
        .map(|(stem, text)| {
            let mut config = Config::parse(text, &format!("configs/demo/{stem}.toml"), &overrides)?;
            if let Some((path, meta)) = data {
                config.data.path = path.display().to_string();
                // A small corpus yields fewer tokens than requested.
                if let Some(meta) = meta {
                    config.model.vocab_size = meta.vocab_size;
                }
                config.validate()?;
            }
            Ok(config)
        })
        .collect()
}

/// The folder of tokens: the given one, an earlier one, or a new one.
fn data(
    arguments: &Arguments,
    out: &Path,
    config: &Config,
    global: &Global,
) -> Result<(PathBuf, Option<Meta>)> {
    if let Some(given) = &arguments.data {
        let meta = if given.is_dir() { Meta::read(given)? } else { None };
        return Ok((given.clone(), meta));
    }
    let folder = out.join("data");
    let options = PrepareOptions {
        vocab_size: config.model.vocab_size,
        chunk: config.train.sequence_length,
        max_bytes: Some(TEXT),
        // Left by an interrupted preparation.
        replace: true,
        ..PrepareOptions::new(vec!["auto".to_owned()], folder.clone())
    };
    let fits = |meta: &Meta| {
        meta.chunk == options.chunk
            && meta.vocab_size <= options.vocab_size
            && meta.seed == options.seed
            && meta.packed == options.pack
    };
    if folder.is_dir()
        && let Some(meta) = Meta::read(&folder)?
    {
        if !fits(&meta) {
            return Err(Fault::new(Kind::RunFolder, "the folder holds data of different sizes")
                .at(folder.display())
                .found(format!(
                    "chunks of {}, a vocabulary of {}",
                    meta.chunk,
                    counted(meta.vocab_size as u64, "token")
                ))
                .remedy("choose another folder with --out, or delete this one"));
        }
        global.note(format!(
            "using the data already prepared in {}, with its vocabulary of {}",
            folder.display(),
            thousands(meta.vocab_size as u64)
        ));
        return Ok((folder, Some(meta)));
    }
    let meta = prepare::with_progress(&options, global.quiet)?;
    say(prepare::summary(&meta, &folder))?;
    Ok((folder, Some(meta)))
}

/// Trains the runs that are not finished yet, and reads them all.
fn train(configs: &[Config], out: &Path, (global, display): (&Global, Display)) -> Result<Vec<RunData>> {
    let mut open_runs = Vec::new();
    let mut done = 0;
    for ((stem, _), config) in EXPERIMENTS.iter().zip(configs) {
        let path = out.join(stem);
        let past = past(&path, config)?;
        done += past.as_ref().map_or(0, |past| past.steps);
        if past.as_ref().is_some_and(|past| past.whole) {
            global.note(format!("{} is already trained", path.display()));
        } else {
            open_runs.push((path, config, past.is_some()));
        }
    }
    let total: u64 = configs.iter().map(|config| config.train.steps).sum();
    let (title, work) = (out.display().to_string(), (total as f64, done as f64));
    let mut progress = TrainProgress::new((global.quiet, display), &title, work);
    let mut held = Held::new(global);
    let trained = open_runs.iter().try_for_each(|job| train_one(job, &mut progress, &mut held));
    progress.leave();
    trained.and_then(|()| stop::between_runs())?;
    EXPERIMENTS.iter().map(|(stem, _)| RunData::load(&out.join(stem))).collect()
}

fn train_one(
    (path, config, resume): &(PathBuf, &Config, bool),
    progress: &mut TrainProgress,
    held: &mut Held,
) -> Result<()> {
    stop::between_runs()?;
    let folder = if *resume { RunFolder::open(path) } else { RunFolder::create(path) }.map_err(inside_out)?;
    let kernels = Kernels::default();
    // Opening a run may print notes, so the view is down meanwhile.
    progress.leave();
    let device = held.take();
    let mut trainer =
        open(config, folder, (!resume).then_some(&kernels), device, (held.global(), shell::same_command()))?;
    progress.begin(&paper_name(config), config, trainer.step(), 1.0);
    let trained = drive(&mut trainer, progress);
    held.give_back(trainer, &trained);
    trained.map_err(|fault| match fault.kind {
        Kind::NonFinite => {
            fault.remedy("start again with another --out and a lower --set train.learning_rate")
        }
        _ => with_command(fault),
    })
}
