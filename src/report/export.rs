//! The logs of runs as Parquet tables, for notebooks: a file for each kind of record, a row for each step, layer or head,
//! and the run in the first column. The other columns follow from the table of quantities.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::run::{RunData, folder_name};
use crate::fault::{Fault, Kind, Result};
use crate::files::{remove_leftovers, replace_with};
use crate::observe::quantities::{Extent, KINDS, Kind as RecordKind, Presence, Quantity, Stored};
use crate::observe::record::{Nonfinite, Sample};

/// One file: its stem and the contents of its columns.
struct Table {
    stem: String,
    content: Content,
}

enum Content {
    /// Quantities of one extent in one kind of record.
    Measured(&'static RecordKind, Extent, Vec<&'static Quantity>),
    /// Numbers that were not finite.
    Nonfinite,
    /// Texts of evaluations.
    Samples,
}

/// A run's rows in one column. `None` stands for a row without a value.
enum Column {
    Whole(Vec<Option<i64>>),
    /// The index of a layer or a head.
    Index(Vec<Option<i32>>),
    Single(Vec<Option<f32>>),
    Double(Vec<Option<f64>>),
    Flag(Vec<Option<bool>>),
    Text(Vec<Option<ByteArray>>),
}

const NONFINITE: &str = "required int64 step; required int64 micro_batch; required binary phase (UTF8); \
                         required binary scope (UTF8); required binary op (UTF8); required binary tensor (UTF8); \
                         required int64 index; required double value;";

const SAMPLES: &str = "required int64 step; required binary prompt (UTF8); required binary text (UTF8); \
                       required int64 tokens;";

/// A table for each kind of record, and another for each further extent among its quantities.
fn tables() -> Vec<Table> {
    let mut tables = Vec::new();
    for &kind in KINDS {
        for (extent, word) in [(Extent::Step, "steps"), (Extent::Head, "heads"), (Extent::Layer, "layers")] {
            let rows: Vec<_> = kind.rows().filter(|row| row.extent == extent).collect();
            if !rows.is_empty() {
                let stem = match extent == kind.extent {
                    true => kind.table.to_owned(),
                    false => format!("{}_{word}", kind.table),
                };
                tables.push(Table { stem, content: Content::Measured(kind, extent, rows) });
            }
        }
    }
    tables.push(Table { stem: "nonfinite".to_owned(), content: Content::Nonfinite });
    tables.push(Table { stem: "samples".to_owned(), content: Content::Samples });
    tables
}

impl Content {
    /// The columns besides the run's name, in Parquet's schema language.
    fn schema(&self) -> String {
        let (extent, rows) = match self {
            Self::Measured(_, extent, rows) => (extent, rows),
            Self::Nonfinite => return NONFINITE.to_owned(),
            Self::Samples => return SAMPLES.to_owned(),
        };
        let places = match extent {
            Extent::Step => "",
            Extent::Layer => " required int32 layer;",
            Extent::Head => " required int32 layer; required int32 head;",
        };
        let column = |row: &&'static Quantity| {
            let may = if is_required(row) { "required" } else { "optional" };
            let kind = match row.stored {
                Stored::F64 => "double",
                Stored::F32 => "float",
                Stored::Whole => "int64",
                Stored::Flag => "boolean",
            };
            format!(" {may} {kind} {};", row.column)
        };
        format!("required int64 step;{places}{}", rows.iter().map(column).collect::<String>())
    }

    /// A run's rows, column by column.
    fn columns(&self, run: &RunData) -> Vec<Column> {
        match self {
            Self::Measured(kind, extent, rows) => measured(run, kind, *extent, rows),
            Self::Nonfinite => nonfinite(run),
            Self::Samples => samples(run),
        }
    }
}

/// Whether every row of the table has a value. A flag that the log omits is false.
fn is_required(row: &Quantity) -> bool {
    row.presence == Presence::Always || row.stored == Stored::Flag
}

