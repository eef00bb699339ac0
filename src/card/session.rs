//! The time and commands of one part of a card.

use super::State;
use crate::fault::Fault;
use crate::process::{End, Finished, run};
use crate::shell;
use serde_json::Value;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A path that a card does not reveal, and its replacement.
#[derive(Clone, Debug)]
pub struct Named {
    pub path: PathBuf,
    pub word: &'static str,
}

/// Why a part did not finish, and what it measured before.
#[derive(Clone, Debug)]
pub struct Stop {
    pub state: State,
    pub why: String,
    pub results: Value,
}

/// What a part measured.
pub type Outcome = Result<Value, Stop>;

impl Stop {
    pub fn failed(why: impl Into<String>) -> Self {
        Self { state: State::Failed, why: why.into(), results: Value::Null }
    }

    pub fn left_out(why: impl Into<String>) -> Self {
        Self { state: State::LeftOut, ..Self::failed(why) }
    }

    /// Adds what was measured before the stop.
    pub fn with(self, results: Value) -> Self {
        Self { results, ..self }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::failed(fault.to_string())
    }
}

/// What a part may use: the card's folder, time, and this program's own commands.
pub struct Session<'a> {
    /// This program.
    pub program: &'a Path,
    /// The options of every command: which device.
    pub options: &'a [String],
    /// The card's folder and everything's working directory.
    pub folder: &'a Path,
    pub hidden: &'a [Named],
    pub until: Instant,
    /// The command lines so far.
    pub commands: Vec<String>,
}

impl Session<'_> {
    /// Seconds left.
    pub fn left(&self) -> f64 {
        self.until.saturating_duration_since(Instant::now()).as_secs_f64()
    }

    /// Runs a command of this program on the device to completion.
    pub fn normfree(&mut self, arguments: &[&str]) -> Result<Finished, Stop> {
        self.normfree_until(arguments, &mut || false)
    }

    /// The same, until `enough` returns true.
    pub fn normfree_until(
        &mut self,
        arguments: &[&str],
        enough: &mut dyn FnMut() -> bool,
    ) -> Result<Finished, Stop> {
        let arguments: Vec<String> =
            arguments.iter().map(|&word| word.to_owned()).chain(self.options.iter().cloned()).collect();
        self.start(self.program, "normfree", &arguments, enough)
    }

    /// Runs a Python script; the card does not reveal the interpreter's path.
    pub fn python(&mut self, interpreter: &Path, arguments: &[String]) -> Result<Finished, Stop> {
        self.start(interpreter, "python", arguments, &mut || false)
    }

    fn start(
        &mut self,
        program: &Path,
        called: &str,
        arguments: &[String],
        enough: &mut dyn FnMut() -> bool,
    ) -> Result<Finished, Stop> {
        let typed = arguments.iter().map(|argument| shell::quoted(&OsString::from(argument)));
        let line = std::iter::once(called.to_owned()).chain(typed).collect::<Vec<_>>().join(" ");
        self.commands.push(self.without_paths(&line));
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder);
        // The limit may have passed by now.
        let until = self.until.max(Instant::now() + Duration::from_millis(1));
        Ok(run(&mut command, until, enough)?)
    }

    /// Why a program's end counts as a failure; `None` if it does not.
    pub fn trouble(&self, finished: &Finished) -> Option<Stop> {
        let (state, what) = match finished.end {
            End::Code(0) | End::Enough => return None,
            End::Code(code) => (State::Failed, format!("exit code {code}")),
            End::Signal(signal) => (State::Failed, format!("it crashed: signal {signal}")),
            End::Late => (State::Cut, "it ran out of time".to_owned()),
        };
        // The message is the last line; a signal leaves none.
        let said = finished.complaint.lines().map(str::trim).rfind(|line| !line.is_empty());
        let said = said.filter(|_| !matches!(finished.end, End::Late));
        let why = said.map_or(what.clone(), |said| format!("{what}: {said}"));
        Some(Stop { state, why, results: Value::Null })
    }

    /// The one JSON object that a command printed.
    pub fn answer(&self, finished: &Finished) -> Outcome {
        if let Some(stop) = self.trouble(finished) {
            return Err(stop);
        }
        let last = finished.lines.iter().rfind(|line| !line.is_empty());
        let value = last.and_then(|line| serde_json::from_str(line).ok());
        value.ok_or_else(|| Stop::failed("it succeeded, but its output is not JSON"))
    }

    /// The text without private folder names.
    pub fn without_paths(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for Named { path, word } in self.hidden {
            let path = path.display().to_string();
            // The root would match every path.
            if path.len() > 1 {
                text = text.replace(&path, word);
            }
        }
        text
    }

    /// Writes a file in the card's folder, creating its parent folder.
    pub fn write(&self, name: &str, text: &str) -> Result<(), Stop> {
        let path = self.folder.join(name);
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let written = made.and_then(|()| std::fs::write(&path, text));
        written.map_err(|error| Fault::io("write", &path, &error).into())
    }

    /// Removes large files that nobody sends to others.
    pub fn remove(&self, name: &str) {
        let _ = std::fs::remove_dir_all(self.folder.join(name));
    }
}
