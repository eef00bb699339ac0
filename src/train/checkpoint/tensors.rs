//! Named f32 tensors in memory, the sources of the tensors in a file, and the safetensors writer.

use std::borrow::Cow;
use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::fault::Result;

/// The name and shape of a tensor, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    pub name: String,
    pub shape: Vec<usize>,
}

impl Spec {
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), shape: shape.into() }
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A tensor with its values: `data` is row-major and holds the product of `shape` elements.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

impl NamedTensor {
    pub fn spec(&self) -> Spec {
        Spec { name: self.name.clone(), shape: self.shape.clone() }
    }
}

/// A source of tensors for a file, one at a time, so a GPU arena is never in memory as a whole.
pub trait TensorSource {
    /// The tensors it has, in a fixed order.
    fn specs(&self) -> Vec<Spec>;

    /// The values of tensor `index` of [`specs`](Self::specs), row-major.
    ///
    /// # Errors
    /// Whatever keeps the values from being read, such as a lost device.
    fn read(&mut self, index: usize) -> Result<Cow<'_, [f32]>>;
}

impl TensorSource for &[NamedTensor] {
    fn specs(&self) -> Vec<Spec> {
        self.iter().map(NamedTensor::spec).collect()
    }

    fn read(&mut self, index: usize) -> Result<Cow<'_, [f32]>> {
        Ok(Cow::Borrowed(&self[index].data))
    }
}

impl TensorSource for Vec<NamedTensor> {
    fn specs(&self) -> Vec<Spec> {
        self.as_slice().specs()
    }

    fn read(&mut self, index: usize) -> Result<Cow<'_, [f32]>> {
        Ok(Cow::Borrowed(&self[index].data))
    }
}

/// Wraps another source and records whether every value read is finite.
pub(super) struct Watched<'a> {
    source: &'a mut dyn TensorSource,
    finite: bool,
}

impl<'a> Watched<'a> {
    pub fn new(source: &'a mut dyn TensorSource) -> Self {
        Self { source, finite: true }
    }

    /// Whether every value read so far is finite.
    pub fn is_finite(&self) -> bool {
        self.finite
    }
}

impl TensorSource for Watched<'_> {
    fn specs(&self) -> Vec<Spec> {
        self.source.specs()
    }

    fn read(&mut self, index: usize) -> Result<Cow<'_, [f32]>> {
        let values = self.source.read(index)?;
        self.finite &= values.iter().all(|value| value.is_finite());
        Ok(values)
    }
}

/// Writes the header of a safetensors file of f32 tensors. The values follow in the order of `specs`, little-endian,
/// without gaps (format: <https://github.com/huggingface/safetensors>).
///
/// # Errors
/// Those of `out`.
pub fn write_header(out: &mut dyn Write, specs: &[Spec]) -> io::Result<()> {
    let mut header = Map::new();
    // Hugging Face's loaders refuse a file that does not name the framework of its layout.
    header.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
    let mut start = 0;
    for spec in specs {
        let end = start + spec.elements() * size_of::<f32>();
        let info = json!({ "dtype": "F32", "shape": spec.shape, "data_offsets": [start, end] });
        header.insert(spec.name.clone(), info);
        start = end;
    }
    let mut text = Value::Object(header).to_string();
    // The values must begin at a multiple of eight bytes; the length itself takes eight.
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    out.write_all(&(text.len() as u64).to_le_bytes())?;
    out.write_all(text.as_bytes())
}

/// Writes `values` as little-endian bytes, every bit as it is.
///
/// # Errors
/// Those of `out`.
pub fn write_values(out: &mut dyn Write, values: &[f32]) -> io::Result<()> {
    let mut bytes = [0; 1 << 14];
    for piece in values.chunks(bytes.len() / size_of::<f32>()) {
        let bytes = &mut bytes[..size_of_val(piece)];
        for (to, value) in bytes.chunks_exact_mut(size_of::<f32>()).zip(piece) {
            to.copy_from_slice(&value.to_le_bytes());
        }
        out.write_all(bytes)?;
    }
    Ok(())
}
