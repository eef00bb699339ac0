//! The logs of runs as Parquet tables, for notebooks: a file for each kind of record, a row for each number's place, and
//! the run in the first column.

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

/// One file: its stem, what is in its columns, and the rows that a run has in it, column by column.
struct Table {
    stem: &'static str,
    schema: &'static str,
    columns: fn(&RunData) -> Vec<Column>,
}

enum Column {
    Whole(Vec<i64>),
    /// Of a layer or a head.
    Index(Vec<i32>),
    Single(Vec<f32>),
    Double(Vec<f64>),
    Flag(Vec<bool>),
    Text(Vec<ByteArray>),
    /// Numbers that not every row has.
    Some(Vec<Option<f32>>),
    SomeDouble(Vec<Option<f64>>),
}

const TABLES: [Table; 9] = [
    Table {
        stem: "steps",
        schema: "required int64 step; optional double loss; required double lr; required double grad_norm; \
                 required int64 tokens; required double tokens_per_s; optional float entropy_penalty; \
                 optional float loss_scale; required boolean overflow;",
        columns: |run| {
            let steps = &run.steps;
            vec![
                Column::Whole(each(steps, |r| r.step.cast_signed())),
                Column::SomeDouble(each(steps, |r| r.loss)),
                Column::Double(each(steps, |r| r.lr)),
                Column::Double(each(steps, |r| r.grad_norm)),
                Column::Whole(each(steps, |r| r.tokens.cast_signed())),
                Column::Double(each(steps, |r| r.tokens_per_s)),
                Column::Some(each(steps, |r| r.entropy_penalty)),
                Column::Some(each(steps, |r| r.loss_scale)),
                Column::Flag(each(steps, |r| r.overflow)),
            ]
        },
    },
    Table {
        stem: "attention",
        schema: "required int64 step; required int32 layer; required int32 head; required float entropy;",
        columns: |run| heads(&run.attention, |r| (r.step, &r.head_entropy)),
    },
    Table {
        stem: "attention_layers",
        schema: "required int64 step; required int32 layer; required float entropy; required int64 nonfinite;",
        columns: |run| {
            let records = &run.attention;
            let [step, layer] = places(records, |r| (r.step, r.layer_entropy.len()));
            let broken = records.iter().flat_map(|r| r.nonfinite.iter().map(|count| count.cast_signed()));
            vec![step, layer, rows(records, |r| &r.layer_entropy), Column::Whole(broken.collect())]
        },
    },
    Table {
        stem: "slopes",
        schema: "required int64 step; required int32 layer; required float slope;",
        columns: |run| {
            let [step, layer] = places(&run.slopes, |r| (r.step, r.slopes.len()));
            vec![step, layer, rows(&run.slopes, |r| &r.slopes)]
        },
    },
    Table {
        stem: "entropy_thresholds",
        schema: "required int64 step; required int32 layer; required int32 head; required float threshold;",
        columns: |run| heads(&run.thresholds, |r| (r.step, &r.thresholds)),
    },
    Table {
        stem: "ffn_scales",
        schema: "required int64 step; required int32 layer; required float alpha; required float beta;",
        columns: |run| {
            let records = &run.ffn_scales;
            let [step, layer] = places(records, |r| (r.step, r.alpha.len()));
            vec![step, layer, rows(records, |r| &r.alpha), rows(records, |r| &r.beta)]
        },
    },
    Table {
        stem: "layers",
        schema: "required int64 step; required int32 layer; required float grad_norm; optional float zeros; \
                 optional float dead; required float residual_max; required float residual_median;",
        columns: |run| {
            let records = &run.layers;
            let [step, layer] = places(records, |r| (r.step, r.grad_norm.len()));
            vec![
                step,
                layer,
                rows(records, |r| &r.grad_norm),
                some_rows(records, |r| (r.grad_norm.len(), &r.zeros)),
                some_rows(records, |r| (r.grad_norm.len(), &r.dead)),
                rows(records, |r| &r.residual_max),
                rows(records, |r| &r.residual_median),
            ]
        },
    },
    Table {
        stem: "evals",
        schema: "required int64 step; required double loss; required double ppl;",
        columns: |run| {
            vec![
                Column::Whole(each(&run.evals, |r| r.step.cast_signed())),
                Column::Double(each(&run.evals, |r| r.loss)),
                Column::Double(each(&run.evals, |r| r.ppl)),
            ]
        },
    },
    Table {
        stem: "nonfinite",
        schema: "required int64 step; required int64 micro_batch; required binary phase (UTF8); \
                 required binary scope (UTF8); required binary op (UTF8); required binary tensor (UTF8); \
                 required int64 index; required double value;",
        columns: |run| {
            let records = &run.nonfinite;
            vec![
                Column::Whole(each(records, |r| r.step.cast_signed())),
                Column::Whole(each(records, |r| r.micro_batch as i64)),
                Column::Text(each(records, |r| r.phase.as_str().into())),
                Column::Text(each(records, |r| r.scope.as_str().into())),
                Column::Text(each(records, |r| r.op.as_str().into())),
                Column::Text(each(records, |r| r.tensor.as_str().into())),
                Column::Whole(each(records, |r| r.index.cast_signed())),
                Column::Double(each(records, |r| r.value)),
            ]
        },
    },
];

