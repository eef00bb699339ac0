//! What a file is, told by its first bytes, and by its name where bytes alone do not say it.

use super::encoding::BYTE_ORDER_MARK;

/// How many bytes of a file are looked at; the mark of a tar archive is at byte 257.
pub const HEAD: usize = 64 << 10;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    None,
    Gzip,
    Zstandard,
}

impl Packing {
    /// The packing of a file that begins with `head`.
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // The second is a frame to skip, with which some writers begin.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstandard,
            _ => Self::None,
        }
    }

    /// What a person calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "not compressed",
            Self::Gzip => "gzip",
            Self::Zstandard => "Zstandard",
        }
    }
}

/// How a file stores text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The file is one document.
    Text,
    /// Each line is a JSON object with one document.
    JsonLines,
    /// The file is a JSON array of objects with one document each.
    JsonArray,
    /// Each record has one document; fields are separated by this byte.
    Table(u8),
    Parquet,
    /// Arrow's stream or file format: what `datasets` saves.
    Arrow,
}

impl Format {
    /// Whether the file has many documents.
    pub fn has_rows(self) -> bool {
        self != Self::Text
    }

    /// What a person calls such a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::JsonLines => "a JSON lines file",
            Self::JsonArray => "a JSON array",
            Self::Table(b'\t') => "a table of tab-separated values",
            Self::Table(_) => "a table of comma-separated values",
            Self::Parquet => "a Parquet file",
            Self::Arrow => "an Arrow file",
        }
    }
}

/// A kind of file that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// With its article.
    pub name: &'static str,
    /// What makes text of it, if anything does.
    pub remedy: Option<&'static str>,
    /// Whether such files hold data sets: leaving one out unasked would mean other data than the user meant.
    pub is_data: bool,
}

/// What is inside a file, once it is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    Format(Format),
    Foreign(Foreign),
}

const UNPACK: Option<&str> = Some("unpack it, and give the folder");
const EXPORT: Option<&str> = Some("write its text as JSON lines or Parquet, and give that");

/// First bytes, what they belong to, what to do with it, and whether it holds data.
const MARKS: [(&[u8], &str, Option<&str>, bool); 25] = [
    (
        b"version https://git-lfs",
        "a pointer of Git LFS in place of the data",
        Some("run `git lfs pull` first"),
        true,
    ),
    (b"PK\x03\x04", "a zip archive", UNPACK, true),
    (b"PK\x05\x06", "an empty zip archive", UNPACK, true),
    (b"BZh", "a bzip2 file", Some("unpack it with bunzip2"), true),
    (b"\xfd7zXZ\0", "an xz file", Some("unpack it with unxz"), true),
    (b"\x04\x22\x4d\x18", "an lz4 file", Some("unpack it with lz4 -d"), true),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK, true),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACK, true),
    (b"Obj\x01", "an Avro file", EXPORT, true),
    (b"ORC", "an ORC file", EXPORT, true),
    (b"FEA1", "a Feather file of version 1", EXPORT, true),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", EXPORT, true),
    (b"SQLite format 3\0", "an SQLite database", EXPORT, true),
    (b"\x93NUMPY", "a NumPy array", EXPORT, true),
    (b"%PDF-", "a PDF document", Some("write its text to a file, for example with pdftotext"), false),
    (b"\xd0\xcf\x11\xe0", "a document of an older office program", EXPORT, false),
    (b"\x89PNG", "a PNG picture", None, false),
    (b"\xff\xd8\xff", "a JPEG picture", None, false),
    (b"GIF8", "a GIF picture", None, false),
    (b"RIFF", "a recording or a picture", None, false),
    (b"OggS", "a recording", None, false),
    (b"ID3", "a recording", None, false),
    (b"\x7fELF", "a program", None, false),
    (b"\0asm", "a WebAssembly program", None, false),
    (b"\xca\xfe\xba\xbe", "a program", None, false),
];

/// Zip archives that are documents or programs, by the end of their names.
const OTHER_ZIPS: [&str; 14] =
    ["docx", "xlsx", "pptx", "odt", "ods", "odp", "epub", "jar", "whl", "egg", "apk", "pt", "pth", "ckpt"];

/// The kind of a file that is not read, if `head` begins as one.
pub fn foreign(head: &[u8], name: &str) -> Option<Foreign> {
    if head.get(257..262) == Some(b"ustar") {
        return Some(Foreign { name: "a tar archive", remedy: UNPACK, is_data: true });
    }
    let (_, what, remedy, is_data) = MARKS.iter().find(|(mark, ..)| head.starts_with(mark))?;
    let is_other = head.starts_with(b"PK") && ends(name, &OTHER_ZIPS);
    Some(match is_other {
        true => Foreign { name: "a document or a program in a zip archive", remedy: EXPORT, is_data: false },
        false => Foreign { name: what, remedy: *remedy, is_data: *is_data },
    })
}

