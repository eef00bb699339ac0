//! The stock classes of `transformers`: which models they compute, and the `config.json` of those.

use super::activations::word_of;
use crate::model::config::{AttentionGate, Bias, NormPosition, QkNorm, WeightNorm};
use crate::model::family::Head;
use crate::model::{ModelConfig, network::FeedForward};
use crate::ops::norms::Norm;
use serde_json::{Map, Value, json};

/// The fields of `config.json` that say what a model computes, if a stock class computes it; without the fields that every
/// model has.
pub(super) fn fields(model: &ModelConfig) -> Option<Map<String, Value>> {
    let activation = word_of(model).filter(|_| is_plain(model))?;
    let tied = matches!(model.head(), Head::Tied(_));
    let fields = match model.family.word {
        "gpt2" => gpt2(model, activation, tied),
        "gpt_neox" => gpt_neox(model, activation, tied),
        "llama" => llama(model, activation, tied),
        _ => None,
    };
    match fields {
        Some(Value::Object(fields)) => Some(fields),
        _ => None,
    }
}

/// Whether a model has no mechanism that stock classes lack, apart from its norms, its network and its biases.
fn is_plain(model: &ModelConfig) -> bool {
    model.norm_position == NormPosition::Pre
        && model.residual.word == "plain"
        && !model.embedding_scale
        && model.scale_loss == 0.0
        && !model.ffn_scaling
        && !model.learnable_temperature
        && !model.attention_sink
        && model.qk_norm == QkNorm::None
        && model.weight_norm == WeightNorm::None
        && !model.ffn_gains
        && !model.head_gains
        && model.attention_softcap == 0.0
        && model.attention_gate == AttentionGate::None
        && !model.regularizes_entropy()
}

/// Whether every block and the head have this norm.
fn has_norm_everywhere(model: &ModelConfig, word: &str) -> bool {
    let wanted = Norm::find(word);
    let blocks = (0..model.n_layer).flat_map(|layer| model.norms_of(layer));
    blocks.chain([model.head_norm()]).all(|norm| Some(norm) == wanted)
}

fn gpt2(model: &ModelConfig, activation: &str, tied: bool) -> Option<Value> {
    let fits = has_norm_everywhere(model, "layer_norm") && model.ffn == FeedForward::STANDARD;
    fits.then(|| {
        json!({
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "n_layer": model.n_layer,
            "n_head": model.n_head,
            "n_embd": model.n_embd,
            "n_positions": model.n_positions,
            "n_inner": model.n_inner,
            "vocab_size": model.vocab_size,
            "activation_function": activation,
            "layer_norm_epsilon": model.layer_norm_epsilon,
            "scale_attn_weights": true,
            "scale_attn_by_inverse_layer_idx": false,
            "reorder_and_upcast_attn": false,
            "attn_pdrop": 0.0,
            "resid_pdrop": 0.0,
            "embd_pdrop": model.embd_pdrop,
            "initializer_range": model.initializer_range,
            "tie_word_embeddings": tied,
        })
    })
}

/// Rotary positions as versions 4 and 5 of the library read them.
fn rotary(model: &ModelConfig) -> Value {
    let share = model.rotary_pct.unwrap_or(1.0);
    json!({ "rope_type": "default", "rope_theta": model.rotary().1, "partial_rotary_factor": share })
}

fn gpt_neox(model: &ModelConfig, activation: &str, tied: bool) -> Option<Value> {
    let fits = has_norm_everywhere(model, "layer_norm") && model.ffn == FeedForward::STANDARD;
    // The stock class has one rate of dropout for embeddings and blocks.
    (fits && model.embd_pdrop == 0.0).then(|| {
        json!({
            "architectures": ["GPTNeoXForCausalLM"],
            "model_type": "gpt_neox",
            "num_hidden_layers": model.n_layer,
            "num_attention_heads": model.n_head,
            "hidden_size": model.n_embd,
            "intermediate_size": model.n_inner,
            "max_position_embeddings": model.n_positions,
            "vocab_size": model.vocab_size,
            "hidden_act": activation,
            "layer_norm_eps": model.layer_norm_epsilon,
            "rotary_pct": model.rotary_pct,
            "rotary_emb_base": model.rotary().1,
            "rope_parameters": rotary(model),
            "use_parallel_residual": true,
            "attention_bias": true,
            "attention_dropout": 0.0,
            "hidden_dropout": 0.0,
            "initializer_range": model.initializer_range,
            "tie_word_embeddings": tied,
        })
    })
}

fn llama(model: &ModelConfig, activation: &str, tied: bool) -> Option<Value> {
    let fits = has_norm_everywhere(model, "rms_norm")
        && model.ffn == FeedForward::GATED
        && model.rotary_pct == Some(1.0)
        && model.bias != Bias::QueryKey
        && model.embd_pdrop == 0.0;
    let biased = model.bias == Bias::All;
    fits.then(|| {
        json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "num_hidden_layers": model.n_layer,
            "num_attention_heads": model.n_head,
            "num_key_value_heads": model.n_kv_head.unwrap_or(model.n_head),
            "head_dim": model.head_dim(),
            "hidden_size": model.n_embd,
            "intermediate_size": model.n_inner,
            "max_position_embeddings": model.n_positions,
            "vocab_size": model.vocab_size,
            "hidden_act": activation,
            "rms_norm_eps": model.layer_norm_epsilon,
            "rope_theta": model.rotary().1,
            "rope_parameters": { "rope_type": "default", "rope_theta": model.rotary().1 },
            "attention_bias": biased,
            "mlp_bias": biased,
            "attention_dropout": 0.0,
            "pretraining_tp": 1,
            "initializer_range": model.initializer_range,
            "tie_word_embeddings": tied,
        })
    })
}
