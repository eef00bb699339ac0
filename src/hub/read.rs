//! Reads a `config.json` as keys of `[model]`.

use super::activations;
use super::describe::{GUARDED, MODEL_TYPE, RENAMED};
use super::fields::Fields;
use crate::config::Config;
use crate::fault::{Fault, Kind, Result, of_json};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Its name in the folder of a model.
pub const CONFIG_FILE: &str = "config.json";

/// What a `config.json` says about a model.
#[derive(Clone, Debug)]
pub struct Description {
    path: PathBuf,
    /// Keys of `[model]` with their values, in the order in which they are written.
    keys: Map<String, Value>,
    /// The token that ends a text.
    pub end_of_text: Option<u32>,
    /// What this program leaves aside, each a sentence.
    pub notes: Vec<String>,
}

/// Fields that say nothing about what a model computes.
const ASIDE: [&str; 34] = [
    "_attn_implementation",
    "_commit_hash",
    "_name_or_path",
    "add_cross_attention",
    "architectures",
    "auto_map",
    "bad_words_ids",
    "bos_token_id",
    "classifier_dropout",
    "dtype",
    "eos_token_id",
    "gradient_checkpointing",
    "initializer_range",
    "is_llama_config",
    "language",
    "license",
    "max_length",
    "model_type",
    "n_ctx",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "reorder_and_upcast_attn",
    "return_dict",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "task_specific_params",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "use_cache",
];

impl Description {
    /// Reads the `config.json` of `folder`; `None` if it has none.
    ///
    /// # Errors
    /// [`Kind::Checkpoint`] if it is not JSON, or describes a model that this program does not compute: the field and its
    /// value are named; [`Kind::Io`].
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(CONFIG_FILE);
        let text = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|e| Fault::io("read the model's configuration", &path, &e))?,
        };
        let unreadable = |found: String| {
            Fault::new(Kind::Checkpoint, "the model's configuration cannot be understood")
                .at(path.display())
                .found(found)
        };
        let fields = match serde_json::from_slice(&text) {
            Ok(Value::Object(fields)) => Fields::new(&path, fields),
            Ok(_) => return Err(unreadable("JSON, but not an object".to_owned())),
            Err(e) => return Err(unreadable(format!("incomplete or invalid JSON: {}", of_json(&e)))),
        };
        Self::of(&path, fields).map(Some)
    }

    fn of(path: &Path, mut fields: Fields) -> Result<Self> {
        let end_of_text = match fields.take("eos_token_id") {
            // A model with several ends of a text begins with the one that ends a document.
            Some(Value::Array(several)) => several.first().and_then(Value::as_u64),
            one => one.and_then(Value::as_u64),
        };
        let model_type = fields.word("model_type")?;
        let keys = match model_type.as_deref() {
            Some("gpt2") => gpt2(&mut fields)?,
            Some("gpt_neox") => gpt_neox(&mut fields)?,
            Some("llama") => llama(&mut fields)?,
            Some(MODEL_TYPE) => own(&mut fields),
            _ => {
                let found = model_type.map_or(Value::Null, |found| json!(found));
                return Err(fields.refused("model_type", &found, "gpt2, gpt_neox, llama and its own models"));
            }
        };
        let dropped = dropped(&mut fields)?;
        fields.skip(&ASIDE);
        let left = fields.left();
        let mut notes = Vec::new();
        if !left.is_empty() {
            notes.push(format!(
                "{} also says {}, which this program does not know; if it changes what the model computes, the results are not the model's",
                path.display(),
                left.join(", ")
            ));
        }
        if let Some(name) = dropped {
            notes.push(format!(
                "the model was trained with {name}; this program drops out embeddings only, so training goes on without it"
            ));
        }
        let end_of_text = end_of_text.and_then(|token| u32::try_from(token).ok());
        Ok(Self { path: path.to_owned(), keys, end_of_text, notes })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The `[model]` table, as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(&json!({ "model": self.keys })).expect("numbers, flags and words in a table are TOML")
    }

    /// The configuration of this model. Its other tables say nothing.
    ///
    /// # Errors
    /// As [`Self::with`].
    pub fn config(&self) -> Result<Config> {
        self.with(
            "[data]\npath = \"none\"\n[train]\nsteps = 1\nbatch_size = 1\nlearning_rate = 1e-3\n\
             checkpoint_every = 1\neval_every = 1\n",
        )
    }

    /// The configuration of this model with other tables, TOML in `others`.
    ///
    /// # Errors
    /// [`Kind::Checkpoint`] if this program has no such model: its limits on sizes are narrower.
    pub fn with(&self, others: &str) -> Result<Config> {
        let text = format!("{}\n{others}", self.to_toml());
        Config::parse(&text, "its [model] table", &[]).map_err(|fault| {
            Fault::new(Kind::Checkpoint, "this program does not compute the model")
                .at(self.path.display())
                .found(fault)
        })
    }
}

