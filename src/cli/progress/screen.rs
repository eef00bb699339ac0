//! The terminal while the live view has it: another screen without cursor or echo, a thread that draws on it and reads
//! keys, and the way back from there, whatever ends the view.

use super::board::Board;
use super::colours::Depth;
use super::view;
use crate::cli::stop::Asked;
use crate::cli::{output, stop};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two pictures.
const FRAME: Duration = Duration::from_millis(250);
/// Time in which a key, a change of the window's size and the view's end are answered.
const TICK: Duration = Duration::from_millis(50);
/// How long the view's end waits for its thread, which a terminal that is gone may hold for ever.
const PATIENCE: Duration = Duration::from_millis(500);

/// The board that is shown, while the view has the terminal. Whoever sends something to the terminal meanwhile holds
/// this, so that nothing is drawn after the way back; nothing is written under it.
static SHOWN: Mutex<Option<Arc<Mutex<Board>>>> = Mutex::new(None);

fn shown() -> MutexGuard<'static, Option<Arc<Mutex<Board>>>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the view has the terminal.
pub(in crate::cli) fn is_up() -> bool {
    shown().is_some()
}

/// One line for a person: a note in the view where it has the terminal, else a line on standard error.
pub(in crate::cli) fn say(text: &str) {
    match &*shown() {
        Some(board) => lock(board).note(text.to_owned()),
        None => output::tell(text),
    }
}

/// Gives the terminal back as it was, and then prints the notes that the view has shown. Does nothing where the view does
/// not have the terminal, and may be called from any thread, also from one that panics.
pub(in crate::cli) fn lower() {
    let Some(board) = ({
        let mut shown = shown();
        let board = shown.take();
        if board.is_some() {
            let mut bytes = Vec::new();
            let _ = queue!(bytes, LeaveAlternateScreen, Show);
            output::emit(bytes);
        }
        board
    }) else {
        return;
    };
    // A terminal that is gone needs nothing any more.
    let _ = disable_raw_mode();
    // Who panics may hold the board; whoever else does lets go of it at once.
    for _ in 0..100 {
        let mut board = match board.try_lock() {
            Ok(board) => board,
            Err(TryLockError::Poisoned(board)) => board.into_inner(),
            Err(TryLockError::WouldBlock) => {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
        };
        board.pending.drain(..).for_each(output::tell);
        return;
    }
}

/// The board, also where a thread panicked that held it.
pub(super) fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The view as long as it has the terminal; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Screen {
    ending: Arc<AtomicBool>,
    ended: Receiver<()>,
}

impl Screen {
    /// Whether this process may have a view: it talks with a person at a terminal that can do more than print lines.
    pub fn is_possible() -> bool {
        let terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
        terminal && can_draw() && is_in_foreground()
    }

    /// Takes the terminal and shows the board on it; `None` where the terminal refuses. Keys ask to stop.
    pub fn raise(board: &Arc<Mutex<Board>>) -> Option<Self> {
        enable_raw_mode().ok()?;
        let mut bytes = Vec::new();
        let drawn = queue!(bytes, EnterAlternateScreen, Hide);
        {
            let mut shown = shown();
            *shown = Some(board.clone());
            output::emit(bytes);
        }
        if drawn.is_err() {
            lower();
            return None;
        }
        let ending = Arc::new(AtomicBool::new(false));
        let (end, ended) = channel();
        let (board, until) = (board.clone(), ending.clone());
        let thread = thread::Builder::new().name("view".to_owned()).spawn(move || {
            show(&board, &until);
            let _ = end.send(());
        });
        if thread.is_err() {
            lower();
            return None;
        }
        Some(Self { ending, ended })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        // First: the thread reads keys that are for others afterwards.
        let _ = self.ended.recv_timeout(PATIENCE);
        lower();
    }
}

/// Whether what this terminal is called is one that can draw.
fn can_draw() -> bool {
    let name = std::env::var_os("TERM");
    match name {
        Some(name) => name != "dumb" && !name.is_empty(),
        None => cfg!(windows),
    }
}

/// A process in the background that touched its terminal would be halted.
#[cfg(unix)]
fn is_in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(not(unix))]
fn is_in_foreground() -> bool {
    true
}

/// Bytes on their way to the terminal.
#[derive(Clone, Default)]
struct Frame(Rc<RefCell<Vec<u8>>>);

impl Write for Frame {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Frame {
    /// Sends a whole picture to the terminal at once, while the view has it.
    fn emit(&self) {
        let bytes = std::mem::take(&mut *self.0.borrow_mut());
        let shown = shown();
        if shown.is_some() && !bytes.is_empty() {
            output::emit(bytes);
        }
    }
}

/// Draws and listens until the view ends.
fn show(board: &Mutex<Board>, ending: &AtomicBool) {
    let depth = Depth::of_terminal();
    let frame = Frame::default();
    let Ok(mut terminal) = Terminal::new(CrosstermBackend::new(frame.clone())) else { return };
    let mut due = Instant::now();
    while !ending.load(Ordering::Relaxed) && is_up() {
        let now = Instant::now();
        // A picture is what changed since the one before, which must have arrived.
        if now >= due && output::is_idle() {
            // Whoever trains does not wait for the drawing.
            let copy = lock(board).clone();
            let stopping = stop::flag().load(Ordering::Relaxed);
            if terminal.draw(|picture| view::draw(picture, &copy, depth, stopping)).is_ok() {
                frame.emit();
            }
            due = now + FRAME;
        }
        match event::poll(TICK) {
            Ok(true) => match event::read() {
                Ok(Event::Resize(..)) => due = Instant::now(),
                Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => {
                    press(key);
                    due = Instant::now();
                }
                Ok(_) => {}
                Err(_) => thread::sleep(TICK),
            },
            Ok(false) => {}
            Err(_) => thread::sleep(TICK),
        }
    }
}

/// Ctrl-C is what it is without a view; q asks alike, but never ends the process at once.
fn press(key: KeyEvent) {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => stop::signalled(Asked::Wish),
        KeyCode::Char('q' | 'Q') if !control => stop::flag().store(true, Ordering::Relaxed),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the hook of panics does, from a thread that panics with the board in its hand: it must come back.
    #[test]
    fn the_way_back_waits_for_nobody() {
        let board = Arc::new(Mutex::new(Board::default()));
        lock(&board).note("a note of the view".to_owned());
        *shown() = Some(board.clone());
        let held = board.clone();
        let thread = thread::spawn(move || {
            let _held = held.lock();
            lower();
            assert!(!is_up());
            panic!("on purpose, with the board held");
        });
        assert!(thread.join().is_err());
        // Nobody shows it any more, and it can be had all the same.
        assert_eq!(lock(&board).pending.len(), 1);
        lower();
        *shown() = Some(board.clone());
        lower();
        assert!(lock(&board).pending.is_empty() && !is_up());
    }
}
