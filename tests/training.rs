//! Whole models: loss, every gradient, and ten optimizer steps, on the device compared with f64, for each norm and activation;
//! and what must hold for a step itself.

use crate::support::{gpu, open, seed};
use normfree::config::{Accumulation, Config, Family};
use normfree::data::Batch;
use normfree::device::Device;
use normfree::fault::Kind;
use normfree::gpu::OpenOptions;
use normfree::model::{Parameter, initial_values, names};
use normfree::observe::quantities::{HEAD_ENTROPY, NONFINITE_ATTENTION};
use normfree::ops::Traits;
use normfree::ops::embedding::sort_by_token;
use normfree::optimizer::Place;
use normfree::reference::Memory;
use normfree::tape::{Tape, TensorId};
use normfree::train::arena::Arenas;
use normfree::train::engine::{Blueprint, Engine};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// A small model whose sizes take the kernels' fast paths (rows of 64) and awkward ones (9 positions, 3 heads
/// would not divide 64).
pub fn config(changes: &[&str]) -> Config {
    let text = r#"
        [model]
        n_layer = 2
        n_head = 2
        n_embd = 64
        n_inner = 128
        n_positions = 12
        vocab_size = 97
        norm = "layer_norm"
        activation_function = "gelu"
        initializer_range = 0.1
        embd_pdrop = 0.1
        [data]
        path = "unused"
        [train]
        steps = 100
        batch_size = 3
        sequence_length = 9
        gradient_accumulation_steps = 2
        learning_rate = 1e-2
        checkpoint_every = 100
        eval_every = 100
    "#;
    let changes: Vec<String> = changes.iter().map(|&c| c.to_owned()).collect();
    Config::parse(text, "test", &changes).unwrap()
}

/// Random batches for one step.
pub fn batches(config: &Config, random: &mut ChaCha8Rng) -> Vec<Batch> {
    let one = || {
        let mut batch = Batch::new(config.train.batch_size, config.train.sequence_length);
        for token in &mut batch.tokens {
            *token = random.random_range(0..config.model.vocab_size as u32);
        }
        batch.derive(config.train.batch_size, Some(0));
        batch
    };
    std::iter::repeat_with(one).take(config.train.gradient_accumulation_steps).collect()
}

/// The f64 side of a run: the same tapes, executed by the reference.
#[derive(Clone)]
pub struct Reference {
    pub micro: Memory,
    pub update: Memory,
    /// How near the last step came to the kink of an activation function at 0: the smallest input's magnitude over the largest
    /// in its layer.
    nearest_to_zero: f64,
}

impl Reference {
    pub fn new(engine: &Engine, parameters: &[(String, Vec<f64>)]) -> Self {
        let blueprint = &engine.blueprint;
        let (mut micro, mut update) = (Memory::new(&blueprint.micro.tape), Memory::new(&blueprint.update));
        let mut arena = vec![0.0; blueprint.arenas.elements()];
        for Place { parameter, first: offset, .. } in blueprint.arenas.places() {
            let (_, values) = parameters.iter().find(|(name, _)| *name == parameter.name).unwrap();
            arena[offset..offset + values.len()].copy_from_slice(values);
            let tensor = blueprint.micro.tape.find(&parameter.name).unwrap();
            micro.set(&blueprint.micro.tape, tensor, values);
        }
        let tensor = blueprint.update.find(Arenas::PARAMETERS).unwrap();
        update.set(&blueprint.update, tensor, &arena);
        if let Some(scaling) = blueprint.update.find(names::LOSS_SCALE) {
            let start = f64::from(engine.loss_scale().unwrap().unwrap().scale);
            update.set(&blueprint.update, scaling, &[start, 0.0, start, 0.0]);
        }
        Self { micro, update, nearest_to_zero: f64::INFINITY }
    }