/// The name of a file without the end that says how it is packed or holds rows: equal documents under equal names
/// are held out alike, however they are stored.
pub fn bare(name: &str, packing: Packing, format: Format) -> &str {
    let without = |name: &str, endings: &[&str]| {
        endings.iter().find(|end| ends(name, &[end])).map_or(name.len(), |end| name.len() - end.len() - 1)
    };
    let mut name = name;
    if packing != Packing::None {
        name = &name[..without(name, &["gz", "gzip", "zst", "zstd"])];
    }
    match format {
        Format::Text => name,
        _ => {
            &name[..without(
                name,
                &["jsonl", "ndjson", "json", "csv", "tsv", "tab", "parquet", "arrow", "feather"],
            )]
        }
    }
}

/// Whether `name` ends in a dot and one of `endings`, in letters of either case.
pub fn ends(name: &str, endings: &[&str]) -> bool {
    let end = name.rsplit_once('.').map(|(_, end)| end);
    end.is_some_and(|end| endings.iter().any(|known| known.eq_ignore_ascii_case(end)))
}

/// Whether a file's name says what the file holds: it has an ending that is not that of any bytes.
pub fn tells(name: &str) -> bool {
    let own = name.rsplit('/').next().unwrap_or(name);
    own.contains('.') && !ends(own, &["bin", "blob", "dat", "data", "dump", "raw"])
}

/// What a file holds that begins with `head`, unpacked, and is called `name`, its packing's ending taken off. `unnamed`
/// data, from a pipe, is told by its bytes alone, for which `has_document` says whether a line of JSON holds one.
pub fn inside(head: &[u8], name: Option<&str>, has_document: impl Fn(&str) -> bool) -> Inside {
    if head.starts_with(b"PAR1") {
        return Inside::Format(Format::Parquet);
    }
    if head.starts_with(b"ARROW1\0\0") || is_arrow_stream(head) {
        return Inside::Format(Format::Arrow);
    }
    if let Some(foreign) = foreign(head, name.unwrap_or_default()) {
        return Inside::Foreign(foreign);
    }
    let Some(name) = name else { return Inside::Format(unnamed(head, has_document)) };
    let wrong = |name| Foreign { name, remedy: Some("make or download it again"), is_data: true };
    match () {
        () if head.is_empty() => Inside::Format(Format::Text),
        () if ends(name, &["parquet"]) => Inside::Foreign(wrong("not Parquet, in spite of its name")),
        () if ends(name, &["arrow", "feather"]) => Inside::Foreign(wrong("not Arrow, in spite of its name")),
        () if ends(name, &["gz", "gzip", "tgz"]) => Inside::Foreign(wrong("not gzip, in spite of its name")),
        () if ends(name, &["zst", "zstd"]) => Inside::Foreign(wrong("not Zstandard, in spite of its name")),
        () if ends(name, &["jsonl", "ndjson"]) => Inside::Format(Format::JsonLines),
        () if ends(name, &["tsv", "tab"]) => Inside::Format(Format::Table(b'\t')),
        () if ends(name, &["csv"]) => Inside::Format(Format::Table(separator(head))),
        () if ends(name, &["json"]) => Inside::Format(json(head)),
        () => Inside::Format(Format::Text),
    }
}

/// Arrow's stream begins with a mark, and the length of a message that is a multiple of eight.
fn is_arrow_stream(head: &[u8]) -> bool {
    let [0xff, 0xff, 0xff, 0xff, length @ ..] = head else { return false };
    let length = length.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
    length.is_some_and(|length| length > 0 && length < 1 << 28 && length % 8 == 0)
}

/// Lines, an array, or, for a single object, a text.
fn json(head: &[u8]) -> Format {
    let head = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head).trim_ascii_start();
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let begins = |rest: &[u8]| rest.trim_ascii_start().first() == Some(&b'{');
    match head.first() {
        Some(b'[') if begins(&head[1..]) => Format::JsonArray,
        Some(b'{') => {
            let rest = &head[line.len()..];
            let whole = serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
            // A line longer than what is looked at is no object written for people, which has short lines.
            if (whole && (begins(rest) || rest.trim_ascii().is_empty()))
                || line.len() == head.len() && head.len() > HEAD / 2
            {
                Format::JsonLines
            } else {
                Format::Text
            }
        }
        _ => Format::Text,
    }
}

/// The kind of data without a name: JSON only if its first object holds a document.
fn unnamed(head: &[u8], has_document: impl Fn(&str) -> bool) -> Format {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&head[..e.valid_up_to()]).unwrap_or_default(),
    };
    let text = text.trim_start_matches('\u{feff}');
    match json(text.as_bytes()) {
        Format::JsonLines if text.lines().next().is_some_and(has_document) => Format::JsonLines,
        Format::JsonArray => Format::JsonArray,
        _ => Format::Text,
    }
}

