//! What stands around attention and the feed-forward network, and what updates them: norms of queries and keys, gates, ways of
//! joining the residual stream, optimizers. Whole models compared with f64, and the properties that their papers promise.

mod activations;
mod muon;
mod ngpt;
mod residual;
mod spectral;

#[cfg(unix)]
use crate::cli::{Place, assert_same, sets, signal};
use crate::mixed::SMOOTH;
use crate::training::{agrees_within, config, has_f16, within_f32};
use normfree::config::Config;
use normfree::report::run::paper_name;

const NO_NORM: &str = "model.norm=none";
const MIXED: &str = "train.precision=mixed";

/// Trains the run `whole`, and a run `halved` that is stopped and resumed, which ends with the same bytes.
#[cfg(unix)]
fn stopped_and_resumed(place: &Place, keys: &[&str]) {
    let arguments = |run| [&["train", "tiny.toml", "--run", run][..], &sets(keys)].concat();
    place.succeeds(&arguments("whole"));
    let mut child = place.command(&arguments("halved")).spawn().unwrap();
    let log = place.path("halved/metrics.jsonl");
    while std::fs::read_to_string(&log).map_or(0, |text| text.lines().count()) < 20 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it could be stopped");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    signal("TERM", &child);
    child.wait().unwrap();
    place.succeeds(&["train", "--resume", "--run", "halved"]);
    assert_same(&place.path("whole"), &place.path("halved"));
}

/// The rates of a schedule over 100 steps, 10 of them warm-up, from 1e-2 to 1e-3.
fn rates(schedule: &str) -> Vec<f64> {
    let schedule = format!("train.lr_schedule={schedule}");
    let config = config(&[&schedule, "train.warmup_ratio=0.1", "train.final_learning_rate=1e-3"]);
    (0..=100).map(|step| config.train.learning_rate_at(step)).collect()
}

#[test]
fn schedules_are_what_their_words_say() {
    let near = |rate: f64, want: f64| assert!((rate - want).abs() < 1e-15, "{rate}, not {want}");
    for schedule in ["linear", "cosine", "wsd", "constant"] {
        let rates = rates(schedule);
        // All rise alike.
        near(rates[0], 0.0);
        near(rates[5], 5e-3);
        near(rates[10], 1e-2);
        assert!(rates[10..].is_sorted_by(|a, b| a >= b), "{schedule} rises after the warm-up");
    }
    let [linear, cosine, wsd, constant] = ["linear", "cosine", "wsd", "constant"].map(rates);
    // Half of the way down, at half of the steps that are left.
    near(linear[55], 5.5e-3);
    near(cosine[55], 5.5e-3);
    near(cosine[25], 1e-3 + 9e-3 * 0.5 * (1.0 + (std::f64::consts::PI / 6.0).cos()));
    // `decay_ratio` is 0.2.
    near(wsd[80], 1e-2);
    near(wsd[90], 5.5e-3);
    near(constant[100], 1e-2);
    for ended in [linear, cosine, wsd] {
        near(ended[100], 1e-3);
    }
}

fn refused(changes: &[&str]) -> String {
    let mut text = config(&[]).to_toml().parse::<toml::Table>().unwrap();
    text["model"].as_table_mut().unwrap().remove("n_inner");
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    Config::parse(&text.to_string(), "test", &changes).unwrap_err().to_string()
}

#[test]
fn keys_that_do_nothing_together_are_refused_in_a_sentence() {
    for (changes, part) in [
        (&["model.residual=plain", "model.residual_scale=0.5"][..], "no scale to set"),
        (&["model.residual=rezero", "model.ffn_scaling=true"], "joins the residual stream in one way"),
        (&["train.lr_schedule=wsd", "train.warmup_ratio=0.9"], "would fall before it has risen"),
        (&["model.activation_function=prelu", "model.n_inner=130"], "multiple of 4"),
        (&["model.n_kv_head=1"], "do not share keys"),
        (&["model.rope_theta=1e5"], "has no rotary positions"),
        (&["model.ffn=gated", "model.activation_function=crrelu"], "does not take the activation"),
    ] {
        let message = refused(changes);
        assert!(message.contains(part), "{changes:?}: {message}");
    }
}

#[test]
fn names_of_runs_tell_what_stands_around() {
    let name = |changes: &[&str]| paper_name(&config(changes));
    assert_eq!(name(&["model.norm=none", "model.qk_norm=rms_norm"]), "SM(QK-norm)+G");
    assert_eq!(name(&["model.qk_norm=unit"]), "SM(unit QK)+LN+G");
    assert_eq!(
        name(&[
            "model.learnable_temperature=true",
            "model.attention_softcap=20",
            "model.attention_sink=true"
        ]),
        "SM(t, cap 20, sink)+LN+G"
    );
    assert_eq!(name(&["model.attention_gate=head", "model.residual=rezero"]), "SM(head gate)+LN+G+ReZero");
    assert_eq!(name(&["model.norm=none", "model.residual=ngpt"]), "SM+G+nGPT");
    assert_eq!(name(&["model.weight_norm=sigma_reparam"]), "SM+LN+G+σReparam");
    let gains = |more| name(&["model.norm=none", "model.ffn_gains=true", more]);
    assert_eq!(gains("train.unit_weights=true"), "SM+G+FFN gains");
    let gated = ["model.norm=none", "model.ffn=gated", "model.activation_function=silu"];
    assert_eq!(name(&gated), "SM+SiLU+GatedFFN");
}

#[test]
fn norms_of_queries_and_keys_agree_with_f64() {
    within_f32(&["model.qk_norm=rms_norm", NO_NORM]);
    within_f32(&["model.qk_norm=plain", "train.recompute=block", "model.bias=all"]);
    within_f32(&["model.qk_norm=unit", "train.recompute=block", "model.bias=all"]);
    within_f32(&["model.qk_norm=unit", "model.family=gpt_neox", "train.gradient_accumulation_steps=1"]);
    within_f32(&["model.qk_norm=unit", "model.family=llama", "model.n_kv_head=1", NO_NORM]);
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
    agrees_within(&[MIXED, "model.qk_norm=unit", "model.family=gpt_neox"], &SMOOTH);
    agrees_within(&[MIXED, "model.residual=layer_scale", "model.residual_scale=0.5"], &SMOOTH);
}