    /// One step as the trainer does it; returns loss and gradient norm.
    pub fn step(&mut self, engine: &Engine, config: &Config, step: u64, batches: &[Batch]) -> (f64, f64) {
        let (tape, update) = (&engine.blueprint.micro.tape, &engine.blueprint.update);
        let memory = &mut self.micro;
        let set = |memory: &mut Memory, name: &str, values: &[f64]| {
            if let Some(tensor) = tape.find(name) {
                memory.set(tape, tensor, values);
            }
        };
        let whole = |values: &[u32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        self.nearest_to_zero = f64::INFINITY;
        for parameter in engine.blueprint.arenas.parameters() {
            // A state has no gradient.
            if let Some(gradient) = tape.find(&format!("grad {}", parameter.name)) {
                memory.clear(tape, gradient);
            }
        }
        memory.clear(tape, tape.find(names::LOSS).unwrap());
        if let Some(scaling) = update.find(names::LOSS_SCALE) {
            set(memory, names::LOSS_SCALE, self.update.get(update, scaling));
        }
        for layer in 0..config.model.n_layer {
            let summed = [names::head_entropy(layer), names::entropy_penalty(layer)];
            for tensor in summed.iter().filter_map(|name| tape.find(name)) {
                memory.clear(tape, tensor);
            }
        }
        for (i, batch) in batches.iter().enumerate() {
            let (sorted, segments) = sort_by_token(&batch.tokens);
            set(memory, names::TOKENS, &whole(&batch.tokens));
            set(memory, names::TARGETS, &whole(&batch.targets));
            set(memory, names::SORTED, &whole(&sorted));
            set(memory, names::SEGMENTS, &whole(&segments));
            let targets = match config.train.accumulation {
                Accumulation::Mean => batches.iter().map(|batch| f64::from(batch.counted)).sum(),
                Accumulation::MeanOfMeans => f64::from(batch.counted) * batches.len() as f64,
            };
            set(memory, names::TARGET_WEIGHT, &[1.0 / targets]);
            let seed = config.train.seed;
            let counter = step * batches.len() as u64 + i as u64;
            let key = [seed as u32, (seed >> 32) as u32, counter as u32, (counter >> 32) as u32];
            set(memory, names::DROPOUT_KEY, &whole(&key));
            set(memory, names::TAPER, &config.train.taper_at(step).map(f64::from));
            let statistics = config.train.statistics_at(step, i);
            set(memory, names::STATISTICS, &statistics.map(f64::from));
            let removal = config.train.removal_at(step, config.model.n_layer);
            set(memory, names::REMOVAL, &removal.into_iter().map(f64::from).collect::<Vec<_>>());
            memory.run(tape);
            for node in tape.nodes().iter().filter(|node| node.op.name() == "activation") {
                let sizes = memory.get(tape, node.inputs[0]).iter().map(|x| x.abs());
                let (least, most) = sizes.fold((f64::INFINITY, 0.0_f64), |(a, b), x| (a.min(x), b.max(x)));
                self.nearest_to_zero = self.nearest_to_zero.min(least / most);
            }
        }
        let loss = memory.get(tape, tape.find(names::LOSS).unwrap())[0];
        let mut gradients = vec![0.0; engine.blueprint.arenas.elements()];
        for Place { parameter, first: offset, .. } in engine.blueprint.arenas.places() {
            match tape.find(&format!("grad {}", parameter.name)) {
                Some(tensor) => {
                    gradients[offset..offset + parameter.elements()].copy_from_slice(memory.get(tape, tensor))
                }
                // The step has changed the state itself.
                None => {
                    let arena = update.find(Arenas::PARAMETERS).unwrap();
                    let mut values = self.update.get(update, arena).to_vec();
                    values[offset..offset + parameter.elements()]
                        .copy_from_slice(memory.get(tape, tape.find(&parameter.name).unwrap()));
                    self.update.set(update, arena, &values);
                }
            }
        }
        let hyper = config.train.hyper(config.train.learning_rate_at(step), step);
        let put = |memory: &mut Memory, name: &str, values: &[f64]| {
            memory.set(update, update.find(name).unwrap(), values);
        };
        put(&mut self.update, Arenas::GRADIENTS, &gradients);
        put(&mut self.update, "hyper", &hyper.map(f64::from));
        put(&mut self.update, "policy", &[config.train.max_grad_norm, 0.0]);
        put(&mut self.update, names::LOSS, &[loss]);
        self.update.run(update);
        let arena = self.update.get(update, update.find(Arenas::PARAMETERS).unwrap()).to_vec();
        for Place { parameter, first: offset, .. } in engine.blueprint.arenas.places() {
            let tensor = tape.find(&parameter.name).unwrap();
            self.micro.set(tape, tensor, &arena[offset..offset + parameter.elements()]);
        }
        (loss, self.update.get(update, update.find("verdict").unwrap())[0])
    }
}

pub fn engine(config: &Config) -> (Engine, Vec<(String, Vec<f64>)>) {
    engine_on(gpu(), config)
}

/// Whether the device of the tests can compute in mixed precision. If it has no f16, it must refuse to.
pub fn has_f16(mixed: &Config) -> bool {
    if gpu().traits().f16 {
        return true;
    }
    let fault = Engine::new(gpu(), mixed).err().expect("mixed precision without f16");
    assert_eq!(fault.kind, Kind::Device);
    println!("not on this device: {fault}");
    false
}

/// An engine with fresh weights, and the weights by name.
pub fn engine_on(gpu: Device, config: &Config) -> (Engine, Vec<(String, Vec<f64>)>) {
    let engine = Engine::new(gpu, config).unwrap();
    let mut parameters = Vec::new();
    for parameter in engine.blueprint.arenas.parameters() {
        let values = initial_values(5, parameter);
        engine.store.write(&engine.device, &parameter.name, &values);
        parameters.push((parameter.name.clone(), values.iter().map(|&v| f64::from(v)).collect()));
    }
    engine.copy_weights().unwrap();
    (engine, parameters)
}

/// The largest difference, relative to the largest magnitude.
fn difference(got: &[f32], want: &[f64]) -> f64 {
    let scale = want.iter().fold(1e-12_f64, |m, v| m.max(v.abs()));
    got.iter().zip(want).fold(0.0_f64, |worst, (g, w)| worst.max((f64::from(*g) - w).abs())) / scale
}

/// How much of each bound was used, which shows whether a test is close to failing.
#[derive(Default)]
struct Worst {
    shares: BTreeMap<&'static str, f64>,
}

impl Worst {
    fn holds(&mut self, what: &'static str, off: f64, bound: f64) -> bool {
        let share = self.shares.entry(what).or_default();
        *share = share.max(off / bound);
        off < bound
    }
}

/// How far a device may be from f64; for tensors relative to the largest magnitude.
pub struct Bounds {
    /// The loss of the first step, and of later ones; the bounds for the norm are fifty times these.
    pub loss: [f64; 2],
    pub gradients: f64,
    /// Gradients that are one sum: see [`walk`].
    pub slopes: f64,
    /// Parameters after ten steps.
    pub weights: f64,
}

/// At first this is f32 rounding; later the weights have drifted by what AdamW does with it: an element whose gradient is only
/// rounding moves by the learning rate in either direction. Gradients are f32 sums of some hundred terms, through two blocks.
/// A slope's gradient is one number, a sum of thousands of terms of both signs; its error is relative to what these come to
/// with random signs, if that is more than their sum: see [`walk`].
const F32: Bounds = Bounds { loss: [1e-6, 2e-4], gradients: 2e-5, slopes: 1e-3, weights: 1e-3 };

/// Several times the f32 rounding of an activation's input, relative to the largest: sums of 64 products, roundings of the
/// layers below, and the drift of the weights after some steps. Nearer to a kink, a unit's whole gradient may appear or
/// vanish, which is not a kernel's fault.
const NEAR: f64 = 1e-5;

/// A step of the reference on random batches in which no unit is on the kink of its activation function: the batches, the
/// reference after it, loss and gradient norm.
fn clear_step(
    engine: &Engine,
    config: &Config,
    before: &Reference,
    step: u64,
    random: &mut ChaCha8Rng,
) -> (Vec<Batch>, Reference, (f64, f64)) {
    let smooth = ["gelu", "gelu_new"].contains(&config.model.activation_function.word);
    // About every second draw has a unit so near, among ten thousand.
    for _ in 0..40 {
        let batches = batches(config, random);
        let mut after = before.clone();
        let results = after.step(engine, config, step, &batches);
        if smooth || after.nearest_to_zero > NEAR {
            return (batches, after, results);
        }
    }
    panic!("in each of 40 draws a unit lies on the kink");
}

pub fn agrees(changes: &[&str]) {
    agrees_within(changes, &F32);
}

pub fn within_f32(changes: &[&str]) {
    agrees(changes);
}

pub fn agrees_within(changes: &[&str], bounds: &Bounds) {
    let seed = seed();
    let config = config(changes);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut engine, parameters) = engine(&config);
    let mut reference = Reference::new(&engine, &parameters);
    let mut worst = Worst::default();
    for step in 0..10 {
        let (batches, after, (loss, norm)) = clear_step(&engine, &config, &reference, step, &mut random);
        reference = after;
        let learning_rate = config.train.learning_rate_at(step);
        engine.submit(step, step, learning_rate, &batches).unwrap();
        let reading = engine.take(true).unwrap().unwrap();
        let bound = bounds.loss[usize::from(step > 0)];
        let off = (f64::from(reading.loss) - loss).abs() / loss;
        assert!(
            worst.holds("loss", off, bound),
            "{changes:?} step {step}: loss {} against {loss}",
            reading.loss
        );
        let off = (f64::from(reading.grad_norm) - norm).abs() / norm;
        let place = format!("{changes:?} step {step}");
        assert!(worst.holds("norm", off, 50.0 * bound), "{place}: norm {} against {norm}", reading.grad_norm);
        // Clipping by unit changes the gradients in place.
        if step == 0 && config.train.adaptive_clipping == 0.0 {
            compare_gradients(&engine, &reference, changes, bounds, &mut worst);
        }
    }
    let tape = &engine.blueprint.micro.tape;
    for parameter in engine.blueprint.arenas.parameters() {
        let got = engine.store.read(&engine.device, &parameter.name, parameter.elements()).unwrap();
        let want = reference.micro.get(tape, tape.find(&parameter.name).unwrap());
        let naming = &config.model.family.naming;
        let packed_bias = parameter.name.ends_with(&format!("{}.bias", naming.part("attention.qkv")));
        let temperature = parameter.name.ends_with(".temperature");
        let no_gradient = |element: usize| {
            (packed_bias && shifts_alike(&config, element))
                // The first query sees one key: its temperature has no effect, and its gradient is only rounding.
                || (temperature && element.is_multiple_of(config.model.n_positions))
        };
        let trained = |values: &mut dyn Iterator<Item = f64>| -> Vec<f64> {
            values.enumerate().filter(|&(i, _)| !no_gradient(i)).map(|(_, value)| value).collect()
        };
        let got = trained(&mut got.iter().map(|&value| f64::from(value)));
        let want = trained(&mut want.iter().copied());
        // As a whole tensor: AdamW divides by a gradient's own size, so a single element whose gradient is nearly zero may
        // move differently, by up to the learning rate (1e-2) per step, while all the others agree.
        let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
        let apart = square(&mut got.iter().zip(&want).map(|(g, w)| g - w));
        // A slope can end near zero: the difference is relative to ten updates of the learning rate.
        let least: f64 = if is_one_sum(parameter) { 0.1 } else { 1e-6 };
        let off = (apart / square(&mut want.iter().copied()).max(least * least)).sqrt();
        let name = &parameter.name;
        let holds = worst.holds("weights", off, bounds.weights);
        assert!(holds, "{changes:?}: {name} differs by {off:e} after ten steps");
    }
    println!("{changes:?} seed {seed}: shares of the bounds {:.3?}", worst.shares);
}

