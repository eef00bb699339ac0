//! Runs a case on both readers of its tape and compares.

use super::Case;
use crate::fault::Result;
use crate::gpu::Gpu;
use crate::plan::{Plan, Store, padded_bytes};
use crate::reference::{Memory, values_of};
use crate::tape::{Role, TensorId};
use std::collections::HashMap;

/// How one case went.
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

/// Runs a case on a device and on the reference. All of the device's memory is poisoned with NaN before.
///
/// A tensor's magnitude is that of its largest element. A few elements can all come near zero by chance, as sums
/// of terms that cancel; the cases draw values around one, so a tensor of few elements counts as one at least.
pub fn check(gpu: &Gpu, case: &Case) -> Result<Outcome> {
    let wanted = on_reference(case);
    let got = on_device(gpu, case)?;
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
    Ok(outcome)
}

/// What the errors of a tensor are held against. Where all is zero, any other value is an error.
fn magnitude(values: &[f64]) -> f64 {
    /// Of so many values around one, the largest is nowhere near zero: P(all below 0.1) = 0.08¹² ≈ 1e-13.
    const ENOUGH: usize = 12;
    let largest = values.iter().filter(|v| v.is_finite()).fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let few = values.len() < ENOUGH && largest > f64::MIN_POSITIVE;
    if few { largest.max(1.0) } else { largest }
}

/// What the reference makes of everything a case compares.
pub fn on_reference(case: &Case) -> HashMap<TensorId, Vec<f64>> {
    let mut memory = Memory::new(&case.tape);
    for (tensor, values) in &case.values {
        memory.set(&case.tape, *tensor, &values_of(case.tape.info(*tensor).dtype, values));
    }
    memory.run(&case.tape);
    case.compared.iter().map(|&t| (t, memory.get(&case.tape, t).to_vec())).collect()
}

/// What a device makes of everything a case compares. All of its memory is poisoned with NaN before.
pub fn on_device(gpu: &Gpu, case: &Case) -> Result<HashMap<TensorId, Vec<f32>>> {
    let tape = &case.tape;
    let mut store = Store::new();
    for id in tape.ids() {
        let info = tape.info(id);
        let stored = !matches!(info.role, Role::Activation | Role::Gradient) && info.parent.is_none();
        if stored {
            let elements = info.shape.elements();
            store.allocate(gpu, &info.name, elements, info.dtype)?;
            let poison = vec![u32::MAX; padded_bytes(elements, info.dtype) as usize / 4];
            store.write(gpu, &info.name, &poison);
        }
    }
    for (tensor, values) in &case.values {
        for target in [Some(*tensor), tape.known_half(*tensor)].into_iter().flatten() {
            let info = tape.info(target);
            store.write_values(gpu, &info.name, info.dtype, values);
        }
    }
    for (tensor, values) in tape.constants() {
        store.write(gpu, &tape.info(tensor).name, values);
    }
    let plan = Plan::build(gpu, tape, &store)?;
    plan.poison(gpu);
    let mut got = HashMap::new();
    // Node by node, so that each result can be read before its memory is handed on.
    for (i, node) in tape.nodes().iter().enumerate() {
        plan.run_node(gpu, i)?;
        for &output in node.outputs.iter().filter(|o| case.compared.contains(o)) {
            got.insert(output, plan.read(gpu, tape, &store, output)?);
        }
    }
    for tensor in &case.compared {
        if !got.contains_key(tensor) {
            got.insert(*tensor, plan.read(gpu, tape, &store, *tensor)?);
        }
    }
    Ok(got)
}
