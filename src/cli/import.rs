//! `normfree import`.

use super::{Global, counted, say};
use crate::fault::{Fault, Kind, Result};
use crate::files::write_atomic;
use crate::hub::{CONFIG_FILE, Description};
use crate::model::parameter_count;
use crate::train::checkpoint::WeightFile;
use crate::train::loader::layout;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Reads the config.json of a GPT-2, GPT-NeoX or Llama model, or of one that this
program exported, checks that its weights fit (f32, f16 or bf16, in one file or
several), and writes an experiment that starts from them. A setting that this
program does not compute is refused by its name. The numbers under [train] are a
beginning to change: nothing in the folder says how to go on training.

Examples:
  normfree import models/smollm2 --out smollm2.toml
  normfree prepare text --tokenizer models/smollm2/tokenizer.json --out data
  normfree train smollm2.toml --set data.path=data
  normfree eval models/smollm2 --data data";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Folder with config.json and the weights
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Write the experiment to this file, which must not exist [default: print it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The longest sequence that an imported experiment begins with.
const LONGEST: usize = 1024;

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let Arguments { folder, out } = arguments;
    if let Some(out) = out.as_deref().filter(|out| out.exists()) {
        return Err(Fault::new(Kind::Usage, "the file for the experiment exists")
            .at(out.display())
            .remedy("choose another with --out"));
    }
    let description = described(folder)?;
    description.notes.iter().for_each(|note| global.note(note));
    let text = experiment(folder, &description)?;
    let config = description.with(&text)?;
    let weights = WeightFile::open_to_start(folder, &layout(&config))?;
    global.note(format!(
        "{} in {} fit the configuration",
        counted(parameter_count(&config.model) as u64, "parameter"),
        counted(weights.len() as u64, "tensor")
    ));
    let whole = format!("{}\n{text}", description.to_toml());
    match out {
        Some(out) => write_atomic(out, whole.as_bytes())?,
        None => say(whole.trim_end())?,
    }
    Ok(())
}

/// What the folder's `config.json` says.
fn described(folder: &Path) -> Result<Description> {
    Description::read(folder)?.ok_or_else(|| {
        let found = if folder.is_dir() { "a folder without it" } else { "no such folder" };
        Fault::new(Kind::Checkpoint, format!("there is no {CONFIG_FILE} to import"))
            .at(folder.display())
            .found(found)
            .remedy("give the folder of a Hugging Face model")
    })
}

/// The other tables of the experiment.
fn experiment(folder: &Path, description: &Description) -> Result<String> {
    let place = folder
        .to_str()
        .ok_or_else(|| Fault::new(Kind::Usage, "a path in a configuration is UTF-8").at(folder.display()))?;
    let place = toml::Value::String(place.to_owned());
    let tables = |length: usize| {
        format!(
            "[data]\n# Made by `normfree prepare` with the model's tokenizer.\npath = \"data\"\n\n\
             [train]\ninit_from = {place}\nsequence_length = {length}\nbatch_size = 8\nsteps = 1000\nlearning_rate = 5e-5\n\
             warmup_ratio = 0.05\neval_every = 100\ncheckpoint_every = 100\n"
        )
    };
    let positions = description.with(&tables(2))?.model.n_positions;
    Ok(tables(positions.min(LONGEST)))
}
