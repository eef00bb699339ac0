//! Which checkpoint a path means.

use super::Global;
use crate::fault::{Fault, Kind, Result};
use crate::train::checkpoint::Checkpoint;
use crate::train::run_folder::RunFolder;
use std::path::Path;

/// The run and the checkpoint that `path` means.
pub(super) fn locate(path: &Path, global: &Global) -> Result<(RunFolder, Checkpoint)> {
    if path.join("trainer_state.json").is_file() {
        let whole = path.canonicalize().map_err(|e| Fault::io("open the checkpoint", path, &e))?;
        // RUN/checkpoints/step-N
        let run = whole.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        return Ok((RunFolder::read(run)?, Checkpoint::open(path)?));
    }
    let run = RunFolder::read(path)?;
    let Some(latest) = Checkpoint::latest(&run)? else {
        return Err(Fault::new(Kind::Checkpoint, "the run has no checkpoint yet")
            .at(run.checkpoints().display())
            .remedy("wait for its first one: train.checkpoint_every says when"));
    };
    for fault in &latest.passed_over {
        global.note(format!("passed over a damaged checkpoint: {fault}"));
    }
    Ok((run, latest.checkpoint))
}
