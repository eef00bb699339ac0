//! The results of each configuration: the rows of the table, and its CSV.

use std::collections::BTreeMap;

use super::comparison::{Comparison, Group};
use super::diverged::Divergence;
use super::paired::{Paired, Sample, paired};
use super::run::RunData;
use super::spread::{Spread, spreads};
use super::stats::Reference;
use super::table::{Table, decimal, percent, signed_percent};
use crate::draw::axes::tick_text;
use crate::draw::escape;
use crate::fault::Result;
use crate::numbers::counted;
use crate::observe::quantities::{EVAL_LOSS, EVAL_PPL};

/// One configuration, over its seeds.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub name: String,
    pub seeds: usize,
    pub parameters: Option<u64>,
    /// The fewest and the most steps after which one of its runs was last evaluated.
    pub steps: Option<(u64, u64)>,
    /// The newest held-out loss (nats per token) and perplexity, over the seeds that did not diverge and whose values are
    /// finite.
    pub loss: Option<Sample>,
    pub perplexity: Option<Sample>,
    /// Runs that did not diverge but whose newest evaluation is not finite.
    pub broken: usize,
    pub divergence: Option<Divergence>,
    /// The configuration that this one is compared with; `None` for a baseline.
    pub against: Option<String>,
    /// The relative change of the mean perplexity against that configuration.
    pub change: Option<f64>,
    /// The t-test of held-out losses against the baseline's, or the number of shared seeds if it is too small.
    pub paired: std::result::Result<Paired, usize>,
    /// The mean over the seeds that did not diverge.
    pub spread: Option<Spread>,
}

/// The results of all configurations.
#[derive(Clone, Debug)]
pub struct Outcomes {
    pub rows: Vec<Outcome>,
    pub baseline: usize,
    pub reference: Reference,
    /// Whether some configuration has several seeds.
    seeds: bool,
    /// Configurations that were evaluated on other text than the baseline.
    elsewhere: Vec<String>,
    missing: Vec<String>,
}

/// The columns of the CSV file.
const CSV: [&str; 22] = [
    "configuration",
    "seeds",
    "parameters",
    "steps_least",
    "steps_most",
    "eval_loss_mean",
    "eval_loss_sd",
    "perplexity_mean",
    "perplexity_sd",
    "not_finite",
    "diverged",
    "diverged_at_step",
    "compared_with",
    "relative_change",
    "paired_n",
    "paired_t",
    "paired_p",
    "share_0_to_quarter",
    "share_quarter_to_half",
    "share_half_to_three_quarters",
    "share_three_quarters_to_m",
    "m_nats",
];

/// Compares every configuration with the baseline.
///
/// # Errors
/// Those of [`Reference::nats`].
pub fn outcomes(comparison: &Comparison, reference: Reference) -> Result<Outcomes> {
    let spreads = spreads(&comparison.runs, reference)?;
    let mut rows: Vec<Outcome> = Vec::new();
    for (index, group) in comparison.groups.iter().enumerate() {
        let against = comparison.baseline_of(index).map(|base| &comparison.groups[base]);
        let paired = against.map_or(Err(0), |base| compared(comparison, group, base));
        let newest = |quantity| {
            let learning = comparison.of(group).filter(|run| run.diverged_at().is_none());
            learning.filter_map(move |run| run.log.numbers(quantity).last()).map(|record| record.1)
        };
        let finite = |quantity| -> Vec<f64> { newest(quantity).filter(|value| value.is_finite()).collect() };
        let of_group: Vec<Spread> = group.runs.iter().filter_map(|&index| spreads[index]).collect();
        let steps =
            || comparison.of(group).filter_map(|run| run.log.numbers(&EVAL_LOSS).last()).map(|eval| eval.0);
        rows.push(Outcome {
            name: group.name.clone(),
            seeds: group.runs.len(),
            parameters: comparison.of(group).find_map(|run| run.parameters),
            steps: steps().min().zip(steps().max()).filter(|&(_, most)| most > 0),
            loss: Sample::of(&finite(&EVAL_LOSS)),
            perplexity: Sample::of(&finite(&EVAL_PPL)),
            broken: newest(&EVAL_PPL).filter(|ppl| !ppl.is_finite()).count(),
            divergence: Divergence::of(comparison.of(group)),
            against: against.map(|group| group.name.clone()),
            change: None,
            paired,
            spread: Spread::mean(&of_group),
        });
    }
    let perplexities: Vec<Option<Sample>> = rows.iter().map(|row| row.perplexity).collect();
    for (index, row) in rows.iter_mut().enumerate() {
        let base = comparison.baseline_of(index).and_then(|base| perplexities[base]);
        row.change = row.perplexity.zip(base).map(|(own, base)| own.mean / base.mean - 1.0);
    }
    Ok(Outcomes {
        rows,
        baseline: comparison.baseline,
        reference,
        seeds: comparison.seeds(),
        elsewhere: comparison.on_other_text().into_iter().map(str::to_owned).collect(),
        missing: comparison.missing.clone(),
    })
}

