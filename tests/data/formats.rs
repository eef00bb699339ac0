//! Every form in which people keep documents gives the same tokens, and what is damaged or foreign is named.

use super::*;
use std::io::{Cursor, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use arrow_array::{Int64Array, LargeStringArray, RecordBatch, StringArray};
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field, Schema};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::basic::Compression as Packing;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

/// Documents with everything that a format must escape; some have chunks, some none.
fn documents() -> Vec<String> {
    (0..60)
        .map(|n| match n % 4 {
            0 => format!("Document {n}, \"quoted\"; a,b\tand {{}} [1, 2]\n{}", "one two three ".repeat(12)),
            1 => format!("Zürich {n}: 中文 😀\r\n{}", "x += 1\n".repeat(20)),
            2 => String::new(),
            _ => format!("{n}\\ \"]}},{{\" {}", "\"a\": [\"b\"], ".repeat(15)),
        })
        .collect()
}

fn json_lines(column: &str) -> Vec<u8> {
    let line = |(n, text)| serde_json::json!({ "id": n, column: text }).to_string() + "\n";
    documents().into_iter().enumerate().map(line).collect::<String>().into_bytes()
}

fn json_array(pretty: bool) -> Vec<u8> {
    let rows: Vec<_> =
        documents().into_iter().map(|text| serde_json::json!({ "n": [{}], "text": text })).collect();
    if pretty { serde_json::to_vec_pretty(&rows).unwrap() } else { serde_json::to_vec(&rows).unwrap() }
}

/// A table with its fields quoted, and a column before and behind.
fn table(separator: char) -> Vec<u8> {
    let mut out = format!("\u{feff}id{separator}text{separator}\"label, of it\"\r\n");
    for (n, text) in documents().iter().enumerate() {
        out += &format!("{n}{separator}\"{}\"{separator}x\r\n", text.replace('"', "\"\""));
    }
    out.into_bytes()
}

pub fn parquet(packing: Packing, version: i32, optional: bool) -> Vec<u8> {
    let kind = if optional { "optional" } else { "required" };
    let schema =
        parse_message_type(&format!("message m {{ required int64 id; {kind} binary text (UTF8); }}"))
            .unwrap();
    let version = if version == 2 {
        parquet::file::properties::WriterVersion::PARQUET_2_0
    } else {
        parquet::file::properties::WriterVersion::PARQUET_1_0
    };
    let properties = WriterProperties::builder().set_compression(packing).set_writer_version(version).build();
    let mut out = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut out, Arc::new(schema), Arc::new(properties)).unwrap();
    // Two row groups.
    for group in documents().chunks(25) {
        let mut groups = writer.next_row_group().unwrap();
        let mut column = groups.next_column().unwrap().unwrap();
        let ids: Vec<i64> = (0..group.len() as i64).collect();
        column.typed::<parquet::data_type::Int64Type>().write_batch(&ids, None, None).unwrap();
        column.close().unwrap();
        let mut column = groups.next_column().unwrap().unwrap();
        let texts: Vec<ByteArray> = group.iter().map(|text| text.as_str().into()).collect();
        let levels = vec![1; texts.len()];
        let levels = optional.then_some(levels.as_slice());
        column.typed::<ByteArrayType>().write_batch(&texts, levels, None).unwrap();
        column.close().unwrap();
        groups.close().unwrap();
    }
    writer.close().unwrap();
    out
}

fn batches(large: bool) -> (Arc<Schema>, Vec<RecordBatch>) {
    let kind = if large { DataType::LargeUtf8 } else { DataType::Utf8 };
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("text", kind, true)];
    let schema = Arc::new(Schema::new(fields));
    let documents = documents();
    let batch = |texts: &[String]| {
        let ids = Arc::new(Int64Array::from_iter_values(0..texts.len() as i64));
        let texts: arrow_array::ArrayRef = if large {
            Arc::new(LargeStringArray::from_iter_values(texts))
        } else {
            Arc::new(StringArray::from_iter_values(texts))
        };
        RecordBatch::try_new(schema.clone(), vec![ids, texts]).unwrap()
    };
    (schema.clone(), documents.chunks(25).map(batch).collect())
}

