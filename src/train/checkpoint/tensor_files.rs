//! The tensors of a model in one safetensors file, or in several with an index, as large models are published.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorInfo;
use serde::Deserialize;

use super::tensor_file::{CONVERT, TensorFile};
use crate::fault::{Fault, Kind, Result, of_json};
use crate::files::{folder_of, names_in};

/// The file of the parameters, in a checkpoint's folder and in that of a Hugging Face model.
pub(super) const MODEL: &str = "model.safetensors";

/// The index of a model in several files.
const INDEX: &str = "model.safetensors.index.json";
const INDEX_ENDING: &str = ".index.json";

/// The tensors of one or several files.
#[derive(Debug)]
pub struct TensorFiles {
    /// The file, or the index.
    path: PathBuf,
    files: Vec<TensorFile>,
    /// Names in the order of the files, each with its file.
    names: Vec<(String, usize)>,
    places: BTreeMap<String, usize>,
}

/// What is read of an index.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl TensorFiles {
    /// Opens the safetensors file or the index at `path`; of a folder, its `model.safetensors` or that file's index.
    ///
    /// # Errors
    /// [`Kind::Io`] if a file cannot be read; [`Kind::Checkpoint`] if one is damaged or missing, or the folder has no weights
    /// that can be read.
    pub fn open(path: &Path) -> Result<Self> {
        let path = if path.is_dir() { in_folder(path)? } else { path.to_owned() };
        if path.to_str().is_some_and(|path| path.ends_with(INDEX_ENDING)) {
            return Self::open_all(path);
        }
        let file = TensorFile::open(&path)?;
        Ok(Self::of(path, vec![file]))
    }

    fn open_all(path: PathBuf) -> Result<Self> {
        let text = std::fs::read(&path).map_err(|e| Fault::io("read the weights", &path, &e))?;
        let Index { weight_map } = serde_json::from_slice(&text).map_err(|e| {
            Fault::new(Kind::Checkpoint, "the index of the weights cannot be understood")
                .at(path.display())
                .found(of_json(&e))
                .remedy("copy it again from its source")
        })?;
        let mut parts: Vec<&String> = weight_map.values().collect();
        parts.sort();
        parts.dedup();
        let open = |part: &&String| TensorFile::open(&folder_of(&path).join(part));
        let files = parts.iter().map(open).collect::<Result<Vec<_>>>()?;
        let all = Self::of(path, files);
        let lost = weight_map.iter().find(|(name, _)| !all.places.contains_key(*name));
        match lost {
            Some((name, part)) => {
                Err(Fault::new(Kind::Checkpoint, "a file of the weights lacks a tensor of the index")
                    .at(all.path.display())
                    .found(format_args!("no {name} in {part}"))
                    .remedy("copy the files again from their source"))
            }
            None => Ok(all),
        }
    }

    fn of(path: PathBuf, files: Vec<TensorFile>) -> Self {
        let of_file = |(at, file): (usize, &TensorFile)| {
            file.names().into_iter().map(|name| (name, at)).collect::<Vec<_>>()
        };
        let names: Vec<_> = files.iter().enumerate().flat_map(of_file).collect();
        let places = names.iter().cloned().collect();
        Self { path, files, names, places }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the tensors, in the order of the files. A tensor in two files is there twice.
    pub fn names(&self) -> Vec<String> {
        self.names.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Type, shape and place of a tensor.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.files[*self.places.get(name)?].info(name)
    }

    /// As [`TensorFile::values`].
    ///
    /// # Errors
    /// As [`TensorFile::each_piece`].
    pub fn values(&mut self, name: &str) -> Result<Vec<f32>> {
        self.file_of(name).values(name)
    }

    /// As [`TensorFile::each_piece`].
    ///
    /// # Errors
    /// The same.
    pub fn each_piece(&mut self, name: &str, look: impl FnMut(&[f32]) -> bool) -> Result<()> {
        self.file_of(name).each_piece(name, look)
    }

    /// The file of a tensor; of one that does not exist, any, which says so.
    fn file_of(&mut self, name: &str) -> &mut TensorFile {
        let place = self.places.get(name).copied().unwrap_or(0);
        &mut self.files[place]
    }
}

/// The weights in a folder.
fn in_folder(folder: &Path) -> Result<PathBuf> {
    for name in [MODEL, INDEX] {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    let names = names_in(folder)?;
    let fault =
        Fault::new(Kind::Checkpoint, "the folder has no weights that can be read").at(folder.display());
    let pickled = |name: &&String| {
        name.starts_with("pytorch_model")
            || name.ends_with(".bin")
            || name.ends_with(".pth")
            || name.ends_with(".pt")
    };
    Err(match names.iter().find(pickled) {
        Some(name) => fault.found(format_args!("{name}, a file of PyTorch")).remedy(CONVERT),
        None => fault
            .found(format_args!("neither {MODEL} nor {INDEX}"))
            .remedy("give a folder with either, or the .safetensors file itself"),
    })
}
