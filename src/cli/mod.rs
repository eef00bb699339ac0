//! The command line: one file per subcommand. Arguments become calls; results go to stdout, progress and notes
//! to stderr, failures up to `main`.

mod attend;
mod bench;
mod card;
mod columns;
mod completions;
mod demo;
mod devices;
mod earlier;
mod eval;
mod export;
mod global;
mod held;
mod import;
mod init;
mod kernel_choice;
mod keys;
mod located;
mod ls;
mod memory_plan;
mod memory_table;
mod output;
mod picture;
mod plot;
mod prepare;
mod presets;
mod probe;
mod progress;
mod prompt;
mod ready;
mod referee;
mod remove_norm;
mod report;
mod sample;
mod second;
mod serve;
mod shown;
mod sparsity;
mod stop;
mod study;
mod terminal;
mod train;
mod verify;
mod waiting;
mod wanted;

use crate::cache;
use crate::fault::{self, Fault, Kind, Result};
use crate::numbers::{bytes, counted, duration, operations, short, thousands};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use columns::{columns, sentence, table};
use global::{Global, NO_GPU, Selection};
use kernel_choice::Kernels;
use output::{say, say_json};
use std::process::ExitCode;
use std::time::Duration;

const AFTER_HELP: &str = "\
Examples:
  normfree demo
  normfree train sm_r --data ~/code
  normfree prepare ~/code --out data/code
  normfree train configs/small/sm_r.toml --set data.path=data/code
  normfree plot runs/sm_g runs/sm_r --out figures
  normfree report runs/sm_g runs/sm_r

Exit codes:
  0 done             5 checkpoint    9 reading or writing
  2 usage            6 run folder   10 a number is not finite
  3 configuration    7 device       11 a kernel is wrong
  4 data             8 memory       101 a bug, 130 interrupted";

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

#[derive(Debug, Subcommand)]
enum Command {
    /// Train four small models on source code and draw their attention
    Demo(demo::Arguments),
    /// List all adapters, what they can do, and which one would be used
    Devices(devices::Arguments),
    /// Try one device, for a process that has not opened it yet
    #[command(hide = true)]
    Probe(probe::Arguments),
    /// Compare every kernel on this device with an f64 reference
    Verify(verify::Arguments),
    /// Benchmark this device, every kernel and whole training steps
    Bench(bench::Arguments),
    /// Check and benchmark this device in a few minutes, as a report to read and to send
    Card(card::Arguments),
    /// Turn text into a tokenizer and token files
    Prepare(prepare::Arguments),
    /// List every key of a configuration: its default, when it may change, what it does
    Keys(keys::Arguments),
    /// List the experiments inside the program, or print one
    Presets(presets::Arguments),
    /// Write a configuration with every key explained
    Init(init::Arguments),
    /// Train one model and watch its attention
    Train(train::Arguments),
    /// Train a grid of models: start what is missing, resume what stopped, repeat nothing
    Study(study::Arguments),
    /// Judge claims of papers by the runs of a study: held, not held, or not decided
    Referee(referee::Arguments),
    /// Remove the norms of a trained model, one after the other, while it trains on
    RemoveNorm(remove_norm::Arguments),
    /// List runs: what each does, its steps, perplexity and device
    Ls(ls::Arguments),
    /// Measure the loss and perplexity of a checkpoint on held-out text
    Eval(eval::Arguments),
    /// Measure how many units of its networks a model can do without
    Sparsity(sparsity::Arguments),
    /// Generate text from a trained model
    Sample(sample::Arguments),
    /// Show which tokens every attention head reads in a text
    Attend(attend::Arguments),
    /// Export the logs of runs as Parquet tables, or a model for Hugging Face
    Export(export::Arguments),
    /// Turn the folder of a Hugging Face model into an experiment that starts from it
    Import(import::Arguments),
    /// Draw runs or a study: heatmaps, curves and tables, each a file for a paper
    Plot(plot::Arguments),
    /// Put everything about runs or a study on one page to open, send or publish
    Report(report::Arguments),
    /// Print a script with which a shell completes commands and options
    Completions(completions::Arguments),
    /// Write manual pages
    Man(completions::Man),
}