fn arrow_stream(large: bool) -> Vec<u8> {
    let (schema, batches) = batches(large);
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

fn arrow_file(lz4: bool) -> Vec<u8> {
    let (schema, batches) = batches(false);
    let packing = lz4.then_some(arrow_ipc::CompressionType::LZ4_FRAME);
    let options = IpcWriteOptions::default().try_with_compression(packing).unwrap();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

/// Two members, as tools that append make them.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let member = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let (one, two) = bytes.split_at(bytes.len() / 2);
    [member(one), member(two)].concat()
}

/// Two frames, with one to skip between them.
pub fn zstandard(bytes: &[u8]) -> Vec<u8> {
    let frame = |bytes: &[u8]| compress_to_vec(Cursor::new(bytes), CompressionLevel::Fastest);
    let (one, two) = bytes.split_at(bytes.len() / 2);
    [frame(one), b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec(), frame(two)].concat()
}

/// Prepares one file; returns the parts and the tokenizer.
fn prepared(name: &str, bytes: &[u8], column: Option<&str>) -> [Vec<u8>; 3] {
    let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write(source.path(), name, bytes);
    let mut options = options(source.path().join(name), &out);
    options.column = column.map(str::to_owned);
    let meta = run(&options).unwrap_or_else(|fault| panic!("{name}: {fault}"));
    assert_eq!(meta.train.documents + meta.valid.documents, 60, "{name}");
    ["train.bin", "valid.bin", "tokenizer.json"].map(|part| fs::read(options.out.join(part)).unwrap())
}

#[test]
fn every_form_of_the_same_documents_gives_the_same_tokens() {
    let expected = prepared("data.jsonl", &json_lines("text"), None);
    assert!(expected[0].len() > 1000 && !expected[1].is_empty());
    let lines = json_lines("text");
    for (name, bytes) in [
        ("data.ndjson", lines.clone()),
        ("data.json", lines.clone()),
        ("data.json", json_array(false)),
        ("data.json", json_array(true)),
        ("data.jsonl.gz", gzip(&lines)),
        ("data.jsonl.zst", zstandard(&lines)),
        ("data.json.gz", gzip(&json_array(true))),
        ("data", lines.clone()),
        ("data", json_array(false)),
        ("data.gz", gzip(&json_array(true))),
        ("data.zst", zstandard(&lines)),
        ("data.csv", table(',')),
        ("data.csv", table(';')),
        ("data.tsv", table('\t')),
        ("data.csv.zst", zstandard(&table(','))),
        ("data.parquet", parquet(Packing::UNCOMPRESSED, 1, false)),
        ("data.parquet", parquet(Packing::SNAPPY, 1, true)),
        ("data.parquet", parquet(Packing::GZIP(Default::default()), 2, true)),
        ("data.parquet", parquet(Packing::BROTLI(Default::default()), 1, false)),
        ("data.parquet", parquet(Packing::LZ4_RAW, 2, false)),
        ("data.arrow", arrow_stream(false)),
        ("data.arrow", arrow_stream(true)),
        ("data.arrow.gz", gzip(&arrow_stream(false))),
        ("data.feather", arrow_file(false)),
        ("data.feather", arrow_file(true)),
    ] {
        assert!(prepared(name, &bytes, None) == expected, "{name}, {} bytes", bytes.len());
    }
    // What a file holds is told by its bytes.
    for (name, bytes) in [("data.gz", lines), ("data", parquet(Packing::SNAPPY, 1, true))] {
        let name = if name == "data.gz" { "data.jsonl" } else { name };
        let bytes = if name == "data.jsonl" { gzip(&bytes) } else { bytes };
        assert!(prepared(name, &bytes, None) == expected, "{name}");
    }
    assert!(prepared("data.jsonl", &json_lines("body"), Some("body")) == expected);
    // Under a name that says nothing, all documents are found all the same.
    for (name, bytes) in [
        ("data.bin", json_array(true)),
        ("data.bin.gz", gzip(&json_array(false))),
        ("data.dat", json_lines("text")),
        ("data.raw.zst", zstandard(&json_lines("text"))),
    ] {
        prepared(name, &bytes, None);
    }
}

#[test]
fn a_parquet_file_packed_with_zstandard_is_read() {
    // Written by pyarrow 26, because the library here writes none: five documents, a null, pages of both versions.
    for name in ["zstd_v1.parquet", "zstd_v2.parquet"] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/forms").join(name);
        let out = TempDir::new().unwrap();
        let options = options(&source, &out);
        let meta = run(&options).unwrap();
        assert_eq!((meta.train.documents + meta.valid.documents, meta.skipped.malformed), (5, 1), "{name}");
        assert!(meta.skipped.first.unwrap().contains("row 3: null"), "{name}");
        let text = texts(&options).concat();
        for number in 0..5 {
            assert!(text.contains(&format!("document {number}: ")), "{name}: {text}");
        }
    }
}

