//! A trained model as a folder that Hugging Face's programs read: weights, configuration, this program's own class where no
//! stock class computes the model, tokenizer, and a card that says what it is.
//!
//! The folder is filled beside its place and gets its name last, by one rename: so it is whole or absent.

mod card;

pub use card::{Card, heatmap};

use crate::config::Config;
use crate::fault::{Fault, Kind, Result};
use crate::files::leftovers::{Leftover, halt_if_leaving};
use crate::files::{UNFINISHED, folder_of, names_in, sync_folder, write_new};
use crate::hub::{self, CONFIG_FILE};
use crate::train::checkpoint::{ModelTensors, TensorSource, export};
use serde_json::Value;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What a folder is made of.
pub struct Model<'a> {
    /// What the folder's files compute.
    pub config: &'a Config,
    /// What was trained: the same, except that its matrices may be scaled.
    pub trained: &'a Config,
    pub weights: &'a mut dyn TensorSource,
    /// How the weights lie in their file.
    pub layout: &'a ModelTensors,
    /// The `tokenizer.json` of its data.
    pub tokenizer: Option<Vec<u8>>,
    /// The token that ends a text.
    pub end_of_text: Option<u32>,
    pub card: Card,
}

/// Writes the folder of `model` to `folder`, which must not exist or be empty. Returns the files' names.
///
/// # Errors
/// [`Kind::Usage`] if something is there; [`Kind::Data`] if the tokenizer is not JSON; [`Kind::Io`]; those of reading the
/// weights.
pub fn publish(mut model: Model<'_>, folder: &Path) -> Result<Vec<PathBuf>> {
    refuse_content(folder)?;
    let parent = folder_of(folder);
    let failed = |e: io::Error| Fault::io("write the model's folder", folder, &e);
    fs::create_dir_all(parent).map_err(failed)?;
    let name = folder.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let mut builder = tempfile::Builder::new();
    let prefix = format!(".{}.", name.to_string_lossy());
    builder.prefix(&prefix).suffix(UNFINISHED);
    // A temporary folder is private to its owner; this one should be readable by others, under the umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    halt_if_leaving();
    let unfinished = builder.tempdir_in(parent).map_err(failed)?;
    let leftover = Leftover::folder(unfinished.path());
    fill(&mut model, unfinished.path())?;
    sync_folder(unfinished.path()).map_err(failed)?;
    // From here on either nobody removes it, or removal has begun, and then it must not get its final name.
    leftover.keep();
    halt_if_leaving();
    if folder.exists() {
        fs::remove_dir(folder).map_err(failed)?;
    }
    fs::rename(unfinished.path(), folder).map_err(failed)?;
    let _ = unfinished.keep();
    sync_folder(parent).map_err(failed)?;
    Ok(names_in(folder)?.into_iter().map(|name| folder.join(name)).collect())
}

fn refuse_content(folder: &Path) -> Result<()> {
    let found = match folder.exists() {
        false => return Ok(()),
        true if !folder.is_dir() => "a file of that name".to_owned(),
        true => match names_in(folder)?.first() {
            None => return Ok(()),
            Some(name) => format!("{name} in it"),
        },
    };
    Err(Fault::new(Kind::Usage, "the folder for the model is not empty")
        .at(folder.display())
        .found(found)
        .remedy("choose another folder with --hf, or remove it first"))
}

/// Writes the files of the model into an empty folder.
fn fill(model: &mut Model<'_>, folder: &Path) -> Result<()> {
    let Model { config, trained, weights, layout, tokenizer, end_of_text, card } = model;
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        write_new(&path, |out| out.write_all(bytes).map_err(|e| Fault::io("write the file", &path, &e)))
    };
    let write_json = |name: &str, value: &Value| write(name, format!("{value:#}\n").as_bytes());
    write_json(CONFIG_FILE, &hub::described(&config.model, *end_of_text, true))?;
    write_json("generation_config.json", &hub::generation_config(*end_of_text))?;
    if !hub::is_stock(&config.model) {
        hub::CODE.iter().try_for_each(|(name, text)| write(name, text.as_bytes()))?;
    }
    if let Some(json) = tokenizer {
        let files = hub::tokenizer_files(json, config.model.n_positions).ok_or_else(|| {
            Fault::new(Kind::Data, "the run's tokenizer cannot be exported").found("a file that is not JSON")
        })?;
        write("tokenizer.json", &files.tokenizer)?;
        write_json("tokenizer_config.json", &files.config)?;
        write_json("special_tokens_map.json", &files.special_tokens)?;
    }
    if let Some(picture) = &card.heatmap {
        write(card::HEATMAP, picture)?;
    }
    write("README.md", card.text(config, trained, tokenizer.is_some()).as_bytes())?;
    export(&folder.join("model.safetensors"), layout, *weights)
}
