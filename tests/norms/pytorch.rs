//! DyT and Derf compared with PyTorch modules: values and gradients, in f64 and on the CPU as a device.

use normfree::device::Device;
use normfree::host::Host;
use normfree::ops::bounded::{Learned, NormFunction};
use normfree::tape::{DType, TensorId};
use normfree::verify::{CaseBuilder, Fill, Target, on_device, on_reference};
use serde_json::Value;

/// Numbers written with fourteen digits; the reference computes in the same precision.
const REFERENCE: f64 = 1e-12;

/// A few roundings of terms, and sums of up to 36 of them.
const DEVICE: f64 = 2e-6;

fn numbers(of: &Value) -> Vec<f64> {
    of.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// Every number that PyTorch computed is the reference's, given the same f32 inputs, and the device's.
#[test]
fn dyt_and_derf_are_those_of_pytorch() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("pytorch.json")).unwrap();
    assert_eq!(cases.len(), 6);
    let cpu = Device::from(Host::open(2).unwrap());
    for case in &cases {
        let [rows, width] = [0, 1].map(|i| case["shape"][i].as_u64().unwrap() as usize);
        let derf = case["norm"] == "derf";
        let mut built = CaseBuilder::new("bounded", format!("{} {rows}x{width}", case["norm"]), 1);
        let x = built.input("x", &[rows, width], Fill::Normal(1.0));
        let mut parameter = |name: &str, width: usize| built.parameter(name, &[width], Fill::Normal(1.0));
        let [gamma, beta] = ["weight", "bias"].map(|name| parameter(name, width));
        let alpha = parameter("alpha", 1);
        let shift = derf.then(|| parameter("shift", 1));
        let function = if derf { NormFunction::ERF } else { NormFunction::TANH };
        let learned = Learned { gamma, beta, alpha: Some(alpha), shift };
        let y = built.tape.bounded(x, function, learned, DType::F32);
        let mut built = built.finish(&[y], &[], DEVICE);
        let Target::Seeds(seeds) = built.target.clone() else { panic!("seeds") };
        let tensors: Vec<(TensorId, &str)> = [(x, "x"), (gamma, "weight"), (beta, "bias"), (alpha, "alpha")]
            .into_iter()
            .chain(shift.map(|shift| (shift, "shift")))
            .collect();
        let gradients: Vec<(TensorId, String)> = tensors
            .iter()
            .map(|&(tensor, name)| {
                let (_, gradient) = built.leaves.iter().find(|(leaf, _)| *leaf == tensor).unwrap();
                (*gradient, if name == "x" { "dx".to_owned() } else { format!("d_{name}") })
            })
            .collect();
        for (tensor, values) in &mut built.values {
            let given = tensors.iter().find(|(of, _)| of == tensor).map(|(_, name)| *name);
            let given = given.or_else(|| (*tensor == seeds[0].1).then_some("dy"));
            match given {
                Some(name) => *values = numbers(&case[name]).iter().map(|&v| v as f32).collect(),
                // Gradients are added to.
                None => values.fill(0.0),
            }
        }
        let (reference, device) = (on_reference(&built), on_device(&cpu, &built).unwrap());
        for (tensor, name) in gradients.into_iter().chain([(y, "y".to_owned())]) {
            let want = numbers(&case[&name]);
            let scale = want.iter().fold(1.0_f64, |most, v| most.max(v.abs()));
            for (i, want) in want.iter().enumerate() {
                let (exact, rounded) = (reference[&tensor][i], f64::from(device[&tensor][i]));
                assert!(
                    (exact - want).abs() <= REFERENCE * scale,
                    "{} {name}[{i}]: {exact} {want}",
                    case["norm"]
                );
                assert!(
                    (rounded - want).abs() <= DEVICE * scale,
                    "{} {name}[{i}]: {rounded} {want}",
                    case["norm"]
                );
            }
        }
    }
}