/// Whether an element of the bias of query, key and value shifts all scores of a row alike, so that its gradient is zero
/// except for rounding. This holds for a key's bias if no position rotates it, or none by half a radian over the whole
/// sequence, in which case rounding to f16 may outweigh the remaining gradient.
fn shifts_alike(config: &Config, element: usize) -> bool {
    let (width, head) = (config.model.n_embd, config.model.head_dim());
    let (column, columns) = (element % head, config.model.rotary_columns());
    let angle = |pair: usize| {
        config.train.sequence_length as f64 * 10_000_f64.powf(-2.0 * pair as f64 / columns as f64)
    };
    let turned =
        config.model.family == Family::GPT_NEOX && column < columns && angle(column % (columns / 2)) > 0.5;
    (width..2 * width).contains(&element) && !turned
}

/// A slope, or a scale of a feed-forward network: its gradient is one number, a sum over all elements of a tensor.
fn is_one_sum(parameter: &Parameter) -> bool {
    let ends = ["alpha", "beta", "shift", "multiplier", "bias_1a", "bias_1b", "bias_2a"];
    let named = |end: &&str| parameter.name.ends_with(end);
    named(&"slopes") || parameter.elements() == 1 && ends.iter().any(named)
}

fn compare_gradients(
    engine: &Engine,
    reference: &Reference,
    changes: &[&str],
    bounds: &Bounds,
    worst: &mut Worst,
) {
    let tape = &engine.blueprint.micro.tape;
    for parameter in engine.blueprint.arenas.parameters() {
        let name = format!("grad {}", parameter.name);
        let got = engine.store.read(&engine.device, &name, parameter.elements()).unwrap();
        let Some(gradient) = tape.find(&name) else {
            assert!(got.iter().all(|&v| v == 0.0), "{name} of a state");
            continue;
        };
        let want = reference.micro.get(tape, gradient);
        let mut off = difference(&got, want);
        let slopes = is_one_sum(parameter);
        if slopes {
            let size = want.iter().fold(0.0_f64, |size, v| size.max(v.abs()));
            off *= size / size.max(walk(reference, tape, gradient));
        }
        let (what, bound) = if slopes { ("slopes", bounds.slopes) } else { ("gradients", bounds.gradients) };
        assert!(worst.holds(what, off, bound), "{changes:?}: {name} differs by {off:e}");
    }
}

