//! Ctrl-C and termination signals. While any run trains, the first signal requests an orderly stop with a checkpoint of
//! each, and a second Ctrl-C ends the process. At any other time there is nothing to save: the process ends at once and
//! undoes what it has begun.

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

/// The reply to a request to stop a training.
const SAVING: &str = "finishing this step and writing a checkpoint; press again to exit at once, without one";
/// `timeout`, `make` and others forward a signal that the system has already delivered: a second one this early is not
/// a second request.
const ECHO: Duration = Duration::from_millis(500);
/// How long removing files and reading the last messages may take before the process ends anyway.
const PATIENCE: Duration = Duration::from_millis(400);

/// The source of a request.
#[cfg_attr(not(unix), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Ctrl-C, or another program's termination request.
    Wish,
    /// The terminal is gone. Shell and system both report it, one after the other.
    Hangup,
}

/// Set once a training has been asked to stop.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Set once a thread ends the process, before it removes what was begun. Runs begin to train under the lock of the state,
/// under which a signal finds that none does.
static LEAVING: AtomicBool = AtomicBool::new(false);

/// Set by a command that goes on until a signal ends it.
static ENDS_AT_A_SIGNAL: AtomicBool = AtomicBool::new(false);

struct State {
    /// How many runs are training and have something to save.
    training: usize,
    /// When they were asked to stop.
    asked: Option<Instant>,
    /// The command line that resumes them; empty if this process's own does.
    go_on: String,
}

static STATE: Mutex<State> = Mutex::new(State { training: 0, asked: None, go_on: String::new() });

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The flag that becomes true when a training should stop.
pub(super) fn flag() -> &'static AtomicBool {
    &ASKED
}

/// Marks that one more run is training; `go_on` is the command line that resumes it. No run begins once a stop was
/// requested, which happens to one that was being opened while others trained. Never returns if another thread is ending
/// the process, which removes the run's folder.
///
/// # Errors
/// [`Kind::Interrupted`].
pub(super) fn training_begins(go_on: String) -> Result<()> {
    let mut state = loop {
        let state = state();
        if !LEAVING.load(Ordering::SeqCst) {
            break state;
        }
        drop(state);
        await_end();
    };
    // The flag is set after the state, without its lock; `q` in a view sets only the flag.
    if state.asked.is_some() || flag().load(Ordering::Relaxed) {
        return Err(Fault::new(Kind::Interrupted, "interrupted before the run began")
            .remedy(format!("continue with: {go_on}")));
    }
    state.training += 1;
    state.go_on = go_on;
    Ok(())
}

/// From here on a signal is the way in which this command ends, without a word and without an error.
pub(super) fn ends_at_a_signal() {
    ENDS_AT_A_SIGNAL.store(true, Ordering::Relaxed);
}

/// Marks that a run which was training has nothing left to save.
pub(super) fn training_ends() {
    state().training -= 1;
}

/// The command line that continues if this process stops.
pub(super) fn go_on() -> String {
    let go_on = state().go_on.clone();
    if go_on.is_empty() { shell::same_command() } else { go_on }
}

/// The same for a panicking thread, which must not block; only while a run trains.
pub(super) fn go_on_after_defect() -> Option<String> {
    let state = STATE.try_lock().ok()?;
    (state.training > 0 && !state.go_on.is_empty()).then(|| state.go_on.clone())
}

/// Interrupts a command that trains several runs, if a stop was requested as one of them ended.
///
/// # Errors
/// [`Kind::Interrupted`].
pub(super) fn between_runs() -> Result<()> {
    if !flag().load(Ordering::Relaxed) {
        return Ok(());
    }
    Err(Fault::new(Kind::Interrupted, "interrupted between two runs")
        .remedy(format!("continue with: {}", go_on())))
}

/// The fault of `--resume` when nothing was begun.
pub(super) fn nothing_to_resume(folder: &Path) -> Fault {
    Fault::new(Kind::RunFolder, "there is nothing to resume")
        .at(folder.display())
        .remedy("give the folder it was started in with --out, or omit --resume to start")
}

/// Answers signals from now on, in a thread of its own. Signals that this process was told to ignore stay ignored, as
/// `nohup` requires. Call once.
///
/// # Errors
/// [`Kind::Usage`] if the system refuses.
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

/// Whether this process's parent has it ignore a signal.
#[cfg(unix)]
#[allow(unsafe_code)]
fn is_ignored(signal: i32) -> bool {
    // SAFETY: all zeros are a valid `sigaction`; without a new action the call changes nothing and only writes the
    // current one there.
    unsafe {
        let mut present: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut present) == 0
            && present.sa_sigaction == libc::SIG_IGN
    }
}

/// Handles a signal, and Ctrl-C if a view reads the keys. A view itself shows that the flag is set.
pub(super) fn signalled(who: Asked) {
    let mut state = state();
    if state.training == 0 {
        LEAVING.store(true, Ordering::SeqCst);
        drop(state);
        if ENDS_AT_A_SIGNAL.load(Ordering::Relaxed) {
            end(String::new(), 0);
        }
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
            leave("exited at once, without a checkpoint of the last steps");
        }
        Some(_) => {}
    }
}

/// Ends the process with a fault that blocks another thread forever.
pub(super) fn give_up(fault: &Fault) -> ! {
    end(format!("error: {fault}"), i32::from(fault.exit_code()))
}

fn leave(what: &str) -> ! {
    end(format!("{what}; continue with: {}", go_on()), Kind::Interrupted as i32)
}

/// Never returns if another thread is ending the process: what this one was doing may have failed only because files that
/// were begun are gone, and how the process ends is settled.
pub(super) fn await_end() {
    while LEAVING.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// Ends the process without waiting for any other thread, whatever it is doing.
fn end(last_words: String, code: i32) -> ! {
    LEAVING.store(true, Ordering::SeqCst);
    // A disk that does not answer may block that thread, but not this one.
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
    if !last_words.is_empty() {
        output::tell(last_words);
    }
    output::flush(Some(PATIENCE));
    // Skips the exit handlers that drivers have registered: their threads are still running.
    #[cfg(unix)]
    signal_hook::low_level::exit(code);
    #[cfg(not(unix))]
    std::process::exit(code);
}

/// Held by tests that request a stop, which is one for the whole process.
#[cfg(test)]
pub(super) static REQUESTED_BY_TESTS: Mutex<()> = Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_run_begins_after_a_stop_was_requested() {
        let _alone = REQUESTED_BY_TESTS.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(training_begins("one".to_owned()), Ok(()));
        assert_eq!(training_begins("two".to_owned()), Ok(()));
        flag().store(true, Ordering::Relaxed);
        let refused = training_begins("three".to_owned()).unwrap_err();
        flag().store(false, Ordering::Relaxed);
        state().asked = Some(Instant::now());
        assert_eq!(training_begins("three".to_owned()).unwrap_err(), refused);
        state().asked = None;
        assert_eq!(refused.to_string(), "interrupted before the run began; continue with: three");
        // Until the last has ended there is something to save.
        training_ends();
        assert_eq!(go_on_after_defect().as_deref(), Some("two"));
        training_ends();
        assert_eq!(go_on_after_defect(), None);
        // What was begun is being removed.
        LEAVING.store(true, Ordering::SeqCst);
        let late = thread::spawn(|| training_begins("four".to_owned()));
        thread::sleep(Duration::from_millis(50));
        assert!(!late.is_finished() && state().training == 0);
        LEAVING.store(false, Ordering::SeqCst);
        late.thread().unpark();
        assert_eq!(late.join().unwrap(), Ok(()));
        training_ends();
    }
}
