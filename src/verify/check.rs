//! Runs a case on the device and on the reference, and compares the results.

use super::Case;
use crate::device::{Device, Plan, Store};
use crate::fault::Result;
use crate::plan::padded_bytes;
use crate::reference::{Memory, values_of};
use crate::tape::{Role, Tape, TensorId};
use std::collections::HashMap;

/// The outcome of one case.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub stem: &'static str,
    pub label: String,
    /// The largest error of any compared tensor, relative to that tensor's magnitude (see [`check`]).
    pub worst: f64,
    pub bound: f64,
    /// Where the worst error is: tensor, index, both values.
    pub place: String,
}

impl Outcome {
    /// Whether the device stayed within the bound.
    pub fn passed(&self) -> bool {
        self.worst <= self.bound
    }
}

/// Fill patterns for all of a device's memory before a run: NaN of every element type, then numbers of every element
/// type, because a maximum, a comparison or a selection may drop a NaN without a trace.
const POISONS: [u32; 2] = [u32::MAX, 0x4b1d_2f3c];

/// Runs a case on the reference and twice on the device: over memory full of NaN, and over memory full of numbers. Both
/// device runs must be within the bound, and every output of every node must have the same bits in both; otherwise its
/// error is infinite.
///
/// A tensor's magnitude is that of its largest element. A few elements can all be near zero by chance, as sums of
/// cancelling terms. The cases draw values around one, so the magnitude of a tensor of few elements is at least one.
///
/// # Errors
/// Errors of compiling and running on the device.
pub fn check(device: &Device, case: &Case) -> Result<Outcome> {
    let wanted = on_reference(case);
    let prepared = Prepared::new(device, case)?;
    let [got, again] = [prepared.run(POISONS[0])?, prepared.run(POISONS[1])?];
    let mut outcome = Outcome {
        stem: case.stem,
        label: case.label.clone(),
        worst: 0.0,
        bound: case.bound,
        place: String::new(),
    };
    for tensor in &case.compared {
        let (want, got) = (&wanted[tensor], &got[tensor]);
        let scale = magnitude(want);
        for (i, (&w, &g)) in want.iter().zip(got).enumerate() {
            let g = f64::from(g);
            let error = match (w.is_finite(), g.is_finite()) {
                (true, true) => (w - g).abs() / scale,
                (false, false) => 0.0,
                _ => f64::INFINITY,
            };
            if error > outcome.worst {
                outcome.worst = error;
                let name = &case.tape.info(*tensor).name;
                outcome.place = format!("{name}[{i}]: device {g:e}, reference {w:e}");
            }
        }
    }
    if let Some(place) = difference(case, &got, &again) {
        (outcome.worst, outcome.place) = (f64::INFINITY, place);
    }
    Ok(outcome)
}

/// The first place where the bits of two runs differ.
fn difference(case: &Case, got: &Values, again: &Values) -> Option<String> {
    let mut tensors: Vec<&TensorId> = got.keys().collect();
    tensors.sort_unstable();
    tensors.into_iter().find_map(|tensor| {
        let bits = |values: &Values, i: usize| values[tensor][i].to_bits();
        let i = (0..got[tensor].len()).find(|&i| bits(got, i) != bits(again, i))?;
        let (one, other) = (got[tensor][i], again[tensor][i]);
        let name = &case.tape.info(*tensor).name;
        Some(format!(
            "{name}[{i}]: {one:e} ({:#010x}) where memory held NaN before, {other:e} ({:#010x}) where it held numbers",
            one.to_bits(),
            other.to_bits()
        ))
    })
}

/// The magnitude that a tensor's errors are relative to. If all values are zero, any other value is an error.
fn magnitude(values: &[f64]) -> f64 {
    /// Among this many values around one, the largest is nowhere near zero: P(all below 0.1) = 0.08¹² ≈ 1e-13.
    const ENOUGH: usize = 12;
    let largest = values.iter().filter(|v| v.is_finite()).fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let few = values.len() < ENOUGH && largest > f64::MIN_POSITIVE;
    if few { largest.max(1.0) } else { largest }
}

/// The reference's results for everything a case compares.
pub fn on_reference(case: &Case) -> HashMap<TensorId, Vec<f64>> {
    let mut memory = Memory::new(&case.tape);
    for (tensor, values) in &case.values {
        memory.set(&case.tape, *tensor, &values_of(case.tape.info(*tensor).dtype, values));
    }
    memory.run(&case.tape);
    case.compared.iter().map(|&t| (t, memory.get(&case.tape, t).to_vec())).collect()
}

/// Values by tensor.
type Values = HashMap<TensorId, Vec<f32>>;

/// The device's results for every output and everything a case compares, with all of its memory poisoned with NaN
/// first.
///
/// # Errors
/// Errors of compiling and running on the device.
pub fn on_device(device: &Device, case: &Case) -> Result<HashMap<TensorId, Vec<f32>>> {
    Prepared::new(device, case)?.run(POISONS[0])
}

