//! The messages of Arrow's stream format: a schema, then batches of rows.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::sync::Arc;

use crate::numbers::counted;
use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::RecordBatchDecoder;
use arrow_ipc::{Message, MessageHeader, RecordBatch as BatchHead, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};

/// What most writers put before the length of a message's head.
const CONTINUES: [u8; 4] = [0xff; 4];

/// LZ4 unpacks a byte to at most 255 (a run's length grows by that much with each byte).
const LARGEST_RATIO: u64 = 255;

/// Reads a stream message by message. The library's own reader believes the unpacked length that a compressed buffer claims, and
/// ends the process where a damaged one claims more than there is memory.
pub struct Messages<R> {
    reader: R,
    head: Vec<u8>,
    schema: SchemaRef,
    /// Whether the mark of the stream's end was read.
    ended: bool,
}

impl<R: Read> Messages<R> {
    /// Reads the schema.
    pub fn begin(mut reader: R) -> Result<Self, ArrowError> {
        let mut head = Vec::new();
        read_message(&mut reader, &mut head)?;
        let schema = match head.is_empty() {
            true => None,
            false => parse(&head)?.header_as_schema(),
        };
        let schema = schema.ok_or_else(|| wrong("no schema at its beginning"))?;
        let schema = Arc::new(try_fb_to_schema(schema)?);
        Ok(Self { reader, head, schema, ended: false })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn reader(&self) -> &R {
        &self.reader
    }

    /// Whether the mark of the stream's end was read. Streams may end without one, files may not.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The next batch, with the column at the place `column` alone; `None` at the end. Dictionaries are passed over: a column of
    /// texts has none.
    pub fn next(&mut self, column: usize) -> Result<Option<RecordBatch>, ArrowError> {
        while !self.ended {
            let Some(body) = read_message(&mut self.reader, &mut self.head)? else {
                return Ok(None);
            };
            if self.head.is_empty() {
                self.ended = true;
                break;
            }
            let message = parse(&self.head)?;
            match message.header_type() {
                MessageHeader::DictionaryBatch => {}
                MessageHeader::RecordBatch => {
                    let batch =
                        message.header_as_record_batch().ok_or_else(|| wrong("a batch without a head"))?;
                    check_buffers(&batch, &body)?;
                    let (body, version) = (Buffer::from_vec(body), message.version());
                    let dictionaries = HashMap::new();
                    return RecordBatchDecoder::try_new(
                        &body,
                        batch,
                        self.schema.clone(),
                        &dictionaries,
                        &version,
                    )?
                    .with_projection(Some(&[column]))
                    .read_record_batch()
                    .map(Some);
                }
                other => return Err(wrong(format!("a message of kind {other:?} among its batches"))),
            }
        }
        Ok(None)
    }
}

fn wrong(found: impl Into<String>) -> ArrowError {
    ArrowError::IpcError(found.into())
}

fn parse(head: &[u8]) -> Result<Message<'_>, ArrowError> {
    root_as_message(head).map_err(|e| wrong(format!("a message's head that cannot be read ({e})")))
}

/// Reads the next message: its head into `head`, which is empty where the mark of the end is, and its body; `None` at the end of
/// the bytes. Memory grows with the bytes that arrive, whatever length is claimed.
fn read_message(reader: &mut impl Read, head: &mut Vec<u8>) -> Result<Option<Vec<u8>>, ArrowError> {
    head.clear();
    let mut length = [0; 4];
    match reader.read_exact(&mut length) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    if length == CONTINUES {
        reader.read_exact(&mut length)?;
    }
    let length = i32::from_le_bytes(length);
    if length == 0 {
        return Ok(Some(Vec::new()));
    }
    read_exactly(reader, i64::from(length), head)?;
    let mut body = Vec::new();
    read_exactly(reader, parse(head)?.bodyLength(), &mut body)?;
    Ok(Some(body))
}

fn read_exactly(reader: &mut impl Read, length: i64, into: &mut Vec<u8>) -> Result<(), ArrowError> {
    let length = u64::try_from(length).map_err(|_| wrong(format!("a message of {length} bytes")))?;
    let read = reader.take(length).read_to_end(into)? as u64;
    if read < length {
        return Err(wrong(format!("the end after {read} of {} of a message", counted(length, "byte"))));
    }
    Ok(())
}

/// Checks that each buffer of a batch is inside of its body, and that a compressed one can hold what it claims. A compressed
/// batch's buffer begins with its unpacked length, −1 if it is not compressed.
fn check_buffers(batch: &BatchHead, body: &[u8]) -> Result<(), ArrowError> {
    let compressed = batch.compression().is_some();
    for buffer in batch.buffers().iter().flatten() {
        let (offset, length) = (buffer.offset(), buffer.length());
        let end = usize::try_from(length).ok().zip(usize::try_from(offset).ok());
        let bytes = end.and_then(|(length, offset)| body.get(offset..offset.checked_add(length)?));
        let Some(bytes) = bytes else {
            return Err(wrong(format!(
                "a buffer of {length} bytes at {offset} in a message of {} bytes",
                body.len()
            )));
        };
        let claim = bytes.first_chunk().map_or(0, |claim| i64::from_le_bytes(*claim));
        let most = (bytes.len() as u64).saturating_mul(LARGEST_RATIO);
        if compressed && u64::try_from(claim).is_ok_and(|claim| claim > most) {
            return Err(wrong(format!("a compressed buffer of {length} bytes that claims to hold {claim}")));
        }
    }
    Ok(())
}
