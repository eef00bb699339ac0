//! Models as Hugging Face's programs read and write them, without Python: what the exported files hold, and what is read of
//! others'. `make test-hf` compares the numbers with PyTorch's.

mod gpt2;
mod import;
mod words;

use crate::cli::{Place, sets};
use gpt2::Gpt2;
use normfree::data::Meta;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

pub fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Trains `tiny.toml` with these keys and exports it; returns the folder's `config.json`.
fn exported(place: &Place, name: &str, keys: &[&str]) -> Value {
    place.succeeds(&[&["train", "tiny.toml", "--run", name], &sets(keys)[..]].concat());
    let folder = format!("{name}_hf");
    place.succeeds(&["export", name, "--hf", &folder]);
    json_of(&place.path(&folder).join("config.json"))
}

/// Mean loss over the held-out chunks, by a reader of the exported folder that shares no code with the program.
fn loss_of(place: &Place, folder: &str) -> f64 {
    let model = Gpt2::read(&place.path(folder));
    let meta = Meta::read(&place.path("data")).unwrap().unwrap();
    let bytes = fs::read(place.path("data/valid.bin")).unwrap();
    let tokens: Vec<usize> =
        bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair).into()).collect();
    let (mut sum, mut count) = (0.0, 0.0);
    for chunk in tokens.chunks(meta.chunk) {
        for (logits, &next) in model.logits(chunk).iter().zip(&chunk[1..]) {
            if meta.end_of_text != Some(next as u32) {
                let peak = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                sum += peak + logits.iter().map(|v| (v - peak).exp()).sum::<f64>().ln() - logits[next];
                count += 1.0;
            }
        }
    }
    sum / count
}

fn evaluated(place: &Place, path: &str) -> f64 {
    let eval = place.succeeds(&["eval", path, "--chunks", "0", "--json"]);
    serde_json::from_str::<Value>(&eval).unwrap()["loss"].as_f64().unwrap()
}

/// f32 on one side: 1e-6, which a few thousand roundings of 6e-8 of both signs stay below.
const BOUND: f64 = 1e-6;

#[test]
fn a_layer_norm_model_is_exported_for_the_stock_class() {
    let place = Place::with_data();
    let keys = ["model.norm=layer_norm", "model.activation_function=gelu_new", "train.learning_rate=1e-2"];
    let config = exported(&place, "ln", &keys);
    for (key, value) in [
        ("architectures", json!(["GPT2LMHeadModel"])),
        ("model_type", json!("gpt2")),
        ("activation_function", json!("gelu_new")),
        ("attn_pdrop", json!(0.0)),
        ("resid_pdrop", json!(0.0)),
        ("embd_pdrop", json!(0.1)),
        ("n_embd", json!(16)),
        ("n_inner", json!(64)),
        ("n_positions", json!(16)),
        ("tie_word_embeddings", json!(true)),
        ("eos_token_id", json!(0)),
    ] {
        assert_eq!(config[key], value, "{key}");
    }
    // Nobody says for how many steps the model of a folder was trained.
    let told = place.succeeds(&["sparsity", "ln_hf", "--data", "data", "--cett", "0.2"]);
    assert!(told.contains("ln_hf, on data: ") && !told.contains("step"), "{told}");
    let folder = place.path("ln_hf");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let stock = [
        "README.md",
        "config.json",
        "generation_config.json",
        "heatmap.png",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names, stock);
    let tokenizer = json_of(&folder.join("tokenizer.json"));
    assert!(tokenizer["model"]["merges"].as_array().unwrap().iter().all(Value::is_string));
    let settings = json_of(&folder.join("tokenizer_config.json"));
    assert_eq!(settings["model_input_names"], json!(["input_ids", "attention_mask"]));
    assert_eq!(
        (&settings["eos_token"], &settings["model_max_length"]),
        (&json!("<|endoftext|>"), &json!(16))
    );
    let card = fs::read_to_string(folder.join("README.md")).unwrap();
    for part in
        ["library_name: transformers", "# SM+LN+G", "perplexity", "![", "from_pretrained(FOLDER)", "[model]"]
    {
        assert!(card.contains(part), "{part} in {card}");
    }
    let apart = (loss_of(&place, "ln_hf") - evaluated(&place, "ln")).abs();
    assert!(apart < BOUND, "{apart:e}");
    // The folder is never overwritten.
    place.fails(&["export", "ln", "--hf", "ln_hf"], 2, &["not empty", "README.md"]);
    place.fails(&["export", "ln", "ln", "--hf", "two"], 2, &["one model"]);
    place.fails(&["export", "ln", "--hf", "ln/config.toml"], 2, &["not empty", "a file"]);
}

