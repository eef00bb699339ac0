//! The only place that writes to standard output and standard error.
//!
//! Results go to standard output, and failing to write one is an error. Everything else is a diagnostic: it goes to
//! standard error through a queue that has its own thread, so a closed terminal, a full disk or an unread pipe neither
//! ends nor blocks the program.

mod queue;

use crate::fault::{Fault, Result};
use crate::visible;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
pub(super) use queue::{flush, is_idle};
use std::fmt::{Debug, Display};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a result waits for earlier diagnostics to be read.
const PATIENCE: Duration = Duration::from_millis(500);
/// Maximum redraws of a bar per second.
const BAR_RATE: u8 = 10;

/// Whether the diagnostics before an earlier result were not read in time.
static STALLED: AtomicBool = AtomicBool::new(false);

/// Prints a result as one line on standard output, with control characters in names escaped. The reader may leave
/// early, as `head` does.
///
/// # Errors
/// [`Kind::Io`](crate::fault::Kind::Io) if it cannot be written.
pub(super) fn say(text: impl Display) -> Result<()> {
    write_result(&format!("{}\n", visible::lines(&text.to_string()))).map(|_| ())
}

/// Prints an object of JSON. What a terminal would act on is escaped as JSON does it.
///
/// # Errors
/// As [`say`].
pub(super) fn say_json(value: impl Display) -> Result<()> {
    write_result(&format!("{}\n", visible::json(&value.to_string()))).map(|_| ())
}

/// Prints part of a result on standard output at once. Returns whether anybody still reads it.
///
/// # Errors
/// [`Kind::Io`](crate::fault::Kind::Io) if it cannot be written.
pub(super) fn write_result(text: &str) -> Result<bool> {
    // On a terminal, notes appear before the result they belong to. After a reader has once timed out, later results do
    // not wait.
    if is_idle() || !STALLED.load(Ordering::Relaxed) {
        STALLED.store(!flush(Some(PATIENCE)), Ordering::Relaxed);
    }
    let mut out = io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// The columns of the terminal that results go to; `None` if they go elsewhere.
pub(super) fn terminal_columns() -> Option<usize> {
    let columns = io::stdout().is_terminal().then(|| ratatui::crossterm::terminal::size().ok()).flatten()?.0;
    (columns > 0).then_some(columns.into())
}

/// Turns the outcome of a write into whether anybody still reads.
pub(super) fn written(outcome: io::Result<()>) -> Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Fault::io("write the result", Path::new("standard output"), &e)),
    }
}

/// Prints a diagnostic as one line on standard error, with control characters in names escaped. Returns at once and
/// never fails.
pub(super) fn tell(text: impl Display) {
    let clear = if LINE_BEGUN.swap(false, Ordering::Relaxed) { CLEAR } else { "" };
    queue::put(format!("{clear}{}\n", visible::lines(&text.to_string())).into_bytes());
}

/// Draws a line that will be redrawn on the terminal behind standard error; a diagnostic replaces it. Text that ends in
/// [`CLEAR`] leaves no line.
pub(super) fn draw_line(text: String) {
    LINE_BEGUN.store(!text.ends_with(CLEAR) && !text.ends_with('\n'), Ordering::Relaxed);
    queue::put(text.into_bytes());
}

/// Clears the terminal's current line.
pub(super) const CLEAR: &str = "\r\x1b[2K";

/// Whether the cursor is in a line that [`draw_line`] has drawn.
static LINE_BEGUN: AtomicBool = AtomicBool::new(false);

/// Sends bytes to the terminal behind standard error, such as pictures and cursor movements.
pub(super) fn emit(bytes: Vec<u8>) {
    queue::put(bytes);
}

/// A bar on standard error; hidden with `quiet`, or if standard error is no terminal.
pub(super) fn bar(quiet: bool, template: &str) -> ProgressBar {
    let bar = if quiet || !io::stderr().is_terminal() {
        ProgressBar::hidden()
    } else {
        let target = ProgressDrawTarget::term_like_with_hz(Box::<BarTerminal>::default(), BAR_RATE);
        ProgressBar::with_draw_target(None, target)
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("━╸ "));
    bar
}

/// The terminal as a bar sees it: a picture is collected, and sent once the one before has arrived.
#[derive(Debug, Default)]
struct BarTerminal(Mutex<String>);

impl BarTerminal {
    fn add(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    fn step(&self, count: usize, letter: char) -> io::Result<()> {
        if count > 0 { self.add(&format!("\x1b[{count}{letter}")) } else { Ok(()) }
    }
}

impl TermLike for BarTerminal {
    fn width(&self) -> u16 {
        ratatui::crossterm::terminal::size().map_or(80, |(columns, _)| columns.max(1))
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.step(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.step(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.step(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.step(n, 'D')
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        self.add(s)?;
        self.add("\n")
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.add(s)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.add(CLEAR)
    }

    fn flush(&self) -> io::Result<()> {
        let picture = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if !picture.is_empty() {
            draw_line(picture);
        }
        Ok(())
    }
}
