//! The verdicts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::reading::{Reading, value};
use super::statistics::{Differences, LEVEL, fisher, holm};
use crate::fault::{Fault, Kind, Result};
use crate::report::run::RunData;
use crate::study::{Claim, Expectation, Grid, Order, Quantity, Run};

/// Fewer seeds decide nothing.
const LEAST_SEEDS: usize = 2;

/// What is said of a claim, or of one of its expectations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Held,
    NotHeld,
    NotDecided,
}

impl Verdict {
    /// The verdict in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::NotHeld => "not held",
            Self::NotDecided => "not decided at this size",
        }
    }

    /// That of several of which all must hold.
    fn all(verdicts: impl Iterator<Item = Self> + Clone) -> Self {
        if verdicts.clone().any(|verdict| verdict == Self::NotHeld) {
            Self::NotHeld
        } else if verdicts.clone().all(|verdict| verdict == Self::Held) {
            Self::Held
        } else {
            Self::NotDecided
        }
    }
}

/// All claims that were judged together.
#[derive(Clone, Debug)]
pub struct Ruling {
    pub claims: Vec<Ruled>,
    /// The number of comparisons that p-values are corrected for.
    pub comparisons: usize,
}

/// A claim with its verdict.
#[derive(Clone, Debug)]
pub struct Ruled {
    pub claim: Claim,
    pub judged: Vec<Judged>,
    pub verdict: Verdict,
    /// Runs that are missing or not at their end.
    pub missing: Vec<String>,
}

/// An expectation with its verdict.
#[derive(Clone, Debug)]
pub struct Judged {
    pub expectation: Expectation,
    /// The labels of its two configurations.
    pub labels: [String; 2],
    /// The mean of each of them at the end, over the seeds that did not diverge.
    pub means: [Option<f64>; 2],
    /// How many seeds diverged, of how many, of each.
    pub diverged: [(usize, usize); 2],
    /// At the end and at the best checkpoint; `None` if there are too few seeds.
    pub outcomes: [Option<Outcome>; 2],
    pub verdict: Verdict,
    /// The seeds with which the difference at the end would be found, if it is what it seems to be. `None` if decided, or
    /// if more than a thousand.
    pub seeds_needed: Option<usize>,
}

/// What one reading says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// `None` where counts of diverged seeds are compared.
    pub differences: Option<Differences>,
    /// p of the difference, as it is and corrected.
    pub p: f64,
    pub p_corrected: f64,
    /// Corrected p of the equivalence; 1 where counts are compared.
    pub p_equivalent: f64,
    /// Corrected p of a difference beyond the margin; 1 where counts are compared.
    pub p_beyond: f64,
    /// Whether the first has less.
    pub less: bool,
    pub verdict: Verdict,
}

/// Judges claims by the runs of their studies, each given as the claim and its grid.
///
/// # Errors
/// Those of reading runs; `Data` if the runs of a claim were trained on different data; `RunFolder` if no run has begun, or if a
/// run's folder holds another configuration or lacks what is compared.
pub fn judge(claims: Vec<(Claim, Grid)>) -> Result<Ruling> {
    let mut known = BTreeMap::new();
    let mut claims = claims
        .into_iter()
        .map(|(claim, grid)| compare(claim, &grid, &mut known))
        .collect::<Result<Vec<Ruled>>>()?;
    if let Some(run) = known.keys().next().filter(|_| !known.keys().any(|run| has_begun(run))) {
        return Err(Fault::new(Kind::RunFolder, "no run of these claims has begun")
            .at(run.parent().unwrap_or(run).display())
            .remedy("train them with `normfree study CLAIM`, or say where they are with --runs DIR"));
    }
    let comparisons = claims.iter().map(|ruled| ruled.judged.len()).sum();
    for place in 0..Reading::BOTH.len() {
        correct(&mut claims, place);
    }
    for ruled in &mut claims {
        for judged in &mut ruled.judged {
            judged.decide(comparisons);
        }
        ruled.verdict = Verdict::all(ruled.judged.iter().map(|judged| judged.verdict));
    }
    Ok(Ruling { claims, comparisons })
}