/// A case with its memory on a device.
struct Prepared<'a> {
    device: &'a Device,
    case: &'a Case,
    store: Store,
    plan: Plan,
}

impl<'a> Prepared<'a> {
    fn new(device: &'a Device, case: &'a Case) -> Result<Self> {
        let tape = &case.tape;
        let mut store = Store::new(device);
        for id in stored(tape) {
            let info = tape.info(id);
            store.allocate(device, &info.name, info.shape.elements(), info.dtype)?;
        }
        let plan = Plan::build(device, tape, &store)?;
        Ok(Self { device, case, store, plan })
    }

    /// Runs every node once, over memory that holds `poison` except where the case sets values.
    fn run(&self, poison: u32) -> Result<Values> {
        let Self { device, case, store, plan } = self;
        let tape = &case.tape;
        for id in stored(tape) {
            let info = tape.info(id);
            let words = padded_bytes(info.shape.elements(), info.dtype) as usize / 4;
            store.write(device, &info.name, &vec![poison; words]);
        }
        for (tensor, values) in &case.values {
            for target in [Some(*tensor), tape.known_half(*tensor)].into_iter().flatten() {
                let info = tape.info(target);
                store.write_values(device, &info.name, info.dtype, values);
            }
        }
        for (tensor, values) in tape.constants() {
            store.write(device, &tape.info(tensor).name, values);
        }
        plan.poison(device, poison);
        let mut got = HashMap::new();
        // Node by node, so that each result can be read before its memory is reused.
        for (i, node) in tape.nodes().iter().enumerate() {
            plan.run_node(device, i)?;
            for &output in &node.outputs {
                got.insert(output, plan.read(device, tape, store, output)?);
            }
        }
        for tensor in &case.compared {
            if !got.contains_key(tensor) {
                got.insert(*tensor, plan.read(device, tape, store, *tensor)?);
            }
        }
        Ok(got)
    }
}

/// The tensors that have their own memory, outside the plan.
fn stored(tape: &Tape) -> impl Iterator<Item = TensorId> {
    tape.ids().filter(|&id| {
        let info = tape.info(id);
        !matches!(info.role, Role::Intermediate | Role::Gradient) && info.parent.is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::gpu::{Gpu, OpenOptions};
    use crate::ops::{Kernel, Op, Operand, Recipe, Shapes, Traits};
    use crate::tape::Io;
    use crate::verify::{CaseBuilder, Fill};

    /// y = x, by a kernel that is correct, skips an element, or reads what was in memory before.
    #[derive(Debug)]
    struct Planted(&'static str);

    impl Op for Planted {
        fn stem(&self) -> &'static str {
            "planted"
        }

        fn name(&self) -> &'static str {
            "planted"
        }

        fn reference(&self, io: &mut Io<'_>) {
            let (inputs, outputs) = io.split();
            outputs[0].copy_from_slice(inputs[0]);
        }

        fn recipe(&self, _: &Shapes<'_>, _: &Traits) -> Recipe {
            let text = format!(
                "@group(0) @binding(0) var<storage, read> x: array<f32>;
                @group(0) @binding(1) var<storage, read_write> y: array<f32>;
                @compute @workgroup_size(64)
                fn planted(@builtin(local_invocation_index) i: u32) {{ {} }}",
                self.0
            );
            let bindings = [("x", Operand::Input(0)), ("y", Operand::Output(0))];
            Recipe::one(Kernel::new(text, "planted", &[]), &bindings, [1, 1, 1])
        }
    }

    #[test]
    fn reading_uninitialized_memory_is_noticed() {
        let gpu = Gpu::open(&OpenOptions::default()).unwrap().into();
        let outcome = |body| {
            let mut case = CaseBuilder::new("planted", body, 1);
            let x = case.input("x", &[64], Fill::Normal(1.0));
            let y = case.tape.intermediate("y", &[64]);
            case.tape.record(Planted(body), &[x], &[y]);
            check(&gpu, &case.finish(&[], &[y], 0.0)).unwrap()
        };
        let right = outcome("y[i] = x[i];");
        assert!(right.passed() && right.worst == 0.0, "{right:?}");
        let forgets = outcome("if i != 63u { y[i] = x[i]; }");
        assert!(!forgets.passed() && forgets.place.contains("y[63]"), "{forgets:?}");
        // Where the element was NaN the result is right: only the second run reveals the fault.
        let body =
            "let number = bitcast<u32>(y[i]) == 0x4b1d2f3cu; y[i] = select(x[i], 0.0, i == 7u && number);";
        let looks = outcome(body);
        assert!(!looks.passed() && looks.place.contains("y[7]"), "{looks:?}");
    }
}
