//! One column of a Parquet file, read page by page.

use std::fs::File;
use std::io::{Cursor, Read};
use std::sync::Arc;

use parquet::basic::{Compression, Repetition, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::{SerializedFileReader, SerializedPageReader};
use ruzstd::decoding::StreamingDecoder;
use sha2::{Digest, Sha256};

use super::super::entry::Entry;
use super::super::stream;
use super::row::{Row, Rows, Without, damaged, without_column};
use crate::fault::{Result, contain};

/// Rows decoded at a time; a page, which is held anyway, usually has thousands.
const BATCH: usize = 256;

/// The most bytes of a page once it is unpacked; writers make pages of a megabyte.
const LARGEST_PAGE: u64 = 1 << 30;

pub struct Parquet {
    file: Arc<File>,
    metadata: SerializedFileReader<File>,
    entry: Entry,
    /// The column's place among the leaves of the schema.
    column: usize,
    group: usize,
    reader: Option<ColumnReaderImpl<ByteArrayType>>,
    /// Documents that were decoded and not returned; `None` for null.
    decoded: std::vec::IntoIter<Option<ByteArray>>,
    number: u64,
    bytes: u64,
    hasher: Sha256,
}

impl Parquet {
    pub fn open(entry: &Entry) -> Result<Self> {
        let file = stream::open(&entry.place, &entry.path)?;
        let again = stream::open(&entry.place, &entry.path)?;
        let metadata = contain(|| SerializedFileReader::new(again))
            .map_err(|panic| damaged(entry, panic))?
            .map_err(|e| damaged(entry, e))?;
        let schema = metadata.metadata().file_metadata().schema_descr_ptr();
        let names: Vec<String> = schema.columns().iter().map(|column| column.path().string()).collect();
        let place = entry.columns.place(&names);
        let place = place.ok_or_else(|| without_column(entry, entry.columns.missing(&names)))?;
        let column = schema.column(place);
        let is_list = column.max_rep_level() > 0
            || column.self_type().get_basic_info().repetition() == Repetition::REPEATED;
        if column.physical_type() != Type::BYTE_ARRAY || is_list {
            let what = if is_list { "lists".to_owned() } else { format!("type {}", column.physical_type()) };
            return Err(without_column(
                entry,
                format!("`{}` with values of {what}, not texts", names[place]),
            ));
        }
        Ok(Self {
            file: Arc::new(file),
            metadata,
            entry: entry.clone(),
            column: place,
            group: 0,
            reader: None,
            decoded: Vec::new().into_iter(),
            number: 0,
            bytes: 0,
            hasher: Sha256::new(),
        })
    }

    /// Decodes the next rows. Returns whether there are any. The library may fail on damaged pages.
    fn decode(&mut self) -> Result<bool> {
        let decoded =
            contain(|| self.decode_unguarded()).map_err(ParquetError::General).and_then(|read| read);
        decoded.map_err(|e| damaged(&self.entry, e))
    }

    fn decode_unguarded(&mut self) -> ParquetResult<bool> {
        loop {
            let metadata = self.metadata.metadata();
            let Some(reader) = &mut self.reader else {
                if self.group == metadata.num_row_groups() {
                    return Ok(false);
                }
                let group = metadata.row_group(self.group);
                let column = group.column(self.column);
                let rows = usize::try_from(group.num_rows())?;
                let zstd = matches!(column.compression(), Compression::ZSTD(_));
                let pages: Box<dyn PageReader> = match zstd {
                    false => Box::new(SerializedPageReader::new(self.file.clone(), column, rows, None)?),
                    // The library would unpack these with a C library. Told that they are not packed, it hands them over.
                    true => {
                        let plain = column.clone().into_builder().set_compression(Compression::UNCOMPRESSED);
                        let pages =
                            SerializedPageReader::new(self.file.clone(), &plain.build()?, rows, None)?;
                        Box::new(Zstandard(pages))
                    }
                };
                let description = column.column_descr_ptr();
                self.reader = Some(get_typed_column_reader(get_column_reader(description, pages)));
                self.group += 1;
                continue;
            };
            let (mut values, mut levels) = (Vec::new(), Vec::new());
            let (rows, _, read) = reader.read_records(BATCH, Some(&mut levels), None, &mut values)?;
            if rows == 0 {
                self.reader = None;
                continue;
            }
            let present = metadata.file_metadata().schema_descr().column(self.column).max_def_level();
            let mut values = values.into_iter();
            let documents: Vec<Option<ByteArray>> = match read == values.len() && levels.is_empty() {
                true => values.map(Some).collect(),
                false => {
                    levels.iter().map(|&level| if level == present { values.next() } else { None }).collect()
                }
            };
            self.decoded = documents.into_iter();
            return Ok(true);
        }
    }
}

impl Rows for Parquet {
    fn next(&mut self) -> Result<Option<Row>> {
        while self.decoded.len() == 0 {
            if !self.decode()? {
                return Ok(None);
            }
        }
        let value = self.decoded.next().flatten();
        let bytes = value.as_ref().map_or(&[][..], ByteArray::data);
        if self.entry.cut && self.bytes + bytes.len() as u64 > self.entry.limit {
            return Ok(None);
        }
        self.number += 1;
        self.bytes += bytes.len() as u64;
        self.hasher.update((bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
        let document = match value {
            None => Err(Without::Malformed("null in place of a text".to_owned())),
            Some(_) => String::from_utf8(bytes.to_vec()).map_err(|_| Without::NotUtf8),
        };
        Ok(Some(Row { number: self.number, document }))
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn position(&self) -> u64 {
        let groups = self.metadata.metadata().num_row_groups().max(1) as u64;
        self.entry.bytes * self.group as u64 / groups
    }

    fn digest(&self) -> [u8; 32] {
        self.hasher.clone().finalize().into()
    }
}

/// Unpacks pages that are packed with Zstandard.
struct Zstandard(SerializedPageReader<File>);

impl Zstandard {
    /// Unpacks a page's bytes after the first `plain` ones.
    fn unpack(buffer: &[u8], plain: usize) -> ParquetResult<Vec<u8>> {
        let wrong =
            |e: String| ParquetError::General(format!("Zstandard data that cannot be unpacked ({e})"));
        let mut unpacked = buffer.get(..plain).ok_or_else(|| wrong("a page too short".to_owned()))?.to_vec();
        if buffer.len() > plain {
            let decoder =
                StreamingDecoder::new(Cursor::new(&buffer[plain..])).map_err(|e| wrong(e.to_string()))?;
            let read = decoder.take(LARGEST_PAGE + 1).read_to_end(&mut unpacked);
            let read = read.map_err(|e| wrong(e.to_string()))?;
            if read as u64 > LARGEST_PAGE {
                return Err(wrong(format!("a page of more than {} MiB", LARGEST_PAGE >> 20)));
            }
        }
        Ok(unpacked)
    }

    fn unpacked(mut page: Page) -> ParquetResult<Page> {
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => {
                *buf = Self::unpack(buf, 0)?.into()
            }
            // Levels come first and are never packed.
            Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, is_compressed, .. } => {
                if *is_compressed {
                    *buf = Self::unpack(buf, (*def_levels_byte_len + *rep_levels_byte_len) as usize)?.into();
                    *is_compressed = false;
                }
            }
        }
        Ok(page)
    }
}

impl Iterator for Zstandard {
    type Item = ParquetResult<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Zstandard {
    fn get_next_page(&mut self) -> ParquetResult<Option<Page>> {
        self.0.get_next_page()?.map(Self::unpacked).transpose()
    }

    fn peek_next_page(&mut self) -> ParquetResult<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> ParquetResult<()> {
        self.0.skip_next_page()
    }
}
