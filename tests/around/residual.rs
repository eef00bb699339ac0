//! Ways of joining the residual stream.

use super::NO_NORM;
use crate::support::seed;
use crate::training::{batches, config, engine_on, within_f32};
use normfree::device::Device;
use normfree::host::Host;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

#[test]
fn joins_agree_with_f64() {
    // Not from zero, where the branches' gradients are zero too.
    const HALF: &str = "model.residual_scale=0.5";
    within_f32(&["model.residual=scaled", NO_NORM]);
    within_f32(&["model.residual=rezero", HALF, NO_NORM]);
    within_f32(&["model.residual=skip_init", HALF, "train.recompute=ffn"]);
    within_f32(&["model.residual=layer_scale", HALF, "train.recompute=block"]);
    within_f32(&["model.residual=ln_scale", "model.family=gpt_neox"]);
    within_f32(&["model.residual=skip_init", HALF, "train.gradient_accumulation_steps=1"]);
}

/// 100 layers of width 64 without a norm, whose matrices keep the variance of what they multiply: every branch adds as much
/// as there is, so that without a remedy the residual stream doubles 200 times.
fn deep(residual: &str) -> Vec<f32> {
    let residual = format!("model.residual={residual}");
    let changes = [
        "model.n_layer=100",
        "model.activation_function=relu",
        "model.initializer_range=0.125",
        "model.embd_pdrop=0",
        "model.final_norm=false",
        "model.bias=none",
        "train.gradient_accumulation_steps=1",
        "train.learning_rate=1e-3",
        "train.warmup_ratio=0.02",
        NO_NORM,
        &residual,
    ];
    let config = config(&changes);
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let batch = batches(&config, &mut random);
    let (mut engine, _) = engine_on(Device::from(Host::open(2).unwrap()), &config);
    let mut losses = Vec::new();
    for step in 0..12 {
        engine.submit(step, step, config.train.learning_rate_at(step), &batch).unwrap();
        let reading = engine.take(true).unwrap().unwrap();
        if !reading.loss.is_finite() || !reading.grad_norm.is_finite() {
            break;
        }
        losses.push(reading.loss);
    }
    losses
}

#[test]
fn a_hundred_layers_train_with_joins_made_for_depth() {
    for residual in ["fixup", "rezero", "skip_init"] {
        let losses = deep(residual);
        println!("{residual}: {losses:?}");
        assert_eq!(losses.len(), 12, "{residual}: a step is not finite");
        // ln 97 = 4.57 is the loss of a guess. The same batch again and again: it is learned.
        assert!(losses[11] < losses[0], "{residual}: {losses:?}");
    }
    let plain = deep("plain");
    assert!(plain.len() < 12, "the plain sum needs a remedy at this depth: {plain:?}");
}
