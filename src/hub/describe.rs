//! The `config.json` of a model.

use super::stock;
use crate::model::ModelConfig;
use serde_json::{Map, Value, json};

/// The `model_type` of models that only this program's own class computes.
pub const MODEL_TYPE: &str = "normfree";

/// The code of that class and its adapter for TransformerLens, by file.
pub const CODE: [(&str, &str); 5] = [
    ("block_normfree.py", include_str!("../../assets/huggingface/block_normfree.py")),
    ("configuration_normfree.py", include_str!("../../assets/huggingface/configuration_normfree.py")),
    ("functions_normfree.py", include_str!("../../assets/huggingface/functions_normfree.py")),
    ("modeling_normfree.py", include_str!("../../assets/huggingface/modeling_normfree.py")),
    ("normfree_lens.py", include_str!("../../assets/huggingface/normfree_lens.py")),
];

/// The key of `[model]` that `config.json` calls otherwise, because stock classes read theirs, and its name there.
pub(super) const RENAMED: (&str, &str) = ("activation_function", "activation");

/// The names under which stock classes read their activation. They find a sentence there, which all of them refuse: a stock
/// class would build these weights with norms of its own, and tell nobody.
pub(super) const GUARDED: [&str; 2] = ["activation_function", "hidden_act"];
const GUARD: &str = "normfree: load this model with AutoModelForCausalLM and trust_remote_code=True";

/// Whether a stock class of `transformers` computes just this model.
pub fn is_stock(model: &ModelConfig) -> bool {
    stock::fields(model).is_some()
}

/// The `config.json` of a model whose texts end with the token `end_of_text`. With `code`, one that names the files of
/// [`CODE`] beside it, where the model needs them.
pub fn described(model: &ModelConfig, end_of_text: Option<u32>, code: bool) -> Value {
    let mut fields = stock::fields(model).unwrap_or_else(|| own(model, code));
    let more = [
        ("bos_token_id", json!(end_of_text)),
        ("eos_token_id", json!(end_of_text)),
        ("torch_dtype", json!("float32")),
        ("use_cache", json!(true)),
    ];
    fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(fields)
}

/// The fields of this program's own class: the keys of `[model]`.
fn own(model: &ModelConfig, code: bool) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("architectures".to_owned(), json!(["NormfreeForCausalLM"]));
    fields.insert("model_type".to_owned(), json!(MODEL_TYPE));
    if code {
        let classes = json!({
            "AutoConfig": "configuration_normfree.NormfreeConfig",
            "AutoModelForCausalLM": "modeling_normfree.NormfreeForCausalLM",
        });
        fields.insert("auto_map".to_owned(), classes);
    }
    let Value::Object(keys) = json!(model) else { unreachable!("a table of keys") };
    for (key, value) in keys {
        let name = if key == RENAMED.0 { RENAMED.1.to_owned() } else { key };
        fields.insert(name, value);
    }
    fields.extend(GUARDED.map(|name| (name.to_owned(), json!(GUARD))));
    fields
}