/// Corrects the p-values of one reading for the number of comparisons with an outcome.
fn correct(claims: &mut [Ruled], place: usize) {
    let mut outcomes: Vec<&mut Outcome> = claims
        .iter_mut()
        .flat_map(|ruled| &mut ruled.judged)
        .filter_map(|judged| judged.outcomes[place].as_mut())
        .collect();
    for part in [
        (|outcome| &mut outcome.p_corrected) as fn(&mut Outcome) -> &mut f64,
        |outcome| &mut outcome.p_equivalent,
        |outcome| &mut outcome.p_beyond,
    ] {
        let raw: Vec<f64> = outcomes.iter_mut().map(|outcome| *part(outcome)).collect();
        for (outcome, corrected) in outcomes.iter_mut().zip(holm(&raw)) {
            *part(outcome) = corrected;
        }
    }
}

/// Runs by their folder; `None` if a run has not ended.
type Known = BTreeMap<PathBuf, Option<RunData>>;

fn compare(claim: Claim, grid: &Grid, known: &mut Known) -> Result<Ruled> {
    let mut missing = Vec::new();
    for run in grid.chosen_runs() {
        let path = grid.path(run);
        if !known.contains_key(&path) {
            let read = ended(run, &path)?;
            known.insert(path.clone(), read);
        }
        if known[&path].is_none() {
            missing.push(format!("{}, seed {}", run.label, run.seed));
        }
    }
    let judged = claim.expectations.iter().map(|expectation| judged(expectation, grid, known));
    let judged = judged.collect::<Result<Vec<_>>>()?;
    Ok(Ruled { claim, judged, verdict: Verdict::NotDecided, missing })
}

fn has_begun(run: &Path) -> bool {
    run.join("metrics.jsonl").is_file()
}

/// A run, if it went through all of its steps or diverged.
fn ended(run: &Run, path: &Path) -> Result<Option<RunData>> {
    if !has_begun(path) {
        return Ok(None);
    }
    let own = crate::config::Config::load_of_run(&path.join("config.toml"), &[])?;
    let differences = own.differences(&run.config, &[]);
    if !differences.is_empty() {
        return Err(Fault::new(Kind::RunFolder, "the folder holds a run of another configuration")
            .at(path.display())
            .found(differences.join(", "))
            .remedy("move it away, or give its folder and every --set with which it was trained"));
    }
    let data = RunData::load(path)?;
    let whole = data.steps_done() >= run.config.train.steps || data.diverged_at().is_some();
    Ok(whole.then_some(data))
}

/// Refuses to compare runs on different data.
fn same_data<'a>(runs: impl Iterator<Item = &'a RunData>) -> Result<()> {
    let mut first: Option<&RunData> = None;
    for run in runs.filter(|run| run.data.is_some()) {
        let (Some(own), Some(other)) = (&run.data, first.and_then(|first| first.data.as_ref())) else {
            first = Some(run);
            continue;
        };
        if !own.same(other) {
            let first = first.map_or(Path::new(""), |first| &first.dir);
            return Err(Fault::new(Kind::Data, "these runs were trained on different data")
                .at(run.dir.display())
                .found(format!("other tokens than {}", first.display()))
                .remedy("train them on the same data"));
        }
    }
    Ok(())
}

fn judged(expectation: &Expectation, grid: &Grid, known: &Known) -> Result<Judged> {
    let names = [&expectation.of, &expectation.compared_with];
    let sides = names.map(|name| {
        let runs = grid.chosen_runs().filter(|run| run.configuration == *name);
        runs.filter_map(|run| Some((run.seed, known[&grid.path(run)].as_ref()?))).collect::<BTreeMap<_, _>>()
    });
    same_data(sides.iter().flat_map(|side| side.values().copied()))?;
    let label = |name: &String| {
        let run = grid.chosen_runs().find(|run| run.configuration == *name);
        run.map_or_else(|| name.clone(), |run| run.label.clone())
    };
    let lost = |side: &BTreeMap<u64, &RunData>| {
        (side.values().filter(|run| run.diverged_at().is_some()).count(), side.len())
    };
    let diverged = [lost(&sides[0]), lost(&sides[1])];
    let quantity = expectation.quantity;
    let values = |side: &BTreeMap<u64, &RunData>, reading| {
        let learning = side.iter().filter(|(_, run)| run.diverged_at().is_none());
        learning
            .map(|(&seed, run)| Ok((seed, value(run, quantity, reading)?)))
            .collect::<Result<BTreeMap<u64, f64>>>()
    };
    let mut outcomes = [None; 2];
    for (outcome, reading) in outcomes.iter_mut().zip(Reading::BOTH) {
        let counts = quantity == Quantity::Trained || diverged.iter().any(|side| side.0 > 0);
        *outcome = if counts {
            by_counts(diverged, quantity)
        } else {
            by_differences(&values(&sides[0], reading)?, &values(&sides[1], reading)?, expectation.margin)
        };
    }
    let mut means = [None; 2];
    for (mean, side) in means.iter_mut().zip(&sides) {
        let values = values(side, Reading::End)?;
        *mean = (!values.is_empty()).then(|| values.values().sum::<f64>() / values.len() as f64);
    }
    Ok(Judged {
        expectation: expectation.clone(),
        labels: names.map(label),
        means,
        diverged,
        outcomes,
        verdict: Verdict::NotDecided,
        seeds_needed: None,
    })
}

