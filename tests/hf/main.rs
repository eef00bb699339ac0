//! Exported and imported models against PyTorch with `transformers`: `make test-hf` brings both, or takes the Python that
//! `TORCH_PYTHON` names. Every family with every mechanism is trained for some steps at a tiny size and exported; `compare.py`
//! loads it and compares loss, head entropies, greedy text and, where there is one, the entropy penalty in training with what
//! this program computes.
//!
//! `NORMFREE_HF=WORD` takes only models with that word in their names.

mod mechanisms;

use mechanisms::models;
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const BASE: &str = "\
[model]
n_layer = 2
n_head = 4
n_embd = 32
n_positions = 96
vocab_size = 300
norm = \"layer_norm\"
activation_function = \"gelu\"
embd_pdrop = 0.0
initializer_range = 0.08

[data]
path = \"data\"

[train]
steps = 20
batch_size = 4
learning_rate = 3e-3
warmup_ratio = 0.1
checkpoint_every = 20
eval_every = 20

[observe]
entropy_every = 10
tensorboard = false
";

const PROMPT: &str = "def f_7(x):\n    return x *";

/// A folder in which the program runs, with prepared data.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::write(place.path("base.toml"), BASE).unwrap();
        fs::create_dir(place.path("text")).unwrap();
        for file in 0..12 {
            let mut text = String::new();
            for i in 0..60 {
                writeln!(text, "def f_{}(x):\n    return x * {} + {file}", i * 7 % 31, i * i % 97).unwrap();
            }
            fs::write(place.path(&format!("text/{file}.py")), text).unwrap();
        }
        let prepare = "prepare text --out data --vocab-size 300 --chunk 96 --valid-share 0.2 --seed 1";
        place.run(&prepare.split(' ').collect::<Vec<_>>());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_normfree"));
        command.args(arguments).current_dir(self.0.path());
        command.env("NORMFREE_CACHE", self.path("cache")).env("NORMFREE_DEVICE", "cpu");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(arguments)).unwrap()
    }

    /// What the program computes with the model at `path`, for the manifest.
    fn case(&self, name: &str, path: &str, folder: &str, stock: bool) -> Value {
        let eval = self.json(&["eval", path, "--data", "data", "--chunks", "0", "--heads", "--json"]);
        let sample = ["sample", path, "--prompt", PROMPT, "--temperature", "0", "--tokens", "60"];
        let sample = self.json(&[&sample[..], &["--ignore-end-of-text", "--json"]].concat());
        json!({
            "name": name,
            "folder": self.path(folder),
            "checkpoint": self.path(&format!("{path}/checkpoints/step-00000020")),
            "stock": stock,
            "tokens": self.path("data/valid.bin"),
            "chunk": 96,
            "end": 0,
            "loss": eval["loss"],
            "entropies": eval["heads"]["head_entropy"],
            "prompt": PROMPT,
            "prompt_tokens": sample["prompt_tokens"],
            "sampled": sample["tokens"],
        })
    }

    /// What the entropy regularizer adds to the loss of the model in `folder` on the first sequences to train on, by the first
    /// record of a run that starts from it.
    fn penalty(&self, run: &str, folder: &str, keys: &[String]) -> Value {
        let from = format!("train.init_from={folder}");
        let mut train = vec!["train", "base.toml", "--run", run, "--set", &from];
        for key in
            ["train.steps=1", "data.order=sequential"].into_iter().chain(keys.iter().map(String::as_str))
        {
            train.extend(["--set", key]);
        }
        self.run(&train);
        let log = fs::read_to_string(self.path(run).join("metrics.jsonl")).unwrap();
        let mut records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let step = records.find(|record| record["kind"] == "step").unwrap();
        json!({ "tokens": self.path("data/train.bin"), "sequences": 4, "value": step["entropy_penalty"] })
    }

    fn python(&self, arguments: &[&str]) -> bool {
        let python =
            std::env::var("TORCH_PYTHON").expect("TORCH_PYTHON names a Python with torch and transformers");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hf/compare.py");
        let mut command = Command::new(python);
        command.arg(script).args(arguments).env("HF_HOME", self.path("hub")).env("HF_HUB_OFFLINE", "1");
        command.status().unwrap().success()
    }

    fn compare(&self, cases: &[Value]) {
        assert!(!cases.is_empty(), "no model has that word in its name");
        let manifest = self.path("manifest.json");
        fs::write(&manifest, serde_json::to_vec(cases).unwrap()).unwrap();
        assert!(self.python(&["compare", manifest.to_str().unwrap()]), "models disagree");
    }
}

fn wanted(name: &str) -> bool {
    std::env::var("NORMFREE_HF").is_ok_and(|word| name.contains(&word))
        || std::env::var("NORMFREE_HF").is_err()
}

#[test]
#[ignore = "make test-hf"]
fn exported_models_agree() {
    let place = Place::new();
    let mut cases = Vec::new();
    for (number, (name, keys)) in models().into_iter().filter(|(name, _)| wanted(name)).enumerate() {
        let run = format!("m{number}");
        let mut train = vec!["train", "base.toml", "--run", &run];
        keys.iter().for_each(|key| train.extend(["--set", key]));
        place.run(&train);
        let folder = format!("{run}_hf");
        place.run(&["export", &run, "--hf", &folder]);
        let config: Value =
            serde_json::from_slice(&fs::read(place.path(&folder).join("config.json")).unwrap()).unwrap();
        let mut case = place.case(&name, &run, &folder, config["model_type"] != "normfree");
        if keys.iter().any(|key| key.starts_with("model.entropy_regularization=")) {
            case["penalty"] = place.penalty(&format!("{run}_again"), &folder, &keys);
        }
        cases.push(case);
    }
    place.compare(&cases);
}

#[test]
#[ignore = "make test-hf"]
fn imported_models_agree() {
    let place = Place::new();
    assert!(place.python(&["make", place.path("made").to_str().unwrap()]));
    let mut folders: Vec<String> = fs::read_dir(place.path("made"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| wanted(name))
        .collect();
    folders.sort();
    let mut cases = Vec::new();
    for name in folders {
        let folder = format!("made/{name}");
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            let text = match file {
                "tokenizer.json" => fs::read(place.path("data/tokenizer.json")).unwrap(),
                _ => br#"{"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids", "attention_mask"]}"#.to_vec(),
            };
            fs::write(place.path(&folder).join(file), text).unwrap();
        }
        let experiment = format!("{name}.toml");
        place.run(&["import", &folder, "--out", &experiment]);
        let run = format!("{name}_run");
        let steps = ["--set", "train.steps=1", "--set", "train.learning_rate=1e-6"];
        place.run(&[&["train", &experiment, "--run", &run, "--set", "data.path=data"], &steps[..]].concat());
        let mut case = place.case(&name, &folder, &folder, true);
        case["checkpoint"] = json!(place.path(&folder));
        cases.push(case);
    }
    place.compare(&cases);
}
