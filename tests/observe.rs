//! What a step reports besides the loss: compared with f64, and never at the cost of a bit.

use crate::support::{gpu, seed};
use crate::training::{Reference, batches, config, engine, has_f16};
use normfree::config::Config;
use normfree::model::names;
use normfree::observe::quantities::{
    LAYER_GRAD_NORM, LOGIT_RMS, RESIDUAL_MAX, RESIDUAL_MEDIAN, RESIDUAL_RMS, UPDATE_RATIO,
};
use normfree::tape::Decays;
use normfree::train::engine::{Engine, StepReading};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The last reading of the layers in so many steps, and the parameters after them, as bits.
fn after(config: &Config, steps: u64, seed: u64) -> (Option<StepReading>, Vec<(String, Vec<u32>)>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut engine, _) = engine(config);
    let mut layers = None;
    for step in 0..steps {
        let batches = batches(config, &mut random);
        engine.submit(step, step, 1e-2, &batches).unwrap();
        let reading = engine.take(true).unwrap().unwrap();
        layers = Some(reading).filter(|reading| reading.active.is_some()).or(layers);
    }
    let read = |name: &str, elements| engine.store.read(&engine.device, name, elements).unwrap();
    let parameters = engine.blueprint.arenas.parameters().iter();
    let bits = parameters.map(|p| (p.name.clone(), read(&p.name, p.elements())));
    (layers, bits.map(|(name, values)| (name, values.iter().map(|v| v.to_bits()).collect())).collect())
}

/// Observing everything at every step, or nothing at all, leaves the same bits in every weight.
#[test]
fn observation_changes_no_bit() {
    let seed = seed();
    for changes in [
        &["model.norm=none", "model.activation_function=relu"][..],
        &["model.activation_function=learnable_lrelu", "train.gradient_accumulation_steps=1"],
        &["model.n_embd=24", "model.n_inner=36", "train.recompute=ffn"],
        &["train.precision=mixed", "model.n_embd=128", "model.norm=none"],
        &["model.family=gpt_neox", "train.recompute=block"],
    ] {
        let with = |more: &[&str]| config(&[changes, more].concat());
        let all = with(&["observe.sample_every=1"]);
        if changes.contains(&"train.precision=mixed") && !has_f16(&all) {
            continue;
        }
        let (seen, watched) = after(&all, 6, seed);
        let (unseen, alone) = after(&with(&["observe.layers=false", "observe.entropy=false"]), 6, seed);
        let (_, sometimes) = after(&with(&["observe.sample_every=4"]), 6, seed);
        assert!(seen.is_some() && unseen.is_none());
        for (one, others) in watched.iter().zip(alone.iter().zip(&sometimes)) {
            assert!(one == others.0 && one == others.1, "{changes:?}: {} differs", one.0);
        }
    }
}

#[test]
fn what_layers_hold_agrees_with_f64() {
    for changes in [
        &["model.norm=none", "model.activation_function=relu"][..],
        &["model.activation_function=relu", "train.gradient_accumulation_steps=1", "model.bias=all"],
        &["model.activation_function=gelu", "model.norm=none"],
        &["model.activation_function=learnable_lrelu", "train.recompute=block"],
        &["model.activation_function=relu", "model.n_embd=24", "model.n_inner=36", "train.recompute=ffn"],
        &[
            "model.family=gpt_neox",
            "model.norm=none",
            "model.activation_function=relu",
            "train.recompute=block",
        ],
    ] {
        let seed = seed();
        let config = config(changes);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut engine, parameters) = engine(&config);
        let mut reference = Reference::new(&engine, &parameters);
        let batches = batches(&config, &mut random);
        engine.submit(0, 0, 1e-2, &batches).unwrap();
        let reading = engine.take(true).unwrap().unwrap();
        let active = reading.active.as_ref().expect("the first step is looked at");
        let of_layers = |quantity| reading.values.layers(quantity);
        reference.step(&engine, &config, 0, &batches);
        let (micro, update) = (&engine.blueprint.micro.tape, &engine.blueprint.update);
        let sizes = reference.micro.get(micro, micro.find(names::LOGIT_SIZES).unwrap()).to_vec();
        let places = config.train.batch_size * config.train.sequence_length;
        let want = sizes[0] / ((places.min(16) * config.model.vocab_size) as f64).sqrt();
        let got = reading.values.number(&LOGIT_RMS).unwrap();
        assert!((got - want).abs() < 2e-5 * want, "logits of {got} against {want}");
        assert_eq!(active.len(), config.model.n_layer);
        for (layer, active) in active.iter().enumerate() {
            let place = format!("{changes:?} layer {layer}");
            let of = |name: String| reference.micro.get(micro, micro.find(&name).unwrap()).to_vec();
            // Sums of f32 in another order, through two layers.
            let near = |got: f32, want: f64, what: &str| {
                assert!((f64::from(got) - want).abs() < 2e-5 * want, "{place}: {what} {got} against {want}");
            };
            let residual = of(names::residual(layer));
            let elements = config.train.batch_size * config.train.sequence_length * config.model.n_embd;
            near(of_layers(&RESIDUAL_RMS)[layer], residual[0] / (elements as f64).sqrt(), "root mean square");
            near(of_layers(&RESIDUAL_MAX)[layer], residual[1], "largest");
            near(of_layers(&RESIDUAL_MEDIAN)[layer], residual[2], "median");
            let want = of(names::active_units(layer));
            let got: Vec<f64> = active.iter().map(|&count| f64::from(count)).collect();
            // A sum within rounding of zero may have the other sign.
            let apart: f64 = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).sum();
            assert!(apart <= 1.0, "{place}: {got:?} against {want:?}");
            let gradient = update.find(&names::layer_gradient(layer)).unwrap();
            near(of_layers(&LAYER_GRAD_NORM)[layer], reference.update.get(update, gradient)[0], "gradient");
            // The block's own parameters and no others.
            let prefix = config.model.family.naming.in_block(layer, "");
            let own = engine.blueprint.arenas.parameters().iter().filter(|p| p.name.starts_with(&prefix));
            let squares = own.map(|p| of(format!("grad {}", p.name)).iter().map(|g| g * g).sum::<f64>());
            near(
                of_layers(&LAYER_GRAD_NORM)[layer],
                squares.sum::<f64>().sqrt(),
                "gradient of its parameters",
            );
        }
    }
}

