//! What `normfree train` is to train: a new run or an old one, by which configuration, on which data.

use super::{Global, counted, ready, thousands};
use crate::config::{Config, Draft, Preset, free_on_resume, preset};
use crate::data::{Corpus, Meta, PrepareOptions, is_prepared};
use crate::fault::{Fault, Kind, Result};
use crate::files::folder_of;
use crate::shell;
use crate::train::loader::check_start;
use crate::train::past::Past;
use crate::train::run_folder::RunFolder;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The key that gives a resumed run more steps.
const STEPS: &str = "train.steps";
/// The key that names the data.
const DATA: &str = "data.path";

/// What was typed.
pub(super) struct Asked<'a> {
    /// Configurations, presets and runs.
    pub paths: Vec<&'a PathBuf>,
    pub data: Option<&'a Path>,
    pub run: Option<&'a Path>,
    pub resume: bool,
    pub set: &'a [String],
    pub dry_run: bool,
}

/// The meaning of the paths on the command line: with `--resume`, a run may be named in three places.
pub(super) struct Wanted<'a> {
    asked: Asked<'a>,
    config: Option<PathBuf>,
    preset: Option<&'static Preset>,
    run: Option<PathBuf>,
    pub resume: bool,
}

impl<'a> Wanted<'a> {
    /// Assigns the paths to what they mean.
    ///
    /// # Errors
    /// [`Kind::Usage`] if two of them mean the same, or one means nothing.
    pub fn of(asked: Asked<'a>) -> Result<Self> {
        let (run, resume) = (asked.run.map(Path::to_owned), asked.resume);
        let paths = asked.paths.clone();
        if paths.is_empty() && asked.data.is_none() && !resume {
            return Err(Fault::new(Kind::Usage, "nothing is given to train").remedy(
                "give a CONFIG (a TOML file, or the name of a preset), text with --data, or a run with --resume",
            ));
        }
        if let (Some(data), Some(set)) = (asked.data, set_of(asked.set, DATA)) {
            return Err(Fault::new(Kind::Usage, "the data are named twice")
                .found(format!("--data {} and --set {set}", data.display()))
                .remedy("give one of the two"));
        }
        let mut wanted = Self { asked, config: None, preset: None, run, resume };
        paths.into_iter().try_for_each(|path| wanted.place(path))?;
        Ok(wanted)
    }

    /// Assigns a path that is a run's folder or a configuration.
    fn place(&mut self, path: &Path) -> Result<()> {
        let is_config = path.is_file() || path.extension().is_some_and(|of| of == "toml");
        if !self.resume && !is_config && !path.is_dir() {
            self.preset = Some(preset(&path.to_string_lossy())?);
            return Ok(());
        }
        let (place, what) = match (self.resume && (path.is_dir() || !is_config), path.is_dir()) {
            (true, _) => (&mut self.run, "runs"),
            (false, false) => (&mut self.config, "configurations"),
            (false, true) => {
                let fault = Fault::new(Kind::Usage, "a folder is not a configuration").at(path.display());
                return Err(match RunFolder::is_at(path) {
                    true => fault
                        .found("the folder of a run")
                        .remedy(format!("resume it with `{}`", shell::resume(path))),
                    false => fault.remedy("give a TOML file"),
                });
            }
        };
        match place {
            Some(first) if first != path => Err(Fault::new(Kind::Usage, format!("two {what} are given"))
                .found(format!("{} and {}", first.display(), path.display()))
                .remedy("give one")),
            _ => {
                *place = Some(path.to_owned());
                Ok(())
            }
        }
    }

    /// The configuration of a new run, with its data at hand and its initial weights checked.
    pub fn new_config(&self, global: &Global) -> Result<Config> {
        let mut draft = match (&self.config, self.preset) {
            (Some(path), _) => Draft::load(path)?,
            (None, Some(preset)) => Draft::preset(preset)?,
            (None, None) => Draft::empty(),
        };
        self.asked.set.iter().try_for_each(|argument| draft.set(argument))?;
        if let Some(source) = self.asked.data {
            draft.use_data(&self.ready(source, &draft, global)?);
        }
        let missing = draft.data().map(Path::new).filter(|path| !path.is_dir() && !draft.has_sizes());
        if let Some(path) = missing {
            return Err(Fault::new(Kind::Data, Corpus::MISSING).at(path.display()).remedy(format!(
                "make it with `normfree prepare TEXT --out {}`, or give text or another folder with --data",
                shell::operand(path)
            )));
        }
        if let Some(meta) =
            draft.data().map(Path::new).filter(|path| path.is_dir()).map(Meta::read).transpose()?
        {
            meta.iter().for_each(|meta| draft.follow(meta.vocab_size, meta.chunk));
        }
        let config = draft.complete()?;
        check_start(&config)?;
        Ok(config)
    }

