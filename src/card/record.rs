//! The contents of a card.

use crate::fault::{Fault, Kind, Result, of_json};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// The machine-readable file of a card.
pub const FILE: &str = "card.json";
/// The human-readable file of a card.
pub const SHEET: &str = "card.md";

/// All findings about one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// This program's version.
    pub version: String,
    /// The day, in UTC.
    pub day: String,
    /// Whether it was made with the small sizes for testing the card itself.
    pub quick: bool,
    /// Minutes allowed.
    pub minutes: f64,
    /// Seconds taken, up to the last write.
    pub seconds: f64,
    /// Whether every part has had its turn.
    pub whole: bool,
    pub system: System,
    /// The adapter that was measured, as `normfree devices --json` describes it; null until it is known.
    pub adapter: Value,
    pub parts: Vec<Part>,
}

/// The machine around the device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct System {
    pub os: String,
    pub architecture: String,
    /// The processor's name, if the system reports it.
    pub processor: Option<String>,
    pub threads: usize,
}

/// One part of a card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub key: String,
    pub title: String,
    pub state: State,
    /// Why it did not finish, or did not succeed.
    pub why: Option<String>,
    pub seconds: f64,
    /// Its limit in seconds.
    pub limit: f64,
    /// The command lines that were run; they can be repeated by hand in the card's folder.
    pub commands: Vec<String>,
    /// Measurements, including those of a part that was cut or failed.
    pub results: Value,
}

/// How a part ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In progress when the card was last written.
    Running,
    Done,
    /// It crashed, or its results are wrong.
    Failed,
    /// It ran out of time.
    Cut,
    /// It was not started.
    LeftOut,
}

impl State {
    /// The state as a phrase.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "cut with the card",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cut => "cut",
            Self::LeftOut => "left out",
        }
    }
}

impl Card {
    /// Reads the card in a folder.
    ///
    /// # Errors
    /// `Io` if the file cannot be read; `Data` if it is not a card.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let bytes = std::fs::read(&path).map_err(|error| Fault::io("read the card", &path, &error))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Fault::new(Kind::Data, "this is not the card of a device")
                .at(path.display())
                .found(of_json(&error))
        })
    }

    /// A part, if it was started.
    pub fn part(&self, key: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.key == key)
    }

    /// What a part measured; null if nothing.
    pub fn results(&self, key: &str) -> &Value {
        self.part(key).map_or(&Value::Null, |part| &part.results)
    }

    /// The adapter's name.
    pub fn name(&self) -> &str {
        self.adapter["name"].as_str().unwrap_or("a device that was not found")
    }
}

impl System {
    /// This machine.
    pub fn here() -> Self {
        Self {
            os: std::env::consts::OS.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            processor: processor(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// The processor's name.
fn processor() -> Option<String> {
    let name = match std::env::consts::OS {
        "macos" => {
            let asked =
                std::process::Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"]).output();
            String::from_utf8(asked.ok()?.stdout).ok()?
        }
        "windows" => std::env::var("PROCESSOR_IDENTIFIER").ok()?,
        _ => {
            let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            line.split_once(':')?.1.to_owned()
        }
    };
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
