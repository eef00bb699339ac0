//! JSON lines without a document, byte order marks, other encodings, long lines, sources that are not files.

use super::*;

/// A line with a document that gives chunks.
fn line(number: usize) -> String {
    format!("{{\"text\": \"document {number}: {}\"}}\n", "one and two and three ".repeat(20))
}

/// Prepares `bytes` as a JSON lines file.
fn prepared(bytes: impl AsRef<[u8]>) -> (Result<Meta, Fault>, String) {
    let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write(source.path(), "data.jsonl", bytes);
    let mut options = options(source.path().join("data.jsonl"), &out);
    options.vocab_size = 300;
    let meta = run(&options);
    let text = if meta.is_ok() { texts(&options).concat() } else { String::new() };
    (meta, text)
}

#[test]
fn a_line_without_a_document_is_skipped_and_counted_and_the_first_is_named() {
    let bad = [
        "\u{feff}{\"text\": \"a\"}",
        "{\"text\": \"lone \\ud800 surrogate\"}",
        "[\"an\", \"array\"]",
        "{\"body\": 1}",
        "{\"text\": 1}",
        "[",
        "{\"text\": \"cut",
        "12",
    ];
    for (place, bad) in bad.iter().enumerate() {
        let mut lines: Vec<String> = (0..10).map(line).collect();
        lines.insert(place, format!("{bad}\n"));
        let (meta, text) = prepared(lines.concat());
        let meta = meta.unwrap();
        assert_eq!((meta.train.documents + meta.valid.documents, meta.skipped.malformed), (10, 1), "{bad}");
        assert_eq!(meta.skipped.not_utf8, 0);
        let first = meta.skipped.first.unwrap();
        assert!(first.contains(&format!("data.jsonl, line {}: ", place + 1)), "{first}");
        for number in 0..10 {
            assert!(text.contains(&format!("document {number}: one")), "{number}");
        }
    }

    // All of them, after one that is not UTF-8: that is the first.
    let mut bytes = b"{\"text\": \"\xff\"}\n".to_vec();
    bytes.extend(bad.map(|bad| format!("{bad}\n")).concat().bytes());
    let (meta, _) = prepared(&bytes);
    assert_fault(meta, Kind::Data, &["corpus is empty", "8 rows without", "line 1: not UTF-8"]);
    bytes.extend((0..10).map(line).collect::<String>().bytes());
    let skipped = prepared(&bytes).0.unwrap().skipped;
    assert_eq!((skipped.not_utf8, skipped.malformed), (1, 8));
    assert!(skipped.first.unwrap().ends_with("line 1: not UTF-8"));
}

#[test]
fn defaults_leave_no_trace_in_the_description() {
    let (meta, _) = prepared((0..10).map(line).collect::<String>());
    let text = serde_json::to_string(&meta.unwrap()).unwrap();
    assert!(text.contains("\"skipped\":{\"not_utf8\":0,\"binary\":0}"), "{text}");
    assert!(text.ends_with("}}"), "{text}");
}

#[test]
fn a_byte_order_mark_is_not_text_and_utf16_is_named() {
    let (source, out) = (corpus(6), TempDir::new().unwrap());
    let mut options = options(&source, &out);
    write(source.path(), "marked.py", format!("\u{feff}{}", "marked = True\n".repeat(40)));
    let meta = run(&options).unwrap();
    assert_eq!((meta.source.files, meta.skipped.not_utf8), (7, 0));
    let text = texts(&options).concat();
    assert!(text.contains("marked = True") && !text.contains('\u{feff}'));

    let utf16 = |mark: &str| -> Vec<u8> {
        format!("{mark}{}", "wide = 1\n".repeat(40)).encode_utf16().flat_map(u16::to_le_bytes).collect()
    };
    for (mark, name) in [("\u{feff}", "wide.py"), ("", "wide_too.py"), ("\u{feff}", "wide.jsonl")] {
        write(source.path(), name, utf16(mark));
        let skipped = run(&options).unwrap().skipped;
        assert_eq!((skipped.not_utf8, skipped.binary), (1, 0), "{name}");
        assert!(skipped.first.unwrap().ends_with(&format!("{name}: UTF-16")));
        let mut alone = self::options(source.path().join(name), &out);
        alone.replace = true;
        assert_fault(run(&alone), Kind::Data, &["corpus is empty", "UTF-16", "iconv"]);
        fs::remove_file(source.path().join(name)).unwrap();
    }
    options.sources = vec![source.path().join("marked.py").display().to_string()];
    assert_eq!(run(&options).unwrap().source.bytes, 40 * 14 + 3, "the mark is hashed and counted");
}

#[test]
fn a_line_has_a_bound() {
    let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let path = source.path().join("data.jsonl");
    let options = options(&path, &out);
    let mut file = fs::File::create(&path).unwrap();
    std::io::Write::write_all(&mut file, line(0).as_bytes()).unwrap();
    std::io::Write::write_all(&mut file, b"{\"text\": \"").unwrap();
    // Unwritten parts are zeros, and take no space on most file systems.
    file.set_len(200 << 20).unwrap();
    let fault = run(&options).unwrap_err();
    assert_eq!(fault.exit_code(), 8);
    assert_fault(Err::<(), _>(fault), Kind::Memory, &["data.jsonl, line 2", "64 MiB", "into several"]);

    // Just below it, a line is read, in pieces.
    let long = format!("{{\"text\": \"{}\"}}\n", "0123456789 abcde ".repeat(4 << 16));
    fs::write(&path, long + &line(1)).unwrap();
    let meta = run(&options).unwrap();
    assert_eq!(meta.train.documents + meta.valid.documents, 2);
}

#[test]
#[cfg(unix)]
fn devices_are_refused_for_what_they_are() {
    let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let options = options(Path::new("/dev/null"), &out);
    assert_fault(run(&options), Kind::Data, &["device", "write its text to a file"]);
    assert!(!options.out.exists(), "a request that cannot be leaves nothing");
    // Below a folder, pipes are skipped.
    let pipe = source.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    write(source.path(), "a.txt", "some text ".repeat(80));
    write(source.path(), "b.txt", "more text ".repeat(80));
    assert_eq!(run(&self::options(&source, &out)).unwrap().source.files, 2);
}
