//! Checks the paper's claims about activations and LayerNorm against the runs: one sentence for each question that the runs
//! can answer.

use std::collections::BTreeMap;

use crate::observe::entropy::bins;
use crate::observe::quantities::SLOPES;
use crate::report::comparison::{Comparison, Group, remove_free};
use crate::report::outcome::{Outcome, Outcomes, compared, doubt, in_text, in_words};
use crate::report::run::RunData;
use crate::report::table::{decimal, percent};

/// Settings that distinguish the configurations of one question; all others must be equal for runs to be compared.
const ASKED: [(&str, &str); 6] = [
    ("model", "norm"),
    ("model", "activation_function"),
    ("model", "leaky_slope"),
    ("model", "slope_init"),
    ("model", "slope_scope"),
    ("train", "decay_slopes"),
];
/// A configuration and its results.
#[derive(Clone, Copy)]
struct Own<'a> {
    group: &'a Group,
    run: &'a RunData,
    outcome: &'a Outcome,
}

impl Own<'_> {
    fn word(&self, section: &str, key: &str) -> &str {
        self.run.setting(section, key).and_then(toml::Value::as_str).unwrap_or_default()
    }

    fn is(&self, norm: &str, activations: &[&str]) -> bool {
        self.word("model", "norm") == norm && activations.contains(&self.word("model", "activation_function"))
    }

    /// All settings except those of [`ASKED`] and those that do not belong to the configuration.
    fn rest(&self) -> toml::Table {
        let mut rest = self.run.settings.clone();
        remove_free(&mut rest);
        for (section, key) in ASKED.into_iter().chain([("data", "path")]) {
            if let Some(table) = rest.get_mut(section).and_then(toml::Value::as_table_mut) {
                table.remove(key);
            }
        }
        rest
    }
}

