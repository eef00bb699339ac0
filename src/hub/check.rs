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

/// Keys of `[model]` that change which tensors there are or their shapes, and not what fitting weights compute.
const OF_SHAPES: [&str; 4] = ["vocab_size", "n_positions", "bias", "slope_scope"];

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
    Err(other_model(description.path(), &differences)
        .remedy("change these keys of [model], or copy the weights alone to another folder if this is meant"))
}

/// Why weights do not fit `model`, by the keys of the model that they were made for: that of `known`, a description at a place,
/// or else of the `config.json` in `folder`. `None` if there is no description, or no key differs.
pub fn misfit(folder: &Path, known: Option<(&Path, ModelConfig)>, model: &ModelConfig) -> Option<Fault> {
    let (path, there) = match known {
        Some((path, there)) => (path.to_owned(), there),
        None => {
            let description = Description::read(folder).ok()??;
            (description.path().to_owned(), description.config().ok()?.model)
        }
    };
    let [one, other] = [&there, model].map(resolved);
    let differing = |key: &&str| {
        // Rotary positions have no table.
        let matters = *key != "n_positions" || model.family.positions != Positions::Rotary;
        (matters && one[*key] != other[*key]).then(|| told(key, &one[*key], &other[*key]))
    };
    let mut found = differences(&there, model);
    found.extend(OF_SHAPES.iter().filter_map(differing));
    if found.is_empty() {
        // What a configuration may add to weights, unless they lack more than that.
        found.extend(COMPARED.iter().filter_map(|(key, _)| differing(key)));
    }
    let of_data = one["vocab_size"] != other["vocab_size"];
    let fault = (!found.is_empty()).then(|| other_model(&path, &found))?;
    if of_data && found.len() == 1 {
        return Some(fault.remedy(OTHER_VOCABULARY));
    }
    let fault = fault.remedy("change these keys of [model], or start from weights of this model");
    Some(if of_data { fault.also(OTHER_VOCABULARY) } else { fault })
}

/// What would do where the vocabularies differ.
const OTHER_VOCABULARY: &str = "vocab_size is that of the data: prepare the text with the tokenizer of the weights (normfree prepare --tokenizer FILE)";

fn other_model(path: &Path, differences: &[String]) -> Fault {
    Fault::new(Kind::Checkpoint, "the weights are of another model than the configuration's")
        .at(path.display())
        .found(differences.join(", "))
}

fn told(key: &str, there: &Value, here: &Value) -> String {
    let [there, here] = [there, here].map(|value| match value {
        Value::Null => "not set".to_owned(),
        value => value.to_string(),
    });
    format!("{key} = {there} there, {here} here")
}

/// Each key that differs, with both values.
fn differences(there: &ModelConfig, here: &ModelConfig) -> Vec<String> {
    let [one, other] = [there, here].map(resolved);
    let mut found = Vec::new();
    for (key, lacking) in COMPARED {
        let (one, other) = (&one[key], &other[key]);
        let lacks = |value: &Value| lacking.is_some_and(|word| value.to_string().trim_matches('"') == word);
        // One key head for each query head follows from the number of those.
        let follows = key == "n_kv_head" && [there, here].iter().all(|of| of.n_kv_head.is_none());
        if one != other && !lacks(one) && !follows {
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
    let differs = |one: Norm, other: Norm| one != other && !adds(other);
    let in_blocks = (0..there.n_layer.min(here.n_layer)).any(|layer| {
        let pairs = there.norms_of(layer).into_iter().zip(here.norms_of(layer));
        pairs.into_iter().any(|(one, other)| differs(one, other))
    });
    let (one, other) = (json!(there), json!(here));
    let mut found = Vec::new();
    let mut tell = |key: &str| {
        if one[key] != other[key] {
            found.push(told(key, &one[key], &other[key]));
        }
    };
    if in_blocks {
        ["norm", "attention_norm", "ffn_norm", "norm_layers"].iter().for_each(|key| tell(key));
    }
    if differs(there.head_norm(), here.head_norm()) {
        tell("final_norm");
        if !in_blocks {
            tell("norm");
        }
    }
    let all = |model: &ModelConfig| {
        let blocks = (0..model.n_layer).flat_map(|layer| model.norms_of(layer));
        blocks.chain([model.head_norm()]).collect::<Vec<_>>()
    };
    let has = |is: fn(&Norm) -> bool| all(here).iter().any(is);
    let epsilon = has(|norm| norm.record.is_some() && norm.curve == Curve::None && norm.word != "dyisru");
    let kappa = has(|norm| norm.parameters.iter().any(|of| of.role == Role::Lambda));
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
    found
}