/// The sum of the terms of a single-number gradient if their signs were random, as in the last micro-batch: √Σ t². If a sum
/// happens to cancel, the terms' roundings may be any share of it, and with some seed they are.
fn walk(reference: &Reference, tape: &Tape, gradient: TensorId) -> f64 {
    let mut squares = 0.0;
    for node in tape.nodes() {
        let output = node.outputs.iter().position(|&output| output == gradient);
        let (inputs, below) = match (node.op.name(), output) {
            ("activation.backward", Some(1)) => (&[0, 1][..], true),
            ("scaled_sum.backward", Some(2)) => (&[1, 4][..], false),
            ("scaled_sum.backward", Some(3)) => (&[0, 4][..], false),
            // Slopes and γ are about one.
            ("bounded.parameters", Some(2)) => (&[0, 2][..], false),
            ("bounded.parameters", Some(3)) => (&[2][..], false),
            ("branch.factor", Some(0)) => (&[0, 1][..], false),
            ("shift.total", Some(0)) => (&[0][..], false),
            _ => continue,
        };
        let factors: Vec<&[f64]> =
            inputs.iter().map(|&input| reference.micro.get(tape, node.inputs[input])).collect();
        let terms = (0..factors[0].len()).filter(|&i| !below || factors[0][i] < 0.0);
        squares += terms.map(|i| factors.iter().map(|of| of[i].powi(2)).product::<f64>()).sum::<f64>();
    }
    assert!(squares > 0.0, "no node makes {}", tape.info(gradient).name);
    squares.sqrt()
}