#[test]
fn standard_input_and_pipes_are_sources() {
    let expected = prepared("stdin.jsonl", &json_lines("text"), None);
    for bytes in [json_lines("text"), gzip(&json_lines("text")), parquet(Packing::SNAPPY, 1, false)] {
        let out = TempDir::new().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_normfree"));
        child.args(["-q", "prepare", "-", "--vocab-size", "400", "--chunk", "16", "--valid-share", "0.3"]);
        child.arg("--out").arg(out.path().join("out"));
        child.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let mut child = child.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&bytes).unwrap();
        assert!(child.wait().unwrap().success());
        for (part, expected) in ["train.bin", "valid.bin"].iter().zip(&expected) {
            assert!(fs::read(out.path().join("out").join(part)).unwrap() == *expected, "{part}");
        }
        let left: Vec<_> =
            fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["out"], "the copy of the pipe is gone");
    }
}

#[test]
#[cfg(unix)]
fn a_named_pipe_is_read_as_the_shell_gives_it() {
    let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let pipe = source.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = pipe.clone();
    let thread = std::thread::spawn(move || fs::write(writer, table(',')).unwrap());
    let mut options = options(&pipe, &out);
    options.column = Some("text".to_owned());
    let meta = run(&options).unwrap();
    thread.join().unwrap();
    assert_eq!((meta.train.documents + meta.valid.documents, meta.source.files), (60, 1));
}

#[test]
fn a_data_set_is_read_without_its_papers() {
    let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let snapshot = "datasets--a--b/snapshots/0123456789abcdef0123456789abcdef01234567";
    write(source.path(), &format!("{snapshot}/README.md"), "---\nlicense: mit\n---\n# The card\n".repeat(30));
    write(source.path(), &format!("{snapshot}/LICENSE"), "a licence ".repeat(90));
    write(source.path(), &format!("{snapshot}/.gitattributes"), "* text");
    write(source.path(), &format!("{snapshot}/load.py"), "import datasets\n".repeat(30));
    write(source.path(), &format!("{snapshot}/data/dataset_infos.json"), "{\"default\": {}}");
    write(source.path(), "datasets--a--b/blobs/abcdef", parquet(Packing::SNAPPY, 1, true));
    let link = source.path().join(snapshot).join("data/train-00000.parquet");
    #[cfg(unix)]
    std::os::unix::fs::symlink("../../../blobs/abcdef", &link).unwrap();
    #[cfg(not(unix))]
    fs::copy(source.path().join("datasets--a--b/blobs/abcdef"), &link).unwrap();
    for folder in [snapshot, "datasets--a--b"] {
        let options = options(source.path().join(folder), &out);
        let meta = run(&options).unwrap();
        assert_eq!((meta.source.files, meta.train.documents + meta.valid.documents), (1, 60), "{folder}");
        assert!(
            meta.notes[0].contains("is a data set") && meta.notes[0].contains("left out"),
            "{:?}",
            meta.notes
        );
        assert!(!texts(&options).concat().contains("licence"));
    }

    // What `save_to_disk` writes.
    write(source.path(), "saved/dataset_dict.json", "{\"splits\": [\"train\"]}");
    write(source.path(), "saved/train/dataset_info.json", "{\n  \"text\": \"no\"\n}");
    write(source.path(), "saved/train/state.json", "{\"_data_files\": []}");
    write(source.path(), "saved/train/data-00000-of-00001.arrow", arrow_stream(false));
    let meta = run(&options(source.path().join("saved"), &out)).unwrap();
    assert_eq!((meta.source.files, meta.train.documents + meta.valid.documents), (1, 60));

    // A folder of documents with a card.
    write(source.path(), "texts/README.md", "---\nlicense: mit\n---\nThe card.");
    write(source.path(), "texts/a.txt", "one text ".repeat(80));
    write(source.path(), "texts/b.txt.gz", gzip("other text ".repeat(80).as_bytes()));
    let meta = run(&options(source.path().join("texts"), &out)).unwrap();
    assert_eq!((meta.source.files, meta.source.bytes), (2, 80 * 20));
}

