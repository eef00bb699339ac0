//! Folders of other programs: what `config.json` says, what is refused by name, and weights in one file or several.

use super::{evaluated, exported, json_of};
use crate::checkpoint::weights::Foreign;
use crate::cli::Place;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const LAYER_NORM: [&str; 3] =
    ["model.norm=layer_norm", "model.activation_function=gelu_new", "train.learning_rate=1e-2"];

fn change(path: &Path, key: &str, value: Value) {
    let mut config = json_of(path);
    config[key] = value;
    fs::write(path, config.to_string()).unwrap();
}

/// Each setting that changes what a model computes and that no key says is refused by its name and value, with exit code 5.
#[test]
fn settings_that_are_not_computed_are_refused_by_name() {
    let place = Place::with_data();
    let families = [
        ("gpt2", &LAYER_NORM[..]),
        (
            "gpt_neox",
            &[
                "model.family=gpt_neox",
                "model.embd_pdrop=0",
                "model.norm=layer_norm",
                "model.activation_function=gelu",
            ],
        ),
        (
            "llama",
            &[
                "model.family=llama",
                "model.embd_pdrop=0",
                "model.norm=rms_norm",
                "model.activation_function=silu",
            ],
        ),
    ];
    for (family, keys) in families {
        exported(&place, family, keys);
    }
    let original = |family: &str| fs::read(place.path(&format!("{family}_hf/config.json"))).unwrap();
    let settings: [(&str, &str, Value); 20] = [
        ("gpt2", "scale_attn_by_inverse_layer_idx", json!(true)),
        ("gpt2", "scale_attn_weights", json!(false)),
        ("gpt2", "activation_function", json!("quick_gelu")),
        ("gpt2", "model_type", json!("mistral")),
        ("gpt2", "n_embd", json!("wide")),
        ("gpt2", "layer_norm_epsilon", json!([])),
        ("gpt2", "tie_word_embeddings", json!(1)),
        ("gpt_neox", "use_parallel_residual", json!(false)),
        ("gpt_neox", "attention_bias", json!(false)),
        ("gpt_neox", "hidden_act", json!("mish")),
        ("gpt_neox", "rope_scaling", json!({ "type": "linear", "factor": 2.0 })),
        ("gpt_neox", "rope_parameters", json!({ "rope_type": "yarn", "rope_theta": 1e4 })),
        ("llama", "attention_bias", json!("some")),
        ("llama", "mlp_bias", json!(true)),
        ("llama", "head_dim", json!(32)),
        ("llama", "pretraining_tp", json!(2)),
        ("llama", "rope_interleaved", json!(true)),
        ("llama", "rope_scaling", json!({ "rope_type": "llama3", "factor": 8.0 })),
        ("llama", "partial_rotary_factor", json!(0.5)),
        ("llama", "num_hidden_layers", json!(-1)),
    ];
    for (family, key, value) in settings {
        let (folder, before) = (format!("{family}_hf"), original(family));
        let path = place.path(&folder).join("config.json");
        if key == "partial_rotary_factor" {
            change(&path, "rope_parameters", Value::Null);
        }
        change(&path, key, value.clone());
        place.fails(&["import", &folder], 5, &[key, "config.json"]);
        let from = format!("train.init_from={folder}");
        let keys: Vec<&str> = families.iter().find(|(of, _)| *of == family).unwrap().1.to_vec();
        let train = ["train", "tiny.toml", "--dry-run", "--set", &from];
        place.fails(&[&train[..], &crate::cli::sets(&keys)[..]].concat(), 5, &[key]);
        fs::write(&path, before).unwrap();
    }
    // What says nothing about the model is left aside; what may is told.
    let path = place.path("llama_hf/config.json");
    change(&path, "new_mechanism", json!({ "strength": 2 }));
    let output = place.command(&["import", "llama_hf"]).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("also says new_mechanism"), "{output:?}");
    place.fails(&["import", "nowhere"], 5, &["no config.json", "no such folder"]);
    place.fails(&["import", "text"], 5, &["no config.json"]);
    fs::write(&path, "{").unwrap();
    place.fails(&["import", "llama_hf"], 5, &["JSON"]);
}