/// The newest held-out loss of each seed of a group, if finite, with its step.
fn losses(comparison: &Comparison, group: &Group) -> BTreeMap<u64, (u64, f64)> {
    let loss = |run: &RunData| {
        let &eval = run.log.numbers(&EVAL_LOSS).last().filter(|eval| eval.1.is_finite())?;
        if run.diverged_at().is_some() {
            return None;
        }
        Some((run.seed?, eval))
    };
    comparison.of(group).filter_map(loss).collect()
}

/// The paired t-test of one group's newest held-out losses against another's, over the seeds that both have. Runs in
/// progress are paired only if both have done the same number of steps.
///
/// # Errors
/// The number of seeds they share, if it is less than two.
pub(super) fn compared(
    comparison: &Comparison,
    own: &Group,
    base: &Group,
) -> std::result::Result<Paired, usize> {
    let (own, base) = (losses(comparison, own), losses(comparison, base));
    let pair = |(seed, (step, loss)): (&u64, &(u64, f64))| {
        let (other, base) = base.get(seed)?;
        (other == step).then_some((*seed, (*loss, *base)))
    };
    let pairs: BTreeMap<u64, (f64, f64)> = own.iter().filter_map(pair).collect();
    let side = |part: fn(&(f64, f64)) -> f64| pairs.iter().map(|(seed, pair)| (*seed, part(pair))).collect();
    paired(&side(|pair| pair.0), &side(|pair| pair.1))
}

impl Outcome {
    /// Seeds that did not diverge.
    pub fn learning(&self) -> usize {
        self.seeds - self.divergence.map_or(0, |divergence| divergence.runs)
    }
}

impl Outcomes {
    /// The configurations as a table for people.
    pub fn table(&self) -> Table {
        let versus = self.rows.get(self.baseline).map_or(String::new(), |row| format!("vs {}", row.name));
        let mut header = vec!["configuration", "parameters", "step", "eval loss", "perplexity", &versus];
        if self.seeds {
            header.insert(1, "seeds");
            header.push("paired t-test");
        }
        header.extend(["collapse [0, M/4)", "[M/4, M/2)", "[M/2, 3M/4)", "overload [3M/4, M]", "M (nats)"]);
        Table {
            header: header.into_iter().map(String::from).collect(),
            rows: self.rows.iter().map(|row| self.cells(row)).collect(),
            notes: self.notes(),
        }
    }

