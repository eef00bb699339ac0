//! The layout of the model's parameters in a weight file.
//!
//! Both sides use the names of the family's Hugging Face files. The file can hold more than the model: where the model has
//! no bias, or a bias for query and key only, the file still has the whole bias, zeros included.
//!
//! The family's row says how its files hold matrices: like the model, `[in, out]`, or like PyTorch's `Linear`,
//! `[out, in]`, with query, key and value of one head after another.

use super::tensors::Spec;
use crate::model::Parameter;
use crate::model::family::{Family, Matrices};
use crate::ops::packed::Packed;
use crate::tape::Filed;

/// How a tensor is stored in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As in the model.
    Plain,
    /// A matrix is `[out, in]` where the model has `[in, out]`; vectors are unchanged.
    Linear,
    /// Like `Linear`, for query, key and value in this many heads: the file holds q, k and v of one head after another; the
    /// model holds all heads' q, then k, then v.
    Heads(usize),
}

/// One tensor of a weight file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The tensor's name, in the file and in the model.
    pub name: String,
    /// Its shape, in the model's orientation, with all columns.
    pub shape: Vec<usize>,
    /// How many of the last columns (last dimension) are zeros that the model does not hold.
    pub zero_columns: usize,
    pub form: Form,
    /// Whether a file to start from may lack it.
    pub added: bool,
    /// Whether older files of the family hold it transposed.
    pub once_turned: bool,
}

impl Entry {
    /// A tensor that the model holds whole.
    pub fn whole(name: impl Into<String>, shape: impl Into<Vec<usize>>) -> Self {
        let (name, shape) = (name.into(), shape.into());
        Self { name, shape, zero_columns: 0, form: Form::Plain, added: false, once_turned: false }
    }

    /// Columns including the zeros: the last dimension, 1 for a scalar.
    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The name and shape in the model; `None` if the tensor is only in the file.
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
        let mut shape = self.shape.clone();
        if self.form != Form::Plain {
            shape.reverse();
        }
        Spec { name: self.name.clone(), shape }
    }

    /// Row and column of an element of the file, in the model's orientation with all columns.
    pub fn place(&self, element: usize) -> (usize, usize) {
        let columns = self.columns();
        let rows = self.shape.iter().product::<usize>() / columns;
        match self.form {
            Form::Plain => (element / columns, element % columns),
            Form::Linear => (element % rows, element / rows),
            Form::Heads(heads) => {
                (element % rows, Packed::of(columns, heads, 1).from_head_by_head(element / rows))
            }
        }
    }
}

/// The contents of one model's weight file, in the order they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelTensors {
    entries: Vec<Entry>,
    /// The family, whose files may have other names and more tensors; `None` if they must have just these.
    family: Option<Family>,
}

impl ModelTensors {
    pub fn new(entries: Vec<Entry>) -> Self {
        Self { entries, family: None }
    }

    /// The layout of a model's family. A bias that the model lacks is written as zeros. One that is shorter than in the
    /// family's files (query and key without value) is padded with zeros.
    pub fn of(family: Family, parameters: &[Parameter]) -> Self {
        Self { entries: parameters.iter().flat_map(|p| entries(family, p)).collect(), family: Some(family) }
    }

    /// The family of the files; `None` for the program's other files.
    pub fn family(&self) -> Option<Family> {
        self.family
    }

    /// The prefix of the family's language model over its decoder, which files of the bare decoder leave out.
    pub fn prefix(&self) -> &'static str {
        self.family.map_or("", |family| family.files.prefix)
    }

    /// The contents of the file, in its order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What the model holds, in the order of the file.
    pub fn held(&self) -> Vec<Spec> {
        self.entries.iter().filter_map(Entry::held).collect()
    }
}

/// What a family's files hold for a parameter: the parameter itself and, after a matrix without a bias, zeros for that
/// bias.
fn entries(family: Family, parameter: &Parameter) -> Vec<Entry> {
    let added = parameter.declared.added;
    let own = Entry { added, ..Entry::whole(&parameter.name, parameter.shape.clone()) };
    let turned = family.files.matrices == Matrices::OutInByHead;
    let packed = |heads: Option<usize>| heads.filter(|_| turned).map_or(Form::Plain, Form::Heads);
    match parameter.declared.filed {
        Filed::Plain => vec![own],
        Filed::PlainNow => vec![Entry { once_turned: turned, ..own }],
        Filed::Bias { heads, columns } => {
            let zero_columns = columns - own.columns();
            vec![Entry { shape: vec![columns], zero_columns, form: packed(heads), ..own }]
        }
        Filed::Matrix { heads, lacks_bias } => {
            let columns = own.columns();
            let zeros = lacks_bias.then(|| {
                let module = parameter.name.strip_suffix("weight").expect("a matrix is a weight");
                let form = packed(heads);
                Entry { zero_columns: columns, form, ..Entry::whole(format!("{module}bias"), [columns]) }
            });
            let form = match packed(heads) {
                Form::Plain if turned => Form::Linear,
                form => form,
            };
            [Entry { form, ..own }].into_iter().chain(zeros).collect()
        }
    }
}
