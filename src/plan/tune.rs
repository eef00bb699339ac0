//! Which of the ways to compute an op is the fastest on this device: measured, and checked before it may win.

use super::{Plan, Store, padded_bytes};
use crate::cache::attempts::Attempts;
use crate::fault::{Kind, Result};
use crate::gpu::Gpu;
use crate::ops::{Choices, Shapes, Tuning};
use crate::reference::{Memory, values_of};
use crate::tape::shapes;
use crate::tape::{DType, Node, Tape, TensorId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What was found about one op at one shape.
#[derive(Clone, Debug)]
pub struct Finding {
    pub key: String,
    /// The way that is taken from now on.
    pub way: String,
    /// Seconds of one execution in the way taken unasked, and in this one.
    pub unasked: f64,
    pub seconds: f64,
    /// Ways whose results were wrong: a fault of the driver.
    pub wrong: Vec<String>,
}

/// What a search may take, and whom it tells.
pub struct Search<'a> {
    /// Search again where a choice is known.
    pub again: bool,
    /// Search all keys, not only those that pay within the run, and let ways win that round otherwise. Without it no
    /// search changes a bit of any result: whether one pays depends on the clock, and a run must not.
    pub thorough: bool,
    /// Told before each way that is timed.
    pub progress: &'a mut dyn FnMut(Searched),
    /// Given all choices after each key for which a way was found: what is found is not lost where the process ends.
    pub keep: &'a mut dyn FnMut(&Gpu),
    /// Notes each way before it is first compiled and run, and knows which ones an earlier start did not live through.
    pub attempts: &'a mut Attempts,
}

/// How far a search is.
#[derive(Clone, Copy, Debug)]
pub struct Searched {
    /// The key that is looked at, from 0, and how many there are.
    pub key: usize,
    pub keys: usize,
    /// Which share of all ways is behind.
    pub share: f64,
}

/// A tape, and how often it is replayed in the run to come.
pub type Replayed<'a> = (&'a Tape, u64);

/// A search pays where so much of the time the run spends in an op is more than the search takes: what a better way
/// typically saves.
const SAVING: f64 = 0.1;
/// A way must be faster by so much: less is noise.
const MARGIN: f64 = 0.97;
/// Turns in which a way is timed against the one taken unasked.
const ROUNDS: usize = 5;
/// A way that takes so many times as long as the best is timed once where all ways are.
const FAR: f64 = 4.0;
/// The largest error a way may make, relative to the largest element: sums of 100,000 terms of f32 round by less, and
/// what is wrong is off by its whole size.
const BOUND: f64 = 2e-4;
/// The same where something is f16, whose numbers are rounded by up to 5e-4 themselves.
const HALF_BOUND: f64 = 2e-3;
/// Operations up to which the whole reference is computed; of larger ops, elements are.
const WHOLE: u64 = 200_000_000;
const ELEMENTS: usize = 400;

