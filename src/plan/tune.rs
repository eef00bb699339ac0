//! The search for the fastest variant of each op on a device. Variants are timed, and compared with the f64 reference
//! before they may win.

mod candidate;

use crate::cache::attempts::Attempts;
use crate::fault::Result;
use crate::gpu::Gpu;
use crate::ops::Tuning;
use crate::tape::shapes;
use crate::tape::{Node, Tape};
use candidate::{Candidate, Isolated, believable};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a search found for one op at one shape.
#[derive(Clone, Debug)]
pub struct Finding {
    pub key: String,
    /// The variant used from now on.
    pub variant: String,
    /// Seconds of one execution of the default variant.
    pub default_seconds: f64,
    /// Seconds of one execution of the chosen variant.
    pub seconds: f64,
    /// Variants whose results were wrong: a fault of the driver.
    pub wrong: Vec<String>,
}

/// How far a search may go, and whom it reports to.
pub struct Search<'a> {
    /// Search again where a choice is known.
    pub again: bool,
    /// Search all keys, not only those that pay within the run, and let variants win that round differently. Without it no
    /// search changes a bit of any result: whether one pays depends on the clock, and results must not.
    pub thorough: bool,
    /// Called before each variant is timed.
    pub progress: &'a mut dyn FnMut(Searched),
    /// Called with all choices after each key that a variant was found for, so nothing is lost if the process ends.
    pub keep: &'a mut dyn FnMut(&Gpu),
    /// Notes each variant before it is first compiled and run, and knows the variants that ended an earlier start.
    pub attempts: &'a mut Attempts,
}

/// The progress of a search.
#[derive(Clone, Copy, Debug)]
pub struct Searched {
    /// The current key, from 0.
    pub key: usize,
    pub keys: usize,
    /// The share of all variants that is done.
    pub share: f64,
}

/// A tape, and how often the coming run replays it.
pub type Replayed<'a> = (&'a Tape, u64);

/// The share of an op's time that a better variant typically saves. A search pays if that share of the time the run spends in
/// the op is more than the search takes.
const SAVING: f64 = 0.1;
/// A variant must take less than this share of the best time so far; smaller gains are noise.
const MARGIN: f64 = 0.97;
/// Turns in which a variant is timed alternately with the default.
const ROUNDS: usize = 5;
/// Where all variants are timed, one that takes this many times as long as the best is timed once.
const FAR: f64 = 4.0;

/// Finds the fastest variant of every op on the tapes that has several, and makes the device use it.
///
/// # Errors
/// Those of building and running plans. A variant that does not compile or computes something else is left out.
pub fn tune(gpu: &mut Gpu, tapes: &[Replayed<'_>], search: &mut Search<'_>) -> Result<Vec<Finding>> {
    let mut wanted = WantedKeys::new();
    for &(tape, replays) in tapes {
        // Observers run too seldom to be worth a search.
        for node in tape.acting() {
            let Some(tuning) = node.op.tuning(&shapes(tape, node), gpu.traits()) else { continue };
            let known = gpu.traits().choices.get(&tuning.key).is_some() && !search.again;
            if tuning.variants.len() > 1 && !known {
                wanted.entry(tuning.key.clone()).or_insert((tape, node, tuning, 0)).3 += replays;
            }
        }
    }
    // A variant is a few kernels: too little to report compiling them one by one.
    let listener = gpu.listen(None);
    let findings = search_all(gpu, wanted, search);
    gpu.listen(listener);
    findings
}

/// Each key with its op, and how often the run executes it.
type WantedKeys<'a> = BTreeMap<String, (&'a Tape, &'a Node, Tuning, u64)>;

fn search_all(gpu: &mut Gpu, wanted: WantedKeys<'_>, search: &mut Search<'_>) -> Result<Vec<Finding>> {
    let keys = wanted.len();
    let all: usize = wanted.values().map(|(_, _, tuning, _)| tuning.variants.len()).sum();
    let mut done = 0;
    let mut findings = Vec::new();
    for (key, (tape, node, tuning, uses)) in wanted.into_values().enumerate() {
        let uses = (!search.thorough).then_some(uses);
        let mut progress = |variant: usize| {
            (search.progress)(Searched { key, keys, share: (done + variant) as f64 / all as f64 });
        };
        let op = Isolated::new(gpu, tape, node)?;
        if let Some(finding) = search_key(&op, gpu, &tuning, uses, search.attempts, &mut progress)? {
            let mut choices = gpu.traits().choices.clone();
            choices.set(finding.key.clone(), finding.variant.clone());
            gpu.set_choices(choices);
            (search.keep)(gpu);
            findings.push(finding);
        }
        done += tuning.variants.len();
    }
    Ok(findings)
}

/// Searches one key for a run that executes the op `uses` times; thoroughly if `uses` is `None`. Returns `None` if the search
/// would take longer than the run could gain by it. `progress` is called with each variant before it is timed.
fn search_key(
    op: &Isolated,
    gpu: &mut Gpu,
    tuning: &Tuning,
    uses: Option<u64>,
    attempts: &mut Attempts,
    progress: &mut dyn FnMut(usize),
) -> Result<Option<Finding>> {
    progress(0);
    let mut variants = tuning.variants.clone();
    variants.retain(|variant| !attempts.skips(&tuning.key, variant));
    let Some((first, others)) = variants.split_first() else { return Ok(None) };
    let default = op.try_variant(gpu, tuning, first, attempts)??;
    let mut seconds = f64::INFINITY;
    // The least of three: in a single measurement the process may just have been waiting.
    for _ in 0..3 {
        seconds = seconds.min(op.seconds(gpu, [&default])?[0]);
    }
    let mut finding = Finding {
        key: tuning.key.clone(),
        variant: first.clone(),
        default_seconds: seconds,
        seconds,
        wrong: Vec::new(),
    };
    if uses.is_some_and(|uses| !pays(seconds * uses as f64, default.prepared * others.len() as f64)) {
        // If the default is skipped, the variant that replaces it must be recorded.
        return Ok((*first != tuning.variants[0]).then_some(finding));
    }
    let wanted = op.reference();
    if !op.agrees(&wanted, &default) {
        finding.wrong.push(first.clone());
    }
    let mut best = 1.0;
    for (i, variant) in others.iter().enumerate() {
        progress(i + 1);
        // A variant that does not compile here is left out.
        let Ok(candidate) = op.try_variant(gpu, tuning, variant, attempts)? else { continue };
        if !op.agrees(&wanted, &candidate) {
            finding.wrong.push(variant.clone());
            continue;
        }
        // If the chosen variant is wrong, any other is better.
        let needed = finding.wrong.contains(&finding.variant);
        let exact = uses.is_some() && !needed;
        if exact && !candidate.equals(&default) {
            continue;
        }
        let ratio = ratio(op, gpu, &candidate, &default, best)?;
        if (ratio < best * MARGIN || needed) && (!exact || op.alike(gpu, [&candidate, &default])?) {
            best = ratio;
            finding.variant.clone_from(variant);
            finding.seconds = seconds * ratio;
        }
    }
    Ok(Some(finding))
}

/// The median of a variant's time relative to the default's, measured in turns; after one turn if it is far from `best`.
fn ratio(op: &Isolated, gpu: &Gpu, variant: &Candidate, default: &Candidate, best: f64) -> Result<f64> {
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let [variant, default] = op.seconds(gpu, [variant, default])?;
        ratios.push(variant / default);
        if ratios[0] > 1.3 * best {
            break;
        }
    }
    ratios.sort_by(f64::total_cmp);
    Ok(ratios[ratios.len() / 2])
}

