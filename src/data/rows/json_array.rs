//! A JSON array of objects, read element by element.

use super::super::encoding::BYTE_ORDER_MARK;
use super::super::entry::Entry;
use super::super::json_line;
use super::super::stream::Stream;
use super::row::{LONGEST_ROW, Row, Rows, Without, damaged, too_long};
use crate::fault::Result;

pub struct JsonArray {
    stream: Stream,
    entry: Entry,
    number: u64,
    /// Whether the bracket that begins the array was read.
    begun: bool,
}

/// Follows JSON byte by byte to where a value ends.
#[derive(Default)]
struct Extent {
    depth: u64,
    in_string: bool,
    escaped: bool,
}

impl Extent {
    /// Takes one byte of a value. Returns whether the value ends before it: at a comma or a bracket that is not its own.
    fn ends_before(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.depth == 0 => return true,
            b'}' | b']' => self.depth -= 1,
            b',' => return self.depth == 0,
            _ => {}
        }
        false
    }
}

/// The first element of the array that `head` begins, if it is complete.
pub fn first_element(head: &[u8]) -> Option<&str> {
    let array = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head).trim_ascii_start().strip_prefix(b"[")?;
    let mut extent = Extent::default();
    let end = array.iter().position(|&byte| extent.ends_before(byte))?;
    std::str::from_utf8(&array[..end]).ok()
}

impl JsonArray {
    pub fn open(entry: &Entry) -> Result<Self> {
        Ok(Self { stream: Stream::open(entry)?, entry: entry.clone(), number: 0, begun: false })
    }

    /// Skips blanks, and a byte order mark before the array; returns the byte after them.
    fn skip_blanks(&mut self) -> Result<Option<u8>> {
        loop {
            let block = self.stream.fill()?;
            if !self.begun && block.starts_with(BYTE_ORDER_MARK) {
                self.stream.consume(BYTE_ORDER_MARK.len());
                continue;
            }
            let blanks = block.len() - block.trim_ascii_start().len();
            let (next, ended) = (block.get(blanks).copied(), block.is_empty());
            self.stream.consume(blanks);
            if next.is_some() || ended {
                return Ok(next);
            }
        }
    }

    /// Reads an element, up to the comma or bracket after it. `None` if the file ends within it.
    fn element(&mut self) -> Result<Option<Vec<u8>>> {
        let mut element = Vec::new();
        let mut extent = Extent::default();
        loop {
            let block = self.stream.fill()?;
            if block.is_empty() {
                return Ok(None);
            }
            let end = block.iter().position(|&byte| extent.ends_before(byte));
            let taken = end.unwrap_or(block.len());
            element.extend_from_slice(&block[..taken]);
            self.stream.consume(taken);
            if element.len() as u64 > LONGEST_ROW {
                return Err(too_long("an element of a JSON array", &self.entry, self.number + 1));
            }
            if end.is_some() {
                return Ok(Some(element));
            }
        }
    }

    /// The end of the file within the array, which the cap may have cut there.
    fn ended_early<T>(&self) -> Result<Option<T>> {
        match self.stream.cut {
            true => Ok(None),
            false => Err(damaged(&self.entry, format!("its end within element {}", self.number + 1))),
        }
    }
}

impl Rows for JsonArray {
    fn next(&mut self) -> Result<Option<Row>> {
        let mark = self.skip_blanks()?;
        match (self.begun, mark) {
            (false, Some(b'[')) => self.stream.consume(1),
            (false, _) => return Err(damaged(&self.entry, "no array")),
            (true, Some(b',')) => self.stream.consume(1),
            (true, Some(b']')) => {
                self.stream.consume(1);
                return match self.skip_blanks()? {
                    None => Ok(None),
                    Some(_) => Err(damaged(&self.entry, "more after the end of the array")),
                };
            }
            (true, _) => return self.ended_early(),
        }
        let first = !self.begun;
        self.begun = true;
        if first && self.skip_blanks()? == Some(b']') {
            return self.next();
        }
        let Some(element) = self.element()? else { return self.ended_early() };
        self.number += 1;
        let document = match std::str::from_utf8(&element) {
            Ok(element) => {
                json_line::document(element.trim(), &self.entry.columns).map_err(Without::Malformed)
            }
            Err(_) => Err(Without::NotUtf8),
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
    fn an_element_ends_at_its_own_comma_or_bracket() {
        for (array, first) in [
            ("[{\"a\": [1, 2], \"b\": \"],}\\\"\"} , {}]", Some("{\"a\": [1, 2], \"b\": \"],}\\\"\"} ")),
            (" [ 12]", Some(" 12")),
            ("[{\"a\": \"\\\\\"},1]", Some("{\"a\": \"\\\\\"}")),
            ("[{\"a\"", None),
            ("{}", None),
        ] {
            assert_eq!(first_element(array.as_bytes()), first, "{array}");
        }
    }
}