/// Keys of a `[model]` table.
struct Keys(Map<String, Value>);

impl Keys {
    fn of(family: &str) -> Self {
        Self(Map::new()).and("family", json!(family))
    }

    fn and(mut self, key: &str, value: Value) -> Self {
        self.0.insert(key.to_owned(), value);
        self
    }
}

fn gpt2(fields: &mut Fields) -> Result<Map<String, Value>> {
    fields.must_be("scale_attn_weights", &json!(true))?;
    fields.must_be("scale_attn_by_inverse_layer_idx", &json!(false))?;
    let width = fields.size("n_embd")?;
    let keys = Keys::of("gpt2")
        .and("n_layer", json!(fields.size("n_layer")?))
        .and("n_head", json!(fields.size("n_head")?))
        .and("n_embd", json!(width))
        .and("n_inner", json!(fields.count("n_inner")?.unwrap_or(4 * width)))
        .and("n_positions", json!(fields.size("n_positions")?))
        .and("vocab_size", json!(fields.size("vocab_size")?))
        .and("norm", json!("layer_norm"))
        .and("bias", json!("all"))
        .and("layer_norm_epsilon", json!(fields.number("layer_norm_epsilon")?.unwrap_or(1e-5)))
        .and("activation_function", activation(fields, "activation_function", "gelu_new")?)
        .and("tie_embeddings", json!(fields.flag("tie_word_embeddings")?.unwrap_or(true)))
        .and("embd_pdrop", json!(fields.number("embd_pdrop")?.unwrap_or(0.1)));
    Ok(keys.0)
}

fn gpt_neox(fields: &mut Fields) -> Result<Map<String, Value>> {
    fields.must_be("use_parallel_residual", &json!(true))?;
    fields.must_be("attention_bias", &json!(true))?;
    let positions = rotary(fields)?;
    let [theta, share] = ["rotary_emb_base", "rotary_pct"].map(|name| fields.number(name));
    let (theta, share) = (positions.base.or(theta?), positions.share.or(share?));
    let keys = Keys::of("gpt_neox")
        .and("n_layer", json!(fields.size("num_hidden_layers")?))
        .and("n_head", json!(fields.size("num_attention_heads")?))
        .and("n_embd", json!(fields.size("hidden_size")?))
        .and("n_inner", json!(fields.size("intermediate_size")?))
        .and("n_positions", json!(fields.size("max_position_embeddings")?))
        .and("vocab_size", json!(fields.size("vocab_size")?))
        .and("norm", json!("layer_norm"))
        .and("bias", json!("all"))
        .and("layer_norm_epsilon", json!(fields.number("layer_norm_eps")?.unwrap_or(1e-5)))
        .and("activation_function", activation(fields, "hidden_act", "gelu")?)
        .and("rotary_pct", json!(share.unwrap_or(0.25)))
        .and("rope_theta", json!(theta.unwrap_or(10_000.0)))
        .and("tie_embeddings", json!(fields.flag("tie_word_embeddings")?.unwrap_or(false)));
    Ok(keys.0)
}

