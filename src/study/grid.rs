//! The grid of a study's runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::file::{File, Variant};
use super::sizes;
use crate::config::{Config, Draft, Sheet, read_text};
use crate::fault::{Fault, Kind, Result};
use crate::files::write_atomic;
use crate::report::run::paper_name;
use crate::report::study::{FILE, Study, StudyRun};

/// A study and all its runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    pub name: String,
    /// The folder of the runs and of `study.json`.
    pub out: PathBuf,
    /// The configuration that others are compared with; with several sizes, the one of the first size.
    pub baseline: String,
    /// Sources for `normfree prepare`, used if a run's `data.path` does not exist yet.
    pub prepare: Option<Vec<String>>,
    /// Size by size, configuration by configuration, seed by seed.
    pub runs: Vec<Run>,
    /// The configurations that are asked for, if not all are.
    pub chosen: Option<BTreeSet<String>>,
    /// Whether sizes that nobody typed are a guess, because there are no data yet to take them from.
    pub guesses_sizes: bool,
}

/// One run of a study.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The configuration's name without the seed: `sm_r`, or `sm_r-12` with several sizes.
    pub configuration: String,
    /// Its label in figures and tables: `SM+R`.
    pub label: String,
    pub seed: u64,
    /// Its folder inside the study's: `sm_r-seed1`.
    pub folder: PathBuf,
    /// The configuration that it is compared with: the study's baseline of the same size.
    pub baseline: String,
    pub config: Config,
}

impl Grid {
    /// Reads a study file; `overrides` are `key=value` each and apply to every run.
    ///
    /// # Errors
    /// [`Kind::Io`] if the file cannot be read; [`Kind::Config`] for everything [`Grid::parse`] refuses.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        Self::parse(&read_text(path)?, &path.display().to_string(), overrides)
    }

    /// The same from text; `name` stands for the file in messages. `model.vocab_size` and `model.n_positions` that were not
    /// typed are those of the data at `data.path`.
    ///
    /// # Errors
    /// [`Kind::Config`]: not a study, a refused configuration, or conflicting names or labels; those of
    /// [`Meta::read`](crate::data::Meta::read), if sizes are left to damaged data.
    pub fn parse(text: &str, name: &str, overrides: &[String]) -> Result<Self> {
        let file = File::parse(text, name)?;
        check_baseline(&file)?;
        let mut runs = Vec::new();
        let mut guesses_sizes = false;
        let sizes: Vec<Option<&Variant>> =
            if file.sizes.is_empty() { vec![None] } else { file.sizes.iter().map(Some).collect() };
        // Every folder, and the configuration of each label.
        let mut folders = BTreeSet::new();
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        for size in sizes {
            for variant in &file.configurations {
                let (config, guessed) = configuration(&file, size, variant, overrides)?;
                guesses_sizes |= guessed;
                let label = variant.label.clone().unwrap_or_else(|| paper_name(&config));
                let (configuration, label) = match size {
                    None => (variant.name.clone(), label),
                    Some(size) => {
                        let of = size.label.as_ref().unwrap_or(&size.name);
                        (format!("{}-{}", variant.name, size.name), format!("{label}, {of}"))
                    }
                };
                if let Some(first) = labels.insert(label.clone(), configuration.clone()) {
                    return Err(Fault::new(Kind::Config, "two configurations have the same label")
                        .at(&variant.place)
                        .found(format_args!("`{label}` for {first} and {configuration}"))
                        .remedy("give one of them a different label = \"…\""));
                }
                for &seed in &variant.seeds {
                    let folder = format!("{configuration}-seed{seed}");
                    // Some file systems ignore case.
                    if !folders.insert(folder.to_lowercase()) {
                        return Err(Fault::new(Kind::Config, "two runs would have the same folder")
                            .at(&variant.place)
                            .found(&folder)
                            .remedy("give each configuration and each size a different name"));
                    }
                    let mut config = config.clone();
                    config.train.seed = seed;
                    runs.push(Run {
                        baseline: baseline(&file, size),
                        configuration: configuration.clone(),
                        label: label.clone(),
                        seed,
                        folder: folder.into(),
                        config,
                    });
                }
            }
        }
        let baseline = baseline(&file, file.sizes.first());
        let File { name, out, prepare, .. } = file;
        Ok(Self { name, out, baseline, prepare, runs, chosen: None, guesses_sizes })
    }

    /// The runs that are asked for, in the order of the study.
    pub fn chosen_runs(&self) -> impl Iterator<Item = &Run> {
        let chosen = |run: &&Run| self.chosen.as_ref().is_none_or(|of| of.contains(&run.configuration));
        self.runs.iter().filter(chosen)
    }

    /// The path of a run.
    pub fn path(&self, run: &Run) -> PathBuf {
        self.out.join(&run.folder)
    }

    /// The contents of `study.json`.
    pub fn record(&self) -> Study {
        let run = |run: &Run| StudyRun {
            configuration: run.configuration.clone(),
            label: run.label.clone(),
            seed: run.seed,
            folder: run.folder.clone(),
            baseline: (run.baseline != self.baseline).then(|| run.baseline.clone()),
        };
        Study {
            name: self.name.clone(),
            baseline: self.baseline.clone(),
            runs: self.runs.iter().map(run).collect(),
        }
    }

    /// Whether `study.json` exists.
    pub fn is_begun(&self) -> bool {
        self.out.join(FILE).is_file()
    }

    /// Writes `study.json`, unless it is there as it is: a study that is done may be in a folder which can only be read.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn write_record(&self) -> Result<()> {
        let record = serde_json::to_string_pretty(&self.record())
            .expect("texts, numbers and paths of ASCII are always JSON");
        let (path, text) = (self.out.join(FILE), record + "\n");
        if std::fs::read(&path).is_ok_and(|own| own == text.as_bytes()) {
            return Ok(());
        }
        write_atomic(&path, text.as_bytes())
    }
}