/// Writes a file for each kind of record into the folder `out`, which is made if need be, and returns the paths written.
/// A kind that no run has gives a table without rows.
///
/// # Errors
/// `Usage` where there is no run, or one that is published and has no log; `Io` when a file cannot be written.
pub fn write_parquet(runs: &[RunData], out: &Path) -> Result<Vec<PathBuf>> {
    if let Some(published) = runs.iter().find(|run| run.published.is_some()) {
        return Err(Fault::new(Kind::Usage, "a published heatmap has no log to export")
            .at(published.dir.display())
            .remedy("name run folders and studies' folders"));
    }
    if runs.is_empty() {
        return Err(Fault::new(Kind::Usage, "there is no run to export").remedy("name a run folder"));
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
    TABLES.iter().map(write).collect()
}

/// A row group for each run that has rows.
fn write_table(
    table: &Table,
    runs: &[RunData],
    names: &[String],
    file: impl Write + Send,
) -> std::result::Result<(), ParquetError> {
    let schema = format!("message {} {{ required binary run (UTF8); {} }}", table.stem, table.schema);
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let schema = Arc::new(parse_message_type(&schema)?);
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties))?;
    for (run, name) in runs.iter().zip(names) {
        let columns = (table.columns)(run);
        let rows = columns.first().map_or(0, Column::len);
        if rows == 0 {
            continue;
        }
        let mut group = writer.next_row_group()?;
        Column::Text(vec![name.as_str().into(); rows]).write(&mut group)?;
        for column in columns {
            column.write(&mut group)?;
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
            Self::Some(values) => values.len(),
            Self::SomeDouble(values) => values.len(),
        }
    }

    /// Writes the next column of a row group.
    fn write<W: Write + Send>(
        self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> std::result::Result<(), ParquetError> {
        match self {
            Self::Whole(values) => put::<Int64Type, W>(group, &values, None),
            Self::Index(values) => put::<Int32Type, W>(group, &values, None),
            Self::Single(values) => put::<FloatType, W>(group, &values, None),
            Self::Double(values) => put::<DoubleType, W>(group, &values, None),
            Self::Flag(values) => put::<BoolType, W>(group, &values, None),
            Self::Text(values) => put::<ByteArrayType, W>(group, &values, None),
            Self::Some(values) => put_some::<FloatType, W>(group, values),
            Self::SomeDouble(values) => put_some::<DoubleType, W>(group, values),
        }
    }
}

/// Writes a column; `levels` are 1 for each row that has a value, where not every one has.
fn put<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> std::result::Result<(), ParquetError> {
    let column = group.next_column()?;
    let mut column =
        column.ok_or_else(|| ParquetError::General("more columns than the schema has".into()))?;
    column.typed::<T>().write_batch(values, levels, None)?;
    column.close()
}

/// Writes a column of which not every row has a value.
fn put_some<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: Vec<Option<T::T>>,
) -> std::result::Result<(), ParquetError> {
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = values.into_iter().flatten().collect();
    put::<T, W>(group, &values, Some(&levels))
}

/// Steps, layers, heads, and the number of each head.
fn heads<R>(records: &[R], of: impl Fn(&R) -> (u64, &Vec<Vec<f32>>)) -> Vec<Column> {
    let (mut steps, mut layers, mut heads, mut numbers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for record in records {
        let (step, grid) = of(record);
        for (layer, row) in grid.iter().enumerate() {
            for (head, &number) in row.iter().enumerate() {
                steps.push(step.cast_signed());
                layers.push(layer as i32);
                heads.push(head as i32);
                numbers.push(number);
            }
        }
    }
    vec![Column::Whole(steps), Column::Index(layers), Column::Index(heads), Column::Single(numbers)]
}

/// A number a layer, or none where the record has none: as many as it says.
fn some_rows<R>(records: &[R], of: impl Fn(&R) -> (usize, &Vec<f32>)) -> Column {
    let row = |record| {
        let (layers, row) = of(record);
        (0..layers).map(move |layer| row.get(layer).copied()).collect::<Vec<_>>()
    };
    Column::Some(records.iter().flat_map(row).collect())
}

fn each<R, T>(records: &[R], of: impl Fn(&R) -> T) -> Vec<T> {
    records.iter().map(of).collect()
}

/// Step and layer of each number of records that hold one a layer; `of` says the step and how many layers.
fn places<R>(records: &[R], of: impl Fn(&R) -> (u64, usize)) -> [Column; 2] {
    let all =
        || records.iter().map(&of).flat_map(|(step, layers)| (0..layers).map(move |layer| (step, layer)));
    [
        Column::Whole(all().map(|(step, _)| step.cast_signed()).collect()),
        Column::Index(all().map(|(_, layer)| layer as i32).collect()),
    ]
}

/// The numbers of records that hold one a layer.
fn rows<R>(records: &[R], of: impl Fn(&R) -> &Vec<f32>) -> Column {
    Column::Single(records.iter().flat_map(of).copied().collect())
}

/// What runs are called: by their folder, and where two folders have one name, by their path.
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