/// A family with one of the norms and every activation.
pub fn each_activation_agrees(family: &str, norm: &str) {
    for activation in ["gelu", "gelu_new", "relu", "leaky_relu", "learnable_lrelu", "none"] {
        let changes = [("family", family), ("norm", norm), ("activation_function", activation)];
        let changes = changes.map(|(key, word)| format!("model.{key}={word}"));
        agrees(&changes.each_ref().map(String::as_str));
    }
}

#[test]
fn each_activation_with_layer_norm_agrees_with_f64() {
    each_activation_agrees("gpt2", "layer_norm");
}

#[test]
fn each_activation_without_norm_agrees_with_f64() {
    each_activation_agrees("gpt2", "none");
}

#[test]
fn each_switch_agrees_with_f64() {
    let slopes = "model.activation_function=learnable_lrelu";
    agrees(&["model.bias=all"]);
    agrees(&["model.bias=none", "model.final_norm=false", "model.norm=none"]);
    agrees(&[slopes, "model.slope_scope=per_block", "train.decay_slopes=false"]);
    agrees(&[slopes, "model.slope_scope=shared", "model.norm=none"]);
    agrees(&["train.optimizer=adamw", "train.max_grad_norm=0", "train.ignore_end_of_text=false"]);
    agrees(&["train.recompute=ffn"]);
    agrees(&["train.recompute=ffn", "model.activation_function=none"]);
    agrees(&["train.recompute=block", "model.norm=none", slopes]);
    agrees(&["train.recompute=block", "model.bias=all"]);
    agrees(&["model.n_embd=24", "model.n_inner=36", "model.scale_residual_projections=true"]);
}

