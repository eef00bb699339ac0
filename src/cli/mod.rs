//! The command line: one file per subcommand. Arguments become calls; results go to stdout, progress and notes
//! to stderr, failures up to `main`.

mod bench;
mod card;
mod demo;
mod devices;
mod eval;
mod export;
mod held;
mod located;
mod memory_plan;
mod memory_table;
mod output;
mod picture;
mod plot;
mod prepare;
mod probe;
mod progress;
mod report;
mod sample;
mod stop;
mod study;
mod train;
mod verify;
mod waiting;

use crate::cache;
use crate::cache::attempts::Tried;
use crate::config::Config;
use crate::fault::{self, Kind, Result};
use crate::gpu::{Backend, Gpu, OpenOptions, this_program};
use crate::numbers::{bytes, duration, operations, short, thousands};
use crate::ops::Choices;
use crate::plan::Searched;
use crate::shell;
use crate::train::kernels::{self, Prepared};
use crate::visible;
use clap::builder::NonEmptyStringValueParser;
use clap::{Parser, Subcommand, ValueEnum};
use output::say;
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use waiting::Waiting;

const AFTER_HELP: &str = "\
Examples:
  normfree demo
  normfree prepare ~/code --out data/code
  normfree train configs/small/sm_r.toml --set data.path=data/code
  normfree plot runs/sm_g runs/sm_r --out figures
  normfree report runs/sm_g runs/sm_r

Exit codes:
  0 done             5 checkpoint    9 reading or writing
  2 usage            6 run folder   10 a number is not finite
  3 configuration    7 device       11 a kernel is off
  4 data             8 memory       101 a defect, 130 interrupted";

/// Train GPT-2-style language models with and without normalization on any GPU, and watch the entropy of every
/// attention head.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

/// What every subcommand takes.
#[derive(Clone, Debug, clap::Args)]
struct Global {
    /// The adapter to use: its index, or a part of its name, as `normfree devices` lists them [default: the best]
    #[arg(long, global = true, value_name = "INDEX|NAME", value_parser = NonEmptyStringValueParser::new())]
    device: Option<String>,
    /// The only API to look for adapters through [default: WGPU_BACKEND, else all that the system has]
    #[arg(long, global = true, value_enum)]
    backend: Option<Backend>,
    /// Leave matrix units alone, and ask no driver to open them; NORMFREE_NO_MATRIX_UNITS=1 does the same
    #[arg(long, global = true)]
    no_matrix_units: bool,
    /// No progress and no notes, only results and errors
    #[arg(short, long, global = true)]
    quiet: bool,
}

/// Which kernels a command computes with.
#[derive(Clone, Debug, Default, clap::Args)]
struct Kernels {
    /// Take the kernels favoured without measurement; neither search nor use what was found before
    #[arg(long, conflicts_with = "retune")]
    no_tune: bool,
    /// Search the fastest kernels anew, also where that takes longer than the run could win by it, and
    /// also among those that round otherwise: results may then differ in their last bits
    #[arg(long)]
    retune: bool,
}

impl Kernels {
    /// Makes the device take the fastest kernels known or found, and tells of a search.
    fn prepare(&self, gpu: &mut Gpu, config: &Config, global: &Global) -> Result<()> {
        if self.no_tune {
            // The device may have served another run.
            gpu.set_choices(Choices::default());
            return Ok(());
        }
        let start = Instant::now();
        let waiting = Waiting::begin("timing kernels", global);
        let mut progress = |searched| {
            waiting.text().set(search_state(searched, start.elapsed().as_secs_f64()));
        };
        let Prepared { findings, passed_over, again } =
            kernels::prepare(gpu, config, self.retune, &mut progress, |fault| stop::give_up(&fault))?;
        drop(waiting);
        global.note_passed_over(&passed_over, again.as_deref());
        for finding in &findings {
            for way in &finding.wrong {
                global.note(format!(
                    "this driver computes `{}` wrongly with {way}; it is left out",
                    finding.key
                ));
            }
        }
        if !findings.is_empty() {
            let faster = findings.iter().filter(|finding| finding.seconds < finding.unasked).count();
            global.note(format!(
                "timed the kernels of {} shapes in {}, {faster} of them now run faster{}",
                findings.len(),
                duration(start.elapsed().as_secs_f64()),
                if cache::folder().is_some() && cache::failure().is_none() {
                    "; kept for later runs"
                } else {
                    ""
                },
            ));
        }
        Ok(())
    }
}