    /// The folder of the data that `source` names, for a run of this draft.
    fn ready(&self, source: &Path, draft: &Draft, global: &Global) -> Result<PathBuf> {
        if is_prepared(source) {
            return Ok(source.to_owned());
        }
        if self.asked.dry_run {
            return Err(Fault::new(Kind::Usage, "a dry run prepares no text")
                .at(source.display())
                .remedy("give a folder made by `normfree prepare`"));
        }
        // Text takes long to prepare, so what is wrong with the rest is said first.
        let mut trial = draft.clone();
        trial.use_data(source);
        let (vocab_size, chunk) = PrepareOptions::sizes(trial.sizes());
        trial.follow(vocab_size, chunk);
        check_start(&trial.complete()?)?;
        ready::data(source, folder_of(&self.path()?), draft.sizes(), global)
    }

    /// The run's folder.
    pub fn path(&self) -> Result<PathBuf> {
        if let Some(path) = &self.run {
            return Ok(path.clone());
        }
        let of_data = || self.asked.data.filter(|_| !self.resume).map(ready::name_of);
        let preset = self.preset.map(|preset| preset.stem().into());
        let stem = self.config.as_deref().and_then(Path::file_stem).map(OsStr::to_owned);
        let stem = stem.or(preset).or_else(|| of_data().map(OsString::from));
        stem.map(|stem| Path::new("runs").join(stem)).ok_or_else(|| {
            Fault::new(Kind::Usage, "no run to resume is given")
                .remedy("give its folder: --resume RUN, or --resume --run RUN")
        })
    }

    /// A file's configuration for a run that was begun with `own`: data that were named elsewhere are the run's.
    fn of_file(&self, path: &Path, own: &Config) -> Result<Config> {
        let mut draft = Draft::load(path)?;
        self.asked.set.iter().try_for_each(|argument| draft.set(argument))?;
        if draft.data().is_none() {
            draft.use_data(Path::new(&own.data.path));
        }
        draft.follow(own.model.vocab_size, own.model.n_positions);
        draft.complete()
    }

    /// The run's configuration, with the typed values where changes are allowed.
    pub fn config_to_resume(&self, folder: &RunFolder, global: &Global) -> Result<Config> {
        let own = Config::load_of_run(&folder.config(), &[])?;
        let mut typed = match &self.config {
            Some(path) => self.of_file(path, &own)?,
            None => Config::load_of_run(&folder.config(), self.asked.set)?,
        };
        let (before, steps) = (own.train.steps, typed.train.steps);
        // Only where it is asked for: a file may be that of a run which was begun with fewer by `--set`.
        let asked = set_of(self.asked.set, STEPS).is_some();
        if asked && steps < before {
            let done = Past::at_a_glance(folder, &own)?.steps;
            return Err(Fault::new(Kind::Config, "a run can be given more steps, not fewer")
                .at(format!("--set {STEPS}"))
                .found(format!("{} for a run of {}, which has done {done}", counted(steps, "step"), thousands(before)))
                .remedy(format!(
                    "set more than {}, omit it to resume the run as it is, or start a new run with another --run",
                    thousands(before)
                )));
        }
        let more = asked && steps > before;
        if more && typed.train.extended_from == own.train.extended_from {
            typed.train.steps = before;
            typed.train.extend(steps);
        }
        let mut same = typed.clone();
        if more {
            (same.train.steps, same.train.extended_from) = (before, own.train.extended_from.clone());
        }
        let differences = own.differences(&same, &free_on_resume());
        if differences.is_empty() {
            if more {
                global.note(extension(&typed, before));
            }
            return Ok(typed);
        }
        Err(Fault::new(Kind::Config, "the run was started with another configuration")
            .at(folder.config().display())
            .found(differences.join(", "))
            .remedy(
                "omit CONFIG and --set to resume it as it was started, or start a new run with another --run",
            ))
    }
}

/// The last `KEY=VALUE` that was typed for a key.
fn set_of<'a>(set: &'a [String], key: &str) -> Option<&'a str> {
    let of = |set: &&String| set.split('=').next().is_some_and(|own| own.trim() == key);
    set.iter().rfind(of).map(String::as_str)
}

/// What more steps mean for the learning rate.
fn extension(config: &Config, before: u64) -> String {
    let rate = |step| format!("{:.2e}", config.train.learning_rate_at(step));
    format!(
        "the run goes on from {} to {}; the learning rate ends at {} as before, and from there is that of a run of {}, {} at \
         first",
        thousands(before),
        counted(config.train.steps, "step"),
        rate(before - 1),
        counted(config.train.steps, "step"),
        rate(before)
    )
}
