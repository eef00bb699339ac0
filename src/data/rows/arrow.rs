//! Arrow's stream format, as `datasets` saves it, and its file format, which is a stream between two marks.

use std::io::BufReader;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType};

use super::super::entry::Entry;
use super::super::stream::Stream;
use super::messages::Messages;
use super::row::{Row, Rows, Without, damaged, without_column};
use crate::fault::{Fault, Result, contain};

/// What the file format has before its stream.
const FILE_MARK: &[u8] = b"ARROW1\0\0";

pub struct Arrow {
    messages: Messages<BufReader<Stream>>,
    entry: Entry,
    /// Whether it has the file format, which ends with a mark.
    is_file: bool,
    /// The place of the column of documents.
    place: usize,
    /// The column of the current batch, and the next row of it.
    column: Option<ArrayRef>,
    next: usize,
    number: u64,
}

impl Arrow {
    pub fn open(entry: &Entry) -> Result<Self> {
        let (messages, is_file) = begin(entry)?;
        let schema = messages.schema().clone();
        let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        let place = entry.columns.place(&names);
        let place = place.ok_or_else(|| without_column(entry, entry.columns.missing(&names)))?;
        match schema.field(place).data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {}
            other => {
                let found = format!("`{}` with values of type {other}, not texts", names[place]);
                return Err(without_column(entry, found));
            }
        }
        Ok(Self { messages, entry: entry.clone(), is_file, place, column: None, next: 0, number: 0 })
    }

    fn stream(&self) -> &Stream {
        self.messages.reader().get_ref()
    }

    /// The next batch. The library may fail on a damaged one.
    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let read = contain(|| self.messages.next(self.place));
        match read.map_err(|panic| damaged(&self.entry, panic))? {
            // The cap cuts batches.
            Err(_) if self.stream().cut => Ok(None),
            Ok(None) if self.is_file && !self.messages.ended() && !self.stream().cut => {
                Err(damaged(&self.entry, "no end after its last batch"))
            }
            read => read.map_err(|e| fault(&self.entry, e)),
        }
    }
}

/// Begins to read. Returns also whether the file has the file format.
fn begin(entry: &Entry) -> Result<(Messages<BufReader<Stream>>, bool)> {
    let mut stream = Stream::open(entry)?;
    let is_file = stream.fill()?.starts_with(FILE_MARK);
    if is_file {
        stream.consume(FILE_MARK.len());
        // Some writers fill up to 64 bytes.
        while stream.fill()?.starts_with(&[0; 8]) {
            stream.consume(8);
        }
    }
    let made = contain(|| Messages::begin(BufReader::new(stream)));
    let messages = made.map_err(|panic| damaged(entry, panic))?.map_err(|e| fault(entry, e))?;
    Ok((messages, is_file))
}

fn fault(entry: &Entry, error: ArrowError) -> Fault {
    match error {
        ArrowError::IoError(_, e) if e.raw_os_error().is_some() => {
            Fault::io("read the text", &entry.path, &e)
        }
        error => damaged(entry, error),
    }
}

/// A text of a column of texts; `None` for null.
fn text(column: &dyn Array, row: usize) -> Option<&str> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row),
        _ => column.as_string_view().value(row),
    })
}

impl Rows for Arrow {
    fn next(&mut self) -> Result<Option<Row>> {
        loop {
            if let Some(column) = &self.column
                && self.next < column.len()
            {
                let found = text(column, self.next).map(str::to_owned);
                self.next += 1;
                self.number += 1;
                let document = found.ok_or_else(|| Without::Malformed("null in place of a text".to_owned()));
                return Ok(Some(Row { number: self.number, document }));
            }
            match self.batch()? {
                None => return Ok(None),
                Some(batch) => (self.column, self.next) = (Some(batch.column(0).clone()), 0),
            }
        }
    }

    fn bytes(&self) -> u64 {
        self.stream().bytes()
    }

    fn position(&self) -> u64 {
        self.stream().position()
    }

    fn digest(&self) -> [u8; 32] {
        self.stream().digest()
    }
}
