//! Weight files: the model's parameters under the Hugging Face names of its family.
//!
//! GPT-2's matrices are in Conv1D layout, `[in, out]`; `attn.c_attn` holds query, key and value side by side in its
//! columns. Files without the `transformer.` prefix can be read too, and so can files with `attn.qk_attn` and `attn.v_attn`
//! in place of `c_attn`, as the code of arXiv 2410.09637 writes them. GPT-NeoX's files are converted as `layout` describes,
//! and can also be read without the `gpt_neox.` prefix.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::Path;

use super::super::finite::first_broken;
use super::fit::{Parameter, fit};
use super::layout::{Entry, Form, ModelTensors};
use super::tensor_files::TensorFiles;
use super::tensors::{NamedTensor, Spec, TensorSource, write_header, write_values};
use crate::fault::{Fault, Kind, Result};
use crate::files;

/// Writes the parameters of `source` to the weight file `path`, replacing it whole.
///
/// # Errors
/// [`Kind::Io`] if the file cannot be written, [`Kind::Checkpoint`] if `source` does not have the tensors of `layout`, and
/// the errors of `source`.
pub fn export(path: &Path, layout: &ModelTensors, source: &mut dyn TensorSource) -> Result<()> {
    files::replace_with(path, |out| write_weights(out, path, layout, source))
}

/// Writes a weight file to `out`, tensor by tensor; `path` is for messages.
///
/// # Errors
/// As [`export`].
pub(super) fn write_weights(
    out: &mut dyn Write,
    path: &Path,
    layout: &ModelTensors,
    source: &mut dyn TensorSource,
) -> Result<()> {
    let failed = |e: io::Error| Fault::io("write the weights", path, &e);
    let specs = source.specs();
    let index: HashMap<&str, usize> = specs.iter().enumerate().map(|(i, s)| (s.name.as_str(), i)).collect();
    let held = layout.held();
    let misfit = held
        .iter()
        .find(|spec| index.get(spec.name.as_str()).is_none_or(|&i| specs[i] != **spec))
        .or_else(|| specs.iter().find(|spec| !held.contains(spec)));
    if let Some(spec) = misfit {
        return Err(Fault::new(Kind::Checkpoint, "the tensors to write are not those of the model")
            .at(format!("{} {:?}", spec.name, spec.shape)));
    }

    let filed: Vec<Spec> = layout.entries().iter().map(Entry::filed).collect();
    write_header(out, &filed).map_err(failed)?;
    for (entry, filed) in layout.entries().iter().zip(&filed) {
        if entry.held().is_none() {
            write_zeros(out, filed.elements()).map_err(failed)?;
            continue;
        }
        let values = source.read(index[entry.name.as_str()])?;
        if entry.form != Form::Plain {
            let held = entry.columns() - entry.zero_columns;
            let value = |element| match entry.place(element) {
                (row, column) if column < held => values[row * held + column],
                _ => 0.0,
            };
            write_values(out, &(0..filed.elements()).map(value).collect::<Vec<_>>()).map_err(failed)?;
            continue;
        }
        if entry.zero_columns == 0 {
            write_values(out, &values).map_err(failed)?;
            continue;
        }
        for row in values.chunks_exact(entry.columns() - entry.zero_columns) {
            write_values(out, row).map_err(failed)?;
            write_zeros(out, entry.zero_columns).map_err(failed)?;
        }
    }
    Ok(())
}

fn write_zeros(out: &mut dyn Write, count: usize) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take((count * size_of::<f32>()) as u64), out).map(drop)
}

/// Reads the weight file `path` as parameters of the model `layout` describes, in the order of its
/// [`held`](ModelTensors::held).
///
/// # Errors
/// [`Kind::Io`] if it cannot be read; [`Kind::Checkpoint`] if it is not a safetensors file, or does not fit. The fault then
/// lists every tensor that is missing, extra or otherwise wrong.
pub fn import(path: &Path, layout: &ModelTensors) -> Result<Vec<NamedTensor>> {
    let mut file = WeightFile::open(path, layout)?;
    (0..file.len()).map(|index| file.read(index)).collect()
}