/// One configuration without its seed: the base, then its size, then its own changes, then `--set`; later ones win. Also
/// whether its sizes are a guess.
fn configuration(
    file: &File,
    size: Option<&Variant>,
    variant: &Variant,
    overrides: &[String],
) -> Result<(Config, bool)> {
    let size_name = size.map(|size| format!(", size {}", size.name)).unwrap_or_default();
    let name = format!("{}, configuration {}{size_name}", file.source, variant.name);
    let sized = size.map(|size| size.changes.over(&file.base, &name));
    let mut sheet: Sheet = variant.changes.over(sized.as_ref().unwrap_or(&file.base), &name);
    for argument in overrides {
        sheet.set(argument)?;
    }
    if let Some(place) = sheet.place_of("train.seed") {
        return Err(Fault::new(Kind::Config, "the study sets the seed of each run")
            .at(place)
            .remedy("set seeds = [1, 2, 3] in [study] or in a [[configuration]]"));
    }
    let mut draft = Draft::of(sheet);
    let guessed = sizes::follow(&mut draft)?;
    Ok((draft.complete()?, guessed))
}

/// The baseline's name among the runs of a size.
fn baseline(file: &File, size: Option<&Variant>) -> String {
    match size {
        None => file.baseline.text.clone(),
        Some(size) => format!("{}-{}", file.baseline.text, size.name),
    }
}

/// Whether the baseline is one of the configurations.
fn check_baseline(file: &File) -> Result<()> {
    let names: Vec<&str> = file.configurations.iter().map(|variant| variant.name.as_str()).collect();
    if names.contains(&file.baseline.text.as_str()) {
        return Ok(());
    }
    Err(Fault::new(Kind::Config, "the baseline is not one of the configurations")
        .at(&file.baseline.place)
        .found(format_args!("\"{}\"", file.baseline.text.escape_debug()))
        .remedy(format_args!("use one of {}", names.join(", "))))
}