/// Whether a search that takes `cost` seconds pays in a run that spends `spent` seconds in the op.
fn pays(spent: f64, cost: f64) -> bool {
    SAVING * spent >= cost
}

/// One variant of an op, timed.
#[derive(Clone, Debug)]
pub struct TimedVariant {
    pub variant: String,
    /// Whether its result agrees with the f64 reference.
    pub agrees: bool,
    /// Seconds of each execution, including copies into images.
    pub seconds: Vec<f64>,
}

/// Times every variant that a device has for the only node of a tape, in turns. Variants that do not compile or that
/// `attempts` skips are left out; those many times slower than the best are timed once. Once compiling has taken longer than
/// `patience`, no further variant is compiled; the number of these is returned too.
///
/// # Errors
/// Those of running plans; the first variant's fault if none can run; [`crate::fault::Kind::Device`] if the device has
/// no timestamp queries.
pub fn time_variants(
    gpu: &mut Gpu,
    tape: &Tape,
    rounds: usize,
    patience: Duration,
    attempts: &mut Attempts,
) -> Result<(Vec<TimedVariant>, usize)> {
    let node = &tape.nodes()[0];
    let tuning = node.op.tuning(&shapes(tape, node), gpu.traits()).expect("an op of several variants");
    let op = Isolated::new(gpu, tape, node)?;
    let wanted = op.reference();
    let mut variants = Vec::new();
    let (mut refused, mut untried) = (None, 0);
    let began = Instant::now();
    for variant in &tuning.variants {
        if attempts.skips(&tuning.key, variant) {
            continue;
        }
        if began.elapsed() > patience {
            untried += 1;
            continue;
        }
        match op.try_variant(gpu, &tuning, variant, attempts)? {
            Ok(candidate) => {
                let agrees = op.agrees(&wanted, &candidate);
                let timed = TimedVariant { variant: variant.clone(), agrees, seconds: Vec::new() };
                variants.push((candidate.plan, timed));
            }
            Err(fault) => refused = refused.or(Some(fault)),
        }
    }
    if let (true, Some(fault)) = (variants.is_empty(), refused) {
        return Err(fault);
    }
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        for (plan, timed) in &mut variants {
            // A variant far from the best stays so in every turn.
            if timed.seconds.first().is_some_and(|&first| first > FAR * best) {
                continue;
            }
            let profiled = || Ok(plan.profile(gpu)?.iter().map(|time| time.seconds).sum());
            // A turn without a believable time does not count.
            let Some(seconds) = believable(profiled)? else { continue };
            best = best.min(seconds);
            timed.seconds.push(seconds);
        }
    }
    let variants = variants.into_iter().map(|(_, timed)| timed).filter(|timed| !timed.seconds.is_empty());
    Ok((variants.collect(), untried))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_search_pays_if_a_tenth_of_the_time_exceeds_its_cost() {
        assert!(super::pays(10.0, 0.9) && !super::pays(10.0, 1.1));
    }
}
