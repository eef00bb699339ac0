//! The places of the files that a run's configuration names.
//!
//! `config.toml` keeps a path as it was typed, possibly relative to the working directory of that time. `env.json` also
//! keeps where it led: as an absolute path, and relative to the run's folder. So the files are found from any working
//! directory, and after the run has moved, alone or together with them. Their bytes tell whether they are the right ones.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::run_folder::RunFolder;
use crate::config::Config;
use crate::fault::{Fault, Result};

const DATA: &str = "data.path";
const INIT_FROM: &str = "train.init_from";

/// The key of `env.json`.
const PLACES: &str = "places";

/// Where a path led when it was last used.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Place {
    /// As written in the configuration.
    typed: PathBuf,
    absolute: PathBuf,
    /// Relative to the run's folder; `None` if no relative path leads there, as between two Windows drives.
    from_run: Option<PathBuf>,
}

/// The folders that may hold the run's data, most likely first; always at least the one that the configuration names.
pub fn data(run: &RunFolder, config: &Config) -> Vec<PathBuf> {
    candidates(run, DATA, &config.data.path)
}

/// What `open` makes of the first of `folders` (at least one) whose content is `wanted`; if none is, of the first that can be
/// opened.
///
/// # Errors
/// That of the first folder, if none can be opened.
pub(super) fn open_first<T>(
    folders: &[PathBuf],
    open: impl Fn(&Path) -> Result<T>,
    wanted: impl Fn(&T) -> bool,
) -> Result<T> {
    let mut best = open(&folders[0]);
    for folder in &folders[1..] {
        if best.as_ref().is_ok_and(&wanted) {
            break;
        }
        match open(folder) {
            Ok(found) if best.is_err() || wanted(&found) => best = Ok(found),
            _ => {}
        }
    }
    best
}

/// The weights that the run began with, if any.
pub(super) fn init_from(run: &RunFolder, config: &Config) -> Option<PathBuf> {
    candidates(run, INIT_FROM, config.train.init_from.as_ref()?).into_iter().next()
}

/// Records where a run's data and its initial weights are. A run without `env.json` records nothing.
///
/// # Errors
/// [`Kind::Io`](crate::fault::Kind::Io).
pub(super) fn keep(run: &RunFolder, config: &Config, data: &Path) -> Result<()> {
    let Some(mut environment) = read_environment(run) else { return Ok(()) };
    let mut places = read_places(&environment);
    let mut put = |key: &str, typed: &str, path: &Path| -> Result<()> {
        places.insert(key.to_owned(), Place::of(run, typed, path)?);
        Ok(())
    };
    put(DATA, &config.data.path, data)?;
    if let (Some(typed), Some(path)) = (&config.train.init_from, init_from(run, config))
        && path.exists()
    {
        put(INIT_FROM, typed, &path)?;
    }
    if read_places(&environment) == places {
        return Ok(());
    }
    // JSON cannot express a path that is not UTF-8, so only the path as typed is left.
    let Ok(kept) = serde_json::to_value(places) else { return Ok(()) };
    environment[PLACES] = kept;
    run.write_environment(&environment)
}

impl Place {
    fn of(run: &RunFolder, typed: &str, path: &Path) -> Result<Self> {
        let whole = |path: &Path| path.canonicalize().map_err(|e| Fault::io("find the file", path, &e));
        let absolute = whole(path)?;
        let from_run = relative(&whole(run.path())?, &absolute);
        Ok(Self { typed: typed.into(), absolute, from_run })
    }
}

/// Where `typed` may lead, existing paths only: first where it led last, then as typed, from the working directory. For a
/// run that recorded no places, also from each folder above the run.
fn candidates(run: &RunFolder, key: &str, typed: &str) -> Vec<PathBuf> {
    let typed = PathBuf::from(typed);
    let places = read_environment(run).map(|environment| read_places(&environment)).unwrap_or_default();
    let mut all = Vec::new();
    match places.get(key) {
        Some(Place { typed: then, absolute, from_run }) if *then == typed => {
            all.extend(from_run.as_ref().map(|path| run.path().join(path)));
            all.push(absolute.clone());
            all.push(typed.clone());
        }
        Some(_) => all.push(typed.clone()),
        None => {
            all.push(typed.clone());
            let whole = run.path().canonicalize().unwrap_or_default();
            all.extend(whole.ancestors().skip(1).map(|folder| folder.join(&typed)));
        }
    }
    let as_typed = typed.canonicalize().ok();
    let mut found = Vec::new();
    for whole in all.iter().filter_map(|path| path.canonicalize().ok()) {
        // The path as typed is the most readable.
        let path = if as_typed.as_ref() == Some(&whole) { typed.clone() } else { whole };
        if !found.contains(&path) {
            found.push(path);
        }
    }
    if found.is_empty() { vec![typed] } else { found }
}

fn read_environment(run: &RunFolder) -> Option<Value> {
    let environment: Value = serde_json::from_slice(&std::fs::read(run.environment()).ok()?).ok()?;
    environment.is_object().then_some(environment)
}

fn read_places(environment: &Value) -> BTreeMap<String, Place> {
    Deserialize::deserialize(&environment[PLACES]).unwrap_or_default()
}

/// The path that leads from the folder `from` to `to`, both absolute.
fn relative(from: &Path, to: &Path) -> Option<PathBuf> {
    let (from, to): (Vec<Component>, Vec<Component>) =
        (from.components().collect(), to.components().collect());
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(Component::ParentDir, from.len() - shared);
    (shared > 0).then(|| up.chain(to[shared..].iter().copied()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_folder_comes_before_the_first() {
        let folders = ["gone", "one", "two", "lost"].map(PathBuf::from);
        let open = |path: &Path| match path.to_str() {
            Some(found @ ("one" | "two")) => Ok(found.to_owned()),
            _ => Err(Fault::new(crate::fault::Kind::Data, path.display().to_string())),
        };
        let found = |word: &str| open_first(&folders, open, |found: &String| found == word).unwrap();
        assert_eq!(["one", "two", "three"].map(found), ["one", "two", "one"]);
        let lost = open_first(&[folders[3].clone(), folders[0].clone()], open, |_| true).unwrap_err();
        assert_eq!(lost.what(), "lost");
    }

    #[test]
    fn a_relative_path_leads_there() {
        let cases = [
            ("/p/runs/a", "/p/data", Some("../../data")),
            ("/p/runs/a", "/p/runs/a/data", Some("data")),
            ("/p/runs/a", "/q", Some("../../../q")),
            ("/p", "q", None),
        ];
        for (from, to, expected) in cases {
            assert_eq!(relative(Path::new(from), Path::new(to)), expected.map(PathBuf::from), "{from} {to}");
        }
    }
}
