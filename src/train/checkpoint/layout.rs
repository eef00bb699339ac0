//! How the model's parameters lie in a weight file.
//!
//! The names are Hugging Face's GPT-2 names on both sides. The file can hold more than the model: where the
//! model has no bias, or one for query and key alone, GPT-2's file still has the whole bias, zeros included.

use std::collections::HashMap;

use super::tensors::Spec;

/// The prefix of GPT-2's language model over its decoder; files of the bare decoder leave it out.
pub const PREFIX: &str = "transformer.";

/// Modules whose weight has no bias beside it: the embeddings and the head.
const WITHOUT_BIAS: [&str; 3] = ["wte", "wpe", "lm_head"];

/// One tensor of a weight file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The tensor's name, in the file and in the model.
    pub name: String,
    /// Its shape in the file.
    pub shape: Vec<usize>,
    /// How many of its last columns (last dimension) are zeros that the model does not hold.
    pub zero_columns: usize,
}

impl Entry {
    /// A tensor that the model holds whole.
    pub fn whole(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), shape: shape.into(), zero_columns: 0 }
    }

    /// Columns in the file: the last dimension, 1 for a scalar.
    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The name and shape in the model; `None` where the tensor is in the file alone.
    pub fn held(&self) -> Option<Spec> {
        let mut shape = self.shape.clone();
        if let Some(last) = shape.last_mut() {
            *last = last.saturating_sub(self.zero_columns);
        }
        let in_file_alone = self.zero_columns > 0 && self.zero_columns >= self.columns();
        (!in_file_alone).then(|| Spec { name: self.name.clone(), shape })
    }

    /// The name and shape in the file.
    pub fn filed(&self) -> Spec {
        Spec { name: self.name.clone(), shape: self.shape.clone() }
    }
}

/// What a weight file of one model holds, in the order it is written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelTensors {
    entries: Vec<Entry>,
}

impl ModelTensors {
    pub fn new(entries: Vec<Entry>) -> Self {
        Self { entries }
    }

    /// The layout of a GPT-2: every weight but the embeddings' and the head's has a bias in the file. A bias
    /// that is not among the model's `parameters` is filed as zeros, and one that is shorter than the weight
    /// has columns (query and key without value) is filed with zeros behind it.
    pub fn gpt2(parameters: &[Spec]) -> Self {
        let shapes: HashMap<&str, &[usize]> =
            parameters.iter().map(|p| (p.name.as_str(), p.shape.as_slice())).collect();
        let mut entries = Vec::new();
        for Spec { name, shape } in parameters {
            let mut entry = Entry::whole(name, shape.clone());
            if let Some(module) = name.strip_suffix(".bias")
                && let Some([.., columns]) = shapes.get(format!("{module}.weight").as_str())
                && let [held] = shape[..]
                && held < *columns
            {
                entry.shape = vec![*columns];
                entry.zero_columns = columns - held;
            }
            entries.push(entry);
            if let Some(module) = name.strip_suffix(".weight")
                && !WITHOUT_BIAS.contains(&module.rsplit('.').next().unwrap_or(module))
                && let Some(&columns) = shape.last()
                && !shapes.contains_key(format!("{module}.bias").as_str())
            {
                let bias =
                    Entry { zero_columns: columns, ..Entry::whole(format!("{module}.bias"), [columns]) };
                entries.push(bias);
            }
        }
        Self { entries }
    }

    /// What is in the file, in its order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What the model holds, in the order of the file.
    pub fn held(&self) -> Vec<Spec> {
        self.entries.iter().filter_map(Entry::held).collect()
    }
}