/// The byte between the fields of a table: of commas, semicolons and tabs, whichever its first line has most of outside
/// quotes.
pub fn separator(head: &[u8]) -> u8 {
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let mut counts = [(b';', 0), (b'\t', 0), (b',', 0)];
    let mut quoted = false;
    for &byte in line {
        quoted ^= byte == b'"';
        if let Some((_, count)) = counts.iter_mut().find(|(own, _)| !quoted && *own == byte) {
            *count += 1;
        }
    }
    // The last of equals, so that a line with none is one of commas.
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(b',', |(byte, _)| byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(head: &[u8], name: &str) -> Format {
        match inside(head, Some(name), |_| false) {
            Inside::Format(format) => format,
            Inside::Foreign(foreign) => panic!("{name}: {foreign:?}"),
        }
    }

    #[test]
    fn bytes_go_before_names() {
        assert_eq!(format(b"PAR1\x15", "a.txt"), Format::Parquet);
        assert_eq!(format(b"ARROW1\0\0\xff", "a"), Format::Arrow);
        assert_eq!(format(b"\xff\xff\xff\xff\x78\0\0\0\x10", "a.bin"), Format::Arrow);
        assert_eq!(format(b"\xff\xff\xff\xff", "a.bin"), Format::Text);
        for (name, what) in [("a.parquet", "Parquet"), ("a.gz", "gzip"), ("a.arrow", "Arrow")] {
            let Inside::Foreign(found) = inside(b"text", Some(name), |_| false) else { panic!("{name}") };
            assert!(found.name.contains(what) && found.is_data, "{found:?}");
        }
    }

    #[test]
    fn json_is_lines_an_array_or_one_object() {
        for (text, format_) in [
            ("{\"text\": \"a\"}\n{\"text\": \"b\"}\n", Format::JsonLines),
            ("{\"text\": \"a\"}", Format::JsonLines),
            ("[{\"text\": \"a\"}]", Format::JsonArray),
            ("\u{feff}[\n  {\"text\"", Format::JsonArray),
            ("{\n  \"text\": \"a\"\n}\n", Format::Text),
            ("[1, 2]", Format::Text),
            ("", Format::Text),
        ] {
            assert_eq!(format(text.as_bytes(), "a.json"), format_, "{text}");
        }
        // A line longer than what is looked at.
        let long = format!("{{\"text\": \"{}", "a".repeat(HEAD));
        assert_eq!(format(&long.as_bytes()[..HEAD], "a.json"), Format::JsonLines);
    }

    #[test]
    fn tables_have_their_separator() {
        for (line, name, byte) in [
            ("a,b\n", "a.csv", b','),
            ("a;b\n", "a.CSV", b';'),
            ("a\tb,c\n", "a.tsv", b'\t'),
            ("a;b;\"c,d,e\"\n", "a.csv", b';'),
            ("text\n", "a.csv", b','),
        ] {
            assert_eq!(format(line.as_bytes(), name), Format::Table(byte), "{line}");
        }
    }

    #[test]
    fn what_is_not_read_has_a_name() {
        let found = |head: &[u8], name| foreign(head, name).map(|found| (found.name, found.is_data));
        assert_eq!(found(b"PK\x03\x04", "a.zip"), Some(("a zip archive", true)));
        assert_eq!(found(b"PK\x03\x04", "a.DOCX"), Some(("a document or a program in a zip archive", false)));
        assert_eq!(found(b"version https://git-lfs.github.com", "a").map(|found| found.1), Some(true));
        let mut tar = vec![b'a'; 300];
        tar[257..262].copy_from_slice(b"ustar");
        assert_eq!(found(&tar, "a.txt"), Some(("a tar archive", true)));
        assert_eq!(found(b"plain", "a.zip"), None);
    }

    #[test]
    fn names_lose_what_says_how_rows_are_stored() {
        for (name, packing, format, bare_) in [
            ("a.jsonl.gz", Packing::Gzip, Format::JsonLines, "a"),
            ("a.txt.zst", Packing::Zstandard, Format::Text, "a.txt"),
            ("b/a.parquet", Packing::None, Format::Parquet, "b/a"),
            ("a.csv", Packing::None, Format::Text, "a.csv"),
            ("a.dat", Packing::None, Format::Arrow, "a.dat"),
        ] {
            assert_eq!(bare(name, packing, format), bare_);
        }
    }

    #[test]
    fn some_names_tell_nothing() {
        for name in ["a.json", "b/a.txt", "a.tar.dat.txt", ".profile", "a.c"] {
            assert!(tells(name), "{name}");
        }
        for name in ["a", "a.bin", "b.txt/a", "b/a.DATA", "a.json.dat"] {
            assert!(!tells(name), "{name}");
        }
    }

    #[test]
    fn a_pipe_is_told_by_its_bytes() {
        let told = |text: &[u8]| inside(text, None, |line| line.contains("text"));
        assert_eq!(told(b"{\"text\": \"a\"}\n{}"), Inside::Format(Format::JsonLines));
        assert_eq!(told(b"{\"body\": \"a\"}\n{}"), Inside::Format(Format::Text));
        assert_eq!(told(b"[{\"text\": \"a\"}]"), Inside::Format(Format::JsonArray));
        assert_eq!(told(b"some text"), Inside::Format(Format::Text));
    }
}
