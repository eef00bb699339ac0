//! Times training steps of a GPT-2-style decoder in Burn and prints what it saw as one line of JSON.
//! `benches/peers/run.py` builds and calls it.

mod model;

use burn::grad_clipping::GradientClippingConfig;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Bool, Device, DeviceKind, Int, Tensor, TensorData};
use model::{Gpt2, Shape};
use std::collections::HashMap;
use std::time::Instant;

/// The version in Cargo.toml.
const VERSION: &str = "0.22.0";

fn main() {
    let started = Instant::now();
    let given = Arguments::of_process();
    let shape = Shape {
        width: given.number("width"),
        layers: given.number("layers"),
        heads: given.number("heads"),
        positions: given.number("positions"),
        sequence: given.number("sequence"),
        batch: given.number("batch"),
        vocabulary: given.number("vocabulary"),
        layer_norm: given.word("norm") == "layer_norm",
        gelu: given.word("activation") == "gelu",
    };
    let device = match given.word("device") {
        "flex" => Device::flex(),
        "wgpu" => Device::wgpu(DeviceKind::DefaultDevice),
        other => panic!("--device is flex or wgpu, not {other}"),
    }
    .autodiff();
    device.seed(0);

    let mut model = Some(Gpt2::new(&shape, &device));
    // Burn clips each tensor's gradient by its own norm, not all of them by their common one: as much work.
    let mut optimizer = AdamWConfig::new()
        .with_epsilon(1e-8)
        .with_weight_decay(0.1)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)))
        .init();
    let (tokens, targets) = random_tokens(&shape, &device);
    let hidden = Tensor::<2, Bool>::tril_mask([shape.sequence, shape.sequence], 0, &device)
        .reshape([1, 1, shape.sequence, shape.sequence]);
    let mut step = || {
        // Taken, not cloned: a tensor with one owner may be updated in place.
        let current = model.take().expect("every step puts the model back");
        let loss = current.loss(tokens.clone(), targets.clone(), &hidden, &shape);
        let gradients = GradientsParams::from_grads(loss.backward(), &current);
        model = Some(optimizer.step(1e-3, current, gradients));
        loss.detach()
    };

    let first_loss: f32 = step().into_scalar();
    device.sync().expect("the device finishes the first step");
    let first_step = started.elapsed().as_secs_f64();
    for _ in 1..given.number("warm-up") {
        step();
    }
    device.sync().expect("the device finishes the steps");

    // As many steps a window as fill its time; nothing is read back within one.
    let once = Instant::now();
    step();
    device.sync().expect("the device finishes a step");
    let steps = ((given.seconds("window") / once.elapsed().as_secs_f64()).ceil() as usize).max(1);
    let mut last_loss = first_loss;
    let seconds: Vec<f64> = (0..given.number("windows"))
        .map(|_| {
            let begun = Instant::now();
            let loss = (0..steps).map(|_| step()).last().expect("a window has a step");
            device.sync().expect("the device finishes the steps");
            let seconds = begun.elapsed().as_secs_f64() / steps as f64;
            last_loss = loss.into_scalar();
            seconds
        })
        .collect();

    let result = serde_json::json!({
        "version": format!("Burn {VERSION}"),
        "first_step_after": first_step,
        "steps_per_window": steps,
        "seconds_per_step": seconds,
        "first_loss": first_loss,
        "last_loss": last_loss,
    });
    println!("{result}");
}

/// Tokens [batch, sequence] and the ones that follow them.
fn random_tokens(shape: &Shape, device: &Device) -> (Tensor<2, Int>, Tensor<2, Int>) {
    // The generator of Numerical Recipes; its high bits are good enough to pick tokens.
    let mut state = 1u32;
    let mut draw = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        i64::from(state >> 8) % shape.vocabulary as i64
    };
    let row = shape.sequence + 1;
    let drawn: Vec<i64> = (0..shape.batch * row).map(&mut draw).collect();
    let all = Tensor::<2, Int>::from_data(TensorData::new(drawn, [shape.batch, row]), device);
    (
        all.clone().slice([0..shape.batch, 0..shape.sequence]),
        all.slice([0..shape.batch, 1..row]),
    )
}

/// `--name value` pairs.
struct Arguments(HashMap<String, String>);

impl Arguments {
    fn of_process() -> Self {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let pairs = words.chunks(2).map(|pair| match pair {
            [name, value] if name.starts_with("--") => (name[2..].to_owned(), value.clone()),
            other => panic!("arguments are pairs of --name value, not {other:?}"),
        });
        Self(pairs.collect())
    }

    fn word(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("--{name} is missing"))
    }

    fn number(&self, name: &str) -> usize {
        self.word(name).parse().unwrap_or_else(|_| panic!("--{name} is no count"))
    }

    fn seconds(&self, name: &str) -> f64 {
        self.word(name).parse().unwrap_or_else(|_| panic!("--{name} is no number"))
    }
}