#[test]
fn a_collection_of_texts_keeps_all_of_them() {
    let (source, out) = (corpus(6), TempDir::new().unwrap());
    write(source.path(), "README.md", "read me ".repeat(60));
    write(source.path(), "package.json", "{ \"name\": \"a\", \"scripts\": {} }");
    write(source.path(), "settings.json", "{\n  \"a\": 1\n}\n");
    write(source.path(), "numbers.csv", "a,b\n1,2\n");
    write(source.path(), "tests/rows.jsonl", json_lines("text"));
    write(source.path(), "picture.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff\xff");
    let meta = run(&options(&source, &out)).unwrap();
    assert_eq!((meta.source.files, meta.skipped.binary, meta.notes.len()), (11, 1, 0));
    assert!(meta.skipped.first.unwrap().ends_with("picture.png: a PNG picture"));
    assert_eq!(meta.train.documents + meta.valid.documents, 10 + 60);
}

#[test]
fn data_that_are_not_read_are_an_error() {
    let mut tar = vec![b'a'; 512];
    tar[257..262].copy_from_slice(b"ustar");
    for (name, bytes, words) in [
        ("data.zip", b"PK\x03\x04abc".to_vec(), ["a zip archive", "unpack it"]),
        ("data.tar", tar.clone(), ["a tar archive", "unpack it"]),
        ("data.tar.gz", gzip(&tar), ["a tar archive", "unpack it"]),
        ("data.jsonl.xz", b"\xfd7zXZ\0abc".to_vec(), ["an xz file", "unxz"]),
        (
            "data.parquet",
            b"version https://git-lfs.github.com/spec/v1\n".to_vec(),
            ["Git LFS", "git lfs pull"],
        ),
        (
            "data.parquet",
            b"<html>not found</html>".to_vec(),
            ["not Parquet, in spite of its name", "download"],
        ),
        ("data.arrow", b"text".to_vec(), ["not Arrow", "download"]),
        ("data.parquet.gz", gzip(&parquet(Packing::SNAPPY, 1, true)), ["a packed Parquet file", "unpack it"]),
        ("data.db", b"SQLite format 3\0abc".to_vec(), ["an SQLite database", "JSON lines"]),
    ] {
        let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        write(source.path(), name, &bytes);
        assert_fault(run(&options(source.path().join(name), &out)), Kind::Data, &[words[0], words[1], name]);
        // Beside text, it must not be passed over.
        write(source.path(), "README.md", "read me ".repeat(90));
        write(source.path(), "b.md", "read me too ".repeat(90));
        let mut beside = options(source.path(), &out);
        assert_fault(run(&beside), Kind::Data, &[words[0], name, "beside what it reads", "--extensions"]);
        assert!(!beside.out.exists(), "nothing is left behind");
        beside.extensions = vec!["md".to_owned()];
        run(&beside).unwrap();
    }
}