#[test]
fn no_activation_records_nothing() {
    let ops = |activation: &str| {
        let config = config(&[&format!("model.activation_function={activation}")]);
        let tape = Blueprint::new(&config, &Traits::floor()).micro.tape;
        tape.nodes().iter().map(|node| node.op.stem()).collect::<Vec<_>>()
    };
    let (relu, none) = (ops("relu"), ops("none"));
    let activations = relu.iter().filter(|stem| **stem == "activation").count();
    assert!(activations > 0 && none.len() == relu.len() - activations, "{none:?}");
    assert!(!none.contains(&"activation"), "{none:?}");
}

/// The original's semantics over twenty steps (no dropout, rate 0 at the first): the measure of parity that the known facts
/// about the original code allow, with f64 in the original's place.
#[test]
fn twenty_steps_stay_with_f64() {
    stays_with_f64("gpt2");
}

pub fn stays_with_f64(family: &str) {
    for norm in ["layer_norm", "none"] {
        for activation in ["gelu", "relu"] {
            let seed = seed();
            let changes = [
                &format!("model.family={family}"),
                &format!("model.norm={norm}"),
                &format!("model.activation_function={activation}"),
                "model.embd_pdrop=0",
                "model.initializer_range=0.02",
                "train.learning_rate=1e-3",
                "train.warmup_ratio=0.1",
                "train.weight_decay=0.1",
            ];
            let config = config(&changes);
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let (mut engine, parameters) = engine(&config);
            let mut reference = Reference::new(&engine, &parameters);
            for step in 0..20 {
                let batches = batches(&config, &mut random);
                engine.submit(step, step, config.train.learning_rate_at(step), &batches).unwrap();
                let reading = engine.take(true).unwrap().unwrap();
                let (loss, norm) = reference.step(&engine, &config, step, &batches);
                let place = format!("{changes:?} step {step}");
                assert!((f64::from(reading.loss) - loss).abs() < 3e-4, "{place}: {} {loss}", reading.loss);
                let off = (f64::from(reading.grad_norm) - norm).abs() / norm;
                assert!(off < 0.01, "{place}: norm {} {norm}", reading.grad_norm);
                assert_eq!(reading.values.counts(&NONFINITE_ATTENTION), [0, 0]);
                for (layer, heads) in
                    reading.values.heads(&HEAD_ENTROPY).iter().enumerate().filter(|_| step < 5)
                {
                    let tape = &engine.blueprint.micro.tape;
                    let want = reference.micro.get(tape, tape.find(&names::head_entropy(layer)).unwrap());
                    for (got, want) in heads.iter().zip(want) {
                        assert!((f64::from(*got) - want).abs() < 2e-4, "{place}: entropy {got} {want}");
                    }
                }
            }
        }
    }
}

/// After the first step nothing more is created on the device.
#[test]
fn a_step_makes_no_object() {
    let config = config(&[]);
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let (mut engine, _) = engine(&config);
    let batches = batches(&config, &mut random);
    let before = engine.device.gpu().unwrap().counters();
    assert!(before.buffers > 0 && before.pipelines > 0 && before.bind_groups > 0);
    for step in 0..7 {
        engine.submit(step, step, 1e-3, &batches).unwrap();
        engine.take(!engine.ready()).unwrap();
    }
    while engine.take(true).unwrap().is_some() {}
    assert_eq!(engine.device.gpu().unwrap().counters(), before);
}

/// A vocabulary in many pieces and a table in windows give what one piece gives.
#[test]
fn pieces_of_the_vocabulary_change_nothing() {
    let config = config(&["model.vocab_size=1000", "model.embd_pdrop=0"]);
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let batches = batches(&config, &mut random);
    let mut results = Vec::new();
    for max_binding in [128 << 20, 64 << 10] {
        let mut gpu = gpu();
        gpu.pretend(|traits| traits.max_binding = max_binding);
        let mut engine = Engine::new(gpu, &config).unwrap();
        for parameter in &engine.blueprint.arenas.parameters().to_vec() {
            let values = initial_values(5, parameter);
            engine.store.write(&engine.device, &parameter.name, &values);
        }
        engine.submit(0, 0, 1e-3, &batches).unwrap();
        let reading = engine.take(true).unwrap().unwrap();
        let table = "grad transformer.wte.weight";
        results
            .push((reading, engine.store.read(&engine.device, table, 1000 * config.model.n_embd).unwrap()));
    }
    let [(one, whole), (many, pieces)] = results.try_into().unwrap();
    assert!((one.loss - many.loss).abs() / one.loss < 1e-6, "{} against {}", one.loss, many.loss);
    let whole: Vec<f64> = whole.iter().map(|&v| f64::from(v)).collect();
    assert!(difference(&pieces, &whole) < 1e-5);
}

