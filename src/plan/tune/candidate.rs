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
use std::time::Instant;

/// The largest error a variant may make, relative to the largest element: sums of 100,000 terms of f32 round by less, and
/// a wrong result is off by its whole size.
const BOUND: f64 = 2e-4;
/// The same if any tensor is f16: its numbers alone are rounded by up to 5e-4.
const HALF_BOUND: f64 = 2e-3;
/// Up to this many operations, the whole reference is computed; for larger ops, only some elements.
const WHOLE: u64 = 200_000_000;
const ELEMENTS: usize = 400;

/// One op on a tape of its own, with operands.
pub(super) struct Isolated {
    tape: Tape,
    store: Store,
    outputs: Vec<TensorId>,
    inputs: Vec<(TensorId, Vec<f32>)>,
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
    /// Whether both have the same results, bit by bit; NaN equals itself.
    pub fn equals(&self, other: &Self) -> bool {
        let bits = |results: &[Vec<f32>]| -> Vec<u32> {
            results.iter().flatten().map(|value| value.to_bits()).collect()
        };
        bits(&self.results) == bits(&other.results)
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
        // Both signs, one more often than the other. Otherwise a sum of many products is close to zero, and rounding errors
        // dominate it.
        const DRAWN: std::ops::Range<f32> = -0.8..1.2;
        let mut draw = |tensor: TensorId| -> Vec<f32> {
            let elements = tape.shape(tensor).elements();
            match tape.info(tensor).dtype {
                // An index that every table has.
                DType::U32 => vec![0.0; elements],
                DType::F32 => (0..elements).map(|_| random.random_range(DRAWN)).collect(),
                DType::F16 => {
                    let draw = |_| half::f16::from_f32(random.random_range(DRAWN)).to_f32();
                    (0..elements).map(draw).collect()
                }
            }
        };
        // The model's own constants mean something, such as where in the vocabulary a piece begins.
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

    /// Whether every output agrees with the reference.
    pub fn agrees(&self, wanted: &[Wanted], candidate: &Candidate) -> bool {
        let half = self.tape.tensors().iter().any(|info| info.dtype == DType::F16);
        let bound = if half { HALF_BOUND } else { BOUND };
        wanted.iter().zip(&candidate.results).all(|(wanted, got)| agrees(wanted, got, bound))
    }
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
