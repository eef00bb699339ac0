//! The CPU as a device: every case of every op against the f64 reference, with the same bits on any number of threads.

use crate::support::seed;
use normfree::host::{Host, Plan, Store};
use normfree::plan::padded_bytes;
use normfree::tape::{DType, Role, TensorId};
use normfree::verify::{Case, all_cases, on_reference};
use std::collections::HashMap;

/// Every output of every node, over memory full of `poison`.
fn on_host(host: &Host, case: &Case, poison: u32) -> HashMap<TensorId, Vec<f32>> {
    let tape = &case.tape;
    let mut store = Store::default();
    for id in tape.ids() {
        let info = tape.info(id);
        if !matches!(info.role, Role::Intermediate | Role::Gradient) && info.parent.is_none() {
            let bytes = padded_bytes(info.shape.elements(), info.dtype);
            store.allocate(&info.name, bytes);
            store.write(&info.name, bytemuck::cast_slice(&vec![poison; bytes as usize / 4]));
        }
    }
    let [plan] = Plan::build_all(host, [tape], &store);
    for (tensor, values) in &case.values {
        store.write(&tape.info(*tensor).name, bytemuck::cast_slice(values));
    }
    for (tensor, values) in tape.constants() {
        store.write(&tape.info(tensor).name, bytemuck::cast_slice(values));
    }
    plan.poison(poison);
    let mut got = HashMap::new();
    for (i, node) in tape.nodes().iter().enumerate() {
        plan.run_node(host, i);
        got.extend(node.outputs.iter().map(|&output| (output, plan.read(tape, &store, output))));
    }
    for &tensor in &case.compared {
        got.entry(tensor).or_insert_with(|| plan.read(tape, &store, tensor));
    }
    got
}

#[test]
fn every_case_agrees_with_f64_on_any_number_of_threads() {
    let hosts = [1, 2, 5].map(|threads| Host::open(threads).unwrap());
    let mut failures = Vec::new();
    for case in all_cases(seed()) {
        if case.tape.tensors().iter().any(|info| info.dtype == DType::F16) {
            continue;
        }
        let wanted = on_reference(&case);
        let [got, others @ ..] = [(&hosts[0], u32::MAX), (&hosts[1], 0x4b1d_2f3c), (&hosts[2], u32::MAX)]
            .map(|(host, poison)| on_host(host, &case, poison));
        for other in &others {
            for (tensor, values) in &got {
                let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                if bits(values) != bits(&other[tensor]) {
                    failures.push(format!(
                        "{} {}: {} differs",
                        case.stem,
                        case.label,
                        case.tape.info(*tensor).name
                    ));
                }
            }
        }
        for &tensor in &case.compared {
            let scale =
                wanted[&tensor].iter().filter(|v| v.is_finite()).fold(1e-30_f64, |m, v| m.max(v.abs()));
            let scale = if wanted[&tensor].len() < 12 { scale.max(1.0) } else { scale };
            let worst = wanted[&tensor].iter().zip(&got[&tensor]).map(|(&want, &got)| {
                let got = f64::from(got);
                match (want.is_finite(), got.is_finite()) {
                    (true, true) => (want - got).abs() / scale,
                    (false, false) => 0.0,
                    _ => f64::INFINITY,
                }
            });
            let worst = worst.fold(0.0, f64::max);
            if worst > case.bound {
                failures.push(format!(
                    "{} {}: {} is off by {worst:.1e}, {:.1e} allowed",
                    case.stem,
                    case.label,
                    case.tape.info(tensor).name,
                    case.bound
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