    fn cells(&self, row: &Outcome) -> Vec<String> {
        let absent = || "–".to_string();
        let count = |number: u64| tick_text(number as f64, 1.0);
        let measured = |sample: Option<Sample>, places: usize| match sample {
            Some(sample) => in_text(sample, places),
            None if row.divergence.is_some() => "diverged".to_string(),
            None if row.broken > 0 => "NaN".to_string(),
            None => absent(),
        };
        let mut cells = vec![
            row.name.clone(),
            row.parameters.map_or_else(absent, count),
            row.steps.map_or_else(absent, |(least, most)| match least == most {
                true => count(least),
                false => format!("{}–{}", count(least), count(most)),
            }),
            measured(row.loss, 4),
            measured(row.perplexity, 3),
            row.change.map_or_else(absent, signed_percent),
        ];
        if self.seeds {
            let mut seeds = row.seeds.to_string();
            if let Some(divergence) = row.divergence {
                seeds.push_str(&format!(", {} diverged", divergence.runs));
            }
            if row.broken > 0 {
                seeds.push_str(&format!(", {} NaN", row.broken));
            }
            cells.insert(1, seeds);
            cells.push(match row.paired {
                _ if row.against.is_none() => absent(),
                Ok(paired) => in_words(&paired),
                Err(shared) => counted(shared as u64, "shared seed"),
            });
        }
        match row.spread {
            Some(spread) => {
                cells.extend(spread.bins.map(percent));
                cells.push(format!("{:.2}", spread.reference));
            }
            None => cells.extend([(); 5].map(|()| absent())),
        }
        cells
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!(
            "Overload: share of heads with a mean entropy of at least 3M/4; collapse: below M/4. M: {}.",
            self.reference
        )];
        if self.seeds {
            notes.push(
                "Over several seeds: mean ± standard deviation. The paired t-test is two-sided and compares the held-out losses \
             of the seeds that a configuration shares with the baseline; it needs two."
                    .to_owned(),
            );
        }
        if self.rows.iter().any(|row| row.broken > 0 && row.perplexity.is_some()) {
            let note = "Losses and perplexities are those of the seeds where they are finite; the others are counted.";
            notes.push(note.to_owned());
        }
        for row in &self.rows {
            if let Some(divergence) = row.divergence {
                let left = match divergence.of {
                    1 => "its loss and heads are not counted",
                    _ => "their losses and heads are not counted",
                };
                notes.push(format!("{}: {divergence}; {left}.", row.name));
            }
        }
        for row in &self.rows {
            if let Some(spread) = row.spread.filter(|spread| spread.nonfinite > 0) {
                let (lost, heads) = (spread.nonfinite, spread.heads * row.learning());
                notes.push(format!(
                    "{}: {lost} of {} without a finite entropy, counted as neither.",
                    row.name,
                    counted(heads as u64, "head")
                ));
            }
        }
        let steps: Vec<u64> =
            self.rows.iter().filter_map(|row| row.steps).flat_map(|(least, most)| [least, most]).collect();
        if steps.windows(2).any(|pair| pair[0] != pair[1]) {
            notes.push("Not all runs were evaluated after the same number of steps.".to_owned());
        }
        if !self.elsewhere.is_empty() {
            notes.push(format!(
                "Evaluated on other text than the baseline, or with another tokenizer, and not compared: {}.",
                self.elsewhere.join("; ")
            ));
        }
        let base = self.rows.get(self.baseline).map(|row| &row.name);
        let others_bases =
            self.rows.iter().filter(|row| row.against.is_some() && row.against.as_ref() != base);
        let mut others: Vec<(&str, Vec<&str>)> = Vec::new();
        for row in others_bases {
            let other = row.against.as_deref().expect("it is compared");
            match others.iter_mut().find(|(known, _)| *known == other) {
                Some((_, rows)) => rows.push(&row.name),
                None => others.push((other, vec![&row.name])),
            }
        }
        notes.extend(
            others.iter().map(|(other, rows)| format!("Compared with {other}: {}.", rows.join("; "))),
        );
        notes.extend(self.missing.iter().map(|missing| format!("Left out: {missing}.")));
        notes
    }

    /// The same as comma-separated values in full precision; shares and changes are fractions of 1.
    pub fn csv(&self) -> String {
        let mut out = CSV.join(",") + "\n";
        for row in &self.rows {
            let number = |value: Option<f64>| value.map_or(String::new(), shortest);
            let whole = |value: Option<u64>| value.map_or(String::new(), |value| value.to_string());
            let paired = row.paired.ok().filter(|_| row.change.is_some());
            let mut fields = vec![
                escape::csv(&row.name),
                row.seeds.to_string(),
                whole(row.parameters),
                whole(row.steps.map(|steps| steps.0)),
                whole(row.steps.map(|steps| steps.1)),
                number(row.loss.map(|sample| sample.mean)),
                number(row.loss.and_then(|sample| sample.deviation)),
                number(row.perplexity.map(|sample| sample.mean)),
                number(row.perplexity.and_then(|sample| sample.deviation)),
                row.broken.to_string(),
                row.divergence.map_or(0, |divergence| divergence.runs).to_string(),
                whole(row.divergence.map(|divergence| divergence.step)),
                escape::csv(row.against.as_deref().unwrap_or_default()),
                number(row.change),
                whole(paired.map(|paired| paired.n as u64)),
                number(paired.map(|paired| paired.t)),
                number(paired.map(|paired| paired.p)),
            ];
            fields.extend((0..4).map(|quarter| number(row.spread.map(|spread| spread.bins[quarter]))));
            fields.push(number(row.spread.map(|spread| spread.reference)));
            out.push_str(&(fields.join(",") + "\n"));
        }
        out
    }
}

/// The shortest decimal that reads back to the number, or to the f32 if the number is one, as entropies are.
fn shortest(value: f64) -> String {
    let single = value as f32;
    if f64::from(single) == value { single.to_string() } else { value.to_string() }
}

/// Mean ± standard deviation, or the number alone.
pub(super) fn in_text(sample: Sample, places: usize) -> String {
    let mean = decimal(sample.mean, places);
    sample.deviation.map_or(mean.clone(), |deviation| format!("{mean} ± {}", decimal(deviation, places)))
}

/// Differences with a larger p count as chance.
const LEVEL: f64 = 0.05;

/// The seeds that do not tell a difference from chance; `None` if they do. The noise of one seed is unknown without a second
/// one, so one never does.
pub(super) fn doubt(paired: &std::result::Result<Paired, usize>) -> Option<String> {
    match paired {
        Ok(paired) if paired.p < LEVEL => None,
        Ok(paired) => Some(format!("{} seeds do not tell this from chance", paired.n)),
        Err(1) => Some("one seed does not tell this from chance".to_owned()),
        Err(_) => Some("without a shared seed this may be chance".to_owned()),
    }
}

/// n, t and p.
pub(super) fn in_words(paired: &Paired) -> String {
    let p = if paired.p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {:.3}", paired.p) };
    format!("n = {}, t = {}, {p}", paired.n, decimal(paired.t, 2))
}