/// An open weight file that fits the model: its tensors can be read one at a time.
#[derive(Debug)]
pub struct WeightFile {
    file: TensorFiles,
    parameters: Vec<Parameter>,
}

impl WeightFile {
    /// Opens the file, index or folder `path` and checks it against `layout`, including the values of frozen zeros and of the
    /// tied head.
    ///
    /// # Errors
    /// As [`import`].
    pub fn open(path: &Path, layout: &ModelTensors) -> Result<Self> {
        let mut file = TensorFiles::open(path)?;
        let parameters = fit(&mut file, layout, false)?;
        Ok(Self { file, parameters })
    }

    /// Opens `path` to start a run from. Temperatures, entropy thresholds and scales of feed-forward networks may be
    /// missing, and the file may have thresholds that the model lacks. `path` may also be a folder with a
    /// `model.safetensors` or its index, as Hugging Face models have.
    ///
    /// # Errors
    /// As [`import`].
    pub fn open_to_start(path: &Path, layout: &ModelTensors) -> Result<Self> {
        let mut file = TensorFiles::open(path)?;
        let parameters = fit(&mut file, layout, true)?;
        Ok(Self { file, parameters })
    }

    /// Reads every number and checks that it is finite.
    ///
    /// # Errors
    /// [`Kind::NonFinite`], naming the tensor; [`Kind::Io`] if reading fails.
    pub fn check_finite(&mut self) -> Result<()> {
        for index in 0..self.len() {
            let NamedTensor { name, data, .. } = self.read(index)?;
            if let Some((element, value)) = first_broken(&data) {
                return Err(Fault::new(
                    Kind::NonFinite,
                    "a run cannot start from weights that are not finite",
                )
                .at(self.file.path().display())
                .found(format!("{value} at element {element} of `{name}`"))
                .remedy("choose other weights with train.init_from"));
            }
        }
        Ok(())
    }

    /// The number of parameters.
    pub fn len(&self) -> usize {
        self.parameters.len()
    }

    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// Reads parameter `index`, counted as in the layout's [`held`](ModelTensors::held).
    ///
    /// # Errors
    /// [`Kind::Io`] if reading fails.
    pub fn read(&mut self, index: usize) -> Result<NamedTensor> {
        let Parameter { entry, parts } = &self.parameters[index];
        let spec = entry.held().expect("a parameter is held");
        let Spec { name, shape } = spec.clone();
        let columns = shape.last().copied().unwrap_or(1);
        if entry.form != Form::Plain {
            let mut data = vec![0.0; spec.elements()];
            for (element, value) in self.file.values(&parts[0].name)?.into_iter().enumerate() {
                let (row, column) = entry.place(element);
                if column < columns {
                    data[row * columns + column] = value;
                }
            }
            return Ok(NamedTensor { name, shape, data });
        }
        if let [part] = parts.as_slice()
            && part.columns == columns
        {
            return Ok(NamedTensor { name, shape, data: self.file.values(&part.name)? });
        }
        let mut data = vec![0.0; spec.elements()];
        let mut at = 0;
        for part in parts {
            let values = self.file.values(&part.name)?;
            let width = part.columns.min(columns - at);
            if width == 0 {
                continue;
            }
            for (to, from) in data.chunks_exact_mut(columns).zip(values.chunks_exact(part.columns)) {
                to[at..at + width].copy_from_slice(&from[..width]);
            }
            at += width;
        }
        Ok(NamedTensor { name, shape, data })
    }
}

impl TensorSource for WeightFile {
    fn specs(&self) -> Vec<Spec> {
        self.parameters.iter().map(|of| of.entry.held().expect("a parameter is held")).collect()
    }

    fn read(&mut self, index: usize) -> Result<Cow<'_, [f32]>> {
        Self::read(self, index).map(|tensor| Cow::Owned(tensor.data))
    }
}
