//! Activations and gated feed-forward networks in whole models, what SELU promises, and modules of PyTorch.

use super::NO_NORM;
use crate::support::seed;
use crate::training::within_f32;
use normfree::ops::activation::Activation;
use normfree::ops::case::{CaseBuilder, Fill};
use normfree::reference::Memory;
use normfree::tape::{DType, Tape, TensorId};

#[test]
fn activations_agree_with_f64() {
    for activation in ["silu", "relu2", "leaky_relu2", "selu", "hard_swish", "crrelu", "poly_norm"] {
        within_f32(&[&format!("model.activation_function={activation}"), NO_NORM]);
    }
    for activation in ["helu", "prelu", "poly_relu"] {
        within_f32(&[&format!("model.activation_function={activation}"), "train.recompute=ffn"]);
    }
}

#[test]
fn gated_networks_agree_with_f64() {
    within_f32(&["model.ffn=gated", "model.activation_function=silu"]);
    within_f32(&["model.ffn=gated", "model.activation_function=gelu", NO_NORM, "model.bias=all"]);
    within_f32(&["model.ffn=gated", "model.activation_function=silu", "train.optimizer=muon"]);
    within_f32(&["model.ffn=gated", "model.activation_function=silu", "train.recompute=block"]);
}

/// Fifty layers of SELU with weights of N(0, 1/n), whose rows have a mean of zero and squares that sum to one but for chance.
#[test]
fn selu_keeps_mean_zero_and_variance_one_through_fifty_layers() {
    const WIDTH: usize = 256;
    const ROWS: usize = 64;
    let mut case = CaseBuilder::new("activation", "selu", seed());
    let mut moments = Vec::new();
    let x = case.input("x", &[ROWS, WIDTH], Fill::Normal(1.0));
    let mut values: Vec<f64> = case.values(x).iter().map(|&v| f64::from(v)).collect();
    for layer in 0..50 {
        let mut tape = Tape::new();
        let w = case.input(&format!("w {layer}"), &[WIDTH, WIDTH], Fill::Normal(1.0 / (WIDTH as f64).sqrt()));
        let weights: Vec<f64> = case.values(w).iter().map(|&v| f64::from(v)).collect();
        let x = tape.input("x", &[ROWS, WIDTH], DType::F32);
        let w = tape.input("w", &[WIDTH, WIDTH], DType::F32);
        let product = tape.linear(x, w, None);
        let y = tape.activation_function(product, Activation::find("selu").unwrap(), 0.0);
        let mut memory = Memory::new(&tape);
        memory.set(&tape, x, &values);
        memory.set(&tape, w, &weights);
        memory.run(&tape);
        values = memory.get(&tape, y).to_vec();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        moments.push((mean, variance));
    }
    println!("mean and variance by layer: {moments:.3?}");
    // The fixed point attracts; what remains is chance: 256 units that 64 inputs share, whose weights' sums and squares vary by
    // 1/√256 and √(2/256) each, in every layer anew.
    for (layer, (mean, variance)) in moments.iter().enumerate() {
        assert!(mean.abs() < 0.2, "layer {layer}: mean {mean}");
        assert!((0.6..1.6).contains(variance), "layer {layer}: variance {variance}");
    }
}

/// The committed results of modules of PyTorch in double precision: see `tests/around/modules.py`.
#[derive(serde::Deserialize)]
struct Module {
    kind: String,
    rows: usize,
    width: usize,
    inputs: Vec<Vec<f64>>,
    incoming: Vec<f64>,
    output: Vec<f64>,
    gradients: Vec<Vec<f64>>,
}

/// What the program records for such a module, from its inputs.
fn recorded(tape: &mut Tape, module: &Module) -> (Vec<TensorId>, TensorId) {
    let (rows, width) = (module.rows, module.width);
    let (inputs, output) = match module.kind.split_once(' ') {
        Some(("gated", activation)) => {
            let x = tape.tracked_input("x", &[rows, 2 * width], DType::F32);
            (vec![x], tape.gated(x, Activation::find(activation).unwrap(), 0.0))
        }
        Some(("gate", by)) => {
            let gates = if by == "head" { 2 } else { width };
            let a = tape.tracked_input("a", &[rows, width], DType::F32);
            let g = tape.tracked_input("g", &[rows, gates], DType::F32);
            (vec![a, g], tape.head_gate(a, g))
        }
        Some(("act", activation)) => {
            let x = tape.tracked_input("x", &[rows, width], DType::F32);
            (vec![x], tape.activation_function(x, Activation::find(activation).unwrap(), 0.0))
        }
        _ => panic!("a module of kind {}", module.kind),
    };
    (inputs, output)
}

#[test]
fn modules_of_pytorch_agree() {
    let modules: Vec<Module> = serde_json::from_str(include_str!("modules.json")).unwrap();
    assert!(modules.len() >= 18, "{} modules", modules.len());
    for module in &modules {
        let mut tape = Tape::new();
        let (inputs, output) = recorded(&mut tape, module);
        let incoming = tape.input("incoming", &[module.rows, module.width], DType::F32);
        let gradients = tape.backward_from(&[(output, incoming)]);
        let mut memory = Memory::new(&tape);
        for (input, values) in inputs.iter().zip(&module.inputs) {
            memory.set(&tape, *input, values);
        }
        memory.set(&tape, incoming, &module.incoming);
        memory.run(&tape);
        let results = std::iter::once((output, &module.output))
            .chain(inputs.iter().map(|&input| gradients.of(input).unwrap()).zip(&module.gradients));
        for (tensor, want) in results {
            let off = memory.get(&tape, tensor).iter().zip(want).map(|(got, want)| (got - want).abs());
            // Both are double precision; the file has 12 digits.
            let worst = off.fold(0.0, f64::max);
            let name = &tape.info(tensor).name;
            assert!(
                worst < 1e-10,
                "{} [{}, {}]: {name} is off by {worst:e}",
                module.kind,
                module.rows,
                module.width
            );
        }
    }
}