/// Compares what shares of seeds diverged: a mean without them would compare only the lucky ones. A side that diverges more
/// often counts as the one with the larger loss, and with the smaller share of trained seeds; of other quantities it says
/// nothing.
fn by_counts([one, other]: [(usize, usize); 2], quantity: Quantity) -> Option<Outcome> {
    if one.1 < LEAST_SEEDS || other.1 < LEAST_SEEDS {
        return None;
    }
    let share = |(lost, of): (usize, usize)| lost as f64 / of as f64;
    let p = fisher(one, other);
    let (p, less) = match quantity {
        Quantity::Loss => (p, share(one) < share(other)),
        Quantity::Trained => (p, share(one) > share(other)),
        _ => (1.0, false),
    };
    let verdict = Verdict::NotDecided;
    Some(Outcome { differences: None, p, p_corrected: p, p_equivalent: 1.0, p_beyond: 1.0, less, verdict })
}

/// Compares the values of the seeds that both have.
fn by_differences(own: &BTreeMap<u64, f64>, other: &BTreeMap<u64, f64>, margin: f64) -> Option<Outcome> {
    let pairs = own.iter().filter_map(|(seed, value)| Some(value - other.get(seed)?));
    let differences = Differences::of(&pairs.collect::<Vec<_>>(), margin)?;
    let Differences { p, p_equivalent, p_beyond, mean, .. } = differences;
    Some(Outcome {
        differences: Some(differences),
        p,
        p_corrected: p,
        p_equivalent,
        p_beyond,
        less: mean < 0.0,
        verdict: Verdict::NotDecided,
    })
}

impl Outcome {
    /// The verdict of this reading.
    fn rule(&self, is: Order) -> Verdict {
        let differs = self.p_corrected < LEVEL;
        match is {
            Order::Equal if self.p_equivalent < LEVEL => Verdict::Held,
            Order::Equal if self.p_beyond < LEVEL => Verdict::NotHeld,
            // Diverged seeds of only one side are a difference beyond any margin.
            Order::Equal if self.differences.is_none() && differs => Verdict::NotHeld,
            Order::Equal => Verdict::NotDecided,
            Order::Less | Order::Greater if differs => match (is == Order::Less) == self.less {
                true => Verdict::Held,
                false => Verdict::NotHeld,
            },
            Order::Less | Order::Greater if self.p_equivalent < LEVEL => Verdict::NotHeld,
            Order::Less | Order::Greater => Verdict::NotDecided,
        }
    }

    /// Whether the difference is within the margin, as far as the corrected test says.
    pub fn is_within_margin(&self) -> bool {
        self.p_equivalent < LEVEL
    }
}

impl Judged {
    /// Decides by both readings: where they disagree, nothing is decided.
    fn decide(&mut self, comparisons: usize) {
        for outcome in self.outcomes.iter_mut().flatten() {
            outcome.verdict = outcome.rule(self.expectation.is);
        }
        self.verdict = match self.outcomes {
            [Some(end), Some(best)] if end.verdict == best.verdict => end.verdict,
            _ => Verdict::NotDecided,
        };
        let end = self.outcomes[0].and_then(|outcome| outcome.differences);
        // The strictest level that Holm's correction may ask for.
        let level = LEVEL / comparisons.max(1) as f64;
        let undecided = self.verdict == Verdict::NotDecided;
        self.seeds_needed = end.filter(|_| undecided).and_then(|differences| differences.seeds_needed(level));
    }
}