/// How far a search of kernels is after so many seconds.
fn search_state(Searched { key, keys, share }: Searched, seconds: f64) -> String {
    // Less tells nothing of the rest.
    let known = share > 0.02 && seconds > 1.0;
    let left = known.then(|| format!(", about {} left", duration(seconds * (1.0 - share) / share)));
    format!("timing kernels: shape {} of {keys}{}", key + 1, left.unwrap_or_default())
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole idea in one go: train four small models on source code and draw their attention
    Demo(demo::Arguments),
    /// List all adapters, what they can do, and which one would be taken
    Devices(devices::Arguments),
    /// Try one device, for a process that has not opened it yet
    #[command(hide = true)]
    Probe(probe::Arguments),
    /// Hold every kernel on this device against an f64 reference
    Verify(verify::Arguments),
    /// Measure this device, every kernel and whole training steps
    Bench(bench::Arguments),
    /// All there is to know of this device in some minutes, to look at and to send
    Card(card::Arguments),
    /// Turn text into a tokenizer and token files
    Prepare(prepare::Arguments),
    /// Train one model and watch its attention
    Train(train::Arguments),
    /// Train a grid of models: what is missing, what stopped, nothing twice
    Study(study::Arguments),
    /// Loss and perplexity of a checkpoint on held-out text
    Eval(eval::Arguments),
    /// Text from a trained model
    Sample(sample::Arguments),
    /// The logs of runs as Parquet tables, for notebooks
    Export(export::Arguments),
    /// Draw runs or a study: heatmaps, curves, tables, each a file for a paper
    Plot(plot::Arguments),
    /// Everything about runs or a study in one page to open, send or publish
    Report(report::Arguments),
}

/// Does what was asked.
fn run(cli: Cli) -> Result<()> {
    let Cli { command, global } = cli;
    let done = match command {
        Command::Demo(arguments) => demo::run(arguments, &global),
        Command::Devices(arguments) => devices::run(&arguments, &global),
        Command::Probe(arguments) => probe::run(&arguments, &global),
        Command::Verify(arguments) => verify::run(&arguments, &global),
        Command::Bench(arguments) => bench::run(&arguments, &global),
        Command::Card(arguments) => card::run(&arguments, &global),
        Command::Prepare(arguments) => prepare::run(arguments, &global),
        Command::Train(arguments) => train::run(&arguments, &global),
        Command::Study(arguments) => study::run(&arguments, &global),
        Command::Eval(arguments) => eval::run(&arguments, &global),
        Command::Sample(arguments) => sample::run(&arguments, &global),
        Command::Export(arguments) => export::run(&arguments, &global),
        Command::Plot(arguments) => plot::run(&arguments, &global),
        Command::Report(arguments) => report::run(&arguments, &global),
    };
    if let Some(failure) = cache::failure() {
        global.note(format!("nothing is kept in the cache, and the next call compiles anew: {failure}"));
    }
    done
}

/// The whole program: reads the command line, does what was asked, and says how it ended.
pub fn main() -> ExitCode {
    explain_panics();
    let ended = match Cli::try_parse() {
        Ok(cli) => stop::listen().and_then(|()| run(cli)),
        Err(refused) => match answer(&refused) {
            Ok(()) => return ExitCode::from(u8::try_from(refused.exit_code()).unwrap_or(Kind::Usage as u8)),
            Err(fault) => Err(fault),
        },
    };
    let code = match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            // A stop that was asked for is no error.
            let kind = if fault.kind == Kind::Interrupted { "" } else { "error: " };
            output::tell(format_args!("{kind}{fault}"));
            ExitCode::from(fault.exit_code())
        }
    };
    // Nothing is at stake any more: who reads takes the time that it takes, and a signal ends the wait.
    output::flush(None);
    code
}

/// Prints what the command line gets for an answer: help and version are results, what is wrong with it a diagnostic.
fn answer(refused: &clap::Error) -> Result<()> {
    let printed = refused.print();
    if refused.use_stderr() { Ok(()) } else { output::written(printed).map(|_| ()) }
}

/// Makes a panic, which is always a defect of this program, read as one.
fn explain_panics() {
    std::panic::set_hook(Box::new(|info| {
        if fault::is_contained() {
            return;
        }
        waiting::wipe();
        progress::lower();
        let message = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map(|place| format!(" ({place})")).unwrap_or_default();
        let go_on = stop::go_on_after_defect().map(|command| format!("; go on with: {command}"));
        output::tell(format_args!(
            "error: this is a defect of normfree {}, please report it with the command line: {message}{place}{}",
            env!("CARGO_PKG_VERSION"),
            go_on.unwrap_or_default()
        ));
        output::flush(Some(LAST_WORDS));
    }));
}