#[test]
fn a_norm_free_model_is_exported_with_its_own_class() {
    let place = Place::with_data();
    let keys = ["model.final_norm=false", "train.learning_rate=1e-2"];
    let config = exported(&place, "free", &keys);
    assert_eq!((&config["model_type"], &config["norm"]), (&json!("normfree"), &json!("none")));
    assert_eq!(config["auto_map"]["AutoModelForCausalLM"], "modeling_normfree.NormfreeForCausalLM");
    assert_eq!(config["activation"], "relu");
    // What stock classes read as their activation is a word that they refuse.
    for name in ["activation_function", "hidden_act"] {
        assert!(config[name].as_str().unwrap().contains("trust_remote_code"), "{config}");
    }
    let folder = place.path("free_hf");
    assert!(folder.join("modeling_normfree.py").is_file() && folder.join("block_normfree.py").is_file());
    let card = fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(card.contains("trust_remote_code=True") && card.contains("no norm anywhere"), "{card}");
    let apart = (loss_of(&place, "free_hf") - evaluated(&place, "free")).abs();
    assert!(apart < BOUND, "{apart:e}");
    // A checkpoint has the configuration without the code, which is not beside it.
    let beside = json_of(&place.path("free/checkpoints/step-00000012/config.json"));
    assert_eq!((&beside["model_type"], beside.get("auto_map")), (&json!("normfree"), None));
    place.succeeds(&["export", "free/checkpoints/step-00000010", "--hf", "deep/er"]);
    assert!(place.path("deep/er/config.json").is_file());
}

/// Each mechanism that no stock class has leads to the own class.
#[test]
fn stock_classes_get_only_what_they_compute() {
    let described = |family: &str, keys: &[&str]| {
        let text = crate::cli::MODEL.replace("family = \"gpt2\"", &format!("family = \"{family}\""));
        let text = text.replace("embd_pdrop = 0.1\n", "");
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        let config = normfree::config::Config::parse(&text, "test", &keys).unwrap();
        normfree::hub::described(&config.model, Some(0), true)["model_type"].as_str().unwrap().to_owned()
    };
    let stock: [(&str, &[&str]); 3] = [
        ("gpt2", &["model.norm=layer_norm"]),
        ("gpt_neox", &["model.norm=layer_norm", "model.rotary_pct=0.5"]),
        ("llama", &["model.norm=rms_norm", "model.n_kv_head=1", "model.activation_function=silu"]),
    ];
    for (family, keys) in stock {
        assert_eq!(described(family, keys), family);
        for other in [
            "model.norm=none",
            "model.final_norm=false",
            "model.ffn_norm=none",
            "model.norm_layers=0",
            "model.norm=dyt",
            "model.activation_function=crrelu",
            "model.residual=scaled",
            "model.qk_norm=plain",
            "model.attention_softcap=5",
            "model.attention_sink=true",
            "model.attention_gate=head",
            "model.learnable_temperature=true",
            "model.embedding_scale=true",
            "model.entropy_regularization=0.1",
        ] {
            let keys = [keys, &[other]].concat();
            let keys =
                if other.ends_with("crrelu") { [&keys[..], &["model.ffn=standard"]].concat() } else { keys };
            assert_eq!(described(family, &keys), "normfree", "{family} {other}");
        }
    }
    let slope = |slope: &str| {
        let slope = format!("model.leaky_slope={slope}");
        described("gpt2", &["model.norm=layer_norm", "model.activation_function=leaky_relu", &slope])
    };
    assert_eq!([slope("0.01"), slope("0.02")], ["gpt2", "normfree"]);
    assert_eq!(
        described("gpt2", &["model.norm=layer_norm", "model.ffn=gated", "model.n_inner=64"]),
        "normfree"
    );
}

/// A weight file's tensors have the form that their declaration says, whatever the family: temperatures are [heads, positions]
/// everywhere, and files that hold them transposed, as this program once wrote them, are read.
#[test]
fn temperatures_are_filed_as_they_are_declared() {
    let place = Place::with_data();
    let keys = ["model.learnable_temperature=true", "model.temperature_init=0.9", "train.learning_rate=1e-2"];
    for (family, name) in [
        ("gpt2", "transformer.h.0.attn.temperature"),
        ("gpt_neox", "gpt_neox.layers.0.attention.temperature"),
        ("llama", "model.layers.0.self_attn.temperature"),
    ] {
        let family = format!("model.family={family}");
        exported(&place, name, &[&keys[..], &[&family, "model.activation_function=silu"]].concat());
        let path = place.path(&format!("{name}_hf")).join("model.safetensors");
        let bytes = fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.tensor(name).unwrap().shape(), [2, 16], "{name}");
        if name.starts_with("transformer") {
            continue;
        }
        // The same file with transposed temperatures is that of an older version.
        let mut old = crate::checkpoint::weights::Foreign::default();
        for (name, tensor) in file.iter() {
            let values: Vec<f32> =
                tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            if name.ends_with("temperature") {
                let turned: Vec<f32> = (0..32).map(|at| values[at % 2 * 16 + at / 2]).collect();
                old.add(name, &[16, 2], &turned);
            } else {
                old.add(name, tensor.shape(), &values);
            }
        }
        let checkpoint = place.path(&format!("{name}/checkpoints/step-00000012"));
        let read = |path: &Path| {
            let text = fs::read_to_string(place.path(&format!("{name}/config.toml"))).unwrap();
            let config = normfree::config::Config::parse(&text, "test", &[]).unwrap();
            let parameters =
                normfree::model::parameters(&config.model, true, normfree::config::Precision::F32);
            let layout = normfree::train::checkpoint::ModelTensors::of(config.model.family, &parameters);
            normfree::train::checkpoint::import(path, &layout).unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let old = read(&old.write(folder.path()));
        assert!(old == read(&checkpoint.join("model.safetensors")), "{name}");
        assert!(old.iter().any(|tensor| tensor.name == name && tensor.data.iter().any(|t| *t != 0.9)));
    }
}
