//! Matches the tensors of a weight file to the model's parameters and collects everything that does not fit.

use std::collections::BTreeMap;

use super::layout::{Entry, Form, ModelTensors};
use super::tensor_file::TensorFile;
use super::tensor_files::TensorFiles;
use crate::fault::{Fault, Kind, Result};
use crate::model::family::{Family, Head, Positions, THRESHOLDS};
use crate::ops::packed::Packed;

/// What is wrong with weights of another model.
pub const MISFIT: &str = "the weights do not fit the model";

/// One parameter of the model, and the tensors of the file that make it up, column by column, side by side; only one tensor
/// if the entry's form is not the model's. The file may have more columns than the parameter: they are zeros.
#[derive(Debug)]
pub(super) struct Parameter {
    pub entry: Entry,
    pub parts: Vec<Part>,
}

/// A tensor of the file, under its name there.
#[derive(Debug)]
pub(super) struct Part {
    pub name: String,
    pub columns: usize,
}

/// What is wrong with a file, by kind, one line each.
#[derive(Default)]
struct Problems {
    missing: Vec<String>,
    extra: Vec<String>,
    shape: Vec<String>,
    values: Vec<String>,
}

/// Finds every parameter of `layout` in `file`.
///
/// With `may_lack`, the file may lack what entropy-guided training adds (the result then has fewer parameters), and may
/// hold entropy thresholds, which do not affect what a model computes.
///
/// # Errors
/// [`Kind::Checkpoint`] with everything that is missing, extra, of another shape or type, or not zero although the model
/// has no such bias, and a head that is not tied; [`Kind::Io`] if reading fails.
pub(super) fn fit(file: &mut TensorFiles, layout: &ModelTensors, may_lack: bool) -> Result<Vec<Parameter>> {
    let mut problems = Problems::default();
    // By name without the prefix. Used tensors are removed from this map; the rest is extra.
    let mut there = BTreeMap::new();
    for name in file.names() {
        let key = without_prefix(&name, layout).to_owned();
        if is_constant(&key, layout) {
            continue;
        }
        if let Some(twin) = there.insert(key, name.clone()) {
            problems.extra.push(format!("{name} beside {twin}: the same tensor twice"));
        }
    }

    let mut parameters = Vec::new();
    for entry in layout.entries() {
        let key = without_prefix(&entry.name, layout);
        if may_lack && !there.contains_key(key) && entry.added {
            continue;
        }
        let entry = &as_filed(file, entry, there.get(key));
        let parts = take_parts(file, entry, layout, &mut there, &mut problems);
        check_zeros(file, entry, &parts, &mut problems)?;
        if entry.held().is_some() {
            parameters.push(Parameter { entry: entry.clone(), parts });
        }
    }
    // A tied head is either missing from the file or equal to the token table.
    if let Some((family, Head::Tied(name) | Head::Own(name))) =
        layout.family().map(|family| (family, family.head))
        && let Some(head) = there.remove(name)
    {
        let tokens = format!("{}.weight", family.naming.tokens);
        let embedding = parameters.iter().find(|p| p.entry.name == tokens);
        if let Some([embedding]) = embedding.map(|p| p.parts.as_slice()) {
            check_tied(file, &head, &embedding.name, &mut problems)?;
        }
    }
    there.retain(|key, _| !(may_lack && key.ends_with(&format!(".{THRESHOLDS}"))));
    problems.extra.extend(there.into_values().map(|name| {
        let shape = file.info(&name).map(|info| info.shape.clone()).unwrap_or_default();
        format!("{name} {shape:?}")
    }));
    problems.into_result(file, layout).map(|()| parameters)
}

/// The entry as the file holds it under `name`: older files hold some tensors transposed.
fn as_filed(file: &TensorFiles, entry: &Entry, name: Option<&String>) -> Entry {
    let shape = name.and_then(|name| file.info(name)).map(|info| &info.shape[..]);
    let turned = shape.is_some_and(|shape| shape != entry.shape && shape.iter().rev().eq(&entry.shape));
    let form = if entry.once_turned && turned { Form::Linear } else { entry.form };
    Entry { form, ..entry.clone() }
}

fn without_prefix<'a>(name: &'a str, layout: &ModelTensors) -> &'a str {
    name.strip_prefix(layout.prefix()).unwrap_or(name)
}

/// Older files of transformers carry constants of the architecture as buffers: the causal mask, the frequencies of
/// rotary positions.
fn is_constant(key: &str, layout: &ModelTensors) -> bool {
    let Some(family) = layout.family() else { return false };
    let blocks = without_prefix(family.naming.blocks, layout);
    key.starts_with(blocks) && family.files.constants.iter().any(|name| key.ends_with(name))
}

