//! The live view on the terminal: a thread that draws the board and reads keys until the view ends.

use super::board::Board;
use super::colours::Depth;
use super::tabs::Tab;
use super::view;
use crate::cli::stop::Asked;
use crate::cli::{output, stop, terminal};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two redraws.
const FRAME: Duration = Duration::from_millis(250);
/// The response time to a key, a resized window and the view's end.
const TICK: Duration = Duration::from_millis(50);
/// How long after a new size every picture is drawn anew: some terminals rearrange what is on them only some time later.
const SETTLING: Duration = Duration::from_millis(700);
/// How long the view's end waits for its thread, which a closed terminal may block forever.
const PATIENCE: Duration = Duration::from_millis(500);

/// The board, even after a thread panicked while holding it.
pub(super) fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

impl terminal::View for Mutex<Board> {
    fn note(&self, text: &str) {
        lock(self).note(text.to_owned());
    }

    fn take_pending(&self) -> Option<Vec<String>> {
        let mut board = match self.try_lock() {
            Ok(board) => board,
            Err(TryLockError::Poisoned(board)) => board.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(std::mem::take(&mut board.pending))
    }
}

/// The view while it has the terminal. Dropping it gives the terminal back.
#[derive(Debug)]
pub(super) struct Screen {
    ending: Arc<AtomicBool>,
    ended: Receiver<()>,
}

impl Screen {
    /// Whether this process may show a view: it needs a person at a terminal that can do more than print lines.
    pub fn is_possible() -> bool {
        let terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
        terminal && can_draw() && is_in_foreground()
    }

    /// Takes the terminal and shows the board; `None` if the terminal refuses. Keys ask to stop.
    pub fn raise(board: &Arc<Mutex<Board>>) -> Option<Self> {
        if !terminal::raise(board.clone()) {
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
            terminal::lower();
            return None;
        }
        Some(Self { ending, ended })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        // First wait for the thread: it would read keys meant for others.
        let _ = self.ended.recv_timeout(PATIENCE);
        terminal::lower();
    }
}

/// Whether the terminal's name is one that supports drawing.
fn can_draw() -> bool {
    let name = std::env::var_os("TERM");
    match name {
        Some(name) => name != "dumb" && !name.is_empty(),
        None => cfg!(windows),
    }
}

/// A background process that touches its terminal is stopped.
#[cfg(unix)]
fn is_in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(not(unix))]
fn is_in_foreground() -> bool {
    true
}

/// Bytes waiting to be sent to the terminal.
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
    /// Sends a whole picture to the terminal at once, if the view has it.
    fn emit(&self) {
        terminal::draw(std::mem::take(&mut *self.0.borrow_mut()));
    }
}

/// Draws and listens until the view ends. Tab, the arrow keys and digits choose what is shown.
fn show(board: &Mutex<Board>, ending: &AtomicBool) {
    let depth = Depth::of_terminal();
    let frame = Frame::default();
    let Ok(mut terminal) = Terminal::new(CrosstermBackend::new(frame.clone())) else { return };
    let mut due = Instant::now();
    let (mut tab, mut settled) = (Tab::default(), due);
    while !ending.load(Ordering::Relaxed) && terminal::is_up() {
        let now = Instant::now();
        // A picture is a difference from the previous one, which must have arrived.
        if now >= due && output::is_idle() {
            // Training does not wait for the drawing.
            let copy = lock(board).clone();
            let stopping = stop::flag().load(Ordering::Relaxed);
            // A picture that differs from one that is no longer there would leave parts of it.
            let whole = now >= settled || terminal.clear().is_ok();
            if whole && terminal.draw(|picture| view::draw(picture, &copy, depth, stopping, tab)).is_ok() {
                frame.emit();
            }
            due = now + FRAME;
        }
        match event::poll(TICK) {
            Ok(true) => match event::read() {
                Ok(Event::Resize(..)) => {
                    due = Instant::now();
                    settled = due + SETTLING;
                }
                Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => {
                    match tab
                        .after(key.code)
                        .filter(|_| key.modifiers.is_empty() || key.code == KeyCode::BackTab)
                    {
                        Some(other) => tab = other,
                        None => press(key),
                    }
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

/// Ctrl-C works as it does without a view; q asks to stop too, but never ends the process at once.
fn press(key: KeyEvent) {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => stop::signalled(Asked::Wish),
        KeyCode::Char('q' | 'Q') if !control => stop::flag().store(true, Ordering::Relaxed),
        _ => {}
    }
}
