//! A line about slow work: nothing in the first second; then, on a terminal, a line that is redrawn, and elsewhere a
//! line now and then.

use super::terminal;
use crate::gpu::Stage;
use crate::numbers::duration;
use std::io::{self, IsTerminal};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Faster work is not worth a word.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time between two redraws on a terminal, and between two lines elsewhere.
const TICK: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows what is being waited for, until dropped.
pub(super) struct Waiting {
    text: Text,
    quiet: bool,
    /// The thread that shows the line, and the channel that ends it; nothing if quiet.
    teller: Option<(Sender<()>, JoinHandle<()>)>,
}

/// The text, which the working code updates.
#[derive(Clone)]
pub(super) struct Text(Arc<Mutex<String>>);

impl Text {
    pub fn set(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A listener that describes what a device is doing.
    pub fn of_device(&self) -> Box<dyn Fn(Stage, usize, usize)> {
        let text = self.clone();
        Box::new(move |stage, done, all| {
            let stage = match stage {
                Stage::Compiling => "compiling kernels",
                Stage::Loading => "loading kernels onto the device",
            };
            text.set(format!("{stage}: {done} of {all}"));
        })
    }
}

impl Waiting {
    /// Starts waiting for `what`; prints nothing if `quiet`.
    pub fn begin(what: &str, quiet: bool) -> Self {
        let text = Text(Arc::new(Mutex::new(what.to_owned())));
        let mut waiting = Self { text, quiet, teller: None };
        waiting.make_way();
        waiting
    }

    /// Erases the line, and waits another second before showing one again.
    pub fn make_way(&mut self) {
        self.end();
        if self.quiet {
            return;
        }
        let (end, ended) = channel::<()>();
        let told = self.text.clone();
        let teller = thread::Builder::new().name("waiting".to_owned()).spawn(move || {
            let mut line = Line::new(Instant::now(), io::stderr().is_terminal());
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                if let Some(bytes) = line.next(&told.get(), Instant::now()) {
                    terminal::show_line(bytes, line.terminal);
                }
            }
            terminal::wipe();
        });
        self.teller = teller.ok().map(|teller| (end, teller));
    }

    /// Stops showing anything.
    pub fn end(&mut self) {
        if let Some((end, teller)) = self.teller.take() {
            drop(end);
            // What is printed next must not be erased.
            let _ = teller.join();
        }
    }

    pub fn text(&self) -> &Text {
        &self.text
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end();
    }
}

/// Decides when to write which bytes.
struct Line {
    begun: Instant,
    terminal: bool,
    /// When something was last shown, and what.
    shown: Option<(Instant, String)>,
}

impl Line {
    fn new(now: Instant, terminal: bool) -> Self {
        Self { begun: now, terminal, shown: None }
    }

    /// What to write now, if anything.
    fn next(&mut self, text: &str, now: Instant) -> Option<String> {
        let waited = now.duration_since(self.begun);
        if waited < PATIENCE {
            return None;
        }
        let bytes = if self.terminal {
            let text = format!("{text} ({})", duration(waited.as_secs_f64()));
            if self.shown.as_ref().is_some_and(|(_, before)| *before == text) {
                return None;
            }
            let bytes = format!("{}{text}", terminal::WIPE);
            self.shown = Some((now, text));
            bytes
        } else {
            let due = self.shown.as_ref().is_none_or(|(last, _)| now.duration_since(*last) >= LINE_EVERY);
            if !due {
                return None;
            }
            self.shown = Some((now, text.to_owned()));
            format!("note: {text}\n")
        };
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_longer_than_a_second_is_reported() {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut lines = Line::new(start, false);
        assert_eq!(lines.next("compiling", at(0.9)), None);
        assert_eq!(lines.next("compiling", at(1.1)).as_deref(), Some("note: compiling\n"));
        assert_eq!(lines.next("timing", at(5.0)), None);
        assert_eq!(lines.next("timing", at(11.2)).as_deref(), Some("note: timing\n"));

        let mut line = Line::new(start, true);
        assert_eq!(line.next("compiling", at(0.9)), None);
        assert_eq!(line.next("compiling", at(1.1)).as_deref(), Some("\r\x1b[2Kcompiling (1 s)"));
        assert_eq!(line.next("compiling", at(1.2)), None);
        assert_eq!(line.next("timing", at(1.3)).as_deref(), Some("\r\x1b[2Ktiming (1 s)"));
        assert_eq!(line.next("timing", at(65.0)).as_deref(), Some("\r\x1b[2Ktiming (1 min 05 s)"));
    }
}