/// Finds the fastest way of every op on the tapes that has several, and makes the device take it.
///
/// # Errors
/// Those of building and running plans; a way that does not compile or computes something else is left out.
pub fn tune(gpu: &mut Gpu, tapes: &[Replayed<'_>], search: &mut Search<'_>) -> Result<Vec<Finding>> {
    let mut wanted = WantedKeys::new();
    for &(tape, replays) in tapes {
        // What only looks runs too seldom to be worth a search.
        for node in tape.acting() {
            let Some(tuning) = node.op.tuning(&shapes(tape, node), gpu.traits()) else { continue };
            let known = gpu.traits().choices.get(&tuning.key).is_some() && !search.again;
            if tuning.ways.len() > 1 && !known {
                wanted.entry(tuning.key.clone()).or_insert((tape, node, tuning, 0)).3 += replays;
            }
        }
    }
    // A way is a few kernels, which are not worth a word of their own.
    let listener = gpu.listen(None);
    let findings = search_all(gpu, wanted, search);
    gpu.listen(listener);
    findings
}

/// Keys with what they stand for, and how often the run uses it.
type WantedKeys<'a> = BTreeMap<String, (&'a Tape, &'a Node, Tuning, u64)>;

fn search_all(gpu: &mut Gpu, wanted: WantedKeys<'_>, search: &mut Search<'_>) -> Result<Vec<Finding>> {
    let keys = wanted.len();
    let all: usize = wanted.values().map(|(_, _, tuning, _)| tuning.ways.len()).sum();
    let mut behind = 0;
    let mut findings = Vec::new();
    for (key, (tape, node, tuning, uses)) in wanted.into_values().enumerate() {
        let uses = (!search.thorough).then_some(uses);
        let mut progress = |way: usize| {
            (search.progress)(Searched { key, keys, share: (behind + way) as f64 / all as f64 });
        };
        let bench = Bench::new(gpu, tape, node)?;
        if let Some(finding) = bench.search(gpu, &tuning, uses, search.attempts, &mut progress)? {
            let mut choices = gpu.traits().choices.clone();
            choices.set(finding.key.clone(), finding.way.clone());
            gpu.set_choices(choices);
            (search.keep)(gpu);
            findings.push(finding);
        }
        behind += tuning.ways.len();
    }
    Ok(findings)
}

/// One way of an op, timed.
#[derive(Clone, Debug)]
pub struct TimedWay {
    pub way: String,
    /// Whether its result agrees with the f64 reference.
    pub agrees: bool,
    /// Seconds of each execution, copies into images included.
    pub seconds: Vec<f64>,
}

/// Times every way a device has for the only node of a tape, in turns; those that do not compile are left out, as are those
/// that `attempts` pass over, and those many times slower than the best are timed once. No further way is compiled where those
/// before took longer than `patience`; also returns how many were left out for that.
///
/// # Errors
/// Those of running plans; the first way's fault where none can run; [`crate::fault::Kind::Device`] where the device has
/// no timestamp queries.
pub fn time_ways(
    gpu: &mut Gpu,
    tape: &Tape,
    rounds: usize,
    patience: Duration,
    attempts: &mut Attempts,
) -> Result<(Vec<TimedWay>, usize)> {
    let node = &tape.nodes()[0];
    let tuning = node.op.tuning(&shapes(tape, node), gpu.traits()).expect("an op of several ways");
    let bench = Bench::new(gpu, tape, node)?;
    let wanted = bench.reference();
    let mut ways = Vec::new();
    let (mut refused, mut untried) = (None, 0);
    let began = Instant::now();
    for way in &tuning.ways {
        if attempts.passes_over(&tuning.key, way) {
            continue;
        }
        if began.elapsed() > patience {
            untried += 1;
            continue;
        }
        match bench.tried(gpu, &tuning, way, attempts)? {
            Ok(candidate) => {
                let agrees = bench.agrees(&wanted, &candidate);
                ways.push((candidate.plan, TimedWay { way: way.clone(), agrees, seconds: Vec::new() }));
            }
            Err(fault) => refused = refused.or(Some(fault)),
        }
    }
    if let (true, Some(fault)) = (ways.is_empty(), refused) {
        return Err(fault);
    }
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        for (plan, timed) in &mut ways {
            // What is far from the best is so in every turn.
            if timed.seconds.first().is_some_and(|&first| first > FAR * best) {
                continue;
            }
            let profiled = || Ok(plan.profile(gpu)?.iter().map(|time| time.seconds).sum());
            // A turn without a time is none.
            let Some(seconds) = believable(profiled)? else { continue };
            best = best.min(seconds);
            timed.seconds.push(seconds);
        }
    }
    let ways = ways.into_iter().map(|(_, timed)| timed).filter(|timed| !timed.seconds.is_empty());
    Ok((ways.collect(), untried))
}

/// One op alone, with operands.
struct Bench {
    tape: Tape,
    store: Store,
    outputs: Vec<TensorId>,
    inputs: Vec<(TensorId, Vec<f32>)>,
}

/// One way, ready to run.
struct Candidate {
    plan: Plan,
    /// Its outputs.
    results: Vec<Vec<f32>>,
    /// Seconds from the text to the end of the first run.
    prepared: f64,
}

