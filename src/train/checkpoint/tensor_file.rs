//! Reads safetensors files, ours and others', one piece at a time.
//!
//! The file is read, not mapped. If another process truncates it, or a network drive disappears, the result is an ordinary
//! fault, not a signal that ends the run.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::fault::{Fault, Kind, Result, of_json};
use crate::numbers::counted;

/// The header's own limit in the reference implementation.
const MAX_HEADER: u64 = 100_000_000;

/// How a PyTorch file becomes one that can be read.
pub(super) const CONVERT: &str =
    "convert it first: in Python, model.save_pretrained(folder, safe_serialization=True)";

/// How many elements are read and converted at once.
const PIECE: usize = 1 << 16;

/// An open safetensors file whose header has been checked against its length.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    file: File,
    header: Metadata,
    /// Where the values begin.
    start: u64,
}

impl TensorFile {
    /// Opens `path` and checks that it is a whole safetensors file.
    ///
    /// # Errors
    /// [`Kind::Io`] if it cannot be read, [`Kind::Checkpoint`] if it is damaged or not a safetensors file.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |e: io::Error| Fault::io("read the weights", path, &e);
        let mut file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if about.is_dir() {
            return Err(Fault::new(Kind::Checkpoint, "cannot read weights from a folder")
                .at(path.display())
                .remedy("give the .safetensors file in it"));
        }
        let length = about.len();
        let mut beginning = Vec::new();
        (&mut file).take(64).read_to_end(&mut beginning).map_err(failed)?;
        let Some(header_length) = beginning.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)) else {
            return Err(foreign(path, &beginning, &format!("only {}", counted(length, "byte"))));
        };
        if header_length > MAX_HEADER {
            return Err(foreign(path, &beginning, "no safetensors header"));
        }
        let start = 8 + header_length;
        if start > length {
            return Err(foreign(
                path,
                &beginning,
                &format!("a header of {header_length} bytes in a file of {length}"),
            ));
        }
        let mut text = vec![0; header_length as usize];
        file.seek(SeekFrom::Start(8)).and_then(|_| file.read_exact(&mut text)).map_err(failed)?;
        let header: Metadata = serde_json::from_slice(&text).map_err(|e| {
            foreign(path, &beginning, &format!("a header that cannot be understood: {}", of_json(&e)))
        })?;
        let promised = start + header.data_len() as u64;
        if promised != length {
            let what = if length < promised { "is cut short" } else { "has too many bytes" };
            return Err(Fault::new(Kind::Checkpoint, format!("the weight file {what}"))
                .at(path.display())
                .found(format!("{length} bytes, where its header implies {promised}"))
                .remedy("copy it again from its source"));
        }
        Ok(Self { path: path.to_owned(), file, header, start })
    }

    /// The names of the tensors, in the order of the file.
    pub fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// Type, shape and place of a tensor.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.header.info(name)
    }

    /// Whether [`each_piece`](Self::each_piece) can read values of type `dtype`: they are floats that f32 can represent.
    pub fn readable(dtype: Dtype) -> bool {
        matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16)
    }

    /// All values of tensor `name`, row-major; f32 comes through bit for bit, f16 and bf16 exactly.
    ///
    /// # Errors
    /// As [`each_piece`](Self::each_piece).
    pub fn values(&mut self, name: &str) -> Result<Vec<f32>> {
        let count = self.info(name).map_or(0, |info| info.shape.iter().product());
        let mut all = Vec::with_capacity(count);
        self.each_piece(name, |piece| {
            all.extend_from_slice(piece);
            true
        })?;
        Ok(all)
    }

    /// Calls `look` with the values of tensor `name`, some at a time, until it says `false`.
    ///
    /// # Errors
    /// [`Kind::Io`] if reading fails; [`Kind::Checkpoint`] if there is no such tensor or its values are
    /// not [`readable`](Self::readable).
    pub fn each_piece(&mut self, name: &str, mut look: impl FnMut(&[f32]) -> bool) -> Result<()> {
        let info = self.header.info(name).filter(|info| Self::readable(info.dtype));
        let Some(TensorInfo { dtype, data_offsets: (from, to), .. }) = info.cloned() else {
            return Err(Fault::new(Kind::Checkpoint, format!("no tensor of floats named {name}"))
                .at(self.path.display()));
        };
        let failed = |e: io::Error| Fault::io("read the weights", &self.path, &e);
        self.file.seek(SeekFrom::Start(self.start + from as u64)).map_err(failed)?;
        let mut bytes = vec![0; (to - from).min(PIECE * dtype.bitsize() / 8)];
        let mut values = Vec::with_capacity(PIECE);
        let mut left = to - from;
        while left > 0 {
            let now = left.min(bytes.len());
            self.file.read_exact(&mut bytes[..now]).map_err(failed)?;
            decode(dtype, &bytes[..now], &mut values);
            left -= now;
            if !look(&values) {
                break;
            }
        }
        Ok(())
    }
}

fn decode(dtype: Dtype, bytes: &[u8], values: &mut Vec<f32>) {
    values.clear();
    let halves = || bytes.as_chunks::<2>().0.iter().copied();
    match dtype {
        Dtype::F16 => values.extend(halves().map(|b| half::f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => values.extend(halves().map(|b| half::bf16::from_le_bytes(b).to_f32())),
        _ => values.extend(bytes.as_chunks::<4>().0.iter().copied().map(f32::from_le_bytes)),
    }
}

/// The fault of a file that is not a safetensors file, with its likely origin if the first bytes show it.
fn foreign(path: &Path, beginning: &[u8], otherwise: &str) -> Fault {
    let fault = Fault::new(Kind::Checkpoint, "not a safetensors file").at(path.display());
    if beginning.is_empty() {
        fault.found("an empty file").remedy("copy it again from its source")
    } else if beginning.starts_with(b"PK") || beginning.starts_with(&[0x80]) {
        fault.found("a PyTorch file (a zip archive or a pickle)").remedy(CONVERT)
    } else if beginning.starts_with(b"version https://git-lfs") {
        fault.found("a Git LFS pointer in place of the file").remedy("fetch the file itself: git lfs pull")
    } else {
        fault.found(otherwise).remedy("give a .safetensors file with Hugging Face names")
    }
}
