//! Every command of the documentation is run: on tiny models and texts, in a folder that has what the page speaks of.

use super::{MODEL, Place, shown};
use crate::data::formats;
use parquet::basic::Compression;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Commands that are not run, with the reason.
const LEFT_OUT: [(&str, &str); 4] = [
    ("normfree card", "it measures a device for nine minutes; tests/card.rs runs it on tiny sizes"),
    ("normfree bench", "it measures for minutes; tests/bench.rs runs it on tiny sizes"),
    ("normfree bench --device cpu", "the same"),
    ("normfree report runs/study --serve", "it answers until Ctrl-C; tests/report/live.rs runs it"),
];

/// Parts of commands that stand for hours, and what stands in their place here.
const SHORTER: [(&str, &str); 9] = [
    ("step-00000200", "step-00000002"),
    ("--tokens 64", "--tokens 16"),
    ("--product 1024x3072x768", "--product 64x48x32 --rounds 1"),
    ("--vocab-size 2048 --chunk 128", ""),
    ("--set train.steps=3000 --set train.eval_every=250", ""),
    ("--set train.eval_every=20 --set train.eval_chunks=128", ""),
    ("--steps 1000", "--steps 8"),
    ("--steps 600", "--steps 8"),
    ("--jobs 2", "--jobs 2 --threads 2"),
];

/// Keys of every run: a size that trains in a moment, on the data of [`Template`].
const TINY_MODEL: [&str; 5] =
    ["model.n_layer=1", "model.n_head=2", "model.n_embd=16", "model.n_positions=16", "model.vocab_size=300"];
const TINY_TRAINING: [&str; 7] = [
    "train.steps=4",
    "train.batch_size=2",
    "train.gradient_accumulation_steps=1",
    "train.sequence_length=16",
    "train.checkpoint_every=2",
    "train.eval_every=2",
    "train.eval_chunks=2",
];

/// The commands in a page's blocks for a shell, without comments. A command may go on behind a backslash.
fn commands(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap().replace("\\\n", " ");
    let (mut found, mut shell) = (Vec::new(), false);
    for line in text.lines() {
        if line.starts_with("```") {
            shell = line == "```sh";
            continue;
        }
        let command = line.split(" #").next().unwrap_or_default().trim();
        if shell && command.contains("normfree") {
            found.push(command.to_owned());
        }
    }
    found
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|page| page.extension().is_some_and(|of| of == "md"));
    let mut pages: Vec<PathBuf> = pages.chain([root.join("README.md")]).collect();
    pages.sort();
    pages
}

/// What stands behind an option of a command.
fn behind<'a>(words: &[&'a str], option: &str) -> Option<&'a str> {
    words.windows(2).find(|pair| pair[0] == option).map(|pair| pair[1])
}

/// A folder like that of a user who has read so far.
fn template() -> Place {
    let place = Place::with_data();
    let write = |name: &str, bytes: &[u8]| {
        let path = place.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    // The sources of `remove-norm`'s trial, the text of `attend`, code and a book at home.
    let code = fs::read(place.path("text/3.py")).unwrap();
    for name in
        ["src/lib.rs", "shaders/gate.wgsl", "tests/main.rs", "home/code/a.py", "home/code/b.py", "book.txt"]
    {
        write(name, &code.repeat(3));
    }
    fs::create_dir_all(place.path("home/.local/share/bash-completion/completions")).unwrap();
    // Documents in every form that docs/data.md names.
    let documents: Vec<String> =
        (0..12).map(|file| fs::read_to_string(place.path(&format!("text/{file}.py"))).unwrap()).collect();
    let lines: String =
        documents.iter().map(|text| serde_json::json!({ "text": text }).to_string() + "\n").collect();
    let quoted = |text: &String| format!("\"{}\"\n", text.replace('"', "\"\""));
    write(
        "reviews.csv",
        ("body\n".to_owned() + &documents.iter().map(quoted).collect::<String>()).as_bytes(),
    );
    write("corpus.jsonl", lines.as_bytes());
    write("corpus.jsonl.zst", &formats::zstandard(lines.as_bytes()));
    write("a.jsonl.gz", &formats::gzip(lines.as_bytes()));
    for part in 0..2 {
        write(&format!("train-0000{part}-of-00002.parquet"), &formats::parquet(Compression::SNAPPY, 1, true));
    }
    fs::rename(place.path("data"), place.path("tokens")).unwrap();
    place_data(&place);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    copy(&root.join("configs"), &place.path("configs"));
    for run in ["sm_r", "sm_g"] {
        let config = format!("configs/small/{run}.toml");
        let command = ["train".to_owned(), config];
        place.succeeds(&[&command.each_ref().map(String::as_str)[..], &tiny()].concat());
    }
    let family = MODEL.replace("\"gpt2\"", "\"llama\"").replace("norm = \"none\"\n", "");
    write("llama.toml", family.replace("\"relu\"", "\"silu\"").as_bytes());
    let llama = [
        "train",
        "llama.toml",
        "--run",
        "llama",
        "--set",
        "data.path=tokens",
        "--set",
        "model.embd_pdrop=0.0",
    ];
    place.succeeds(&llama);
    place.succeeds(&["export", "llama", "--hf", "models/smollm2"]);
    fs::write(place.path("tiny-study.toml"), crate::study::STUDY).unwrap();
    place.succeeds(&["study", "tiny-study.toml", "--set", "data.path=tokens"]);
    place
}

/// The prepared data that the configurations name.
fn place_data(place: &Place) {
    drop(fs::remove_dir_all(place.path("data")));
    for folder in ["data/small", "data/code"] {
        copy(&place.path("tokens"), &place.path(folder));
    }
}

/// The options that set all keys of a tiny run.
fn tiny() -> Vec<&'static str> {
    super::sets(&[&TINY_MODEL[..], &TINY_TRAINING].concat())
}

fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from).into_iter().map(Result::unwrap) {
        let part = entry.path().strip_prefix(from).unwrap();
        if entry.file_type().is_dir() {
            fs::create_dir_all(to.join(part)).unwrap();
        } else {
            fs::copy(entry.path(), to.join(part)).unwrap();
        }
    }
}

/// The command as it is run here: shorter, and with a tiny model where it names none.
fn shortened(command: &str) -> String {
    let mut command = command.to_owned();
    for (from, to) in SHORTER {
        command = command.replace(from, to);
    }
    // What a shell does with the output comes last.
    let (own, rest) =
        command.split_once(" > ").map_or((&*command, String::new()), |(own, to)| (own, format!(" > {to}")));
    let words: Vec<&str> = own.split_whitespace().skip_while(|word| *word != "normfree").collect();
    let resumes = words.contains(&"--resume") || words.contains(&"smollm2.toml");
    let more: Vec<String> = match words[1] {
        "train" if words.contains(&"smollm2.toml") => {
            super::sets(&TINY_TRAINING).into_iter().map(String::from).collect()
        }
        "train" | "study" | "referee" if !resumes && !words.contains(&"--slurm") => {
            tiny().into_iter().map(String::from).collect()
        }
        "demo" => tiny().into_iter().chain(["--data", "data/small"]).map(String::from).collect(),
        "prepare" if words.contains(&"--tokenizer") => vec!["--chunk".into(), "16".into()],
        "prepare" => ["--vocab-size", "300", "--chunk", "16", "--max-bytes", "60000", "--valid-share", "0.2"]
            .map(String::from)
            .to_vec(),
        _ => Vec::new(),
    };
    format!("{own} {}{rest}", more.join(" "))
}

/// Removes what an earlier command of the page has made where this one makes something new.
fn make_room(place: &Place, command: &str) {
    let words: Vec<&str> = command.split_whitespace().skip_while(|word| *word != "normfree").collect();
    let made = match words[1] {
        "prepare" | "import" => behind(&words, "--out").map(str::to_owned),
        "export" => behind(&words, "--hf").map(str::to_owned),
        "train" if !words.contains(&"--resume") && !words.contains(&"--dry-run") => {
            let first = if words[2].starts_with("--") { words[3] } else { words[2] };
            let stem = Path::new(first).file_stem().unwrap().to_string_lossy().into_owned();
            Some(behind(&words, "--run").map_or_else(|| format!("runs/{stem}"), str::to_owned))
        }
        _ => None,
    };
    let Some(path) = made.map(|name| place.path(&name)) else { return };
    if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { drop(fs::remove_file(path)) }
}

#[test]
fn every_documented_command_runs() {
    let place = template();
    let programs = place.path("programs");
    fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_normfree"), programs.join("normfree")).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let (mut left_out, mut shorter, mut run) = (BTreeSet::new(), BTreeSet::new(), 0);
    for page in pages() {
        place_data(&place);
        for command in commands(&page) {
            if let Some((own, _)) = LEFT_OUT.iter().find(|(own, _)| *own == command) {
                left_out.insert(*own);
                continue;
            }
            shorter.extend(SHORTER.iter().map(|(from, _)| *from).filter(|from| command.contains(from)));
            let line = shortened(&command);
            make_room(&place, &line);
            let mut shell = Command::new("bash");
            shell.args(["-c", &format!("set -o pipefail; {line}")]).current_dir(place.path(""));
            shell.env("PATH", &path).env("HOME", place.path("home")).stdin(Stdio::null());
            shell.env("NORMFREE_CACHE", place.path("cache")).env("NORMFREE_DEVICE", "cpu");
            let output = shell.output().unwrap();
            assert!(output.status.success(), "{}: {line}\n{}", page.display(), shown(&output));
            run += 1;
        }
    }
    assert_eq!(
        left_out.len(),
        LEFT_OUT.len(),
        "the documentation has no others of {LEFT_OUT:?} but {left_out:?}"
    );
    assert_eq!(
        shorter.len(),
        SHORTER.len(),
        "the documentation has no others of {SHORTER:?} but {shorter:?}"
    );
    assert!(run > 50, "{run}: the search finds nothing any more");
}
