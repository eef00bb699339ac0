//! What an earlier call of the same command left in a run's folder.

use crate::config::Config;
use crate::fault::{Fault, Kind, Result};
use crate::train::past::Past;
use crate::train::run_folder::RunFolder;
use std::path::Path;

/// Refuses a run at `path` whose settings differ from `config`, except in the keys of `free`.
pub(super) fn refuse_other_settings(path: &Path, config: &Config, free: &[&str]) -> Result<()> {
    if !RunFolder::is_at(path) {
        return Ok(());
    }
    let own = Config::load_of_run(&RunFolder::read(path)?.config(), &[])?;
    let differences = own.differences(config, free);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Fault::new(Kind::RunFolder, "the folder holds a run with other settings")
        .at(path.display())
        .found(differences.join(", "))
        .remedy("choose another folder with --out, or delete this one"))
}

/// What the run at `path` has done so far; `None` if there is no run.
pub(super) fn past(path: &Path, config: &Config) -> Result<Option<Past>> {
    if !RunFolder::is_at(path) {
        return Ok(None);
    }
    refuse_other_settings(path, config, &[])?;
    Past::of(&RunFolder::read(path)?, config).map(Some)
}
