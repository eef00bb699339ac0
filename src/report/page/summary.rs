//! The results of the runs, in sentences made from their numbers.

use super::claims::claims;
use super::html::escape;
use crate::draw::axes::tick_text;
use crate::numbers::{counted, thousands};
use crate::observe::quantities::TOKENS;
use crate::report::comparison::Comparison;
use crate::report::diverged::Divergence;
use crate::report::outcome::{Outcome, Outcomes, compared, doubt, in_text, in_words};
use crate::report::run::RunData;
use crate::report::spread::Spread;
use crate::report::table::percent;

/// Up to this many configurations are described one by one.
const FEW: usize = 6;

/// A list of findings.
pub fn summary(comparison: &Comparison, outcomes: &Outcomes) -> String {
    let mut lines = vec![scope(comparison)];
    let measured = |row: &&Outcome| {
        comparison
            .groups
            .iter()
            .any(|group| group.name == row.name && comparison.runs[group.runs[0]].published.is_none())
    };
    let here: Vec<&Outcome> = outcomes.rows.iter().filter(measured).collect();
    let elsewhere = comparison.on_other_text();
    if here.len() > 1 && elsewhere.is_empty() {
        lines.extend(extremes(comparison, &here));
    }
    if !elsewhere.is_empty() {
        let (base, others) = (&comparison.groups[comparison.baseline].name, elsewhere.join("; "));
        lines.push(format!(
            "Evaluated on other text than {base}, or with another tokenizer: {others}. Their losses and perplexities are not compared."
        ));
    }
    lines.extend(claims(comparison, outcomes));
    // For many configurations the table is easier to read.
    if outcomes.rows.len() <= FEW {
        lines.extend(outcomes.rows.iter().filter_map(reached));
    } else {
        lines.extend(overloads(&here));
    }
    lines.extend(broken(comparison));
    if here.len() > 1 && !comparison.seeds() {
        lines.push("Each configuration has one seed: a difference between two can be chance.".to_owned());
    }
    lines.extend(comparison.missing.iter().map(|missing| format!("Left out: {missing}.")));
    let items: String = lines.iter().map(|line| format!("<li>{}</li>\n", escape(line))).collect();
    format!("<ul>\n{items}</ul>")
}

/// How many runs and configurations there are, and how many steps they have done.
fn scope(comparison: &Comparison) -> String {
    let here: Vec<&RunData> = comparison.runs.iter().filter(|run| run.published.is_none()).collect();
    let published = comparison.runs.len() - here.len();
    let groups = comparison.groups.iter().filter(|group| comparison.runs[group.runs[0]].published.is_none());
    let steps: Vec<u64> = here.iter().map(|run| run.steps_done()).collect();
    let mut text = String::new();
    if let (Some(least), Some(most)) = (steps.iter().min(), steps.iter().max()) {
        let (runs, configurations) = (count(here.len(), "run"), count(groups.count(), "configuration"));
        text = match least == most {
            true => format!("{runs} of {configurations}, {} each", counted(*most, "step")),
            false => {
                format!("{runs} of {configurations}, {} to {}", thousands(*least), counted(*most, "step"))
            }
        };
        let base = comparison.groups.get(comparison.baseline).map(|group| group.name.as_str());
        if comparison.groups.len() > 1 {
            text.push_str(&format!("; the others are compared with {}", base.unwrap_or_default()));
        }
        text.push('.');
    }
    if published > 0 {
        text.push_str(&format!(" {} from print.", count(published, "heatmap")));
    }
    text.trim_start().to_owned()
}

fn count(number: usize, what: &str) -> String {
    counted(number as u64, what)
}

/// The lowest perplexity, whether the seeds tell it from the next one, and, with more than two configurations, the highest.
fn extremes(comparison: &Comparison, rows: &[&Outcome]) -> Option<String> {
    let mut finite: Vec<_> = rows.iter().filter_map(|row| Some((&row.name, row.perplexity?))).collect();
    finite.sort_by(|a, b| a.1.mean.total_cmp(&b.1.mean));
    let (name, perplexity) = *finite.first()?;
    let mut text = format!("{name} has the lowest held-out perplexity: {}", in_text(perplexity, 3));
    if let Some((second, next)) = finite.get(1) {
        let group = |name: &str| comparison.groups.iter().find(|group| group.name == name);
        let (own, other) = group(name).zip(group(second))?;
        text.push_str(&format!("; {second} has {}", in_text(*next, 3)));
        if let Some(doubt) = doubt(&compared(comparison, own, other)) {
            text.push_str(&format!(", and {doubt}"));
        }
    }
    if let Some((most, perplexity)) = finite.get(2..).and_then(<[_]>::last) {
        text.push_str(&format!("; {most} has the highest: {}", in_text(*perplexity, 3)));
    }
    Some(text + ".")
}

