//! One op alone, and its variants: compiled, run, timed and compared with the f64 reference.

use crate::cache::attempts::Attempts;
use crate::fault::{Kind, Result};
use crate::gpu::Gpu;
use crate::ops::{Choices, Shapes, Tuning};
use crate::plan::{Plan, Store, padded_bytes};
use crate::reference::{Memory, values_of};
use crate::tape::shapes;
use crate::tape::{DType, Node, Tape, TensorId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::{Range, RangeInclusive};
use std::time::Instant;

/// The largest error a variant may make, relative to the largest element: sums of 100,000 terms of f32 round by less, and
/// a wrong result is off by its whole size.
const BOUND: f64 = 2e-4;
/// The same if any tensor is f16: its numbers alone are rounded by up to 5e-4.
const HALF_BOUND: f64 = 2e-3;
/// Up to this many operations, the whole reference is computed; for larger ops, only some elements.
const WHOLE: u64 = 200_000_000;
const ELEMENTS: usize = 400;

/// Two kernels have the same bits if they agree on this many elements, over some draws of operands. Sums of f32 in another
/// order differ in about every second element, but f16 hides all but one difference in some thousand.
const ALIKE_ELEMENTS: usize = 1 << 17;
/// The least and the most draws. A kernel may have a single number as its result, and other kernels find the same now and then.
const ALIKE_DRAWS: RangeInclusive<u64> = 4..=64;

/// One op on a tape of its own, with operands.
pub(super) struct Isolated {
    tape: Tape,
    store: Store,
    outputs: Vec<TensorId>,
    inputs: Vec<Operand>,
}

struct Operand {
    tensor: TensorId,
    values: Vec<f32>,
    /// Whether the values are random, and not the model's own.
    drawn: bool,
}

/// One variant, ready to run.
pub(super) struct Candidate {
    pub plan: Plan,
    /// The outputs of its first run.
    results: Vec<Vec<f32>>,
    /// Seconds from the source to the end of the first run.
    pub prepared: f64,
}

impl Candidate {
    /// Whether the first runs had the same results, bit by bit.
    pub fn equals(&self, other: &Self) -> bool {
        bits(&self.results).eq(bits(&other.results))
    }
}

impl Isolated {
    pub fn new(gpu: &Gpu, from: &Tape, node: &Node) -> Result<Self> {
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
        // The model's own constants mean something, such as where in the vocabulary a piece begins.
        let own = |tensor: TensorId| from.info(tensor).constant.as_deref().map(<[f32]>::to_vec);
        let inputs: Vec<_> = (node.inputs.iter().zip(inputs))
            .map(|(&source, tensor)| {
                let own = own(source);
                let drawn = own.is_none();
                // Both signs, one more often than the other. Otherwise a sum of many products is close to zero, and rounding
                // errors dominate it.
                let values = own.unwrap_or_else(|| draw(&tape, tensor, -0.8..1.2, &mut random));
                Operand { tensor, values, drawn }
            })
            .collect();
        let op = Self { tape, store, outputs, inputs };
        op.write_operands(gpu);
        Ok(op)
    }

    fn write_operands(&self, gpu: &Gpu) {
        for Operand { tensor, values, .. } in &self.inputs {
            let info = self.tape.info(*tensor);
            self.store.write_values(gpu, &info.name, info.dtype, values);
        }
    }

    /// Whether two variants have the same results, bit by bit, on several draws of operands. The draws have both signs equally
    /// often: then some sums nearly cancel, and even in f16 their rounding errors can be seen.
    pub fn alike(&self, gpu: &Gpu, variants: [&Candidate; 2]) -> Result<bool> {
        let mut compared = 0;
        let mut alike = true;
        for seed in 1..=*ALIKE_DRAWS.end() {
            if !alike || (compared >= ALIKE_ELEMENTS && seed > *ALIKE_DRAWS.start()) {
                break;
            }
            let mut random = ChaCha8Rng::seed_from_u64(100 + seed);
            for operand in self.inputs.iter().filter(|operand| operand.drawn) {
                let info = self.tape.info(operand.tensor);
                let values = draw(&self.tape, operand.tensor, -1.0..1.0, &mut random);
                self.store.write_values(gpu, &info.name, info.dtype, &values);
            }
            let [one, other] = variants.map(|variant| self.results(gpu, &variant.plan));
            let (one, other) = (one?, other?);
            compared += one.iter().map(Vec::len).sum::<usize>();
            alike = bits(&one).eq(bits(&other));
        }
        self.write_operands(gpu);
        Ok(alike)
    }

    /// Compiles and runs a variant. The attempt is noted: if it ends the process or fails the device, later starts skip it.
    /// The outer fault is the device's own, the inner one that of a variant that cannot be used.
    pub fn try_variant(
        &self,
        gpu: &mut Gpu,
        tuning: &Tuning,
        variant: &str,
        attempts: &mut Attempts,
    ) -> Result<Result<Candidate>> {
        attempts.begin(&tuning.key, variant);
        let candidate = self.candidate(gpu, tuning, variant);
        match gpu.check() {
            Err(fault) if fault.kind == Kind::Device => {
                attempts.blame(&tuning.key, variant);
                Err(fault
                    .at(format!("`{}` computed with {variant}", tuning.key))
                    .remedy("it is skipped from now on: start again, or choose another device with --device"))
            }
            checked => {
                attempts.end();
                checked.map(|()| candidate)
            }
        }
    }

    /// Compiles a variant and runs it once, over poisoned outputs.
    fn candidate(&self, gpu: &mut Gpu, tuning: &Tuning, variant: &str) -> Result<Candidate> {
        let before = gpu.traits().choices.clone();
        let mut choices = Choices::default();
        choices.set(tuning.key.clone(), variant.to_owned());
        gpu.set_choices(choices);
        let start = Instant::now();
        let plan = Plan::build(gpu, &self.tape, &self.store);
        gpu.set_choices(before);
        let plan = plan?;
        let results = self.results(gpu, &plan)?;
        let prepared = start.elapsed().as_secs_f64();
        Ok(Candidate { plan, results, prepared })
    }

    /// The outputs of one run over poisoned tensors.
    fn results(&self, gpu: &Gpu, plan: &Plan) -> Result<Vec<Vec<f32>>> {
        plan.poison(gpu, u32::MAX);
        let op = &self.tape.nodes()[0].op;
        for (i, &output) in self.outputs.iter().enumerate() {
            let start = if op.accumulates(i) { 0 } else { u32::MAX };
            let info = self.tape.info(output);
            let words = padded_bytes(info.shape.elements(), info.dtype) as usize / 4;
            self.store.write(gpu, &info.name, &vec![start; words]);
        }
        plan.run(gpu)?;
        self.outputs.iter().map(|&output| plan.read(gpu, &self.tape, &self.store, output)).collect()
    }

    /// Seconds of one execution of each candidate, all by the same clock. The device's clock leaves out copies into images:
    /// they are shared with other ops and the same in all variants. The host's clock is used if the device has none, or
    /// reports impossible times.
    pub fn seconds<const N: usize>(&self, gpu: &Gpu, candidates: [&Candidate; N]) -> Result<[f64; N]> {
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

    /// The correct outputs: all elements of all outputs, or some elements of the only one.
    pub fn reference(&self) -> Vec<Wanted> {
        let node = &self.tape.nodes()[0];
        let shapes: Shapes<'_> = shapes(&self.tape, node);
        let inputs: Vec<Vec<f64>> = (self.inputs.iter())
            .map(|operand| values_of(self.tape.info(operand.tensor).dtype, &operand.values))
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
        for (operand, values) in self.inputs.iter().zip(&inputs) {
            memory.set(&self.tape, operand.tensor, values);
        }
        memory.run(&self.tape);
        let whole = |&output| memory.get(&self.tape, output).iter().copied().enumerate().collect();
        self.outputs.iter().map(whole).collect()
    }

    /// Whether every output agrees with the reference.
    pub fn agrees(&self, wanted: &[Wanted], candidate: &Candidate) -> bool {
        let half = self.tape.tensors().iter().any(|info| info.dtype == DType::F16);
        let bound = if half { HALF_BOUND } else { BOUND };
        wanted.iter().zip(&candidate.results).all(|(wanted, got)| agrees(wanted, got, bound))
    }
}

/// Random values for a tensor. An index is 0, which every table has.
fn draw(tape: &Tape, tensor: TensorId, range: Range<f32>, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut number = || random.random_range(range.clone());
    let elements = 0..tape.shape(tensor).elements();
    match tape.info(tensor).dtype {
        DType::U32 => elements.map(|_| 0.0).collect(),
        DType::F32 => elements.map(|_| number()).collect(),
        DType::F16 => elements.map(|_| half::f16::from_f32(number()).to_f32()).collect(),
    }
}

/// NaN equals itself, and zeros of different signs differ.
fn bits(results: &[Vec<f32>]) -> impl Iterator<Item = u32> + '_ {
    results.iter().flatten().map(|value| value.to_bits())
}

/// A measured time; `None` if the clock says three times in a row that no time passed, or less. A clock that wraps says so
/// once, one that stands still always does.
pub(super) fn believable(mut measure: impl FnMut() -> Result<f64>) -> Result<Option<f64>> {
    for _ in 0..3 {
        let seconds = measure()?;
        if seconds.is_finite() && seconds > 0.0 {
            return Ok(Some(seconds));
        }
    }
    Ok(None)
}

/// The correct values of elements of an output, each with its place.
pub(super) type Wanted = Vec<(usize, f64)>;

/// Whether results are within `bound` of the wanted ones, relative to the largest. An element that was not written is not
/// finite, and so counts as wrong.
fn agrees(wanted: &[(usize, f64)], got: &[f32], bound: f64) -> bool {
    let largest = wanted.iter().map(|(_, value)| value.abs()).fold(f64::MIN_POSITIVE, f64::max);
    let near = |&(at, value): &(usize, f64)| (f64::from(got[at]) - value).abs() <= bound * largest;
    got.iter().all(|value| value.is_finite()) && wanted.iter().all(near)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_clock_that_wraps_is_read_again_and_one_that_stands_still_is_not_believed() {
        let believed = |said: &[f64]| {
            let mut said = said.iter().copied();
            super::believable(|| Ok(said.next().expect("read three times at most"))).unwrap()
        };
        assert_eq!(believed(&[2e-3]), Some(2e-3));
        assert_eq!(believed(&[f64::NAN, 2e-3]), Some(2e-3));
        assert_eq!(believed(&[0.0, f64::INFINITY, 2e-3]), Some(2e-3));
        assert_eq!(believed(&[0.0, -1.0, f64::NAN]), None);
    }

    #[test]
    fn a_wrong_or_missing_element_does_not_agree() {
        let wanted = [(0, 1.0), (2, -100.0)];
        let agrees = |got: &[f32]| super::agrees(&wanted, got, super::BOUND);
        assert!(agrees(&[1.01, 5.0, -100.01]));
        assert!(!agrees(&[1.03, 5.0, -100.0]));
        assert!(!agrees(&[1.0, f32::NAN, -100.0]));
        assert!(!agrees(&[1.0, 5.0, 100.0]));
    }
}