/// How long a panic waits for its message to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Global {
    /// How the options say that a device is opened.
    fn open_options(&self) -> OpenOptions {
        let Self { device, backend, no_matrix_units, .. } = self.clone();
        OpenOptions { device, backend, no_matrix_units, prober: this_program(), ..OpenOptions::default() }
    }

    /// Opens the device a command computes on; says so where it is a software one that nobody asked for.
    fn open(&self) -> Result<Gpu> {
        let gpu = Gpu::open(&self.open_options())?;
        let description = gpu.description();
        for remark in gpu.remarks() {
            self.note(format!("{}: {remark}", description.name));
        }
        if description.software() && self.device.is_none() {
            self.note(format!("{}: {}", SOFTWARE_NOTE, description.name));
        }
        Ok(gpu)
    }

    /// Opens it as [`Self::open`] does, and says what takes long there from then on, until the other is dropped.
    fn open_for(&self, what: &str) -> Result<(Gpu, Waiting)> {
        let gpu = self.open()?;
        let waiting = Waiting::begin(what, self);
        gpu.listen(Some(waiting.text().of_device()));
        Ok((gpu, waiting))
    }

    /// The options that say which device is opened, for another process.
    fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        let mut add = |option: &str, value: &str| options.extend([format!("--{option}"), value.to_owned()]);
        if let Some(name) = &self.device {
            add("device", name);
        }
        if let Some(backend) = self.backend.and_then(|backend| backend.to_possible_value()) {
            add("backend", backend.get_name());
        }
        if self.no_matrix_units {
            options.push("--no-matrix-units".to_owned());
        }
        options
    }

    /// The options as they are typed on another command line.
    fn typed(&self) -> String {
        let mut options = self.options();
        if self.quiet {
            options.push("--quiet".to_owned());
        }
        options.iter().map(|option| format!(" {}", shell::quoted(option.as_ref()))).collect()
    }

    /// Says which ways of kernels were passed over, and what to delete to have them tried again.
    fn note_passed_over(&self, ways: &[Tried], again: Option<&Path>) {
        let again = again.map(|file| format!("; delete {} to have it tried again", file.display()));
        for Tried { what, how } in ways {
            self.note(format!(
                "an earlier start ended as this driver was given `{what}` computed with {how}, which is passed over{}",
                again.as_deref().unwrap_or_default()
            ));
        }
    }

    /// One line on standard error, unless quiet.
    fn note(&self, text: impl Display) {
        if !self.quiet {
            progress::say(&format!("note: {}", visible::line(&text.to_string())));
        }
    }
}

/// What is said where only a software adapter is there.
const SOFTWARE_NOTE: &str =
    "there is no GPU with a driver here; computing on the CPU through a software adapter";

/// Text in columns: the first to the left, the others as `right` says.
fn columns(rows: &[Vec<String>], right: &[bool]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| visible::line(cell).into_owned()).collect()).collect();
    let count = |cell: &String| cell.chars().count();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(count).max().unwrap_or(0);
    let widths: Vec<usize> = (0..right.len()).map(width).collect();
    let mut lines = Vec::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let fill = " ".repeat(widths[column] - count(cell));
            let gap = if column > 0 { "  " } else { "" };
            line.push_str(&if right[column] {
                format!("{gap}{fill}{cell}")
            } else {
                format!("{gap}{cell}{fill}")
            });
        }
        lines.push(line.trim_end().to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_fits_a_terminal() {
        let command = Cli::command();
        for command in command.get_subcommands().chain([&command]) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("normfree"), "{} has no example", command.get_name());
            for line in help.lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
        }
    }

    #[test]
    fn a_search_tells_what_is_left() {
        let at = |key, share, seconds| search_state(Searched { key, keys: 40, share }, seconds);
        assert_eq!(at(0, 0.001, 0.5), "timing kernels: shape 1 of 40");
        assert_eq!(at(9, 0.25, 20.0), "timing kernels: shape 10 of 40, about 1 min 00 s left");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), "22".to_owned()]];
        assert_eq!(columns(&rows, &[false, true]), "a     1\nbcd  22");
    }
}
