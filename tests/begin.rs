//! The first minute: presets without a file, text prepared on the way, defaults, a file to begin with, more steps, lists of
//! runs, and what shells and `man` read.

use crate::cli::{Place, assert_same, essence, refused, sets, shown};
use normfree::config::{Config, PRESETS, init};
use serde_json::Value;
use std::path::Path;

/// A size that trains in a moment.
const TINY: [&str; 8] = [
    "model.n_layer=1",
    "model.n_head=2",
    "model.n_embd=16",
    "train.steps=3",
    "train.batch_size=2",
    "train.eval_chunks=2",
    "train.sequence_length=16",
    "model.n_positions=16",
];

/// The note about the folder of prepared text.
fn told(place: &Place, arguments: &[&str]) -> String {
    let output = place.command(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", shown(&output));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn presets_are_inside_the_program() {
    let place = Place::new();
    let list = place.succeeds(&["presets"]);
    assert_eq!(list.lines().count(), PRESETS.len() + 1);
    assert!(
        list.lines().any(|line| line.starts_with("paper/sm_ln_g ") && line.contains("2,097,152,000")),
        "{list}"
    );
    let text = place.succeeds(&["presets", "sm_r"]);
    assert_eq!(text, include_str!("../configs/small/sm_r.toml"));
    let json: Value = serde_json::from_str(&place.succeeds(&["presets", "--json"])).unwrap();
    assert_eq!(json.as_array().unwrap().len(), PRESETS.len());
    place.fails(&["presets", "sm_rr"], 2, &["did you mean sm_r?"]);
    place.fails(&["train", "sm_rr"], 2, &["sm_rr", "did you mean sm_r?", "normfree presets"]);
    // All files of the folders are there.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    for folder in ["small", "demo", "paper", "ereg", "mechanisms"] {
        for file in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = file.unwrap().path();
            let name = format!("{folder}/{}", path.file_stem().unwrap().to_str().unwrap());
            let preset = PRESETS.iter().find(|preset| preset.name == name);
            let preset = preset.unwrap_or_else(|| panic!("{name} is not a preset"));
            assert_eq!(preset.text, std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn text_is_prepared_on_the_way_once() {
    let place = Place::with_data();
    let keys = sets(&TINY);
    let train = |run: &str, data: &str| {
        told(&place, &[&["train", "sm_r", "--data", data, "--run", run][..], &keys].concat())
    };
    let first = train("runs/a", "text");
    assert!(first.contains("preparing the text in runs/prepared/text-"), "{first}");
    let config = Config::load_of_run(&place.path("runs/a/config.toml"), &[]).unwrap();
    assert!(config.data.path.starts_with("runs/prepared/text-"), "{}", config.data.path);
    // The text has fewer tokens than the preset asks for.
    assert!((257..2048).contains(&config.model.vocab_size) && config.model.norm.word == "none");
    let second = train("runs/b", "text");
    assert!(second.contains("using the text as it was prepared in runs/prepared/text-"), "{second}");
    assert_same(&place.path("runs/a"), &place.path("runs/b"));
    // Changed text is other text, and the old stays for those who use it.
    std::fs::write(place.path("text/0.py"), "x = 1\n".repeat(200)).unwrap();
    assert!(train("runs/c", "text").contains("preparing the text"));
    assert_eq!(std::fs::read_dir(place.path("runs/prepared")).unwrap().count(), 2);
    place.succeeds(&["train", "--resume", "runs/a"]);

    // Prepared data is used as it is, with its vocabulary and, without a file, its positions; other keys have defaults.
    let small = sets(&["train.steps=2", "train.batch_size=2", "model.n_layer=1", "train.eval_chunks=2"]);
    place.succeeds(&[&["train", "--data", "data"][..], &small].concat());
    let config = Config::load_of_run(&place.path("runs/data/config.toml"), &[]).unwrap();
    assert_eq!(
        (config.model.vocab_size, config.model.n_positions, config.train.sequence_length),
        (300, 16, 16)
    );
    assert_eq!((config.train.checkpoint_every, config.train.eval_every, config.model.n_embd), (1, 1, 128));

    // What is wrong is said before anything is prepared.
    let wrong = |arguments: &[&str], code: i32, parts: &[&str]| {
        place.fails(arguments, code, parts);
        assert_eq!(std::fs::read_dir(place.path("runs/prepared")).unwrap().count(), 2, "{arguments:?}");
    };
    wrong(
        &["train", "sm_r", "--data", "text", "--set", "model.n_head=5"],
        3,
        &["n_embd is not divisible by n_head"],
    );
    wrong(&["train", "sm_r", "--data", "text", "--run", "runs/a"], 6, &["runs/a"]);
    wrong(&["train", "sm_r", "--data", "text", "--dry-run"], 2, &["a dry run prepares no text"]);
    wrong(&["train", "sm_r", "--data", "nowhere"], 4, &["nowhere"]);
    wrong(&["train", "sm_r", "--data", "-"], 2, &["a pipe", "standard input", "normfree prepare -"]);
    wrong(
        &["train", "sm_r", "--set", "data.path=nowhere"],
        4,
        &["data folder is missing", "nowhere", "--data"],
    );
    std::fs::write(place.path("numbers.csv"), "a,b\n1,2\n3,4\n").unwrap();
    wrong(&["train", "sm_r", "--data", "numbers.csv"], 4, &["--column", "`normfree prepare`"]);
    wrong(&["train"], 2, &["CONFIG"]);
    wrong(&["train", "--resume", "runs/a", "--data", "text"], 2, &["--data"]);
}

/// `--data` beside a file, and a file that leaves out what the data say.
#[test]
fn a_file_may_leave_the_data_to_the_command() {
    let place = Place::with_data();
    let text = "[train]\nsteps = 2\nbatch_size = 2\neval_chunks = 2\n[model]\nn_layer = 1\nn_embd = 16\n";
    std::fs::write(place.path("bare.toml"), text).unwrap();
    place.succeeds(&["train", "bare.toml", "--data", "data"]);
    place.succeeds(&["train", "bare.toml", "--resume", "--run", "runs/bare"]);
    place.succeeds(&["train", "bare.toml", "--set", "data.path=data", "--run", "s"]);
    assert_same(&place.path("runs/bare"), &place.path("s"));
    place.fails(&["train", "bare.toml", "--run", "t"], 3, &["required keys are missing", "data.path"]);
    place.fails(
        &["train", "bare.toml", "--data", "data", "--set", "model.vocab_size=500", "--run", "t"],
        4,
        &["model.vocab_size = 300"],
    );
}

#[test]
fn init_writes_every_key() {
    let place = Place::with_data();
    place.succeeds(&["init", "--data", "data"]);
    place.fails(&["init"], 2, &["normfree.toml", "give another name"]);
    place.fails(&["init", "sm_r"], 2, &["ends in .toml", "normfree presets small/sm_r > sm_r.toml"]);
    place.fails(&["init", "own"], 2, &["name it own.toml"]);
    let text = std::fs::read_to_string(place.path("normfree.toml")).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let sizes = ["model.vocab_size=300".to_owned(), "model.n_positions=16".to_owned()];
    let shown = Config::parse(&text, "init", &sizes).unwrap();
    let plain = Config::parse("[data]\npath = \"data\"", "plain", &sizes).unwrap();
    assert_eq!(shown, plain);
    // Each default that the file shows is the one that counts.
    let uncommented: String = text
        .lines()
        .map(|line| {
            match line.strip_prefix('#').filter(|rest| !rest.starts_with(' ') && !rest.contains("= # ")) {
                Some(key) => format!("{key}\n"),
                None => format!("{line}\n"),
            }
        })
        .collect();
    assert_eq!(Config::parse(&uncommented, "init", &sizes).unwrap(), plain);
    assert!(uncommented.matches(" = ").count() > 80);
    assert_eq!(text, init("data"));
    let small = sets(&["train.steps=2", "train.batch_size=2", "model.n_layer=1", "train.eval_chunks=2"]);
    place.succeeds(&[&["train", "normfree.toml"][..], &small].concat());
}

/// A run that is given more steps, twice, is the run that was to have them in this way from the start.
#[test]
fn more_steps_continue_a_run() {
    let place = Place::with_data();
    let train = |arguments: &[&str]| told(&place, &[&["train"], arguments].concat());
    train(&["tiny.toml", "--run", "r"]);
    let note = train(&["--resume", "r", "--set", "train.steps=20"]);
    assert!(note.contains("from 12 to 20 steps; the learning rate ends at"), "{note}");
    // Checkpoints from before are still the run's.
    place.succeeds(&["eval", "r/checkpoints/step-00000020"]);
    train(&["--resume", "r", "--set", "train.steps=24"]);
    train(&["tiny.toml", "--run", "s", "--set", "train.steps=24", "--set", "train.extended_from=12,20"]);
    // Only what older checkpoints say of the number of steps is another.
    let of = |run: &str| -> Vec<_> {
        let all = essence(&place.path(run)).into_iter();
        all.filter(|(name, _)| !name.ends_with("step-00000020 state")).collect()
    };
    assert_eq!(of("r"), of("s"));
    let (r, s) = (place.path("r/config.toml"), place.path("s/config.toml"));
    assert_eq!(std::fs::read_to_string(r).unwrap(), std::fs::read_to_string(s).unwrap());
    let rates: Vec<f64> = std::fs::read_to_string(place.path("r/metrics.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|record| record["kind"] == "step")
        .map(|record| record["lr"].as_f64().unwrap())
        .collect();
    assert_eq!(rates.len(), 24);
    assert!(rates[11] < rates[10] && rates[12] > rates[11] && rates[20] > rates[19], "{rates:?}");
    assert!(train(&["--resume", "r"]).is_empty());
    // A checkpoint of the first twelve steps, evaluated after the extension.
    train(&["tiny.toml", "--run", "kept", "--set", "train.keep_checkpoints=9"]);
    train(&["--resume", "kept", "--set", "train.steps=14"]);
    place.succeeds(&["eval", "kept/checkpoints/step-00000005"]);
    place.succeeds(&["sample", "kept/checkpoints/step-00000012", "--tokens", "3"]);

    place.fails(&["train", "--resume", "r", "--set", "train.steps=12"], 3, &["extended_from", "steps = 12"]);
    // The file has other steps, but nobody asked for them here.
    place.fails(&["train", "tiny.toml", "--resume", "r"], 3, &["train.steps = 24 there, 12 here"]);
    place.fails(
        &["train", "--resume", "r", "--set", "train.steps=30", "--set", "train.learning_rate=1"],
        3,
        &["train.learning_rate"],
    );
    for wrong in ["12,12", "0", "24", "a", "20,12"] {
        let key = format!("train.extended_from={wrong}");
        place.fails(
            &["train", "tiny.toml", "--run", "t", "--set", "train.steps=24", "--set", &key],
            3,
            &["extended_from", "ascending"],
        );
    }
}

#[test]
fn ls_lists_runs() {
    let place = Place::with_data();
    place.fails(&["ls"], 6, &["runs"]);
    place.succeeds(&["train", "tiny.toml"]);
    place.succeeds(&["train", "tiny.toml", "--run", "runs/more", "--set", "model.norm=layer_norm"]);
    let folder = normfree::train::run_folder::RunFolder::create(&place.path("runs/new")).unwrap();
    folder.write_config(&std::fs::read_to_string(place.path("runs/tiny/config.toml")).unwrap()).unwrap();
    let list = place.succeeds(&["ls"]);
    let line = |run: &str| {
        list.lines().find(|line| line.starts_with(run)).unwrap_or_else(|| panic!("{run}: {list}"))
    };
    assert!(
        line("runs/tiny").contains("SM+R")
            && line("runs/tiny").contains("done")
            && line("runs/tiny").contains("12/12")
    );
    assert!(line("runs/more").contains("SM+LN+R") && line("runs/more").contains(" ago"));
    assert!(line("runs/new").contains("training") && line("runs/new").contains("0/12"));
    drop(folder);
    std::fs::remove_dir_all(place.path("runs/new")).unwrap();
    // A checkpoint was lost: the run can be resumed.
    std::fs::remove_dir_all(place.path("runs/more/checkpoints/step-00000012")).unwrap();
    let json = place.succeeds(&["ls", "runs", "--json"]);
    let rows: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<&str> = rows.iter().map(|row| row["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["stopped", "done"]);
    assert!(rows[1]["perplexity"].as_f64().unwrap() > 1.0 && rows[1]["steps"] == 12, "{json}");
    // A damaged run is named, and the others are listed.
    std::fs::write(place.path("runs/more/config.toml"), "[").unwrap();
    let output = place.command(&["ls"]).output().unwrap();
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stderr).contains("left out"),
        "{}",
        shown(&output)
    );
}

#[test]
fn shells_and_man_know_the_program() {
    let place = Place::new();
    for (shell, part) in [
        ("bash", "_normfree"),
        ("zsh", "#compdef normfree"),
        ("fish", "complete -c normfree"),
        ("powershell", "normfree"),
        ("elvish", "normfree"),
    ] {
        let script = place.succeeds(&["completions", shell]);
        assert!(script.contains(part) && script.contains("attend"), "{shell}");
    }
    refused_by_clap(&place, &["completions", "tcsh"]);
    let pages = place.succeeds(&["man", "pages"]);
    assert!(pages.contains("pages/normfree.1") && pages.contains("pages/normfree-train.1"));
    let page = std::fs::read_to_string(place.path("pages/normfree-train.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("gets more"), "{page}");
    assert!(!place.path("pages/normfree-probe.1").exists(), "a hidden command");
    place.fails(&["man", "tiny.toml"], 9, &["tiny.toml"]);
}

fn refused_by_clap(place: &Place, arguments: &[&str]) {
    refused(&place.command(arguments).output().unwrap(), 2, &["tcsh"]);
}
