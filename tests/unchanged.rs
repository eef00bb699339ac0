//! What every preset trains to, byte for byte, compared with a committed list: refactoring the program changes no bit of what
//! it computes.

use crate::cli::{Place, essence};
use crate::support::gpu;
use normfree::config::Config;
use normfree::device::Device;
use normfree::files::sha256;
use normfree::train::run_folder::RunFolder;
use normfree::train::trainer::Trainer;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// The committed digests, one line each: device, run, digest of weights and moments, digest of the log.
const LIST: &str = "tests/unchanged.txt";
/// The command that updates those of this device.
const RENEW: &str = "NORMFREE_RENEW=1 cargo test --test suite unchanged::";

/// Every preset, reduced to a size that trains in a moment.
const SMALL: [&str; 14] = [
    "model.n_layer=2",
    "model.n_head=4",
    "model.n_embd=32",
    "model.n_positions=16",
    "model.vocab_size=300",
    "train.sequence_length=16",
    "train.batch_size=2",
    "train.steps=4",
    "train.checkpoint_every=4",
    "train.eval_every=2",
    "train.eval_chunks=2",
    "train.warmup_ratio=0.25",
    "observe.entropy_every=1",
    "observe.slopes_every=1",
];

/// Features that no preset switches on, added to a preset.
const BESIDE: [(&str, &[&str]); 6] = [
    ("sm_r", &["train.precision=mixed", "model.n_embd=128"]),
    ("sm_learnable_layer", &["train.precision=mixed", "model.bias=all"]),
    ("sm_ln_g", &["train.recompute=block", "train.gradient_accumulation_steps=2", "model.embd_pdrop=0.1"]),
    ("sm_learnable_block", &["train.decay_slopes=false", "train.gradient_accumulation_steps=2"]),
    ("pythia70m_sm_ln_r", &["model.rotary_pct=1.0", "train.optimizer=adamw"]),
    ("ereg_sm_g", &["observe.layers_every=1", "model.entropy_penalty=head_mean"]),
];

/// Configuration files of single runs, by name, in the order of their names.
fn presets() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut found = Vec::new();
    for folder in ["demo", "ereg", "mechanisms", "paper", "small"] {
        let files = std::fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        found.extend(files.filter(|path| path.extension().is_some_and(|ending| ending == "toml")));
    }
    found.sort();
    found
}

/// Digests of the last checkpoint's numbers, and of the log without its speeds.
fn digests(device: Device, config: &Config, run: &Path) -> (Device, [String; 2]) {
    let folder = RunFolder::create(run).unwrap();
    folder.write_config(&config.to_toml()).unwrap();
    let mut trainer = Trainer::start(device, config, folder).unwrap();
    trainer.train(&AtomicBool::new(false), &mut |_| ()).unwrap();
    let device = trainer.into_device();
    let (mut numbers, mut log) = (Vec::new(), Vec::new());
    for (name, bytes) in essence(run) {
        if name.ends_with(".safetensors") {
            numbers.extend(bytes);
        } else if name.ends_with(".jsonl") {
            log.extend(bytes);
        }
    }
    (device, [numbers, log].map(|bytes| sha256(&bytes)))
}

#[test]
fn every_preset_trains_to_the_same_bytes() {
    let place = Place::with_data();
    let data = format!("data.path={}", toml::Value::String(place.path("data").display().to_string()));
    let mut gpu = gpu();
    // The number of lanes decides the order of a sum.
    let device = format!("{}, {} lanes", gpu.description().driver, gpu.traits().lanes);
    let mut now = BTreeMap::new();
    for path in presets() {
        let folder = path.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let beside = BESIDE.iter().filter(|(of, _)| *of == stem && folder != "small").map(|(_, keys)| *keys);
        for keys in [&[][..]].into_iter().chain(beside) {
            if keys.contains(&"train.precision=mixed") && !gpu.traits().f16 {
                println!("{folder}/{stem} {keys:?}: this device has no f16");
                continue;
            }
            let keys: Vec<String> = SMALL.iter().chain(keys).map(|&key| key.to_owned()).collect();
            let who = [&[format!("{folder}/{stem}")], &keys[SMALL.len()..]].concat().join(" ");
            let config = Config::load(&path, &[&keys[..], std::slice::from_ref(&data)].concat()).unwrap();
            let digests;
            (gpu, digests) = self::digests(gpu, &config, &place.path(&who.replace('/', "_")));
            now.insert(who, digests);
        }
    }
    println!("{} runs on {device}", now.len());
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(LIST);
    let list = std::fs::read_to_string(&kept).unwrap_or_default();
    let is_own = |line: &&str| line.split('\t').next() == Some(&device);
    let line = |(who, [numbers, log]): (&String, &[String; 2])| format!("{device}\t{who}\t{numbers}\t{log}");
    let lines: Vec<String> = now.iter().map(line).collect();
    if crate::support::renews() {
        let mut all: Vec<&str> = list.lines().filter(|line| !is_own(line)).collect();
        all.extend(lines.iter().map(String::as_str));
        std::fs::write(&kept, all.join("\n") + "\n").unwrap();
        return;
    }
    let own: Vec<&str> = list.lines().filter(is_own).collect();
    if own.is_empty() {
        println!("{LIST} has nothing of this device: the bytes are NOT compared; `{RENEW}` adds them");
        return;
    }
    let changed: Vec<&String> = lines.iter().filter(|line| !own.contains(&line.as_str())).collect();
    assert!(
        changed.is_empty() && own.len() == lines.len(),
        "{} of {} runs train to other bytes than before: {changed:#?}\n`{RENEW}` takes them over, if that is meant",
        changed.len(),
        lines.len()
    );
}