/// Runs the command.
fn run(cli: Cli) -> Result<()> {
    let Cli { command, global } = cli;
    let global = global.complete()?;
    let done = match command {
        Command::Demo(arguments) => demo::run(arguments, &global),
        Command::Devices(arguments) => devices::run(&arguments, &global),
        Command::Probe(arguments) => probe::run(&arguments, &global),
        Command::Verify(arguments) => verify::run(&arguments, &global),
        Command::Bench(arguments) => bench::run(&arguments, &global),
        Command::Card(arguments) => card::run(&arguments, &global),
        Command::Prepare(arguments) => prepare::run(arguments, &global),
        Command::Keys(keys::Arguments {}) => keys::run(),
        Command::Presets(arguments) => presets::run(&arguments),
        Command::Init(arguments) => init::run(&arguments, &global),
        Command::Train(arguments) => train::run(&arguments, &global),
        Command::Study(arguments) => study::run(&arguments, &global),
        Command::Referee(arguments) => referee::run(&arguments, &global),
        Command::RemoveNorm(arguments) => remove_norm::run(&arguments, &global),
        Command::Ls(arguments) => ls::run(&arguments, &global),
        Command::Eval(arguments) => eval::run(&arguments, &global),
        Command::Sparsity(arguments) => sparsity::run(&arguments, &global),
        Command::Sample(arguments) => sample::run(&arguments, &global),
        Command::Attend(arguments) => attend::run(&arguments, &global),
        Command::Export(arguments) => export::run(&arguments, &global),
        Command::Import(arguments) => import::run(&arguments, &global),
        Command::Plot(arguments) => plot::run(&arguments, &global),
        Command::Report(arguments) => report::run(&arguments, &global),
        Command::Completions(arguments) => completions::run(&arguments, &Cli::command()),
        Command::Man(arguments) => completions::man(&arguments, Cli::command()),
    };
    if let Some(failure) = cache::failure() {
        global.note(format!("nothing is cached, so the next call compiles everything again: {failure}"));
    }
    done
}

/// The whole program: reads the command line, runs the command, and reports how it ended.
pub fn main() -> ExitCode {
    explain_panics();
    let ended = match Cli::try_parse() {
        Ok(cli) => stop::listen().and_then(|()| run(cli)),
        Err(refused) => match answer(refused) {
            Ok(refused) => {
                return ExitCode::from(u8::try_from(refused.exit_code()).unwrap_or(Kind::Usage as u8));
            }
            Err(fault) => Err(fault),
        },
    };
    stop::await_end();
    let code = match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            // A requested stop is not an error.
            let kind = if fault.kind == Kind::Interrupted { "" } else { "error: " };
            output::tell(format_args!("{kind}{fault}"));
            ExitCode::from(fault.exit_code())
        }
    };
    // Nothing is at stake any more: the reader may take as long as it likes, and a signal ends the wait.
    output::flush(None);
    code
}

/// Prints the command line's answer: help and version are results, mistakes in it are diagnostics.
fn answer(mut refused: clap::Error) -> Result<clap::Error> {
    if let Some(fault) = no_number(&refused) {
        return Err(fault);
    }
    if let Some(fault) = key_alone(&refused) {
        return Err(fault);
    }
    if refused.kind() == ErrorKind::MissingSubcommand {
        // Some of them are hidden.
        refused.remove(ContextKind::ValidSubcommand);
    }
    if let Some(ContextValue::StyledStrs(tips)) = refused.remove(ContextKind::Suggested) {
        // Nobody types `--` to give a command something that it does not take.
        let tips: Vec<_> = tips.into_iter().filter(|tip| !tip.to_string().contains("-- -")).collect();
        if !tips.is_empty() {
            refused.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
        }
    }
    let printed = refused.print();
    if !refused.use_stderr() {
        output::written(printed)?;
    }
    Ok(refused)
}