#[test]
fn a_column_that_is_not_there_is_named_with_those_that_are() {
    let check = |name: &str, bytes: &[u8], column: Option<&str>, kind: Kind, words: &[&str]| {
        let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        write(source.path(), name, bytes);
        let mut options = options(source.path().join(name), &out);
        options.column = column.map(str::to_owned);
        assert_fault(run(&options), kind, words);
    };
    let named = Some("body");
    check(
        "a.csv",
        &table(','),
        named,
        Kind::Data,
        &["no `body`, but `id`, `text`, `label, of it`", "--column"],
    );
    check(
        "a.parquet",
        &parquet(Packing::SNAPPY, 1, true),
        named,
        Kind::Data,
        &["no `body`, but `id`, `text`"],
    );
    check("a.arrow", &arrow_stream(true), named, Kind::Data, &["no `body`, but `id`, `text`"]);
    check("a.arrow", &arrow_stream(true), Some("id"), Kind::Data, &["`id` with values of type Int64"]);
    check(
        "a.parquet",
        &parquet(Packing::SNAPPY, 1, true),
        Some("id"),
        Kind::Data,
        &["`id` with values of type"],
    );
    check(
        "a.jsonl",
        &json_lines("t"),
        None,
        Kind::Data,
        &["neither `text` nor `content`, but `id`, `t`", "60 rows"],
    );
    check("a.json", &json_array(true), named, Kind::Data, &["element 1: no `body`, but `n`, `text`"]);
    check("a.json", b"{\n \"a\": 1\n}", None, Kind::Data, &["holds no rows", "JSON lines"]);
    check("a.txt", b"some text", named, Kind::Usage, &["no source has columns", "--column"]);
}

#[test]
fn damaged_files_are_a_sentence() {
    let whole = json_lines("text");
    for (name, mut bytes, words) in [
        ("a.jsonl.gz", gzip(&whole), "gzip"),
        ("a.jsonl.zst", zstandard(&whole), "Zstandard"),
        ("a.parquet", parquet(Packing::SNAPPY, 1, true), "a Parquet file is damaged"),
        ("a.arrow", arrow_stream(false), "an Arrow file is damaged"),
        ("a.json", json_array(true), "a JSON array is damaged"),
    ] {
        bytes.truncate(bytes.len() * 2 / 3);
        let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        write(source.path(), name, &bytes);
        assert_fault(run(&options(source.path().join(name), &out)), Kind::Data, &[words, name, "again"]);
    }
    // A buffer that claims far more than LZ4 could pack into it, and a file that was cut where a message ends.
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/documents");
    let greedy = fs::read(corpus.join("claims-too-much.arrow")).unwrap();
    let mut open_ended = arrow_file(false);
    let end = open_ended.windows(8).rposition(|bytes| bytes == [255, 255, 255, 255, 0, 0, 0, 0]).unwrap();
    open_ended.truncate(end);
    for (name, bytes, words) in
        [("a.arrow", greedy, "claims to hold"), ("b.arrow", open_ended, "no end after its last batch")]
    {
        let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        write(source.path(), name, &bytes);
        assert_fault(run(&options(source.path().join(name), &out)), Kind::Data, &[words, name, "again"]);
    }
    let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write(source.path(), "a.csv", format!("id,text\n1,{}\n2\n", "a short text ".repeat(90)));
    let meta = run(&options(source.path().join("a.csv"), &out)).unwrap();
    let first = meta.skipped.first.unwrap();
    assert!(
        meta.skipped.malformed == 1 && first.contains("row 2: 1 fields, where the header has 2"),
        "{first}"
    );
}

#[test]
fn the_cap_counts_unpacked_text() {
    for (name, bytes) in [
        ("a.jsonl.gz", gzip(&json_lines("text"))),
        ("a.parquet", parquet(Packing::SNAPPY, 1, true)),
        ("a.arrow", arrow_stream(false)),
        ("a.csv", table(',')),
        ("a.json", json_array(false)),
    ] {
        let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        write(source.path(), name, bytes);
        let mut options = options(source.path().join(name), &out);
        let whole = run(&options).unwrap().source.bytes;
        options.max_bytes = Some(whole * 3 / 4);
        let part = run(&options).unwrap();
        assert!(part.source.bytes <= whole * 3 / 4, "{name}: {} of {whole}", part.source.bytes);
        assert!(
            (20..60).contains(&(part.train.documents + part.valid.documents)),
            "{name}: {:?}",
            part.train
        );
    }
}

