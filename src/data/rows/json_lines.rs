//! JSON lines: one object a line.

use super::super::entry::Entry;
use super::super::json_line;
use super::super::stream::Stream;
use super::row::{LONGEST_ROW, Row, Rows, Without, too_long};
use crate::fault::{Fault, Result};

pub struct JsonLines {
    stream: Stream,
    entry: Entry,
    line: u64,
}

impl JsonLines {
    pub fn open(entry: &Entry) -> Result<Self> {
        Ok(Self { stream: Stream::open(entry)?, entry: entry.clone(), line: 0 })
    }

    fn too_long(&self) -> Fault {
        too_long("a line of a JSON lines file", &self.entry, self.line + 1)
    }
}

impl Rows for JsonLines {
    fn next(&mut self) -> Result<Option<Row>> {
        loop {
            // Made anew for each line, to free the memory of a long one.
            let mut bytes = Vec::new();
            let read = self.stream.line(LONGEST_ROW + 1, &mut bytes)?;
            if read > LONGEST_ROW {
                return Err(self.too_long());
            }
            if read == 0 || (self.stream.cut && bytes.last() != Some(&b'\n')) {
                return Ok(None);
            }
            self.line += 1;
            let document = match std::str::from_utf8(&bytes) {
                Ok(line) if line.trim().is_empty() => continue,
                Ok(line) => json_line::document(line, &self.entry.columns).map_err(Without::Malformed),
                Err(_) => Err(Without::NotUtf8),
            };
            return Ok(Some(Row { number: self.line, document }));
        }
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
