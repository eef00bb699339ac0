//! Compares a `config.json` beside weights with the configuration that reads them.

use super::read::Description;
use crate::fault::{Fault, Kind, Result};
use crate::model::ModelConfig;
use crate::model::family::Positions;
use crate::ops::norms::{Curve, Norm, Role};
use serde_json::{Value, json};
use std::path::Path;

/// Keys of `[model]` that say what the weights compute, each with the value at which a model lacks the mechanism. Where
/// there is one, the configuration may add the mechanism to weights that lack it.
const COMPARED: [(&str, Option<&str>); 23] = [
    ("family", None),
    ("n_layer", None),
    ("n_head", None),
    ("n_kv_head", None),
    ("n_embd", None),
    ("n_inner", None),
    ("rotary_pct", None),
    ("rope_theta", None),
    ("tie_embeddings", None),
    ("activation_function", None),
    ("ffn", None),
    ("norm_position", None),
    ("attention_softcap", None),
    ("qk_norm", Some("none")),
    ("attention_gate", Some("none")),
    ("weight_norm", Some("none")),
    ("ffn_gains", Some("false")),
    ("head_gains", Some("false")),
    ("residual", Some("plain")),
    ("attention_sink", Some("false")),
    ("learnable_temperature", Some("false")),
    ("embedding_scale", Some("false")),
    ("ffn_scaling", Some("false")),
];

/// Checks that the `config.json` in `folder`, if there is one, describes `model` as far as the weights' meaning depends on it.
///
/// # Errors
/// [`Kind::Checkpoint`], naming each key that differs with both values; those of [`Description::read`].
pub fn check(folder: &Path, model: &ModelConfig) -> Result<()> {
    let Some(description) = Description::read(folder)? else { return Ok(()) };
    let there = description.config()?.model;
    let differences = differences(&there, model);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Fault::new(Kind::Checkpoint, "the weights are of another model than the configuration's")
        .at(description.path().display())
        .found(differences.join(", "))
        .remedy("change these keys of [model], or copy the weights alone to another folder if this is meant"))
}

fn told(key: &str, there: &Value, here: &Value) -> String {
    format!("{key} = {there} there, {here} here")
}

/// Each key that differs, with both values.
fn differences(there: &ModelConfig, here: &ModelConfig) -> Vec<String> {
    let [one, other] = [there, here].map(resolved);
    let mut found = Vec::new();
    for (key, lacking) in COMPARED {
        let (one, other) = (&one[key], &other[key]);
        let lacks = |value: &Value| lacking.is_some_and(|word| value.to_string().trim_matches('"') == word);
        if one != other && !lacks(one) {
            found.push(told(key, one, other));
        }
    }
    found.extend(norms(there, here));
    // The p of an activation that does not learn one.
    if there.activation_function == here.activation_function
        && takes_slope(here)
        && there.leaky_slope != here.leaky_slope
    {
        found.push(told("leaky_slope", &json!(there.leaky_slope), &json!(here.leaky_slope)));
    }
    found
}

/// The keys with what an absent one stands for.
fn resolved(model: &ModelConfig) -> Value {
    let mut keys = json!(model);
    keys["n_kv_head"] = json!(model.n_kv_head.unwrap_or(model.n_head));
    keys["tie_embeddings"] = json!(matches!(model.head(), crate::model::family::Head::Tied(_)));
    if model.family.positions == Positions::Rotary {
        keys["rope_theta"] = json!(model.rotary().1);
    }
    keys
}

fn takes_slope(model: &ModelConfig) -> bool {
    matches!(model.activation_function.parameter, crate::ops::activation::Parameter::Fixed)
}

/// The differences of norms. A norm that learns more than γ and β may replace one that has the rest.
fn norms(there: &ModelConfig, here: &ModelConfig) -> Vec<String> {
    let adds = |norm: Norm| {
        norm.parameters.iter().any(|of| !matches!(of.role, Role::Gain | Role::Bias | Role::RootGain))
    };
    let mut found = Vec::new();
    let mut compare = |place: String, one: Norm, other: Norm| {
        if one != other && !adds(other) {
            found.push(format!("the norm {place} = \"{one}\" there, \"{other}\" here"));
        }
    };
    for layer in 0..there.n_layer.min(here.n_layer) {
        let ([a, b], [c, d]) = (there.norms_of(layer), here.norms_of(layer));
        compare(format!("of attention in block {layer}"), a, c);
        compare(format!("of the network in block {layer}"), b, d);
    }
    compare("before the head".to_owned(), there.head_norm(), here.head_norm());
    let all = |model: &ModelConfig| {
        let blocks = (0..model.n_layer).flat_map(|layer| model.norms_of(layer));
        blocks.chain([model.head_norm()]).collect::<Vec<_>>()
    };
    let has = |is: fn(&Norm) -> bool| all(here).iter().any(is);
    let epsilon = has(|norm| norm.record.is_some() && norm.curve == Curve::None && norm.word != "dyisru");
    let kappa = has(|norm| norm.parameters.iter().any(|of| of.role == Role::Lambda));
    let (one, other) = (json!(there), json!(here));
    let keys = [
        ("layer_norm_epsilon", epsilon),
        ("kappa", kappa),
        ("norm_function", has(|norm| norm.curve == Curve::Picked)),
    ];
    for (key, matters) in keys {
        if found.is_empty() && matters && one[key] != other[key] {
            found.push(told(key, &one[key], &other[key]));
        }
    }
    // A block more says no more.
    found.truncate(4);
    found
}
