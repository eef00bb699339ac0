//! What can go wrong, as one sentence for a person and one exit code for a script.
//!
//! Every failure a user can cause or meet is a [`Fault`]: what happened, where, what was found there, and a remedy.
//! There is one type for the whole program because every failure ends the same way: printed once by `main`, with the
//! exit code of its [`Kind`].

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::visible;

/// The kind of a fault; its number is the exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The command line asks for something impossible. (clap's own errors also exit with 2.)
    Usage = 2,
    /// A configuration file or a `--set` is wrong.
    Config = 3,
    /// Training text, token files or a tokenizer are missing or damaged.
    Data = 4,
    /// A checkpoint or a weight file is damaged, foreign, or of another shape.
    Checkpoint = 5,
    /// The run folder already exists, is in use, or is not a run folder; or another process is preparing data in a
    /// folder.
    RunFolder = 6,
    /// No adapter, a lost device, or a driver that fails.
    Device = 7,
    /// The model needs more memory than there is, or one line of text needs more than its limit.
    Memory = 8,
    /// Reading or writing a file failed: disk full, no permission.
    Io = 9,
    /// The loss or a gradient stopped being finite.
    NonFinite = 10,
    /// A kernel's result lies outside its bound.
    Verify = 11,
    /// Ctrl-C or a termination signal: the step was finished and a checkpoint written.
    Interrupted = 130,
}

/// One failure: what happened and, where they help, the place, what was found, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    what: String,
    place: Option<String>,
    found: Option<String>,
    remedy: Option<String>,
}

/// A result whose failure is a [`Fault`].
pub type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    /// What went wrong, alone.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// A fault that says what went wrong, without a final full stop.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), place: None, found: None, remedy: None }
    }

    /// The place: a file, a line, a key.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(place.to_string());
        self
    }

    /// What was found there.
    pub fn found(mut self, found: impl fmt::Display) -> Self {
        self.found = Some(found.to_string());
        self
    }

    /// The remedy.
    pub fn remedy(mut self, remedy: impl fmt::Display) -> Self {
        self.remedy = Some(remedy.to_string());
        self
    }

    /// Another remedy.
    pub fn also(mut self, remedy: impl fmt::Display) -> Self {
        self.remedy =
            Some(self.remedy.map_or_else(|| remedy.to_string(), |first| format!("{first}; {remedy}")));
        self
    }

    /// An input/output failure at `path`, worded for a person; `doing` is a verb phrase such as "write the checkpoint".
    /// All writes are atomic, so they can be repeated.
    pub fn io(doing: &str, path: &Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{
            AlreadyExists, IsADirectory, NotADirectory, NotFound, PermissionDenied, StorageFull,
        };
        let fault = Self::new(Kind::Io, format!("cannot {doing}")).at(path.display());
        match error.kind() {
            NotFound => fault.found("nothing of that name").remedy("check the name and the folder"),
            AlreadyExists => fault.found("a file of that name").remedy("choose another name"),
            IsADirectory => fault.found("a folder of that name").remedy("give the name of a file"),
            NotADirectory => {
                fault.found("a file where a folder is needed").remedy("check the folders in the name")
            }
            StorageFull => fault.found(system(error)).remedy("the disk is full: free some space first"),
            PermissionDenied => fault
                .found(system(error))
                .remedy("choose a place that this user may read and write, or change its permissions"),
            _ => fault.found(system(error)),
        }
    }

    /// The exit code of a process that ends with this fault.
    pub fn exit_code(&self) -> u8 {
        self.kind as u8
    }
}

/// The system's own words, without its number of the error, nor what a library adds behind that.
fn system(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or(&text).to_owned()
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Any part may contain a name from a file.
        f.write_str(&visible::lines(&self.what))?;
        if let Some(place) = &self.place {
            write!(f, ", at {}", visible::line(place))?;
        }
        if let Some(found) = &self.found {
            write!(f, ": found {}", visible::lines(found))?;
        }
        if let Some(remedy) = &self.remedy {
            write!(f, "; {}", visible::lines(remedy))?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

/// What is wrong with a text of JSON, in plain words.
pub fn of_json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text).replace("missing field ", "no ");
    let what = what.replace("EOF while parsing", "the end of the file within");
    let what = match what.strip_prefix("invalid ").and_then(|what| what.split_once(", expected ")) {
        Some((found, wanted)) => format!("{} in place of {}", found_json(found), wanted_json(wanted)),
        None => what,
    };
    match error.line() {
        0 => what,
        line => format!("{what} (line {line}, column {})", error.column()),
    }
}

/// What a message of serde names as found: `type: sequence`, ``value: integer `1` ``.
fn found_json(found: &str) -> String {
    let found = found.split_once(": ").map_or(found, |(_, found)| found);
    match found {
        "sequence" => "an array".to_owned(),
        "map" => "an object".to_owned(),
        found => ["integer ", "floating point ", "boolean "]
            .iter()
            .find_map(|kind| found.strip_prefix(kind))
            .map_or_else(|| found.replace("string ", ""), |value| value.trim_matches('`').to_owned()),
    }
}

/// What a message of serde names as expected: a type of Rust, or words.
fn wanted_json(wanted: &str) -> &str {
    match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number with or without a sign",
        "f32" | "f64" => "a number",
        "a boolean" => "true or false",
        "a string" => "a text",
        "a sequence" => "an array",
        "a map" => "an object",
        wanted if wanted.starts_with("struct ") => "an object",
        wanted => wanted,
    }
}

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Calls into a library that may panic on user input; a panic becomes an error with its message.
///
/// After an error, nothing that `call` has begun to change may be used.
///
/// # Errors
/// The panic's message.
pub fn contain<T>(call: impl FnOnce() -> T) -> std::result::Result<T, String> {
    let before = CONTAINED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    CONTAINED.set(before);
    result.map_err(|payload| match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => {
            payload.downcast::<&str>().map_or("a panic".to_owned(), |message| message.to_string())
        }
    })
}

/// Whether a panic in this thread would become an error and so need not be reported.
pub fn is_contained() -> bool {
    CONTAINED.get()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[test]
    fn json_is_refused_in_plain_words() {
        #[derive(Debug, Deserialize)]
        #[allow(dead_code)]
        struct Told {
            format: u32,
            share: f64,
            name: String,
            lines: Vec<u64>,
        }
        let told = |text: &str| of_json(&serde_json::from_str::<Told>(text).unwrap_err());
        assert_eq!(told("{}"), "no `format` (line 1, column 2)");
        assert_eq!(told("{\"format\":1"), "the end of the file within an object (line 1, column 11)");
        assert_eq!(told("[\"a\"]"), "\"a\" in place of a whole number (line 1, column 4)");
        assert_eq!(told("7"), "7 in place of an object (line 1, column 1)");
        assert_eq!(told("{\"format\":\"1\"}"), "\"1\" in place of a whole number (line 1, column 13)");
        assert_eq!(told("{\"format\":-1}"), "-1 in place of a whole number (line 1, column 12)");
        assert_eq!(told("{\"share\":[]}"), "an array in place of a number (line 1, column 9)");
        assert_eq!(told("{\"name\":{}}"), "an object in place of a text (line 1, column 8)");
        assert_eq!(told("{\"lines\":true}"), "true in place of an array (line 1, column 13)");
        assert_eq!(told("{format"), "key must be a string (line 1, column 2)");
    }
}
