//! Ctrl-C and termination signals: the first asks for an orderly end, the second ends the process.

use super::progress;
use crate::fault::{Fault, Kind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a training answers.
pub(super) const SAVING: &str =
    "finishing this step and writing a checkpoint; press it once more to leave at once, without one";

/// A flag that becomes true when the process is asked to stop, which is answered with one line. Call once.
///
/// # Errors
/// [`Kind::Usage`] where the system refuses the handler.
pub(super) fn on_signal(answer: &'static str) -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    ctrlc::set_handler(move || ask(&set, answer))
        .map_err(|e| Fault::new(Kind::Usage, "termination signals cannot be caught").found(e))?;
    Ok(flag)
}

/// What a signal does, and Ctrl-C where a view reads the keys. A view shows by itself that the flag is set.
pub(super) fn ask(flag: &AtomicBool, answer: &str) {
    if flag.swap(true, Ordering::Relaxed) {
        progress::lower();
        std::process::exit(Kind::Interrupted as i32);
    }
    if !progress::is_up() {
        eprintln!("\n{answer}");
    }
}