impl Bench {
    fn new(gpu: &Gpu, from: &Tape, node: &Node) -> Result<Self> {
        let mut tape = Tape::new();
        let dims = |tensor: &TensorId| from.shape(*tensor).dims().to_vec();
        let dtype = |tensor: &TensorId| from.info(*tensor).dtype;
        let name = |kind: &str, i: usize| format!("{kind} {i}");
        let inputs: Vec<TensorId> = (node.inputs.iter().enumerate())
            .map(|(i, tensor)| tape.input(&name("input", i), &dims(tensor), dtype(tensor)))
            .collect();
        let outputs: Vec<TensorId> = (node.outputs.iter().enumerate())
            .map(|(i, tensor)| tape.observation_of(&name("output", i), &dims(tensor), dtype(tensor)))
            .collect();
        tape.record_shared(node.op.clone(), &inputs, &outputs);
        let mut store = Store::new();
        for &tensor in inputs.iter().chain(&outputs) {
            let info = tape.info(tensor);
            store.allocate(gpu, &info.name, info.shape.elements(), info.dtype)?;
        }
        let mut random = ChaCha8Rng::seed_from_u64(1);
        // Of both signs, and more of one: the sum of many products is not next to nothing, against which roundings would count.
        const DRAWN: std::ops::Range<f32> = -0.8..1.2;
        let mut draw = |tensor: TensorId| -> Vec<f32> {
            let elements = tape.shape(tensor).elements();
            match tape.info(tensor).dtype {
                // An index that any table has.
                DType::U32 => vec![0.0; elements],
                DType::F32 => (0..elements).map(|_| random.random_range(DRAWN)).collect(),
                DType::F16 => {
                    let draw = |_| half::f16::from_f32(random.random_range(DRAWN)).to_f32();
                    (0..elements).map(draw).collect()
                }
            }
        };
        // Values that are the model's own mean something: where in the vocabulary a piece begins, say.
        let own = |tensor: TensorId| from.info(tensor).constant.as_deref().map(<[f32]>::to_vec);
        let inputs: Vec<_> = (node.inputs.iter().zip(inputs))
            .map(|(&source, tensor)| (tensor, own(source).unwrap_or_else(|| draw(tensor))))
            .collect();
        for (tensor, values) in &inputs {
            let info = tape.info(*tensor);
            store.write_values(gpu, &info.name, info.dtype, values);
        }
        Ok(Self { tape, store, outputs, inputs })
    }