/// Index clamps and loop bounds change nothing: no kernel of a step relies on their absence, or needs them.
#[test]
fn checked_shaders_give_what_unchecked_ones_give() {
    let config = config(&[]);
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let batches = batches(&config, &mut random);
    let [plain, checked] = [false, true].map(|checked| {
        let gpu = open(&OpenOptions { checked, ..OpenOptions::default() });
        let mut engine = Engine::new(gpu, &config).unwrap();
        for parameter in &engine.blueprint.arenas.parameters().to_vec() {
            let values = initial_values(5, parameter);
            engine.store.write(&engine.device, &parameter.name, &values);
        }
        engine.submit(0, 0, 1e-3, &batches).unwrap();
        engine.take(true).unwrap().unwrap()
    });
    assert!((plain.loss - checked.loss).abs() < 1e-5 * plain.loss, "{plain:?} {checked:?}");
    assert!((plain.grad_norm - checked.grad_norm).abs() < 1e-5 * plain.grad_norm, "{plain:?} {checked:?}");
}

/// What `--dry-run` adds up is what is allocated, to the byte.
#[test]
fn the_demand_is_what_is_allocated() {
    let learned = "model.activation_function=learnable_lrelu";
    for changes in [
        &[][..],
        &["model.norm=none", learned],
        &["observe.entropy=false", "model.embd_pdrop=0"],
        &[learned, "model.slope_scope=shared"],
        &["train.recompute=ffn", "model.norm=none"],
        &["train.recompute=block"],
        &["train.precision=mixed", "model.n_embd=128", learned, "model.slope_scope=per_layer"],
    ] {
        if changes.contains(&"train.precision=mixed") && !has_f16(&config(changes)) {
            continue;
        }
        let (engine, _) = engine(&config(changes));
        let demand = engine.blueprint.demand(engine.device.traits());
        assert_eq!(demand.total(), engine.bytes(), "{changes:?}: {demand:?}");
    }
}

/// A profile has every dispatch of a replay, each under its node, and the times are positive.
#[test]
fn a_profile_has_every_dispatch() {
    let (engine, _) = engine(&config(&[]));
    let times = engine.micro.on_gpu().unwrap().profile(engine.device.gpu().unwrap()).unwrap();
    let dispatches = times.iter().filter(|time| time.entry.is_some());
    assert_eq!(dispatches.count(), engine.micro.on_gpu().unwrap().dispatches());
    let op = |node: usize| engine.blueprint.micro.tape.nodes()[node].op.name();
    assert!(times.iter().any(|time| op(time.node) == "attention" && time.seconds > 0.0), "{times:?}");
    assert!(times.iter().all(|time| time.entry.is_some() || time.copied > 0), "{times:?}");
}

/// Before the first step every kernel is compiled and loaded, and progress is reported.
#[test]
fn a_device_reports_what_it_compiles() {
    use normfree::gpu::Stage;
    use std::cell::RefCell;
    use std::rc::Rc;
    let told = Rc::new(RefCell::new(Vec::new()));
    let gpu = gpu();
    let hear = told.clone();
    gpu.listen(Some(Box::new(move |stage, done, all| hear.borrow_mut().push((stage, done, all)))));
    let config = Config::parse(crate::cli::MODEL, "tiny.toml", &[]).unwrap();
    let engine = normfree::train::engine::Engine::new(gpu, &config).unwrap();
    let told = told.borrow();
    let of = |stage| told.iter().filter(move |(of, _, _)| *of == stage).collect::<Vec<_>>();
    let compiled = of(Stage::Compiling);
    let all = compiled[0].2;
    assert!(all > 10, "{told:?}");
    for (done, heard) in compiled.iter().enumerate() {
        assert_eq!(**heard, (Stage::Compiling, done.min(all), all), "{told:?}");
    }
    assert!(compiled.len() == all + 1, "{told:?}");
    let loaded = of(Stage::Loading);
    assert!(loaded.windows(2).all(|pair| pair[0].1 < pair[1].1 && pair[0].2 == all), "{told:?}");
    assert_eq!(
        engine.device.gpu().unwrap().counters().pipelines as usize,
        all + 3,
        "and the probes of lanes"
    );
}