fn measured(
    run: &RunData,
    kind: &'static RecordKind,
    extent: Extent,
    rows: &[&'static Quantity],
) -> Vec<Column> {
    let (mut steps, mut layers, mut heads) = (Vec::new(), Vec::new(), Vec::new());
    let mut numbers: Vec<Vec<Option<f64>>> = vec![Vec::new(); rows.len()];
    for step in run.log.steps(kind) {
        let cells: Vec<_> = rows.iter().map(|row| run.log.at(row, step)).collect();
        let Some(places) = cells.iter().find(|cells| !cells.is_empty()) else { continue };
        for &(layer, head, _) in places {
            steps.push(Some(step.cast_signed()));
            layers.push(Some(layer as i32));
            heads.push(Some(head as i32));
        }
        for (numbers, cells) in numbers.iter_mut().zip(&cells) {
            numbers.extend((0..places.len()).map(|place| cells.get(place).map(|cell| cell.2)));
        }
    }
    let mut columns = vec![Column::Whole(steps)];
    if extent != Extent::Step {
        columns.push(Column::Index(layers));
    }
    if extent == Extent::Head {
        columns.push(Column::Index(heads));
    }
    columns.extend(rows.iter().zip(numbers).map(|(row, numbers)| {
        let numbers = numbers.into_iter();
        match row.stored {
            Stored::F64 => Column::Double(numbers.collect()),
            Stored::F32 => Column::Single(numbers.map(|of| of.map(|number| number as f32)).collect()),
            Stored::Whole => Column::Whole(numbers.map(|of| of.map(|number| number as i64)).collect()),
            Stored::Flag => Column::Flag(numbers.map(|of| Some(of.is_some_and(|is| is != 0.0))).collect()),
        }
    }));
    columns
}

fn nonfinite(run: &RunData) -> Vec<Column> {
    fn each<T>(run: &RunData, of: impl Fn(&Nonfinite) -> T) -> Vec<Option<T>> {
        run.nonfinite.iter().map(|record| Some(of(record))).collect()
    }
    vec![
        Column::Whole(each(run, |r| r.step.cast_signed())),
        Column::Whole(each(run, |r| r.micro_batch as i64)),
        Column::Text(each(run, |r| r.phase.as_str().into())),
        Column::Text(each(run, |r| r.scope.as_str().into())),
        Column::Text(each(run, |r| r.op.as_str().into())),
        Column::Text(each(run, |r| r.tensor.as_str().into())),
        Column::Whole(each(run, |r| r.index.cast_signed())),
        Column::Double(each(run, |r| r.value)),
    ]
}

fn samples(run: &RunData) -> Vec<Column> {
    fn each<T>(run: &RunData, of: impl Fn(&Sample) -> T) -> Vec<Option<T>> {
        run.samples.iter().map(|record| Some(of(record))).collect()
    }
    vec![
        Column::Whole(each(run, |r| r.step.cast_signed())),
        Column::Text(each(run, |r| r.prompt.as_str().into())),
        Column::Text(each(run, |r| r.text.as_str().into())),
        Column::Whole(each(run, |r| r.tokens as i64)),
    ]
}

/// Writes a file for each kind of record into the folder `out`, creates the folder if needed, and returns the paths written.
/// A kind that no run has gives a table without rows.
///
/// # Errors
/// `Usage` if there is no run, or one that is published and has no log; `Io` when a file cannot be written.
pub fn write_parquet(runs: &[RunData], out: &Path) -> Result<Vec<PathBuf>> {
    if let Some(published) = runs.iter().find(|run| run.published.is_some()) {
        return Err(Fault::new(Kind::Usage, "a published heatmap has no log to export")
            .at(published.dir.display())
            .remedy("give run folders and studies' folders"));
    }
    if runs.is_empty() {
        return Err(Fault::new(Kind::Usage, "there is no run to export").remedy("give a run folder"));
    }
    std::fs::create_dir_all(out).map_err(|error| Fault::io("make the folder", out, &error))?;
    remove_leftovers(out, |name| name.ends_with(".parquet"));
    let names = names(runs);
    let write = |table: &Table| {
        let path = out.join(format!("{}.parquet", table.stem));
        replace_with(&path, |file| {
            write_table(table, runs, &names, file).map_err(|error| {
                Fault::new(Kind::Io, "cannot write the table").at(path.display()).found(error)
            })
        })?;
        Ok(path)
    };
    tables().iter().map(write).collect()
}

/// A row group for each run that has rows.
fn write_table(
    table: &Table,
    runs: &[RunData],
    names: &[String],
    file: impl Write + Send,
) -> std::result::Result<(), ParquetError> {
    let schema =
        format!("message {} {{ required binary run (UTF8); {} }}", table.stem, table.content.schema());
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let schema = Arc::new(parse_message_type(&schema)?);
    let optional: Vec<bool> = schema.get_fields().iter().map(|field| field.is_optional()).collect();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties))?;
    for (run, name) in runs.iter().zip(names) {
        let columns = table.content.columns(run);
        let rows = columns.first().map_or(0, Column::len);
        if rows == 0 {
            continue;
        }
        let mut group = writer.next_row_group()?;
        let name = Column::Text(vec![Some(name.as_str().into()); rows]);
        for (column, &optional) in std::iter::once(name).chain(columns).zip(&optional) {
            column.write(&mut group, optional)?;
        }
        group.close()?;
    }
    writer.close().map(|_| ())
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Self::Whole(values) => values.len(),
            Self::Index(values) => values.len(),
            Self::Single(values) => values.len(),
            Self::Double(values) => values.len(),
            Self::Flag(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }

    /// Writes the next column of a row group.
    fn write<W: Write + Send>(
        self,
        group: &mut SerializedRowGroupWriter<'_, W>,
        optional: bool,
    ) -> std::result::Result<(), ParquetError> {
        match self {
            Self::Whole(values) => put::<Int64Type, W>(group, values, optional),
            Self::Index(values) => put::<Int32Type, W>(group, values, optional),
            Self::Single(values) => put::<FloatType, W>(group, values, optional),
            Self::Double(values) => put::<DoubleType, W>(group, values, optional),
            Self::Flag(values) => put::<BoolType, W>(group, values, optional),
            Self::Text(values) => put::<ByteArrayType, W>(group, values, optional),
        }
    }
}

/// Writes a column; if it is `optional`, some rows may lack a value.
fn put<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: Vec<Option<T::T>>,
    optional: bool,
) -> std::result::Result<(), ParquetError> {
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = values.into_iter().flatten().collect();
    let column = group.next_column()?;
    let mut column =
        column.ok_or_else(|| ParquetError::General("more columns than the schema has".into()))?;
    column.typed::<T>().write_batch(&values, optional.then_some(&levels), None)?;
    column.close()
}

/// The names of runs: their folder, or their path if two folders have the same name.
fn names(runs: &[RunData]) -> Vec<String> {
    let folders: Vec<String> = runs.iter().map(|run| folder_name(&run.dir)).collect();
    let mut counts = BTreeMap::new();
    folders.iter().for_each(|name| *counts.entry(name.as_str()).or_insert(0) += 1);
    let name = |(run, folder): (&RunData, &String)| match counts[folder.as_str()] {
        1 => folder.clone(),
        _ => run.dir.display().to_string(),
    };
    runs.iter().zip(&folders).map(name).collect()
}
