//! Ctrl-C and termination signals. While a run trains, the first asks for an orderly end with a checkpoint, and a second
//! Ctrl-C ends the process. At any other time there is nothing to save: the process ends at once, and takes back what it
//! has begun.

use super::{output, terminal};
use crate::fault::{Fault, Kind, Result};
use crate::files::leftovers;
use crate::shell;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What a training answers.
const SAVING: &str =
    "finishing this step and writing a checkpoint; press it once more to leave at once, without one";
/// `timeout`, `make` and others pass on a signal that the system has delivered already: a second one so early is no
/// second wish.
const ECHO: Duration = Duration::from_millis(500);
/// How long files may take to be removed, and the last words to be read, before the process ends without.
const PATIENCE: Duration = Duration::from_millis(400);

/// Who asks.
#[cfg_attr(not(unix), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Ctrl-C, or a program that ends another.
    Wish,
    /// The terminal is gone; shell and system both say so, one after the other.
    Hangup,
}

/// Set once somebody has asked a training to stop.
static ASKED: AtomicBool = AtomicBool::new(false);

struct State {
    /// A run trains, which has something to save.
    training: bool,
    /// When it was asked to stop.
    asked: Option<Instant>,
    /// What goes on with it; empty where this process's own command line does.
    go_on: String,
}

static STATE: Mutex<State> = Mutex::new(State { training: false, asked: None, go_on: String::new() });

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The flag that becomes true when a training is to stop.
pub(super) fn flag() -> &'static AtomicBool {
    &ASKED
}

/// From here on a run trains; `go_on` is the command line that goes on with it.
pub(super) fn training_begins(go_on: String) {
    let mut state = state();
    state.training = true;
    state.go_on = go_on;
}

/// Nothing has to be saved any more, or everything has been.
pub(super) fn training_ends() {
    state().training = false;
}

/// The command line that goes on where this process stops.
pub(super) fn go_on() -> String {
    let go_on = state().go_on.clone();
    if go_on.is_empty() { shell::same_command() } else { go_on }
}

/// The same for a thread that panics, which may wait for nobody: where a run trains.
pub(super) fn go_on_after_defect() -> Option<String> {
    let state = STATE.try_lock().ok()?;
    (state.training && !state.go_on.is_empty()).then(|| state.go_on.clone())
}

/// Ends a command that trains several runs, where it was asked to stop as one of them ended.
///
/// # Errors
/// [`Kind::Interrupted`].
pub(super) fn between_runs() -> Result<()> {
    if !flag().load(Ordering::Relaxed) {
        return Ok(());
    }
    Err(Fault::new(Kind::Interrupted, "interrupted between two runs")
        .remedy(format!("go on with: {}", go_on())))
}

/// What `--resume` says where nothing was begun.
pub(super) fn nothing_to_resume(folder: &Path) -> Fault {
    Fault::new(Kind::RunFolder, "there is nothing to go on with")
        .at(folder.display())
        .remedy("name the folder that it was begun in with --out, or leave --resume out to begin")
}

/// Answers signals from now on, in a thread of its own; those that this process was told to ignore stay ignored, as
/// `nohup` wants it. Call once.
///
/// # Errors
/// [`Kind::Usage`] where the system refuses.
pub(super) fn listen() -> Result<()> {
    listen_to(signalled).map_err(|e| Fault::new(Kind::Usage, "termination signals cannot be caught").found(e))
}

#[cfg(unix)]
fn listen_to(answer: fn(Asked)) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal));
    let mut signals = signal_hook::iterator::Signals::new(wanted)?;
    let told = move || {
        for signal in signals.forever() {
            answer(if signal == SIGHUP { Asked::Hangup } else { Asked::Wish });
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(told).map(|_| ())
}

#[cfg(not(unix))]
fn listen_to(answer: fn(Asked)) -> std::result::Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || answer(Asked::Wish))
}

/// Whether whoever started this process has it ignore a signal.
#[cfg(unix)]
#[allow(unsafe_code)]
fn is_ignored(signal: i32) -> bool {
    // SAFETY: all zeros are a valid `sigaction`; with no new action the call changes nothing, and only writes the
    // present one there.
    unsafe {
        let mut present: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut present) == 0
            && present.sa_sigaction == libc::SIG_IGN
    }
}

/// What a signal does, and Ctrl-C where a view reads the keys. A view shows by itself that the flag is set.
pub(super) fn signalled(who: Asked) {
    let mut state = state();
    if !state.training {
        drop(state);
        leave("interrupted");
    }
    match state.asked {
        None => {
            state.asked = Some(Instant::now());
            drop(state);
            ASKED.store(true, Ordering::Relaxed);
            if !terminal::is_up() {
                output::tell(format_args!("\n{SAVING}"));
            }
        }
        Some(first) if who == Asked::Wish && first.elapsed() >= ECHO => {
            drop(state);
            leave("left at once, without a checkpoint of the last steps");
        }
        Some(_) => {}
    }
}

/// Ends the process with a fault that another thread will never come back from.
pub(super) fn give_up(fault: &Fault) -> ! {
    end(format!("error: {fault}"), i32::from(fault.exit_code()))
}

fn leave(what: &str) -> ! {
    end(format!("{what}; go on with: {}", go_on()), Kind::Interrupted as i32)
}

/// Ends the process: without waiting for any other thread, whatever it is just doing.
fn end(last_words: String, code: i32) -> ! {
    // A disk that does not answer may hold one thread, not this one.
    let (done, is_done) = channel();
    let tidying = thread::Builder::new().spawn(move || {
        leftovers::take_back();
        let _ = done.send(());
    });
    if tidying.is_ok() {
        let _ = is_done.recv_timeout(PATIENCE);
    }
    terminal::wipe();
    terminal::lower();
    output::tell(last_words);
    output::flush(Some(PATIENCE));
    // Without what drivers have put down for the end of a process: their threads are still at work.
    #[cfg(unix)]
    signal_hook::low_level::exit(code);
    #[cfg(not(unix))]
    std::process::exit(code);
}