/// The tensors of the file that make up `entry`: the one of its name, or separate query/key and value.
fn take_parts(
    file: &TensorFiles,
    entry: &Entry,
    layout: &ModelTensors,
    there: &mut BTreeMap<String, String>,
    problems: &mut Problems,
) -> Vec<Part> {
    let key = without_prefix(&entry.name, layout);
    let [qk, v] = match layout.family().and_then(|family| family.files.apart) {
        Some((whole, parts)) => parts.map(|part| key.replace(whole, part)),
        None => [key, key].map(str::to_owned),
    };
    let columns = entry.columns();
    let is_apart =
        qk != key && !there.contains_key(key) && (there.contains_key(&qk) || there.contains_key(&v));
    let wanted = if is_apart {
        let packed = Packed::of(columns, 1, 1);
        vec![(qk, packed.turned().len()), (v, packed.part())]
    } else {
        vec![(key.to_owned(), columns)]
    };

    let mut parts = Vec::new();
    let mut from = 0;
    for (key, columns) in wanted {
        let mut shape = entry.filed().shape;
        if let Some(last) = shape.last_mut().filter(|_| is_apart) {
            *last = columns;
        }
        let all_zeros = from >= entry.columns() - entry.zero_columns;
        from += columns;
        let Some(name) = there.remove(&key) else {
            // The file may omit zeros that the model does not hold.
            if !all_zeros {
                let name = if is_apart { format!("{}{key}", layout.prefix()) } else { entry.name.clone() };
                problems.missing.push(format!("{name} {shape:?}"));
            }
            continue;
        };
        let Some(info) = file.info(&name) else { continue };
        let one_value = info.shape.is_empty() && shape == [1];
        if info.shape != shape && !one_value {
            problems.shape.push(format!("{name} is {:?}, the model has {shape:?}", info.shape));
        } else if !TensorFile::readable(info.dtype) {
            let what = format!("{name} holds {:?}; only F32, F16 and BF16 can be read", info.dtype);
            problems.values.push(what);
        } else {
            parts.push(Part { name, columns });
        }
    }
    parts
}

/// Checks that the columns of `entry` that the model does not hold are zeros.
fn check_zeros(file: &mut TensorFiles, entry: &Entry, parts: &[Part], problems: &mut Problems) -> Result<()> {
    let held = entry.columns() - entry.zero_columns;
    let mut from = 0;
    for part in parts {
        let mut element = 0;
        let mut found = None;
        if from + part.columns > held {
            file.each_piece(&part.name, |piece| {
                let column = |i: usize| match entry.form {
                    Form::Plain => from + (element + i) % part.columns,
                    _ => entry.place(element + i).1,
                };
                let frozen = |i: usize| column(i) >= held;
                found =
                    piece.iter().enumerate().find(|&(i, value)| *value != 0.0 && frozen(i)).map(|(_, v)| *v);
                element += piece.len();
                found.is_none()
            })?;
        }
        if let Some(value) = found {
            let what = if held == 0 { "no such bias" } else { "no such bias for the value" };
            problems
                .values
                .push(format!("{} holds {value}, the model has {what}: it must be zero", part.name));
        }
        from += part.columns;
    }
    Ok(())
}

/// Checks that the head is the token embedding, bit for bit.
fn check_tied(file: &mut TensorFiles, head: &str, embedding: &str, problems: &mut Problems) -> Result<()> {
    let same_form = match (file.info(head), file.info(embedding)) {
        (Some(a), Some(b)) => a.shape == b.shape && TensorFile::readable(a.dtype),
        _ => false,
    };
    let mut same = same_form;
    if same_form {
        let expected = file.values(embedding)?;
        let mut from = 0;
        file.each_piece(head, |piece| {
            let there = piece.iter().map(|v| v.to_bits());
            same = there.eq(expected[from..from + piece.len()].iter().map(|v| v.to_bits()));
            from += piece.len();
            same
        })?;
    }
    if !same {
        problems.values.push(format!("{head} is not {embedding}, to which the model's head is tied"));
    }
    Ok(())
}

impl Problems {
    fn into_result(self, file: &TensorFiles, layout: &ModelTensors) -> Result<()> {
        let kinds = [
            (self.missing, "missing", "missing"),
            (self.extra, "extra", "extra"),
            (self.shape, "of another shape", "shape"),
            (self.values, "with impossible values", "values"),
        ];
        let counts: Vec<String> = kinds
            .iter()
            .filter(|(lines, ..)| !lines.is_empty())
            .map(|(lines, what, _)| format!("{} {what}", lines.len()))
            .collect();
        if counts.is_empty() {
            return Ok(());
        }
        let mut found = counts.join(", ");
        // The hint comes before the list: after a hundred lines nobody would see it.
        let rotary = |family: Family| family.positions == Positions::Rotary;
        let positions = if layout.family().is_some_and(rotary) { "" } else { "n_positions, " };
        let keys = format!("n_layer, n_embd, {positions}vocab_size, norm and bias");
        found.push_str(&format!(" (see {keys} under [model]):"));
        for (lines, _, word) in kinds {
            for line in lines {
                found.push_str(&format!("\n  {word}: {line}"));
            }
        }
        Err(Fault::new(Kind::Checkpoint, MISFIT).at(file.path().display()).found(found))
    }
}
