//! The event files of a run, read by TensorBoard itself and compared with its log.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use normfree::config::Config;
use normfree::draw::colormap::{Colormap, Rgb};
use normfree::observe::entropy::causal_ceiling;
use normfree::observe::event_file::is_event_file;
use normfree::observe::quantities::{ALL, HEAD_ENTROPY, OVERFLOW};
use normfree::observe::record::Record;
use normfree::train::run_folder::RunFolder;
use normfree::train::trainer::{Event, Trainer};
use serde_json::Value;

use crate::cli::{Place, shown};
use crate::support::gpu;

const MISSING: &str = "event files are tested with TensorBoard: run .ci/bring-tensorboard, or name a Python that has it \
                       in NORMFREE_TENSORBOARD_PYTHON";

/// What TensorBoard reads from a folder or a file.
fn read(path: &Path) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("NORMFREE_TENSORBOARD_PYTHON")
        .map_or_else(|| root.join("target/tensorboard/bin/python"), PathBuf::from);
    let output = Command::new(&python).arg(root.join("tests/tensorboard/read.py")).arg(path).output();
    let output = output.unwrap_or_else(|error| panic!("no {} ({error}): {MISSING}", python.display()));
    assert!(output.status.success(), "{MISSING}\n{}", shown(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn records(run: &Path) -> Vec<Record> {
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn event_files(run: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        paths.filter(|path| is_event_file(path.file_name().unwrap().to_str().unwrap())).collect();
    found.sort();
    found
}

/// One NaN for all: the log does not record the sign.
fn bits(value: f32) -> u32 {
    if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() }
}

/// Step and value of a scalar, as bits.
fn values(told: &Value, tag: &str) -> Vec<(u64, u32)> {
    let values: Vec<(u64, u32)> = serde_json::from_value(told["scalars"][tag].clone()).unwrap();
    values.into_iter().map(|(step, value)| (step, bits(f32::from_bits(value)))).collect()
}

/// TensorBoard's tags for the log's numbers: the kind of record, the key in it, the tag.
const TAGS: [(&str, &str, &str); 21] = [
    ("step", "loss", "Loss/train"),
    ("step", "lr", "train/lr"),
    ("step", "grad_norm", "train/grad_norm"),
    ("step", "tokens_per_s", "train/tokens_per_s"),
    ("step", "entropy_penalty", "train/entropy_penalty"),
    ("step", "loss_scale", "train/loss_scale"),
    ("eval", "loss", "Loss/held_out"),
    ("eval", "ppl", "Loss/perplexity"),
    ("attention", "head_entropy", "head_entropy"),
    ("attention", "layer_entropy", "layer_entropy"),
    ("attention", "nonfinite", "nonfinite_attention"),
    ("slopes", "slopes", "slopes"),
    ("entropy_thresholds", "thresholds", "entropy_threshold"),
    ("ffn_scales", "alpha", "ffn_alpha"),
    ("ffn_scales", "beta", "ffn_beta"),
    ("layers", "grad_norm", "grad_norm"),
    ("layers", "zeros", "zeros"),
    ("layers", "dead", "dead"),
    ("layers", "residual_max", "residual_max"),
    ("layers", "residual_median", "residual_median"),
    ("nonfinite", "value", "nonfinite/value"),
];

/// The tag of a key in a kind of record: from the list, or from a quantity added later.
fn tag_of(kind: &str, key: &str) -> Option<&'static str> {
    let listed = TAGS.iter().find(|of| (of.0, of.1) == (kind, key)).map(|of| of.2);
    let row = ALL.iter().find(|row| (row.kind.word, row.name) == (kind, key));
    listed.or_else(|| row.filter(|row| **row != &OVERFLOW).and_then(|row| row.tag))
}

/// Every scalar of these records, by tag and step, as the bits of an f32.
fn scalars(records: &[Record]) -> BTreeMap<String, Vec<(u64, u32)>> {
    let mut found = BTreeMap::<String, Vec<(u64, u32)>>::new();
    let mut put = |tag: String, step: u64, value: f32| {
        found.entry(tag).or_default().push((step, bits(value)));
    };
    for record in records {
        let line = serde_json::to_value(record).unwrap();
        let step = record.step();
        let kind = line["kind"].as_str().unwrap();
        for (key, value) in line.as_object().unwrap() {
            let Some(tag) = tag_of(kind, key) else { continue };
            match value {
                Value::Array(layers) => {
                    for (layer, of_layer) in layers.iter().enumerate() {
                        let Value::Array(heads) = of_layer else {
                            put(format!("{tag}/0{layer}"), step, number(of_layer));
                            continue;
                        };
                        for (head, value) in heads.iter().enumerate() {
                            put(format!("{tag}/0{layer}.0{head}"), step, number(value));
                        }
                    }
                }
                value => put(tag.into(), step, number(value)),
            }
        }
        // The log has it only if it is true.
        if line.get("loss_scale").is_some() {
            put("train/overflow".into(), step, f32::from(u8::from(line["overflow"] == true)));
        }
    }
    found
}

/// A number of the log.
fn number(value: &Value) -> f32 {
    match value.as_str() {
        None => value.as_f64().unwrap() as f32,
        Some("nan") => f32::NAN,
        Some("inf") => f32::INFINITY,
        Some("-inf") => f32::NEG_INFINITY,
        Some(other) => panic!("{other} is no number"),
    }
}

/// The event files hold everything in the log, with the bits of the nearest f32, and nothing else.
fn assert_told(told: &Value, records: &[Record]) {
    let wanted = scalars(records);
    let told_tags: Vec<&String> = told["scalars"].as_object().unwrap().keys().collect();
    let mut tags: Vec<&String> = wanted.keys().collect();
    tags.sort();
    let mut sorted = told_tags.clone();
    sorted.sort();
    assert_eq!(sorted, tags);
    for (tag, wanted) in &wanted {
        let found = values(told, tag);
        assert_eq!(&found, wanted, "{tag}");
    }
    let wanted: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Measured { step, values, .. } => {
                Some((*step, values.heads(&HEAD_ENTROPY))).filter(|(_, heads)| !heads.is_empty())
            }
            Record::Nonfinite(_) | Record::Sample(_) => None,
        })
        .collect();
    // Texts as blocks of code, with a bar behind the prompt.
    let shown = |record: &Record| match record {
        Record::Sample(sample) => {
            let text = format!("{}▏{}", sample.prompt, sample.text).replace('\n', "\n    ");
            Some(serde_json::json!([sample.step, format!("    {text}")]))
        }
        _ => None,
    };
    let wanted_texts: Vec<Value> = records.iter().filter_map(shown).collect();
    let texts = told["texts"]["sample"].as_array().cloned().unwrap_or_default();
    let mut texts: Vec<Value> =
        texts.iter().map(|text| serde_json::json!([text[0].as_u64(), text[1]])).collect();
    // The reader used here does not drop the texts of earlier sessions, as it drops their numbers and TensorBoard drops both.
    texts.dedup();
    assert_eq!(texts, wanted_texts);
    let images = told["images"]["head_entropy"].as_array().unwrap();
    assert_eq!(images.len(), wanted.len());
    // Sequences of 16 tokens; see `crate::cli::MODEL`.
    let top = causal_ceiling(16);
    for (image, (step, heads)) in images.iter().zip(wanted) {
        assert_eq!(image[0], step);
        let size = |name: &str| image[1][name].as_u64().unwrap() as usize;
        let (width, height) = (size("width"), size("height"));
        let (across, down) = (width / heads[0].len(), height / heads.len());
        assert!(across == down && across >= 8, "{width} × {height}");
        let bytes = image[1]["rgb"].as_str().unwrap().as_bytes();
        let pixel =
            |at: usize| u8::from_str_radix(std::str::from_utf8(&bytes[at..at + 2]).unwrap(), 16).unwrap();
        for y in 0..height {
            for x in 0..width {
                let at = (y * width + x) * 6;
                let entropy = heads[y / down][x / across];
                let colour = match entropy.is_finite() {
                    true => Colormap::Viridis.at(f64::from(entropy) / top),
                    false => Rgb(0xd4, 0xd4, 0xd4),
                };
                assert_eq!(
                    Rgb(pixel(at), pixel(at + 2), pixel(at + 4)),
                    colour,
                    "pixel {x}, {y} of {entropy}"
                );
            }
        }
    }
}

