//! `normfree ls`.

use super::columns::{columns, width};
use super::output::terminal_columns;
use super::{Global, duration, say, thousands};
use crate::config::Config;
use crate::fault::{Fault, Kind, Result};
use crate::observe::quantities::EVAL_PPL;
use crate::observe::record::Number;
use crate::report::gather::{Source, sources};
use crate::report::run::RunData;
use crate::train::past::Past;
use crate::train::run_folder::RunFolder;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const AFTER_HELP: &str = "\
Lists the runs in a folder, and those of its studies: what each does, the steps
done, the newest held-out perplexity, when its log last grew, and the device. Of
checkpoints it reads the states and compares the lengths of the files; `normfree
eval` and --resume read every byte. A narrow terminal gets fewer columns.

Examples:
  normfree ls
  normfree ls runs/study
  normfree ls runs --json";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Folders of runs, studies or runs
    #[arg(value_name = "FOLDER", default_value = "runs")]
    folders: Vec<PathBuf>,
    /// Print a JSON object for each run, one a line
    #[arg(long)]
    json: bool,
}

/// What a run does.
#[derive(Clone, Copy)]
enum State {
    Training,
    Done,
    /// It can be resumed.
    Stopped,
    /// No checkpoint is intact.
    Damaged,
    /// It has written nothing yet.
    NotBegun,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Damaged => "damaged checkpoint",
            Self::NotBegun => "not begun",
        }
    }
}

/// One run of the list.
struct Row {
    path: PathBuf,
    name: String,
    state: State,
    /// Steps done, and those of its configuration.
    steps: (u64, u64),
    perplexity: Option<f64>,
    /// When its log last grew.
    changed: Option<SystemTime>,
    device: String,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let mut rows = Vec::new();
    for folder in &arguments.folders {
        if !folder.is_dir() {
            return Err(Fault::new(Kind::RunFolder, "there is no such folder")
                .at(folder.display())
                .remedy("give a folder that holds runs"));
        }
        for source in sources(folder)? {
            match source {
                Source::Run(path) => add(&path, &mut rows, global),
                Source::NotBegun(path) => add(&path, &mut rows, global),
                Source::Study(path, study) => {
                    let begun =
                        study.runs.iter().map(|run| path.join(&run.folder)).filter(|run| run.is_dir());
                    begun.for_each(|run| add(&run, &mut rows, global));
                }
                Source::Published(_) => {}
            }
        }
    }
    if arguments.json {
        return rows.iter().try_for_each(|row| say(row.json()));
    }
    let header = ["run", "model", "state", "step", "perplexity", "changed", "device"];
    let mut table = vec![header.map(str::to_owned).to_vec()];
    table.extend(rows.iter().map(Row::cells));
    let mut right = vec![false, false, false, true, true, true, false];
    let most = terminal_columns();
    let mut left_out = Vec::new();
    // What a reader misses least goes first.
    for name in ["device", "changed", "model", "perplexity"] {
        if most.is_none_or(|most| width(&table, right.len()) <= most) {
            break;
        }
        let column = table[0].iter().position(|of| of == name).expect("a column of the header");
        table.iter_mut().for_each(|row| drop(row.remove(column)));
        right.remove(column);
        left_out.push(name);
    }
    say(columns(&table, &right))?;
    if !left_out.is_empty() {
        global.note(format!("left out, because the terminal is narrow: {}", left_out.join(", ")));
    }
    Ok(())
}

/// Adds the run at `path`; a run that cannot be read is named, and left out.
fn add(path: &Path, rows: &mut Vec<Row>, global: &Global) {
    match Row::of(path) {
        Ok(row) => rows.push(row),
        Err(fault) => global.note(format!("left out: {fault}")),
    }
}

impl Row {
    fn of(path: &Path) -> Result<Self> {
        let folder = RunFolder::read(path)?;
        let config = Config::load_of_run(&folder.config(), &[])?;
        let held = RunFolder::holder(path)?.is_some();
        let begun = folder.metrics().is_file();
        let data = if begun { RunData::load(path)? } else { RunData::default() };
        let done = data.steps_done();
        let state = match (held, begun) {
            (true, _) => State::Training,
            (false, false) => State::NotBegun,
            (false, true) => match Past::at_a_glance(&folder, &config) {
                Ok(past) if past.whole && done >= config.train.steps => State::Done,
                Ok(_) => State::Stopped,
                Err(fault) if fault.kind == Kind::Checkpoint => State::Damaged,
                Err(fault) => return Err(fault),
            },
        };
        let text = |keys: [&str; 2]| data.environment[keys[0]][keys[1]].as_str().map(str::to_owned);
        Ok(Self {
            path: path.to_owned(),
            name: crate::report::run::paper_name(&config),
            state,
            steps: (done, config.train.steps),
            perplexity: data.log.numbers(&EVAL_PPL).last().map(|eval| eval.1),
            changed: std::fs::metadata(folder.metrics()).and_then(|file| file.modified()).ok(),
            device: text(["adapter", "name"]).unwrap_or_else(|| "–".to_owned()),
        })
    }

    fn cells(&self) -> Vec<String> {
        let ago = self.changed.map(|then| SystemTime::now().duration_since(then).unwrap_or(Duration::ZERO));
        vec![
            self.path.display().to_string(),
            self.name.clone(),
            self.state.word().to_owned(),
            format!("{}/{}", thousands(self.steps.0), thousands(self.steps.1)),
            self.perplexity.map_or_else(|| "–".to_owned(), |ppl| format!("{ppl:.3}")),
            ago.map_or_else(|| "–".to_owned(), |ago| format!("{} ago", long(ago))),
            self.device.clone(),
        ]
    }

    fn json(&self) -> Value {
        let seconds =
            |then: SystemTime| then.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs());
        json!({
            "run": self.path.display().to_string(),
            "model": self.name,
            "state": self.state.word(),
            "step": self.steps.0,
            "steps": self.steps.1,
            "perplexity": self.perplexity.map(Number),
            "changed": self.changed.and_then(seconds),
            "device": self.device,
        })
    }
}

/// A time in its largest unit.
fn long(time: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    match time.as_secs() / DAY {
        0 => duration(time.as_secs_f64()),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}
