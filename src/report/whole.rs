//! A study whose runs may lie in several folders: one for each machine that trained a part of them.

use std::path::{Path, PathBuf};

use super::gather::Source;
use super::run::RunData;
use super::study::{Study, StudyRun};
use crate::fault::Result;

/// What is compared: a study, or anything else.
pub enum Part {
    Study(Whole),
    Other(Source),
}

/// A study and all folders that hold runs of it.
pub struct Whole {
    pub study: Study,
    folders: Vec<PathBuf>,
}

/// Adds a study's folder: to the study that it is a part of, or as a study of its own.
///
/// Two folders are parts of one study if they have its name and baseline, call shared configurations alike, and no run has
/// begun in both: a study that was trained twice is two studies.
pub fn add_part(parts: &mut Vec<Part>, folder: PathBuf, study: Study) {
    let known = parts.iter_mut().find_map(|part| match part {
        Part::Study(whole) if whole.takes(&folder, &study) => Some(whole),
        _ => None,
    });
    match known {
        Some(whole) => {
            for run in study.runs {
                if !whole.study.runs.contains(&run) {
                    whole.study.runs.push(run);
                }
            }
            whole.folders.push(folder);
        }
        None => parts.push(Part::Study(Whole { study, folders: vec![folder] })),
    }
}

impl Whole {
    fn takes(&self, folder: &Path, study: &Study) -> bool {
        let alike = study.runs.iter().all(|run| {
            let same = |own: &&StudyRun| own.folder == run.folder;
            self.study.runs.iter().find(same).is_none_or(|own| own == run)
        });
        let twice = study.runs.iter().any(|run| {
            folder.join(&run.folder).join("metrics.jsonl").is_file() && self.folder_of(&run.folder).is_some()
        });
        self.study.name == study.name && self.study.baseline == study.baseline && alike && !twice
    }

    /// Where a run has begun.
    fn folder_of(&self, run: &Path) -> Option<PathBuf> {
        self.folders.iter().map(|folder| folder.join(run)).find(|path| path.join("metrics.jsonl").is_file())
    }

    /// The label of the configuration that others are compared with.
    pub fn baseline(&self) -> Option<String> {
        let of_baseline = self.study.runs.iter().find(|run| run.configuration == self.study.baseline);
        of_baseline.map(|run| run.label.clone())
    }

    /// Reads the runs that have begun, and names the others in `missing`. `place` is the study's number among those that are
    /// compared, and the first style that is free; returns how many configurations it has.
    ///
    /// # Errors
    /// Those of [`RunData::load`].
    pub fn load(
        &self,
        place: (usize, usize),
        baseline: Option<String>,
        runs: &mut Vec<RunData>,
        missing: &mut Vec<String>,
    ) -> Result<usize> {
        let mut configurations: Vec<&str> = Vec::new();
        for of in &self.study.runs {
            if !configurations.contains(&of.configuration.as_str()) {
                configurations.push(&of.configuration);
            }
            let Some(path) = self.folder_of(&of.folder) else {
                missing.push(format!("{}, seed {}: not started", of.label, of.seed));
                continue;
            };
            let style = configurations.iter().position(|own| *own == of.configuration).unwrap_or_default();
            let other = |baseline: &String| self.study.runs.iter().find(|run| run.configuration == *baseline);
            let own = of.baseline.as_ref().and_then(other).map(|run| run.label.clone());
            runs.push(RunData {
                name: of.label.clone(),
                baseline: own.or_else(|| baseline.clone()),
                seed: Some(of.seed),
                configuration: Some(of.configuration.clone()),
                study: Some(place.0),
                style: Some(place.1 + style),
                ..RunData::load(&path)?
            });
        }
        Ok(configurations.len())
    }
}