/// A run that is killed five steps after its checkpoint, in the middle of a record, and then resumes: every kind of record
/// except that of a broken number.
#[test]
fn event_files_say_what_the_log_says() {
    let place = Place::with_data().on_driver();
    let data = toml::Value::String(place.path("data").display().to_string());
    let mut keys = vec![
        format!("data.path={data}"),
        "model.activation_function=learnable_lrelu".into(),
        "train.checkpoint_every=6".into(),
        "observe.slopes_every=3".into(),
        "observe.layers_every=2".into(),
        "observe.sample_prompt=def f_".into(),
        "observe.sample_tokens=9".into(),
    ];
    let gpu = gpu();
    let mixed = gpu.traits().f16;
    if mixed {
        // A scale that overflows at first.
        keys.extend(["train.precision=mixed".into(), "train.loss_scale=16777216".into()]);
    }
    let config = Config::load(&place.path("tiny.toml"), &keys).unwrap();
    let folder = RunFolder::create(&place.path("r")).unwrap();
    folder.write_config(&config.to_toml()).unwrap();
    let mut trainer = Trainer::start(gpu, &config, folder).unwrap();
    let killed = place.path("killed");
    trainer
        .train(&AtomicBool::new(false), &mut |event| match event {
            // What was written more than a second ago has reached the system.
            Event::Step { step: 10, .. } => std::thread::sleep(Duration::from_millis(1100)),
            // What a kill at this moment would leave.
            Event::Step { step: 11, .. } => copy(&place.path("r"), &killed),
            _ => {}
        })
        .unwrap();
    drop(trainer);
    let whole = read(&place.path("r"));
    assert_eq!(whole["files"], 2.0, "the version of the format");
    assert_told(&whole, &records(&place.path("r")));
    assert_eq!(event_files(&place.path("r")).len(), 1);
    assert_eq!(whole["scalars"].get("train/loss_scale").is_some(), mixed);

    // The last record is torn, and the whole ones before it are of steps after the checkpoint.
    let [first] = event_files(&killed).try_into().unwrap();
    let bytes = fs::read(&first).unwrap();
    fs::write(&first, &bytes[..bytes.len() - 3]).unwrap();
    let torn = read(&first);
    let steps = values(&torn, "Loss/train");
    assert!(steps.last().unwrap().0 > 7, "{steps:?}");
    place.succeeds(&["train", "--resume", "--run", "killed"]);
    let resumed = records(&killed);
    let evals: Vec<u64> = resumed.iter().filter(|record| record.is_eval()).map(Record::step).collect();
    assert_eq!(evals, [6, 12], "the evaluation at the checkpoint is in the log");
    assert_told(&read(&killed), &resumed);
    let [again, second] = event_files(&killed).try_into().unwrap();
    assert!(again == first && second > first);
    // If nothing is left to do, no file is begun.
    place.succeeds(&["train", "--resume", "--run", "killed"]);
    assert_eq!(event_files(&killed).len(), 2);
    place.succeeds(&["train", "tiny.toml", "--run", "none", "--set", "observe.tensorboard=false"]);
    assert_eq!(event_files(&place.path("none")).len(), 0);
}

#[test]
fn tells_tensorboard_of_numbers_that_are_not_finite() {
    let place = Place::with_data();
    let keys = ["train.learning_rate=1e15", "train.max_grad_norm=0", "train.on_nonfinite=record"];
    place.succeeds(&[&["train", "tiny.toml", "--run", "r"][..], &crate::cli::sets(&keys)].concat());
    let (told, records) = (read(&place.path("r")), records(&place.path("r")));
    assert_told(&told, &records);
    let losses = values(&told, "Loss/train");
    assert!(losses.iter().any(|&(_, bits)| !f32::from_bits(bits).is_finite()), "{losses:?}");
    let found = records.iter().find_map(|record| match record {
        Record::Nonfinite(found) => Some(found),
        _ => None,
    });
    let found = found.unwrap();
    let text = &told["texts"]["nonfinite/where"][0];
    assert_eq!(text[0], found.step);
    let text = text[1].as_str().unwrap();
    assert!(text.contains(&format!("element {} of `{}`", found.index, found.tensor)), "{text}");
}

/// A folder with its contents.
fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from).into_iter().map(Result::unwrap) {
        let path = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::copy(entry.path(), path).unwrap();
        }
    }
}
