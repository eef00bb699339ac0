//! Who has the terminal: a live view, a line that is drawn anew, or nobody; and the way back from there, whatever ends
//! them. What draws (`progress/screen.rs`, `waiting.rs`) and what ends the process (`stop.rs`) both stand on this.

use super::output;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What has the whole terminal, as far as others must know it.
pub(super) trait View: Send + Sync {
    /// Shows one line for a person.
    fn note(&self, text: &str);

    /// Takes the notes that no scrollback has yet; `None` while another thread holds them.
    fn take_pending(&self) -> Option<Vec<String>>;
}

/// The view that has the terminal. Whoever sends something to the terminal meanwhile holds this, so that nothing is drawn
/// after the way back; nothing is written under it.
static VIEW: Mutex<Option<Arc<dyn View>>> = Mutex::new(None);

fn view() -> MutexGuard<'static, Option<Arc<dyn View>>> {
    VIEW.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a view has the terminal.
pub(super) fn is_up() -> bool {
    view().is_some()
}

/// Gives the terminal to a view: another screen, without cursor or echo. Whether the terminal took it.
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

/// Sends bytes to the terminal while a view has it.
pub(super) fn draw(bytes: Vec<u8>) {
    let view = view();
    if view.is_some() && !bytes.is_empty() {
        output::emit(bytes);
    }
}

/// One line for a person: a note in the view where one has the terminal, else a line on standard error.
pub(super) fn say(text: &str) {
    match &*view() {
        Some(view) => view.note(text),
        None => output::tell(text),
    }
}

/// Gives the terminal back as it was, and then prints the notes that the view has shown. Does nothing where no view has
/// the terminal, and may be called from any thread, also from one that panics.
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
    // A terminal that is gone needs nothing any more.
    let _ = disable_raw_mode();
    // Who panics may hold the notes; whoever else does lets go of them at once.
    for _ in 0..100 {
        match view.take_pending() {
            Some(notes) => return notes.into_iter().for_each(output::tell),
            None => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// A line stands on the terminal that is to be drawn anew.
static LINE: AtomicBool = AtomicBool::new(false);

/// What takes such a line away.
pub(super) const WIPE: &str = "\r\x1b[2K";

/// Sends a line; whether it stands on a terminal, to be taken away again.
pub(super) fn show_line(bytes: String, stands: bool) {
    LINE.store(stands, Ordering::Relaxed);
    output::emit(bytes.into_bytes());
}

/// Takes the line away for what is said next.
pub(super) fn wipe() {
    if LINE.swap(false, Ordering::Relaxed) {
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

    /// What the hook of panics does, from a thread that panics with the notes in its hand: it must come back.
    #[test]
    fn the_way_back_waits_for_nobody() {
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
        // Nobody shows them any more, and they can be had all the same.
        assert_eq!(notes.take_pending().map(|notes| notes.len()), Some(1));
        notes.note("another");
        *view() = Some(notes.clone());
        lower();
        assert!(!is_up());
        assert_eq!(notes.take_pending(), Some(Vec::new()));
    }
}