    /// Searches for a run that uses the op so often; thoroughly where that is not said. `None` where it would take longer
    /// than the run could win by it. `progress` hears of each way before it is timed.
    fn search(
        &self,
        gpu: &mut Gpu,
        tuning: &Tuning,
        uses: Option<u64>,
        attempts: &mut Attempts,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Option<Finding>> {
        progress(0);
        let mut ways = tuning.ways.clone();
        ways.retain(|way| !attempts.passes_over(&tuning.key, way));
        let Some((first, others)) = ways.split_first() else { return Ok(None) };
        let unasked = self.tried(gpu, tuning, first, attempts)??;
        let mut seconds = f64::INFINITY;
        // The least: once this process may just have been left waiting.
        for _ in 0..3 {
            seconds = seconds.min(self.seconds(gpu, [&unasked])?[0]);
        }
        let mut finding = Finding {
            key: tuning.key.clone(),
            way: first.clone(),
            unasked: seconds,
            seconds,
            wrong: Vec::new(),
        };
        if uses.is_some_and(|uses| !pays(seconds * uses as f64, unasked.prepared * others.len() as f64)) {
            // What would be taken unasked is passed over: then what is taken must be said.
            return Ok((*first != tuning.ways[0]).then_some(finding));
        }
        let wanted = self.reference();
        if !self.agrees(&wanted, &unasked) {
            finding.wrong.push(first.clone());
        }
        let mut best = 1.0;
        for (i, way) in others.iter().enumerate() {
            progress(i + 1);
            // What does not compile here is no way to take.
            let Ok(candidate) = self.tried(gpu, tuning, way, attempts)? else { continue };
            if !self.agrees(&wanted, &candidate) {
                finding.wrong.push(way.clone());
                continue;
            }
            // Where the first is wrong any other is better.
            let needed = finding.wrong.contains(&finding.way);
            if uses.is_some() && !needed && bits(&candidate.results) != bits(&unasked.results) {
                continue;
            }
            let ratio = self.ratio(gpu, &candidate, &unasked, best)?;
            if ratio < best * MARGIN || needed {
                best = ratio;
                finding.way.clone_from(way);
                finding.seconds = seconds * ratio;
            }
        }
        Ok(Some(finding))
    }

    /// Whether every output is what it must be.
    fn agrees(&self, wanted: &[Wanted], candidate: &Candidate) -> bool {
        let half = self.tape.tensors().iter().any(|info| info.dtype == DType::F16);
        let bound = if half { HALF_BOUND } else { BOUND };
        wanted.iter().zip(&candidate.results).all(|(wanted, got)| agrees(wanted, got, bound))
    }

    /// The median of a way's time over the unasked one's, in turns; after one turn where it is far from `best`.
    fn ratio(&self, gpu: &Gpu, way: &Candidate, unasked: &Candidate, best: f64) -> Result<f64> {
        let mut ratios = Vec::new();
        for _ in 0..ROUNDS {
            let [way, unasked] = self.seconds(gpu, [way, unasked])?;
            ratios.push(way / unasked);
            if ratios[0] > 1.3 * best {
                break;
            }
        }
        ratios.sort_by(f64::total_cmp);
        Ok(ratios[ratios.len() / 2])
    }

    /// The same as [`Self::candidate`], noted: what ends the process, or fails the device, later starts pass over. The outer
    /// fault is the device's own, the inner one that of a way that cannot be taken.
    fn tried(
        &self,
        gpu: &mut Gpu,
        tuning: &Tuning,
        way: &str,
        attempts: &mut Attempts,
    ) -> Result<Result<Candidate>> {
        attempts.begin(&tuning.key, way);
        let candidate = self.candidate(gpu, tuning, way);
        match gpu.check() {
            Err(fault) if fault.kind == Kind::Device => {
                attempts.blame(&tuning.key, way);
                Err(fault.at(format!("`{}` computed with {way}", tuning.key)).remedy(
                    "it is passed over from now on: begin again, or choose another device with --device",
                ))
            }
            checked => {
                attempts.end();
                checked.map(|()| candidate)
            }
        }
    }

    /// Compiles a way and runs it once, over outputs that were poisoned.
    fn candidate(&self, gpu: &mut Gpu, tuning: &Tuning, way: &str) -> Result<Candidate> {
        let before = gpu.traits().choices.clone();
        let mut choices = Choices::default();
        choices.set(tuning.key.clone(), way.to_owned());
        gpu.set_choices(choices);
        let start = Instant::now();
        let plan = Plan::build(gpu, &self.tape, &self.store);
        gpu.set_choices(before);
        let plan = plan?;
        plan.poison(gpu, u32::MAX);
        let op = &self.tape.nodes()[0].op;
        for (i, &output) in self.outputs.iter().enumerate() {
            let start = if op.accumulates(i) { 0 } else { u32::MAX };
            let info = self.tape.info(output);
            let words = padded_bytes(info.shape.elements(), info.dtype) as usize / 4;
            self.store.write(gpu, &info.name, &vec![start; words]);
        }
        plan.run(gpu)?;
        let prepared = start.elapsed().as_secs_f64();
        let read = |&output| plan.read(gpu, &self.tape, &self.store, output);
        let results = self.outputs.iter().map(read).collect::<Result<_>>()?;
        Ok(Candidate { plan, results, prepared })
    }

    /// Seconds of one execution each, all by the same clock. By the device's own, copies into images are left out: they are
    /// shared with others, and the same in all ways. The host's is asked where the device has none, or says what cannot be.
    fn seconds<const N: usize>(&self, gpu: &Gpu, candidates: [&Candidate; N]) -> Result<[f64; N]> {
        let mut seconds = [0.0; N];
        if gpu.has_clock() {
            for (seconds, candidate) in seconds.iter_mut().zip(candidates) {
                *seconds = believable(|| {
                    let times = candidate.plan.profile(gpu)?;
                    Ok(times.iter().filter(|time| time.entry.is_some()).map(|time| time.seconds).sum())
                })?
                .unwrap_or_default();
            }
        }
        if !seconds.contains(&0.0) {
            return Ok(seconds);
        }
        for (seconds, candidate) in seconds.iter_mut().zip(candidates) {
            let start = Instant::now();
            candidate.plan.run(gpu)?;
            *seconds = start.elapsed().as_secs_f64();
        }
        Ok(seconds)
    }

    /// What the outputs must be: all of them, or some elements of the only one.
    fn reference(&self) -> Vec<Wanted> {
        let node = &self.tape.nodes()[0];
        let shapes: Shapes<'_> = shapes(&self.tape, node);
        let inputs: Vec<Vec<f64>> = (self.inputs.iter())
            .map(|(tensor, values)| values_of(self.tape.info(*tensor).dtype, values))
            .collect();
        let elements = shapes.output_elements(0);
        if node.op.flops(&shapes) > WHOLE && node.op.element(&shapes, &inputs, 0).is_some() {
            let mut random = ChaCha8Rng::seed_from_u64(2);
            let drawn = (0..ELEMENTS).map(|_| random.random_range(0..elements));
            let places = [0, elements - 1].into_iter().chain(drawn);
            return vec![
                places.filter_map(|at| Some((at, node.op.element(&shapes, &inputs, at)?))).collect(),
            ];
        }
        let mut memory = Memory::new(&self.tape);
        for ((tensor, _), values) in self.inputs.iter().zip(&inputs) {
            memory.set(&self.tape, *tensor, values);
        }
        memory.run(&self.tape);
        let whole = |&output| memory.get(&self.tape, output).iter().copied().enumerate().collect();
        self.outputs.iter().map(whole).collect()
    }
}

/// Whether a search that takes `cost` seconds pays in a run that spends `spent` in the op.
fn pays(spent: f64, cost: f64) -> bool {
    SAVING * spent >= cost
}

/// What a clock said; `None` where it says three times in a row that no time went by, or less. A clock that wraps says so
/// once, one that stands still always does.
fn believable(mut measure: impl FnMut() -> Result<f64>) -> Result<Option<f64>> {
    for _ in 0..3 {
        let seconds = measure()?;
        if seconds.is_finite() && seconds > 0.0 {
            return Ok(Some(seconds));
        }
    }
    Ok(None)
}

/// What elements of an output must be, by their places.
type Wanted = Vec<(usize, f64)>;

/// Values by their bits, in which NaN is equal to itself.
fn bits(results: &[Vec<f32>]) -> Vec<u32> {
    results.iter().flatten().map(|value| value.to_bits()).collect()
}

/// Whether results are those wanted, within `bound` of the largest; one that was not written is not finite, and wrong.
fn agrees(wanted: &[(usize, f64)], got: &[f32], bound: f64) -> bool {
    let largest = wanted.iter().map(|(_, value)| value.abs()).fold(f64::MIN_POSITIVE, f64::max);
    let near = |&(at, value): &(usize, f64)| (f64::from(got[at]) - value).abs() <= bound * largest;
    got.iter().all(|value| value.is_finite()) && wanted.iter().all(near)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_search_pays_where_a_tenth_is_more() {
        assert!(super::pays(10.0, 0.9) && !super::pays(10.0, 1.1));
    }

    #[test]
    fn a_clock_that_wraps_is_asked_again_and_one_that_stands_still_is_not_believed() {
        let believed = |said: &[f64]| {
            let mut said = said.iter().copied();
            super::believable(|| Ok(said.next().expect("asked three times at most"))).unwrap()
        };
        assert_eq!(believed(&[2e-3]), Some(2e-3));
        assert_eq!(believed(&[f64::NAN, 2e-3]), Some(2e-3));
        assert_eq!(believed(&[0.0, f64::INFINITY, 2e-3]), Some(2e-3));
        assert_eq!(believed(&[0.0, -1.0, f64::NAN]), None);
    }

    #[test]
    fn what_is_off_or_missing_does_not_agree() {
        let wanted = [(0, 1.0), (2, -100.0)];
        let agrees = |got: &[f32]| super::agrees(&wanted, got, super::BOUND);
        assert!(agrees(&[1.01, 5.0, -100.01]));
        assert!(!agrees(&[1.03, 5.0, -100.0]));
        assert!(!agrees(&[1.0, f32::NAN, -100.0]));
        assert!(!agrees(&[1.0, 5.0, 100.0]));
    }
}