/// The configurations with the fewest and the most overloaded heads.
fn overloads(rows: &[&Outcome]) -> Option<String> {
    let shares = || rows.iter().filter_map(|row| Some((&row.name, row.spread?.overload())));
    let least = shares().min_by(|a, b| a.1.total_cmp(&b.1))?;
    let most = shares().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let collapsed = rows.iter().filter(|row| row.spread.is_some_and(|spread| spread.collapse() > 0.0));
    let collapsed: Vec<&str> = collapsed.map(|row| row.name.as_str()).collect();
    let collapsed = match collapsed.as_slice() {
        [] => "no head is collapsed".to_owned(),
        names => format!("there are collapsed heads in {}", names.join(", ")),
    };
    Some(format!(
        "Overloaded heads: from {} in {} to {} in {}; {collapsed}.",
        percent(least.1),
        least.0,
        percent(most.1),
        most.0
    ))
}

/// The results of one configuration: perplexity, compared with its baseline, and its heads.
fn reached(row: &Outcome) -> Option<String> {
    let mut parts: Vec<String> = perplexity(row).into_iter().collect();
    if let Some(spread) = row.spread {
        let total = spread.heads * row.learning();
        parts.push(match spread.nonfinite {
            lost if lost == total => "no head has a finite entropy".to_owned(),
            lost => {
                let (overload, collapse) = (percent(spread.overload()), percent(spread.collapse()));
                let lost = if lost > 0 { format!(", {lost} of {total} not finite") } else { String::new() };
                format!("{overload} of heads overloaded, {collapse} collapsed{lost}{}", seen(row, spread))
            }
        });
    }
    (!parts.is_empty()).then(|| format!("{}: {}.", row.name, parts.join("; ")))
}

/// When heads were last measured, if that was before the newest evaluation.
fn seen(row: &Outcome, spread: Spread) -> String {
    match row.steps {
        Some((least, _)) if spread.step < least => {
            format!(" (as they were at step {})", tick_text(spread.step as f64, 1.0))
        }
        _ => String::new(),
    }
}

fn perplexity(row: &Outcome) -> Option<String> {
    let sample = row.perplexity?;
    let of = match (row.broken, row.divergence) {
        (0, None) => String::new(),
        (0, Some(_)) => format!(" (of the {} of {} seeds that did not diverge)", sample.n, row.seeds),
        _ => format!(" (of the {} of {} seeds where it is finite)", sample.n, row.seeds),
    };
    let own = format!("perplexity {}{of}", in_text(sample, 3));
    let Some((base, change)) = row.against.as_ref().zip(row.change) else { return Some(own) };
    let size = format!("{:.1}%", change.abs() * 100.0);
    let side = match size.as_str() {
        "0.0%" => format!("as {base}"),
        _ if change < 0.0 => format!("{size} lower than {base}"),
        _ => format!("{size} higher than {base}"),
    };
    let test = row
        .paired
        .ok()
        .map_or(String::new(), |paired| format!(" (paired t-test over shared seeds: {})", in_words(&paired)));
    // "As the baseline" says no difference that could be chance.
    let doubt = doubt(&row.paired).filter(|_| size != "0.0%");
    let doubt = doubt.map_or(String::new(), |doubt| format!("; {doubt}"));
    Some(format!("{own}, {side}{test}{doubt}"))
}

/// Which runs diverged and where numbers were not finite, or that every number was finite.
fn broken(comparison: &Comparison) -> Vec<String> {
    let mut lines = Vec::new();
    for group in &comparison.groups {
        if let Some(divergence) = Divergence::of(comparison.of(group)) {
            let first = comparison.of(group).find(|run| run.diverged_at() == Some(divergence.step));
            let place = first.map_or(String::new(), |run| place(run, divergence.step));
            lines.push(format!("{}: {divergence}{place}.", group.name));
        }
        // A run that continued may still have had a non-finite number.
        let recovered = comparison.of(group).filter(|run| run.diverged_at().is_none());
        let onsets = recovered.filter_map(|run| Some((run.broke_at()?, run)));
        let count = onsets.clone().count();
        let Some((step, run)) = onsets.min_by_key(|(step, _)| *step) else { continue };
        let runs = match group.runs.len() {
            1 => String::new(),
            all => format!("in {count} of {all} runs "),
        };
        let (step, place) = (tick_text(step as f64, 1.0), place(run, step));
        lines.push(format!(
            "{}: {runs}numbers were not finite, first at step {step}{place}; training went on.",
            group.name
        ));
    }
    let trained = comparison.runs.iter().any(|run| !run.log.numbers(&TOKENS).is_empty());
    if lines.is_empty() && trained {
        lines.push("Every number that was recorded is finite.".to_owned());
    }
    lines
}

/// The origin of the non-finite number at a step.
fn place(run: &RunData, step: u64) -> String {
    let record = run.nonfinite.iter().find(|record| record.step == step);
    record.map_or(String::new(), |record| format!(", in {} ({} pass)", record.tensor, record.phase))
}
