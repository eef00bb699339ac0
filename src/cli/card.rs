//! `normfree card`.

use super::{Global, duration, say};
use crate::card::{Card, Event, FILE, Named, SHEET, Sizes, State, Wanted, make, table};
use crate::fault::{Fault, Kind, Result};
use std::path::{Path, PathBuf};
use std::time::Instant;

const AFTER_HELP: &str = "\
For anyone with a GPU: what it can do, and whether this program computes
correctly on it. Lists the devices, compares every kernel with f64, measures the
device's ceilings, every kernel and whole steps at GPT-2's size (context 128 and
1,024, f32 and mixed precision, entropy on and off) and a matrix product in
every variant, kills a run and resumes it, and trains the paper's four
configurations for a while. --python names an interpreter with PyTorch, which
then runs the same product and steps for comparison. Each part is a process of
its own with a time limit: one that hangs or crashes costs only that part, and
DIR always holds what is done so far: card.json, card.md and pictures, ready to
attach to an issue. No network is needed, and none of your paths is revealed.

Examples:
  normfree card
  normfree card --python ~/torch/bin/python --minutes 15
  normfree card --device 1 --data data/small --out card_of_the_other_gpu
  normfree card --quick                   tiny models: does everything work?
  normfree card --table benches/cards     all cards of a folder in one table";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Minutes that everything together may take
    #[arg(long, value_name = "N", default_value_t = 9.0, value_parser = minutes)]
    minutes: f64,
    /// Output folder
    #[arg(long, value_name = "DIR", default_value = "card")]
    out: PathBuf,
    /// Folder made by `normfree prepare`, instead of source code found here
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Python interpreter that has PyTorch
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Use tiny models: shows that everything works, but says nothing about speed
    #[arg(long)]
    quick: bool,
    /// Print the cards in the folders of DIR as one table, and make none
    #[arg(long, value_name = "DIR", conflicts_with_all = ["minutes", "out", "data", "python", "quick"])]
    table: Option<PathBuf>,
}

/// Parses the minutes that the parts share.
fn minutes(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if (0.1..=600.0).contains(&minutes) => Ok(minutes),
        _ => Err("expected a number of minutes from 0.1 to 600".to_owned()),
    }
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    if let Some(folder) = &arguments.table {
        return say(table(folder)?.markdown().trim_end());
    }
    global.refuse_cpu()?;
    let wanted = wanted(arguments, &global.of_adapters())?;
    let began = Instant::now();
    let mut waiting = global.wait("starting");
    let mut failed = Ok(());
    let card = make(&wanted, &mut |event| match event {
        Event::Begins { title, number, of, limit } => {
            waiting.text().set(format!("{title}: part {} of {of}, at most {}", number + 1, duration(limit)));
        }
        Event::Ended(part) => {
            waiting.end();
            let why = part.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
            let after = match part.state {
                State::LeftOut => String::new(),
                _ => format!(" after {}", duration(part.seconds)),
            };
            let line = format!("{}: {}{after}{why}", part.title, part.state.word());
            if failed.is_ok() {
                failed = say(line);
            }
            waiting.make_way();
        }
    })?;
    drop(waiting);
    failed?;
    say(format!("\nmeasured in {}", duration(began.elapsed().as_secs_f64())))?;
    say(arguments.out.join(SHEET).display())?;
    ending(&card, &arguments.out)
}

/// Succeeds if the card was made and all is well on the device.
fn ending(card: &Card, folder: &Path) -> Result<()> {
    let wrong = |key: &str| card.part(key).filter(|part| part.state == State::Failed);
    if let Some(part) = card.part("devices").filter(|_| card.adapter.is_null()) {
        let why = part.why.clone().unwrap_or_default();
        return Err(Fault::new(Kind::Device, "no device could be measured").found(why));
    }
    for key in ["verify", "resume"] {
        if let Some(part) = wrong(key) {
            return Err(Fault::new(Kind::Verify, "this device computes wrong results")
                .at(&part.title)
                .found(part.why.as_deref().unwrap_or("other results"))
                .remedy(format!("attach {} to an issue", folder.display())));
        }
    }
    Ok(())
}

fn wanted(arguments: &Arguments, global: &Global) -> Result<Wanted> {
    let absolute =
        |path: &Path| std::path::absolute(path).map_err(|error| Fault::io("find the folder", path, &error));
    let python = arguments.python.as_ref().map(|path| match path.components().count() {
        // A bare name is searched for on the PATH.
        1 => Ok(path.clone()),
        _ => absolute(path),
    });
    let python = python.transpose()?;
    if let Some(path) = python.as_ref().filter(|path| path.is_absolute() && !path.is_file()) {
        return Err(Fault::new(Kind::Usage, "there is no such interpreter")
            .at(path.display())
            .remedy("give a Python interpreter that has PyTorch, or omit --python"));
    }
    let data = arguments.data.as_deref().map(absolute).transpose()?;
    if let Some(path) = data.as_ref().filter(|path| !path.is_dir()) {
        return Err(Fault::new(Kind::Data, "there is no such data folder")
            .at(path.display())
            .remedy("make it with `normfree prepare`, or omit --data"));
    }
    let folder = absolute(&arguments.out)?;
    clear(&arguments.out)?;
    let program = std::env::current_exe()
        .map_err(|error| Fault::io("find this program", Path::new("normfree"), &error))?;
    let mut hidden = Vec::new();
    hidden.extend(data.iter().map(|path| Named { path: path.clone(), word: "DATA" }));
    hidden.push(Named { path: folder.clone(), word: "." });
    hidden.extend(std::env::home_dir().map(|path| Named { path, word: "~" }));
    let sizes = if arguments.quick { Sizes::QUICK } else { Sizes::FULL };
    let options = global.options();
    Ok(Wanted { sizes, minutes: arguments.minutes, folder, data, python, program, options, hidden })
}

/// Creates the folder. An existing one may only hold an interrupted card.
fn clear(folder: &Path) -> Result<()> {
    let io = |doing: &'static str| move |error: std::io::Error| Fault::io(doing, folder, &error);
    std::fs::create_dir_all(folder).map_err(io("make the folder"))?;
    let empty = std::fs::read_dir(folder).map_err(io("read the folder"))?.next().is_none();
    if empty {
        return Ok(());
    }
    let fault = Fault::new(Kind::RunFolder, "the folder is not empty")
        .at(folder.display())
        .remedy("choose another folder with --out, or delete this one");
    if !folder.join(FILE).is_file() {
        return Err(fault);
    }
    if Card::load(folder)?.whole {
        return Err(fault.found("a card"));
    }
    // Removes only its own folders: other contents belong to somebody else.
    for made in ["work", "configs", "scripts", "pictures"] {
        let _ = std::fs::remove_dir_all(folder.join(made));
    }
    Ok(())
}
