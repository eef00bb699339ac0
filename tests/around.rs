//! What stands around attention and the feed-forward network, and what updates them: norms of queries and keys, gates, ways of
//! joining the residual stream, optimizers. Whole models compared with f64, and the properties that their papers promise.

mod activations;
mod muon;
mod residual;

use crate::mixed::SMOOTH;
use crate::training::{agrees_within, config, has_f16, within_f32};

const NO_NORM: &str = "model.norm=none";
const MIXED: &str = "train.precision=mixed";

#[test]
fn norms_of_queries_and_keys_agree_with_f64() {
    within_f32(&["model.qk_norm=rms_norm", NO_NORM]);
    within_f32(&["model.qk_norm=plain", "train.recompute=block", "model.bias=all"]);
    within_f32(&["model.qk_norm=rms_norm", "model.family=gpt_neox", "train.gradient_accumulation_steps=1"]);
}

#[test]
fn gates_agree_with_f64() {
    within_f32(&["model.attention_gate=head"]);
    within_f32(&["model.attention_gate=element", NO_NORM, "model.bias=all"]);
    within_f32(&["model.attention_gate=element", "model.family=gpt_neox", "train.recompute=block"]);
    let all = ["model.attention_gate=head", "model.qk_norm=rms_norm", "model.learnable_temperature=true"];
    within_f32(&[&all[..], &["model.entropy_regularization=0.2", "model.entropy_penalty=row_mean"]].concat());
}

#[test]
fn sinks_agree_with_f64() {
    within_f32(&["model.attention_sink=true"]);
    within_f32(&["model.attention_sink=true", NO_NORM, "train.recompute=block"]);
    let guided = ["model.entropy_regularization=0.2", "model.entropy_penalty=row_mean"];
    within_f32(
        &[&guided[..], &["model.attention_sink=true", "train.gradient_accumulation_steps=1"]].concat(),
    );
}

#[test]
fn capped_scores_agree_with_f64() {
    within_f32(&["model.attention_softcap=1"]);
    within_f32(&[
        "model.attention_softcap=0.5",
        NO_NORM,
        "model.attention_sink=true",
        "train.recompute=block",
    ]);
    let guided = ["model.entropy_regularization=0.2", "model.entropy_penalty=row_mean"];
    within_f32(&[&guided[..], &["model.attention_softcap=1", "model.family=gpt_neox"]].concat());
}

#[test]
fn mixed_precision_agrees_with_f64() {
    if !has_f16(&config(&[MIXED])) {
        return;
    }
    agrees_within(&[MIXED, "model.qk_norm=rms_norm", "model.attention_gate=head"], &SMOOTH);
    agrees_within(&[MIXED, "model.qk_norm=plain", "model.attention_gate=element", NO_NORM], &SMOOTH);
    agrees_within(&[MIXED, "model.attention_sink=true"], &SMOOTH);
    agrees_within(&[MIXED, "model.residual=layer_scale", "model.residual_scale=0.5"], &SMOOTH);
}