/// What every optimizer changed, against the weights themselves before and after its step.
#[test]
fn updates_are_measured_whatever_makes_them() {
    for changes in [
        &["train.optimizer=adamw_hf"][..],
        &["train.optimizer=adamw", "model.bias=all", "train.max_grad_norm=0.01"],
        &["train.optimizer=sgd", "model.family=gpt_neox"],
        &["train.optimizer=muon", "model.norm=none"],
        &["train.optimizer=normuon", "model.n_embd=24", "model.n_inner=36"],
        &["train.project_weights=true", "train.adaptive_clipping=0.05"],
        &["model.activation_function=learnable_lrelu", "train.decay_slopes=true"],
        &["model.learnable_temperature=true", "model.attention_gate=head"],
        &["train.precision=mixed", "model.n_embd=128"],
        &["train.precision=mixed", "model.n_embd=128", "train.optimizer=muon"],
    ] {
        let config = config(&[changes, &["observe.sample_every=1"]].concat());
        if changes.contains(&"train.precision=mixed") && !has_f16(&config) {
            continue;
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed());
        let (mut engine, _) = engine(&config);
        let matrices = |engine: &Engine, layer: usize| -> Vec<f64> {
            let own = engine.blueprint.arenas.parameters().iter().filter(|p| {
                let declared = &p.declared;
                declared.block == Some(layer) && declared.decays == Decays::Always && p.shape.len() == 2
            });
            let read = |p: &normfree::model::Parameter| {
                engine.store.read(&engine.device, &p.name, p.elements()).unwrap()
            };
            own.flat_map(read).map(f64::from).collect()
        };
        for step in 0..2 {
            let before: Vec<_> = (0..config.model.n_layer).map(|layer| matrices(&engine, layer)).collect();
            engine.submit(step, step, 1e-2, &batches(&config, &mut random)).unwrap();
            let reading = engine.take(true).unwrap().unwrap();
            for (layer, before) in before.iter().enumerate() {
                let after = matrices(&engine, layer);
                let norm = |of: &mut dyn Iterator<Item = f64>| of.map(|v| v * v).sum::<f64>().sqrt();
                let moved = norm(&mut after.iter().zip(before).map(|(a, b)| a - b));
                let want = moved / norm(&mut before.iter().copied());
                let got = f64::from(reading.values.layers(&UPDATE_RATIO)[layer]);
                // Differences of neighbouring f32 are exact; what is left are two sums of squares of one sign, and roots.
                assert!((got - want).abs() < 1e-5 * want, "{changes:?} layer {layer}: {got} against {want}");
                assert!(want > 1e-5, "{changes:?} layer {layer}: nothing moved");
            }
        }
    }
}

/// In mixed precision the gradients on the device are many times as large; the reported ones are not.
#[test]
fn the_loss_scale_is_taken_out_of_gradients() {
    let mixed = config(&["train.precision=mixed", "model.n_embd=128", "train.loss_scale=1024"]);
    if !has_f16(&mixed) {
        return;
    }
    let seed = seed();
    let (scaled, _) = after(&mixed, 1, seed);
    let (plain, _) = after(&config(&["model.n_embd=128"]), 1, seed);
    let [scaled, plain] =
        [scaled, plain].map(|reading| reading.unwrap().values.layers(&LAYER_GRAD_NORM).to_vec());
    for (scaled, plain) in scaled.iter().zip(plain) {
        // Some roundings to eleven bits in between.
        assert!((scaled - plain).abs() < 0.02 * plain, "{scaled} against {plain}");
    }
}

/// The cost can be reported if the device has a clock.
#[test]
fn the_time_of_observations_is_reported() {
    let engine = Engine::new(gpu(), &config(&[])).unwrap();
    let seconds = engine.looking_seconds().unwrap();
    assert_eq!(seconds.is_some(), engine.device.gpu().unwrap().has_clock());
    assert!(seconds.is_none_or(|seconds| seconds > 0.0 && seconds < 1.0), "{seconds:?}");
    let engine = Engine::new(gpu(), &config(&["observe.layers=false"])).unwrap();
    assert_eq!(engine.looking_seconds().unwrap(), None);
}
