//! Checks that matrix units compute attention and its gradient as the f64 reference does.

use super::{Gpu, Operand, SEED, check_widths};
use crate::ops::attention::{UnitProbe, WIDTHS};
use crate::ops::{self, Dispatch};
use crate::reference::Memory;
use crate::tape::{DType, Tape, TensorId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;

/// The largest error of a tensor, relative to its largest element: three roundings to f16 of 2⁻¹¹ each, plus what units
/// cut off. A fragment from the wrong place is off by its whole size.
const BOUND: f64 = 4e-3;

impl Gpu {
    /// Checks that matrix units compute attention. A driver may refuse or get it wrong.
    pub(super) fn attends(&self, probe: &UnitProbe) -> Result<(), String> {
        let wanted = reference(probe);
        let mut seen: HashMap<TensorId, Vec<f32>> = HashMap::new();
        // What a gradient's first kernel leaves for the second.
        let mut scratch = None;
        for (node, dispatch, invocations) in &probe.dispatches {
            let node = &probe.tape.nodes()[*node];
            let Dispatch { kernel, bindings, groups } = dispatch;
            let mut written = Vec::new();
            let mut operands = Vec::new();
            for &(name, operand) in bindings {
                let operand = match operand {
                    ops::Operand::Input(i) => {
                        let tensor = node.inputs[i];
                        Operand::In(bytes_of(wanted.get(&probe.tape, tensor), probe.tape.info(tensor).dtype))
                    }
                    ops::Operand::Output(WIDTHS) => {
                        written.push(None);
                        Operand::Out(*invocations as u64 * 4)
                    }
                    ops::Operand::Output(i) => {
                        let tensor = node.outputs[i];
                        let info = probe.tape.info(tensor);
                        written.push(Some((tensor, info.dtype)));
                        Operand::Out((info.shape.elements() * info.dtype.bytes()) as u64)
                    }
                    // This is delta, which is as long as lse, `inputs[2]`.
                    _ => match scratch.take() {
                        Some(bytes) => Operand::In(bytes),
                        None => {
                            let elements = probe.tape.shape(node.inputs[2]).elements();
                            written.push(Some((node.inputs[2], DType::F32)));
                            Operand::Out(elements as u64 * 4)
                        }
                    },
                };
                operands.push((name, operand));
            }
            let read = self.run_once(kernel, *groups, &operands).map_err(|fault| fault.to_string())?;
            for (target, bytes) in written.into_iter().zip(read) {
                match target {
                    None => check_widths(&bytemuck::pod_collect_to_vec(&bytes), self.traits.lanes)?,
                    Some((tensor, _)) if node.inputs.contains(&tensor) => scratch = Some(bytes),
                    Some((tensor, dtype)) => merge(seen.entry(tensor).or_default(), numbers(&bytes, dtype)),
                }
            }
        }
        let mut tensors: Vec<_> = seen.into_iter().collect();
        tensors.sort_unstable_by_key(|&(tensor, _)| tensor);
        tensors
            .iter()
            .try_for_each(|(tensor, got)| check(&probe.tape, *tensor, wanted.get(&probe.tape, *tensor), got))
    }
}

/// Random inputs of both signs, and what f64 computes from them.
fn reference(probe: &UnitProbe) -> Memory {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut memory = Memory::new(&probe.tape);
    for tensor in probe.inputs {
        let draw = |_| half::f16::from_f32(random.random_range(-2.0..2.0)).to_f64();
        let values: Vec<f64> = (0..probe.tape.shape(tensor).elements()).map(draw).collect();
        memory.set(&probe.tape, tensor, &values);
    }
    memory.run(&probe.tape);
    memory
}

fn bytes_of(values: &[f64], dtype: DType) -> Vec<u8> {
    let bytes = |&value: &f64| match dtype {
        DType::F16 => half::f16::from_f64(value).to_le_bytes().to_vec(),
        _ => (value as f32).to_le_bytes().to_vec(),
    };
    values.iter().flat_map(bytes).collect()
}

fn numbers(bytes: &[u8], dtype: DType) -> Vec<f32> {
    match dtype {
        DType::F16 => {
            let halves: Vec<u16> = bytemuck::pod_collect_to_vec(bytes);
            halves.into_iter().map(|bits| half::f16::from_bits(bits).to_f32()).collect()
        }
        _ => bytemuck::pod_collect_to_vec(bytes),
    }
}

/// Merges what two kernels wrote of one tensor. Elements that neither wrote stay NaN.
fn merge(all: &mut Vec<f32>, some: Vec<f32>) {
    if all.is_empty() {
        *all = some;
        return;
    }
    for (one, other) in all.iter_mut().zip(some) {
        if one.is_nan() {
            *one = other;
        }
    }
}

/// Compares a tensor with the f64 reference.
fn check(tape: &Tape, tensor: TensorId, wanted: &[f64], got: &[f32]) -> Result<(), String> {
    let largest = wanted.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
    // Unwritten elements are NaN, which is near nothing.
    let near = |(&got, &wanted): (&f32, &f64)| (f64::from(got) - wanted).abs() <= BOUND * largest;
    match got.iter().zip(wanted).position(|pair| !near(pair)) {
        None => Ok(()),
        Some(i) => Err(format!(
            "element {i} of {} is {} instead of {:.4}",
            tape.info(tensor).name,
            got[i],
            wanted[i]
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{BOUND, bytes_of, check, merge, numbers, reference};
    use crate::ops::Traits;
    use crate::ops::attention::unit_probe;

    #[test]
    fn right_attention_is_accepted_and_wrong_or_missing_elements_are_not() {
        let device = Traits {
            lanes: 32,
            f16: true,
            workgroup_memory: 32 << 10,
            max_invocations: 1024,
            ..Traits::floor()
        };
        for side in [8, 16] {
            let probe = unit_probe(side, &device).unwrap();
            assert_eq!(probe.dispatches.len(), 3, "forward and two gradients");
            let wanted = reference(&probe);
            for node in probe.tape.nodes() {
                for &tensor in &node.outputs {
                    let (values, dtype) = (wanted.get(&probe.tape, tensor), probe.tape.info(tensor).dtype);
                    let right = numbers(&bytes_of(values, dtype), dtype);
                    assert_eq!(check(&probe.tape, tensor, values, &right), Ok(()));
                    let largest = values.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
                    for wrong in [f32::NAN, right[5] + (2.0 * BOUND * largest) as f32] {
                        let mut got = right.clone();
                        got[5] = wrong;
                        assert!(
                            check(&probe.tape, tensor, values, &got).unwrap_err().starts_with("element 5")
                        );
                    }
                    // Elements that the first kernel did not write come from the second.
                    let mut got = vec![f32::NAN; right.len()];
                    merge(&mut got, right.clone());
                    assert_eq!(got, right);
                }
            }
        }
    }
}
