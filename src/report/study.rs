//! A study's own description: `study.json`, written by `normfree study`, read by `plot` and `report`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Kind, Result, of_json};

/// The name of the file.
pub const FILE: &str = "study.json";

/// The runs of a study. Their progress is not part of it: that is in the runs' own folders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Study {
    pub name: String,
    /// The configuration of `runs` that others are compared with, unless they name another.
    pub baseline: String,
    /// In the order of the study.
    pub runs: Vec<StudyRun>,
}

/// One run of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StudyRun {
    /// What is trained, whatever the seed: `sm_r`.
    pub configuration: String,
    /// Its name in figures and tables: `SM+R`.
    pub label: String,
    pub seed: u64,
    /// The run's folder inside the study's: `sm_r-seed1`.
    pub folder: PathBuf,
    /// The configuration that this one is compared with, if it differs from the study's: in a study of several sizes, the
    /// baseline of the same size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
}

impl Study {
    /// Reads the `study.json` of a study's folder; `None` if there is none.
    ///
    /// # Errors
    /// `RunFolder` if the file is damaged; `Io`.
    pub fn load(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Fault::io("read the study", &path, &error)),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Fault::new(Kind::RunFolder, "this is not what `normfree study` writes")
                .at(path.display())
                .found(of_json(&error))
                .remedy("run `normfree study` again: it rewrites the file")
        })
    }
}