fn llama(fields: &mut Fields) -> Result<Map<String, Value>> {
    fields.must_be("pretraining_tp", &json!(1))?;
    fields.must_be("rope_interleaved", &json!(false))?;
    let [attention, network] =
        ["attention_bias", "mlp_bias"].map(|name| fields.flag(name).map(Option::unwrap_or_default));
    let (attention, network) = (attention?, network?);
    if attention != network {
        let same = format!("attention_bias and mlp_bias that are both {attention}");
        return Err(fields.refused("mlp_bias", &json!(network), &same));
    }
    let (width, heads) = (fields.size("hidden_size")?, fields.size("num_attention_heads")?);
    fields.must_be("head_dim", &json!(width.checked_div(heads)))?;
    let positions = rotary(fields)?;
    if let Some(share) = positions.share.filter(|share| *share != 1.0) {
        return Err(fields.refused("partial_rotary_factor", &json!(share), "only 1.0"));
    }
    let keys = Keys::of("llama")
        .and("n_layer", json!(fields.size("num_hidden_layers")?))
        .and("n_head", json!(heads))
        .and("n_kv_head", json!(fields.count("num_key_value_heads")?.unwrap_or(heads)))
        .and("n_embd", json!(width))
        .and("n_inner", json!(fields.size("intermediate_size")?))
        .and("n_positions", json!(fields.size("max_position_embeddings")?))
        .and("vocab_size", json!(fields.size("vocab_size")?))
        .and("layer_norm_epsilon", json!(fields.number("rms_norm_eps")?.unwrap_or(1e-6)))
        .and("activation_function", activation(fields, "hidden_act", "silu")?)
        .and("bias", json!(if attention { "all" } else { "none" }))
        .and("rope_theta", json!(positions.base.unwrap_or(10_000.0)))
        .and("tie_embeddings", json!(fields.flag("tie_word_embeddings")?.unwrap_or(false)));
    Ok(keys.0)
}

/// This program's own keys. What is no key of `[model]` is left for the note.
fn own(fields: &mut Fields) -> Map<String, Value> {
    let known = crate::config::keys_of("model");
    let mut keys = Map::new();
    for key in known {
        let name = if key == RENAMED.0 { RENAMED.1 } else { key };
        if let Some(value) = fields.take(name) {
            keys.insert(key.to_owned(), value.clone());
        }
    }
    fields.skip(&GUARDED);
    fields.skip(&["tie_word_embeddings"]);
    keys
}

/// Base and share of rotary positions, where `config.json` says them as all families may.
struct Rotary {
    base: Option<f64>,
    share: Option<f64>,
}

/// Reads `rope_theta`, `rope_parameters` and `rope_scaling`, and refuses positions that are scaled.
fn rotary(fields: &mut Fields) -> Result<Rotary> {
    let mut rotary =
        Rotary { base: fields.number("rope_theta")?, share: fields.number("partial_rotary_factor")? };
    for name in ["rope_parameters", "rope_scaling"] {
        let Some(Value::Object(parameters)) = fields.take(name).cloned() else { continue };
        for (key, value) in &parameters {
            let number = value.as_f64();
            match key.as_str() {
                "rope_theta" => rotary.base = number.or(rotary.base),
                "partial_rotary_factor" => rotary.share = number.or(rotary.share),
                "rope_type" | "type" if value == "default" => {}
                _ => {
                    let name = format!("{name}.{key}");
                    return Err(fields.refused(&name, value, "rotary positions without scaling"));
                }
            }
        }
    }
    Ok(rotary)
}

/// The word of this program's activation for that of a field.
fn activation(fields: &mut Fields, name: &str, default: &str) -> Result<Value> {
    let word = fields.word(name)?.unwrap_or_else(|| default.to_owned());
    match activations::find(&word) {
        Some(activation) => Ok(json!(activation.word)),
        None => Err(fields.refused(name, &json!(word), &activations::words())),
    }
}

/// A field of dropout that this program does not have, if it is not zero.
fn dropped(fields: &mut Fields) -> Result<Option<String>> {
    let mut found = None;
    for name in ["attn_pdrop", "resid_pdrop", "attention_dropout", "hidden_dropout"] {
        if let Some(share) = fields.number(name)?.filter(|share| *share > 0.0) {
            found.get_or_insert(format!("{name} = {share}"));
        }
    }
    Ok(found)
}