/// What is said of a second key behind one `--set`, in place of an argument that nobody expects.
fn key_alone(refused: &clap::Error) -> Option<Fault> {
    let argument =
        refused.get(ContextKind::InvalidArg).filter(|_| refused.kind() == ErrorKind::UnknownArgument)?;
    let argument = argument.to_string();
    let (key, _) = argument.split_once('=').filter(|_| !argument.starts_with('-'))?;
    let is_key =
        key.split_once('.').is_some_and(|(table, _)| ["model", "data", "train", "observe"].contains(&table));
    is_key.then(|| {
        Fault::new(Kind::Usage, format!("unexpected argument '{argument}'"))
            .remedy(format!("every key has a --set of its own: --set {argument}"))
    })
}

/// What is said of a value that should be a number, in place of what Rust's library says of its digits.
fn no_number(refused: &clap::Error) -> Option<Fault> {
    let why = std::error::Error::source(refused)?;
    let wanted = match why.to_string().as_str() {
        "invalid float literal" | "cannot parse float from empty string" => "a number",
        "invalid digit found in string" | "cannot parse integer from empty string" => "a whole number",
        "number too large to fit in target type" => "a smaller number",
        _ => return None,
    };
    let of = |kind| refused.get(kind).map(ToString::to_string).unwrap_or_default();
    let (value, option) = (of(ContextKind::InvalidValue), of(ContextKind::InvalidArg));
    Some(
        Fault::new(Kind::Usage, format!("invalid value '{value}' for '{option}'"))
            .remedy(format!("give {wanted}")),
    )
}

/// Presents every panic as what it is: a defect of this program.
fn explain_panics() {
    std::panic::set_hook(Box::new(|info| {
        if fault::is_contained() {
            return;
        }
        terminal::wipe();
        terminal::lower();
        let message = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map(|place| format!(" ({place})")).unwrap_or_default();
        let go_on = stop::go_on_after_defect().map(|command| format!("; continue with: {command}"));
        output::tell(format_args!(
            "error: this is a bug in normfree {}; please report it with the command line: {message}{place}{}",
            env!("CARGO_PKG_VERSION"),
            go_on.unwrap_or_default()
        ));
        output::flush(Some(LAST_WORDS));
    }));
}

/// How long a panic waits until its message has been read.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

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

    /// The words of a command line in a shell, without quotes and without a comment.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for c in line.chars() {
            match (quote, c) {
                (Some(open), _) if c == open => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                (None, '#') if word.is_none() => break,
                (None, ' ') => words.extend(word.take()),
                _ => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        words
    }

    #[test]
    fn every_documented_command_is_one() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let pages = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
        let pages =
            pages.chain(["README.md", "CONTRIBUTING.md", "benches/README.md"].map(|page| root.join(page)));
        let mut texts: Vec<(String, String)> = pages
            .filter(|page| page.extension().is_some_and(|extension| extension == "md"))
            .map(|page| (page.display().to_string(), std::fs::read_to_string(&page).unwrap()))
            .collect();
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            // Here an explanation follows after some spaces.
            let examples: Vec<&str> =
                help.lines().map(|line| line.trim().split("   ").next().unwrap_or_default()).collect();
            let text = format!("```sh\n{}\n```\n", examples.join("\n"));
            texts.push((format!("the help of {}", command.get_name()), text));
        }
        let (mut commands, mut shell) = (0, false);
        for (name, text) in &texts {
            // A command may go on behind a backslash.
            for line in text.replace("\\\n", " ").lines() {
                if line.starts_with("```") {
                    shell = line == "```sh";
                }
                let words = words(line.trim());
                let start = words.iter().position(|word| !word.contains('=')).unwrap_or(0);
                if !shell || words.get(start).is_none_or(|word| word != "normfree") {
                    continue;
                }
                // What follows a pipe or a redirection is the shell's.
                let own =
                    words[start..].iter().take_while(|word| !["|", ">", "<", "&"].contains(&word.as_str()));
                let parsed = Cli::try_parse_from(own);
                assert!(parsed.is_ok(), "{name}: {line}\n{}", parsed.unwrap_err());
                commands += 1;
            }
        }
        assert!(commands > 80, "{commands}: the search finds nothing any more");
    }
}
