//! Who has the terminal: a live view, a line that is redrawn, or nobody; and how it is restored, however they end. The
//! drawing code (`progress/screen.rs`, `waiting.rs`) and the code that ends the process (`stop.rs`) both build on this.

use super::output;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The owner of the whole terminal, as others see it.
pub(super) trait View: Send + Sync {
    /// Shows one line for a person.
    fn note(&self, text: &str);

    /// Takes the notes not yet in the scrollback; `None` while another thread holds them.
    fn take_pending(&self) -> Option<Vec<String>>;
}

/// The view that has the terminal. Whoever sends to the terminal meanwhile holds this lock, so that nothing is drawn
/// after the terminal is restored. Nothing is written under the lock.
static VIEW: Mutex<Option<Arc<dyn View>>> = Mutex::new(None);

fn view() -> MutexGuard<'static, Option<Arc<dyn View>>> {
    VIEW.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a view has the terminal.
pub(super) fn is_up() -> bool {
    view().is_some()
}

/// Gives the terminal to a view: the alternate screen, without cursor or echo. Returns whether the terminal accepted.
pub(super) fn raise(new: Arc<dyn View>) -> bool {
    if enable_raw_mode().is_err() {
        return false;
    }
    let mut bytes = Vec::new();
    let drawn = queue!(bytes, EnterAlternateScreen, Hide);
    {
        let mut view = view();
        *view = Some(new);
        output::emit(bytes);
    }
    if drawn.is_err() {
        lower();
    }
    drawn.is_ok()
}

/// Sends bytes to the terminal if a view has it.
pub(super) fn draw(bytes: Vec<u8>) {
    let view = view();
    if view.is_some() && !bytes.is_empty() {
        output::emit(bytes);
    }
}

/// Shows one line: as a note if a view has the terminal, else on standard error.
pub(super) fn say(text: &str) {
    match &*view() {
        Some(view) => view.note(text),
        None => {
            let mut line = line();
            wipe_standing(&mut line);
            output::tell(text);
        }
    }
}

/// Restores the terminal, then prints the notes that the view has shown. Does nothing if no view has the terminal. May
/// be called from any thread, even from a panicking one.
pub(super) fn lower() {
    let Some(view) = ({
        let mut view = view();
        let lowered = view.take();
        if lowered.is_some() {
            let mut bytes = Vec::new();
            let _ = queue!(bytes, LeaveAlternateScreen, Show);
            output::emit(bytes);
        }
        lowered
    }) else {
        return;
    };
    // A closed terminal needs nothing any more.
    let _ = disable_raw_mode();
    // A panicking thread may hold the notes; any other holder releases them at once.
    for _ in 0..100 {
        match view.take_pending() {
            Some(notes) => return notes.into_iter().for_each(output::tell),
            None => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Whether a line that will be redrawn is on the terminal. Whoever sends such a line, or a line after it, holds this lock,
/// so that two threads never share a line. Nothing is written under the lock.
static LINE: Mutex<bool> = Mutex::new(false);

fn line() -> MutexGuard<'static, bool> {
    LINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Erases such a line.
pub(super) const WIPE: &str = "\r\x1b[2K";

/// Sends a line; `stands` says whether it is on a terminal, to be erased later.
pub(super) fn show_line(bytes: String, stands: bool) {
    let mut line = line();
    *line = stands;
    output::emit(bytes.into_bytes());
}

/// Erases the line before the next output.
pub(super) fn wipe() {
    wipe_standing(&mut line());
}

fn wipe_standing(line: &mut bool) {
    if std::mem::take(line) {
        output::emit(WIPE.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl View for Mutex<Vec<String>> {
        fn note(&self, text: &str) {
            self.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
        }

        fn take_pending(&self) -> Option<Vec<String>> {
            match self.try_lock() {
                Ok(mut notes) => Some(std::mem::take(&mut *notes)),
                Err(std::sync::TryLockError::Poisoned(notes)) => {
                    Some(std::mem::take(&mut *notes.into_inner()))
                }
                Err(std::sync::TryLockError::WouldBlock) => None,
            }
        }
    }

    /// What the panic hook does in a thread that panics while holding the notes: it must return.
    #[test]
    fn lowering_a_view_never_blocks() {
        let notes = Arc::new(Mutex::new(Vec::new()));
        *view() = Some(notes.clone());
        say("a note of the view");
        let held = notes.clone();
        let thread = thread::spawn(move || {
            let _held = held.lock();
            lower();
            assert!(!is_up());
            panic!("on purpose, with the notes held");
        });
        assert!(thread.join().is_err());
        // Nobody shows the notes any more, yet they can still be taken.
        assert_eq!(notes.take_pending().map(|notes| notes.len()), Some(1));
        notes.note("another");
        *view() = Some(notes.clone());
        lower();
        assert!(!is_up());
        assert_eq!(notes.take_pending(), Some(Vec::new()));
    }
}
