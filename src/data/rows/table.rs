//! Tables of separated values: a header, and one record for each document.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::super::entry::Entry;
use super::super::stream::Stream;
use super::row::{LONGEST_ROW, Row, Rows, Without, damaged, too_long, without_column};
use crate::fault::Result;

/// The most fields that a record may have.
const MOST_FIELDS: usize = 1 << 16;

pub struct Table {
    stream: Stream,
    entry: Entry,
    reader: Reader,
    /// The fields of the record that was read last, back to back, and where each ends.
    fields: Vec<u8>,
    ends: Vec<usize>,
    /// The document's place in a record, and the number of fields of the header.
    column: usize,
    columns: usize,
    number: u64,
}

fn reader(separator: u8) -> Reader {
    ReaderBuilder::new().delimiter(separator).build()
}

/// The names in the header of the table that `head` begins; what is complete of them.
pub fn header(head: &[u8], separator: u8) -> Vec<String> {
    let (mut fields, mut ends) = (vec![0; head.len()], vec![0; MOST_FIELDS]);
    let (_, _, _, count) = reader(separator).read_record(head, &mut fields, &mut ends);
    let mut begin = 0;
    let fields = ends[..count].iter().map(|&end| {
        let field = String::from_utf8_lossy(&fields[begin..end]).into_owned();
        begin = end;
        field
    });
    fields.collect()
}

impl Table {
    pub fn open(entry: &Entry, separator: u8) -> Result<Self> {
        let mut table = Self {
            stream: Stream::open(entry)?,
            entry: entry.clone(),
            reader: reader(separator),
            fields: Vec::new(),
            ends: Vec::new(),
            column: 0,
            columns: 0,
            number: 0,
        };
        if table.record()? {
            let names: Vec<String> = (0..table.ends.len())
                .map(|place| String::from_utf8_lossy(table.field(place)).trim().to_owned())
                .collect();
            table.columns = names.len();
            table.column = entry
                .columns
                .place(&names)
                .ok_or_else(|| without_column(entry, entry.columns.missing(&names)))?;
        }
        Ok(table)
    }

    fn field(&self, place: usize) -> &[u8] {
        let begin = if place == 0 { 0 } else { self.ends[place - 1] };
        &self.fields[begin..self.ends[place]]
    }

    /// Reads the next record. Returns whether there is one; a last one that the cap cut is none.
    fn record(&mut self) -> Result<bool> {
        let (mut bytes, mut fields) = (0, 0);
        // Grown as needed, and freed after a long record.
        self.fields.clear();
        self.fields.resize(4 << 10, 0);
        self.fields.shrink_to(1 << 20);
        self.ends.clear();
        self.ends.resize(64, 0);
        loop {
            let block = self.stream.fill()?;
            let ended = block.is_empty();
            let (result, read, written, ends) =
                self.reader.read_record(block, &mut self.fields[bytes..], &mut self.ends[fields..]);
            self.stream.consume(read);
            (bytes, fields) = (bytes + written, fields + ends);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.fields.len() as u64 > LONGEST_ROW => {
                    return Err(too_long("a record of a table", &self.entry, self.number + 1));
                }
                ReadRecordResult::OutputFull => self.fields.resize(self.fields.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= MOST_FIELDS => {
                    let found =
                        format!("a record of more than {MOST_FIELDS} fields, row {}", self.number + 1);
                    return Err(damaged(&self.entry, found));
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::End => return Ok(false),
                ReadRecordResult::Record => {
                    self.fields.truncate(bytes);
                    self.ends.truncate(fields);
                    return Ok(!(ended && self.stream.cut));
                }
            }
        }
    }
}

impl Rows for Table {
    fn next(&mut self) -> Result<Option<Row>> {
        if self.columns == 0 || !self.record()? {
            return Ok(None);
        }
        self.number += 1;
        let document = match self.ends.len() {
            count if count <= self.column => Err(Without::Malformed(format!(
                "{count} fields, where the header has {} and the document is the field {}",
                self.columns,
                self.column + 1
            ))),
            _ => String::from_utf8(self.field(self.column).to_vec()).map_err(|_| Without::NotUtf8),
        };
        Ok(Some(Row { number: self.number, document }))
    }

    fn bytes(&self) -> u64 {
        self.stream.bytes()
    }

    fn position(&self) -> u64 {
        self.stream.position()
    }

    fn digest(&self) -> [u8; 32] {
        self.stream.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_names() {
        assert_eq!(header(b"a,\"b,c\",text\n1,2,3", b','), ["a", "b,c", "text"]);
        assert_eq!(header(b"\xef\xbb\xbfa\tb\r\n", b'\t'), ["a", "b"]);
    }
}