/// The sentences, question by question.
pub fn claims(comparison: &Comparison, outcomes: &Outcomes) -> Vec<String> {
    let own = comparison.groups.iter().zip(&outcomes.rows).filter_map(|(group, outcome)| {
        let run = &comparison.runs[group.runs[0]];
        (!run.settings.is_empty()).then_some(Own { group, run, outcome })
    });
    let own: Vec<Own<'_>> = own.collect();
    // Each size and other variation is judged on its own.
    let mut kinds: Vec<(toml::Table, Vec<Own<'_>>)> = Vec::new();
    for one in &own {
        let rest = one.rest();
        match kinds.iter_mut().find(|(known, _)| *known == rest) {
            Some((_, of)) => of.push(*one),
            None => kinds.push((rest, vec![*one])),
        }
    }
    // Listing the first layers of every variation of the baseline would be too much to read.
    let baseline = |one: &Own<'_>| {
        let index = comparison.groups.iter().position(|group| group == one.group)?;
        Some(&comparison.groups[comparison.baseline_of(index).unwrap_or(index)])
    };
    let central =
        |of: &[Own<'_>]| of.iter().filter_map(baseline).any(|base| of.iter().any(|one| one.group == base));
    let mut lines = Vec::new();
    for (_, of) in &kinds {
        for (norm, named) in [("none", "Without LayerNorm"), ("layer_norm", "With LayerNorm")] {
            lines.extend(relu_against_gelu(comparison, of, norm, named));
        }
    }
    for (_, of) in kinds.iter().filter(|(_, of)| central(of)) {
        lines.extend(of.iter().filter_map(|one| early_layers(comparison, one)));
    }
    lines.extend(own.iter().filter_map(|one| learned_slopes(comparison, one)));
    for (_, of) in &kinds {
        lines.extend(fixed_slopes(of));
    }
    lines
}

/// Claim: without LayerNorm ReLU is the better activation, with LayerNorm GELU is.
fn relu_against_gelu(comparison: &Comparison, of: &[Own<'_>], norm: &str, named: &str) -> Option<String> {
    let relu = of.iter().find(|one| one.is(norm, &["relu"]))?;
    let gelu = of.iter().find(|one| one.is(norm, &["gelu", "gelu_new"]))?;
    let (own, other) = relu.outcome.perplexity.zip(gelu.outcome.perplexity)?;
    let change = own.mean / other.mean - 1.0;
    let side = if change < 0.0 { "lower" } else { "higher" };
    let paired = compared(comparison, relu.group, gelu.group);
    let test = paired.map_or(String::new(), |paired| format!("; paired t-test: {}", in_words(&paired)));
    let doubt = doubt(&paired).map_or(String::new(), |doubt| format!("; {doubt}"));
    let heads = relu.outcome.spread.zip(gelu.outcome.spread).map_or(String::new(), |(own, other)| {
        format!(
            ", and {} of its heads are overloaded against {}",
            percent(own.overload()),
            percent(other.overload())
        )
    });
    Some(format!(
        "{named}, ReLU against GELU: the perplexity of {} is {:.1}% {side} than that of {} ({} against \
         {}{test}){heads}{doubt}.",
        relu.group.name,
        change.abs() * 100.0,
        gelu.group.name,
        in_text(own, 3),
        in_text(other, 3),
    ))
}

/// Claim: without LayerNorm the heads of the first layers are overloaded, most of all with GELU.
fn early_layers(comparison: &Comparison, one: &Own<'_>) -> Option<String> {
    if !one.is("none", &["gelu", "gelu_new", "relu"]) {
        return None;
    }
    let reference = one.outcome.spread?.reference;
    let learning = comparison.of(one.group).filter(|run| run.diverged_at().is_none());
    let grids: Vec<_> = learning.filter_map(RunData::entropies).collect();
    if grids.iter().any(|grid| grid.len() < 2) {
        return None;
    }
    let overload = |half: fn(&[Vec<f64>]) -> &[Vec<f64>]| {
        percent(bins(&grids.iter().flat_map(|grid| half(grid)).cloned().collect::<Vec<_>>(), reference)[3])
    };
    let first = overload(|grid| &grid[..grid.len().div_ceil(2)]);
    let second = overload(|grid| &grid[grid.len().div_ceil(2)..]);
    Some(format!(
        "{}: in the first half of the layers {first} of heads are overloaded, in the second {second}.",
        one.group.name
    ))
}

/// Claim: learned slopes fall to zero, with or without weight decay.
fn learned_slopes(comparison: &Comparison, one: &Own<'_>) -> Option<String> {
    let learning = comparison.of(one.group).filter(|run| run.diverged_at().is_none());
    let of_runs: Vec<&Vec<f32>> =
        learning.filter_map(|run| Some(&run.log.layers(&SLOPES).last()?.1)).collect();
    let shared = one.word("model", "slope_scope") == "shared";
    let layers = if shared { 1 } else { of_runs.first()?.len() };
    let mean = |layer: usize| {
        let values = of_runs.iter().filter_map(|slopes| slopes.get(layer)).map(|&slope| f64::from(slope));
        values.sum::<f64>() / of_runs.len().max(1) as f64
    };
    let slopes: Vec<f64> = (0..layers).map(mean).collect();
    if slopes.is_empty() || slopes.iter().any(|slope| !slope.is_finite()) {
        return None;
    }
    let start = one.run.setting("model", "slope_init").and_then(toml::Value::as_float).unwrap_or(0.01);
    let ends = slopes.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &v| (a.min(v), b.max(v)));
    let fell = slopes.iter().filter(|&&slope| slope < start).count();
    let name = &one.group.name;
    Some(match layers {
        1 => format!("{name}: the learned slope went from {start} to {}.", decimal(ends.0, 4)),
        _ => format!(
            "{name}: learned slopes went from {start} to between {} and {}; {fell} of {layers} fell.",
            decimal(ends.0, 4),
            decimal(ends.1, 4)
        ),
    })
}

/// Claim: the larger a fixed slope, the earlier training breaks.
fn fixed_slopes(of: &[Own<'_>]) -> Option<String> {
    let mut found: BTreeMap<u64, &Own<'_>> = BTreeMap::new();
    for one in of.iter().filter(|one| one.word("model", "norm") == "none") {
        if let Some(slope) = one.run.fixed_slope().filter(|&slope| slope >= 0.0) {
            // Non-negative floats sort like their bits.
            found.entry(slope.to_bits()).or_insert(one);
        }
    }
    if found.len() < 3 {
        return None;
    }
    let told = found.iter().map(|(&slope, one)| {
        let reached = match one.outcome.divergence {
            Some(divergence) => divergence.to_string(),
            None => one.outcome.perplexity.map_or_else(|| "not evaluated".into(), |ppl| decimal(ppl.mean, 2)),
        };
        format!("{} ({reached})", f64::from_bits(slope))
    });
    let told: Vec<String> = told.collect();
    Some(format!(
        "Fixed slopes without LayerNorm, from ReLU's 0 up, with the perplexity that each came to: {}.",
        told.join(", ")
    ))
}