/// Weights with another model's configuration beside them are refused, with each key and both values.
#[test]
fn a_configuration_beside_the_weights_is_compared() {
    let place = Place::with_data();
    exported(&place, "ln", &LAYER_NORM);
    let refused = |change: &str, parts: &[&str]| {
        let mut keys = LAYER_NORM.to_vec();
        keys.extend(["train.init_from=ln_hf", change]);
        let arguments = [&["train", "tiny.toml", "--dry-run"], &crate::cli::sets(&keys)[..]].concat();
        place.fails(&arguments, 5, &[&["another model", "ln_hf/config.json"], parts].concat());
    };
    refused("model.n_head=4", &["n_head = 2 there, 4 here"]);
    refused("model.activation_function=gelu", &["activation_function = \"gelu_new\" there, \"gelu\" here"]);
    refused("model.layer_norm_epsilon=1e-6", &["layer_norm_epsilon = 0.00001 there, 1e-6 here"]);
    refused("model.norm=hard_tanh", &["found norm = \"layer_norm\" there, \"hard_tanh\" here;"]);
    refused("model.attention_softcap=5", &["attention_softcap = 0.0 there, 5.0 here"]);
    // What a run adds to weights starts as in a fresh model.
    for added in ["model.norm=dyt", "model.attention_sink=true", "model.residual=skip_init", "model.n_head=2"]
    {
        let mut keys = LAYER_NORM.to_vec();
        keys.extend(["train.init_from=ln_hf", "train.steps=1", added]);
        place.succeeds(&[&["train", "tiny.toml", "--dry-run"], &crate::cli::sets(&keys)[..]].concat());
    }
    // A norm-free model's own class is compared as well.
    exported(&place, "free", &["model.qk_norm=plain"]);
    let keys = crate::cli::sets(&["train.init_from=free_hf"]);
    let arguments = [&["train", "tiny.toml", "--dry-run"], &keys[..]].concat();
    place.fails(&arguments, 5, &["qk_norm = \"plain\" there, \"none\" here"]);
}

/// The tensors of a file in several, with an index, as f16 and bf16 too.
fn split(from: &Path, to: &Path, dtype: Dtype) {
    fs::create_dir_all(to).unwrap();
    let bytes = fs::read(from.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut parts = [Foreign::default(), Foreign::default(), Foreign::default()];
    let mut map = serde_json::Map::new();
    for (at, (name, tensor)) in file.iter().enumerate() {
        let floats = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let data: Vec<u8> = match dtype {
            Dtype::F16 => floats.flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect(),
            Dtype::BF16 => floats.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect(),
            _ => tensor.data().to_vec(),
        };
        parts[at % 3].add_raw(name, dtype, tensor.shape(), data);
        map.insert(name.to_owned(), json!(format!("model-{}-of-00003.safetensors", at % 3 + 1)));
    }
    for (at, part) in parts.iter().enumerate() {
        fs::write(to.join(format!("model-{}-of-00003.safetensors", at + 1)), part.bytes()).unwrap();
    }
    let index = json!({ "metadata": { "total_size": 1 }, "weight_map": map });
    fs::write(to.join("model.safetensors.index.json"), index.to_string()).unwrap();
    fs::copy(from.join("config.json"), to.join("config.json")).unwrap();
}

#[test]
fn weights_in_several_files_are_read() {
    let place = Place::with_data();
    exported(&place, "ln", &LAYER_NORM);
    let whole = evaluated(&place, "ln");
    for (name, dtype, bound) in
        [("parts", Dtype::F32, 1e-6), ("f16", Dtype::F16, 1e-2), ("bf16", Dtype::BF16, 1e-1)]
    {
        split(&place.path("ln_hf"), &place.path(name), dtype);
        let experiment = format!("{name}.toml");
        place.succeeds(&["import", name, "--out", &experiment]);
        let run = format!("{name}_run");
        let keys = crate::cli::sets(&["data.path=data", "train.steps=1", "train.learning_rate=1e-30"]);
        let keys =
            [&keys[..], &crate::cli::sets(&["train.final_learning_rate=0", "model.embd_pdrop=0"])].concat();
        place.succeeds(&[&["train", &experiment, "--run", &run], &keys[..]].concat());
        let apart = (evaluated(&place, &run) - whole).abs();
        assert!(apart <= bound, "{name}: {apart:e}");
    }
    place.fails(&["import", "parts", "--out", "parts.toml"], 2, &["exists", "parts.toml"]);
    // The index names a tensor that its file lacks, and a file that is not there.
    let index = place.path("parts/model.safetensors.index.json");
    let mut map = json_of(&index);
    map["weight_map"]["more"] = json!("model-1-of-00003.safetensors");
    fs::write(&index, map.to_string()).unwrap();
    place.fails(&["import", "parts"], 5, &["no more in model-1-of-00003.safetensors"]);
    fs::remove_file(place.path("parts/model-2-of-00003.safetensors")).unwrap();
    place.fails(&["import", "parts"], 9, &["model-2-of-00003.safetensors"]);
    // What PyTorch pickled is named.
    fs::create_dir(place.path("pickled")).unwrap();
    fs::copy(place.path("ln_hf/config.json"), place.path("pickled/config.json")).unwrap();
    fs::write(place.path("pickled/pytorch_model.bin"), "PK").unwrap();
    place.fails(&["import", "pickled"], 5, &["pytorch_model.bin", "save_pretrained"]);
}