#[test]
fn a_vocabulary_and_its_merges_are_a_tokenizer() {
    let (source, out) = (corpus(6), TempDir::new().unwrap());
    let learned = options(&source, &out);
    let tokens = run(&learned).unwrap().vocab_size;
    let expected = fs::read(learned.out.join("train.bin")).unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(learned.out.join("tokenizer.json")).unwrap()).unwrap();
    let pair = |merge: &serde_json::Value| match merge {
        serde_json::Value::Array(two) => format!("{} {}", two[0].as_str().unwrap(), two[1].as_str().unwrap()),
        text => text.as_str().unwrap().to_owned(),
    };
    let merges: Vec<String> = json["model"]["merges"].as_array().unwrap().iter().map(pair).collect();
    let (files, again) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write(files.path(), "vocab.json", json["model"]["vocab"].to_string());
    write(files.path(), "merges.txt", format!("#version: 0.2\n{}\n", merges.join("\n")));
    for path in ["", "vocab.json", "merges.txt"] {
        let mut options = options(&source, &again);
        options.tokenizer = Some(files.path().join(path));
        let meta = run(&options).unwrap();
        assert_eq!((meta.vocab_size, meta.end_of_text, meta.notes.len()), (tokens, Some(0), 0), "{path}");
        assert!(fs::read(options.out.join("train.bin")).unwrap() == expected, "{path}");
    }

    let mut options = options(&source, &again);
    options.tokenizer = Some(files.path().join("vocab.json"));
    write(files.path(), "merges.txt", format!("#version: 0.2\n{}\nfoo\n", merges[0]));
    assert_fault(run(&options), Kind::Data, &["merges.txt", "line 3", "\"foo\" in place of two tokens"]);
    write(files.path(), "merges.txt", format!("{}\nzz qq\n", merges[0]));
    assert_fault(run(&options), Kind::Data, &["which the vocabulary lacks", "line 2"]);
    fs::remove_file(files.path().join("merges.txt")).unwrap();
    assert_fault(run(&options), Kind::Data, &["a vocabulary without", "merges.txt"]);
    write(files.path(), "vocab.json", "{\"a\": 0}");
    write(files.path(), "merges.txt", "");
    assert_fault(run(&options), Kind::Data, &["without tokens for 255 of the 256 bytes"]);
    options.tokenizer = Some(again.path().to_owned());
    assert_fault(run(&options), Kind::Data, &["a folder with neither tokenizer.json nor vocab.json"]);
}

#[test]
fn another_token_ends_a_text() {
    let (source, out) = (corpus(6), TempDir::new().unwrap());
    let mut options = options(&source, &out);
    (options.end_of_text, options.pack) = (Some("</s>".to_owned()), true);
    let meta = run(&options).unwrap();
    let end = tokenizer(&options).token_to_id("</s>");
    assert!(end.is_some() && meta.end_of_text == end);
    assert!(texts(&options)[0].contains("</s>") && !texts(&options)[0].contains("<|endoftext|>"));

    // Of the tokenizer that was learned, given again.
    let again = TempDir::new().unwrap();
    let mut given = self::options(&source, &again);
    (given.tokenizer, given.pack) = (Some(options.out.join("tokenizer.json")), true);
    assert_fault(run(&given), Kind::Data, &["packing needs a token", "--end-of-text"]);
    given.end_of_text = Some("</s>".to_owned());
    assert_eq!(run(&given).unwrap().end_of_text, end);
    given.end_of_text = Some("<eos>".to_owned());
    assert_fault(run(&given), Kind::Data, &["lacks the token that ends a text", "\"<eos>\""]);
}
