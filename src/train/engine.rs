//! The device's side of a run: memory, the three plans (micro-batch, update, evaluation), and what a step
//! brings back.

use super::arena::Arenas;
use crate::config::{Config, Optimizer, Precision};
use crate::data::Batch;
use crate::fault::Result;
use crate::gpu::{Gpu, ReadbackRing};
use crate::model::{Pass, Recorded, names, record};
use crate::ops::Traits;
use crate::ops::adamw::{self, Order, Settings};
use crate::ops::magnitudes::{WITH_MEDIAN, WITHOUT_MEDIAN};
use crate::plan::{Plan, Pool, Store, padded_bytes};
use crate::reference::shapes;
use crate::tape::{DType, Role, Tape, TensorId, TensorInfo};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Steps whose results may be under way while the next one is recorded.
const RING: usize = 3;

const POLICY: &str = "policy";
const HYPER: &str = "hyper";
const VERDICT: &str = "verdict";
/// Everything the host reads back after each step, in one stretch.
const OBSERVATIONS: &str = "observations";
/// What it reads back beside that after steps whose layers are looked at.
const LAYERS: &str = "layers";

/// What one step brought back.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReading {
    pub step: u64,
    pub loss: f32,
    /// Global gradient norm before clipping.
    pub grad_norm: f32,
    /// Whether the update was held back: this step's loss or gradient is not finite, or an earlier one's was.
    pub halted: bool,
    /// Mean entropy of each head, [layer][head]; empty where it is not measured.
    pub head_entropy: Vec<Vec<f32>>,
    /// Rows of each layer whose attention probabilities are not finite, summed over heads.
    pub nonfinite_rows: Vec<u64>,
    /// The slope each layer uses; empty where none is learned.
    pub slopes: Vec<f32>,
    /// With mixed precision, the loss scale of the step, and whether the gradient overflowed with it, so that the
    /// update was left out.
    pub scaling: Option<(f32, bool)>,
    /// What the layers held, where this step was looked at.
    pub layers: Option<LayerReading>,
}

/// What the layers held in the last micro-batch of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerReading {
    /// L2 norm of the gradient of each block's parameters, of the whole step.
    pub grad_norm: Vec<f32>,
    /// Tokens for which each unit of the feed-forward network is not zero, [layer][unit].
    pub active: Vec<Vec<f32>>,
    /// Largest and median magnitude of the residual stream behind each block.
    pub residual: Vec<(f32, f32)>,
}

/// The loss scale of mixed precision between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossScale {
    /// What the next step multiplies its gradient with; a power of two.
    pub scale: u32,
    /// Steps without overflow since it changed.
    pub good_steps: u32,
}

/// What a run needs of a device; [`Engine::new`] allocates it, `train --dry-run` adds it up.
pub struct Blueprint {
    pub micro: Recorded,
    pub update: Tape,
    /// Makes the f16 copies of the parameters, where there are such.
    copying: Option<Tape>,
    evaluation: Recorded,
    pub arenas: Arenas,
    config: Config,
}

/// Bytes of device memory by purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    pub parameters: u64,
    /// f16 copies of parameters.
    pub copies: u64,
    pub gradients: u64,
    pub moments: u64,
    /// Intermediates of training, update and evaluation, which share one pool.
    pub intermediates: u64,
    /// Inputs, observations, readback.
    pub other: u64,
}

impl Demand {
    pub fn total(&self) -> u64 {
        self.parameters + self.copies + self.gradients + self.moments + self.intermediates + self.other
    }
}

impl Blueprint {
    /// Records the tapes of a run for a device.
    pub fn new(config: &Config, device: &Traits) -> Self {
        let pass = Pass {
            batch: config.train.batch_size,
            sequence: config.train.sequence_length,
            micro_batches: config.train.gradient_accumulation_steps,
            training: true,
            entropy: config.observe.entropy,
            layers: config.observe.layers,
            piece_bytes: device.max_binding,
            recompute: config.train.recompute,
            precision: config.train.precision,
        };
        let micro = record(&config.model, &pass);
        let evaluation =
            record(&config.model, &Pass { training: false, entropy: false, layers: false, ..pass });
        let train = &config.train;
        let arenas =
            Arenas::new(crate::model::parameters(&config.model, train.decay_slopes, train.precision));
        let update = update_tape(config, &arenas);
        let copying = (arenas.copied() > 0).then(|| {
            let mut tape = Tape::new();
            let parameters = tape.observation(Arenas::PARAMETERS, &[arenas.elements()]);
            let copies = copies(&mut tape, &arenas);
            tape.half_into(parameters, copies);
            tape
        });
        Self { micro, update, copying, evaluation, arenas, config: config.clone() }
    }

    /// The device memory this run takes.
    pub fn demand(&self, device: &Traits) -> Demand {
        let arena = self.arenas.elements() as u64 * 4;
        let small = |tape: &Tape, role: Role| -> u64 {
            let own = tape.ids().map(|id| tape.info(id)).filter(|i| i.role == role && i.parent.is_none());
            own.map(|info| padded_bytes(info.shape.elements(), info.dtype)).sum()
        };
        let numbers = |count| padded_bytes(count, DType::F32);
        let observations = small(&self.micro.tape, Role::Observation) + parts(self.update.observed()).1;
        let slopes = self.arenas.parameters().iter().filter(|p| p.name.ends_with(".slopes"));
        // A parameter's span in its arena is padded for its f16 copy as well.
        let slopes: u64 = slopes.map(|p| 2 * padded_bytes(p.elements(), DType::F16)).sum();
        let scaling = if self.mixed() { numbers(4) } else { 0 };
        let ring = RING as u64 * (observations + numbers(4) + scaling + slopes);
        Demand {
            parameters: arena,
            copies: self.arenas.copied() as u64 * 2,
            gradients: arena,
            moments: 2 * arena,
            intermediates: Pool::plan(self.tapes(), device).0.bytes()
                + self.copying.as_ref().map_or(0, |tape| Pool::plan([tape], device).0.bytes()),
            other: small(&self.micro.tape, Role::Input) + observations + ring + 3 * numbers(8),
        }
    }

    /// Names and bytes of what is read back where the layers are looked at.
    fn layer_parts(&self) -> Vec<(String, u64)> {
        let observed = self.micro.tape.observed().into_iter().chain(self.update.observed());
        parts(observed.collect()).0
    }

    fn mixed(&self) -> bool {
        self.config.train.precision == Precision::Mixed
    }

    /// The tapes of a run, which never run at the same time: training, update, evaluation.
    pub fn tapes(&self) -> [&Tape; 3] {
        [&self.micro.tape, &self.update, &self.evaluation.tape]
    }

    /// The keys of everything a device may have several ways to compute.
    pub fn tuning_keys(&self, device: &Traits) -> BTreeSet<String> {
        let keys = |tape: &Tape| -> Vec<String> {
            let tuning = |node: &crate::tape::Node| node.op.tuning(&shapes(tape, node), device);
            tape.nodes().iter().filter_map(tuning).map(|tuning| tuning.key).collect()
        };
        self.tapes().into_iter().flat_map(keys).collect()
    }

    /// Floating-point operations of one step, by the tapes' own count.
    pub fn flops(&self) -> u64 {
        let micro_batches = self.config.train.gradient_accumulation_steps as u64;
        micro_batches * flops(&self.micro.tape) + flops(&self.update)
    }

    /// Floating-point operations of the evaluation of one micro-batch.
    pub fn evaluation_flops(&self) -> u64 {
        flops(&self.evaluation.tape)
    }
}

fn flops(tape: &Tape) -> u64 {
    tape.acting().map(|node| node.op.flops(&shapes(tape, node))).sum()
}

/// Names and bytes of tensors, and the sum of these.
fn parts(infos: Vec<&TensorInfo>) -> (Vec<(String, u64)>, u64) {
    let part = |info: &TensorInfo| (info.name.clone(), padded_bytes(info.shape.elements(), info.dtype));
    let parts: Vec<_> = infos.into_iter().map(part).collect();
    let bytes = parts.iter().map(|&(_, bytes)| bytes).sum();
    (parts, bytes)
}

/// The optimizer's tape: the verdict on the gradient, then AdamW.
pub fn update_tape(config: &Config, arenas: &Arenas) -> Tape {
    let mut tape = Tape::new();
    let all = [arenas.elements()];
    let loss = tape.observation(names::LOSS, &[1]);
    let policy = tape.input(POLICY, &[2], DType::F32);
    let hyper = tape.input(HYPER, &[8], DType::F32);
    let verdict = tape.observation(VERDICT, &[4]);
    let [gradients, parameters, first, second] =
        [Arenas::GRADIENTS, Arenas::PARAMETERS, Arenas::FIRST, Arenas::SECOND]
            .map(|name| tape.observation(name, &all));
    let mixed = config.train.precision == Precision::Mixed;
    let scaling = mixed.then(|| (tape.observation(names::SCALING, &[4]), config.train.loss_scale_window));
    let copies = mixed.then(|| copies(&mut tape, arenas));
    tape.gradient_norm(gradients, loss, policy, verdict, scaling);
    if config.observe.layers {
        tape.observing(|tape| {
            for layer in 0..config.model.n_layer {
                let out = tape.observation(&names::layer_gradient(layer), &[WITHOUT_MEDIAN]);
                tape.magnitudes_of(gradients, arenas.layer(layer), out);
            }
        });
    }
    let operands = adamw::Arenas { gradients, parameters, first, second, copies };
    tape.adamw(operands, hyper, verdict, settings(config).order, arenas.decayed());
    tape
}

/// Declares the arena of the f16 copies.
fn copies(tape: &mut Tape, arenas: &Arenas) -> TensorId {
    tape.observation_of(Arenas::COPIES, &[arenas.copied()], DType::F16)
}

/// The optimizer's constants.
pub fn settings(config: &Config) -> Settings {
    let train = &config.train;
    Settings {
        order: match train.optimizer {
            Optimizer::AdamwHf => Order::Hf,
            Optimizer::Adamw => Order::Torch,
        },
        beta1: train.adam_beta1,
        beta2: train.adam_beta2,
        epsilon: train.adam_epsilon,
        weight_decay: train.weight_decay,
    }
}

/// A run's device side, ready to step.
pub struct Engine {
    pub gpu: Gpu,
    pub store: Store,
    pub blueprint: Blueprint,
    pub micro: Plan,
    update: Plan,
    copying: Option<Plan>,
    evaluation: Plan,
    ring: ReadbackRing,
    /// Names of the slope tensors read back each step, and which of their entries each layer uses.
    slopes: Vec<(String, usize, usize)>,
    record: bool,
}

impl Engine {
    /// Allocates, compiles and binds all of a run.
    pub fn new(gpu: Gpu, config: &Config) -> Result<Self> {
        let blueprint = Blueprint::new(config, gpu.traits());
        super::memory::check(&blueprint, gpu.traits(), gpu.description())?;
        let mut store = Store::new();
        let micro_tape = &blueprint.micro.tape;
        blueprint.arenas.allocate(&gpu, &mut store)?;
        let own = |tape: &Tape, role: Role| -> Vec<TensorInfo> {
            let infos = tape.ids().map(|id| tape.info(id)).filter(|i| i.role == role && i.parent.is_none());
            infos.cloned().collect()
        };
        for info in own(micro_tape, Role::Input) {
            store.allocate(&gpu, &info.name, info.shape.elements(), info.dtype)?;
        }
        let layers = blueprint.layer_parts();
        let every_step = |info: &&TensorInfo| !layers.iter().any(|(name, _)| *name == info.name);
        let observations = own(micro_tape, Role::Observation);
        let (observations, _) = parts(observations.iter().filter(every_step).collect());
        store.allocate_arena(&gpu, OBSERVATIONS, &observations)?;
        if !layers.is_empty() {
            store.allocate_arena(&gpu, LAYERS, &layers)?;
        }
        for (name, elements) in [(POLICY, 2), (HYPER, 8), (VERDICT, 4)] {
            store.allocate(&gpu, name, elements, DType::F32)?;
        }
        let [micro, update, evaluation] = Plan::build_all(&gpu, blueprint.tapes(), &store)?;
        let copying = blueprint.copying.as_ref().map(|tape| Plan::build(&gpu, tape, &store)).transpose()?;
        gpu.keep_pipelines();
        let slopes = slope_places(config);
        let read_back = read_back(blueprint.mixed(), &slopes, config.observe.layers);
        let bytes = read_back.iter().map(|name| store.span(name).bytes).sum();
        let ring = ReadbackRing::new(&gpu, RING, bytes)?;
        let mut engine =
            Self { gpu, store, blueprint, micro, update, copying, evaluation, ring, slopes, record: false };
        engine.set_record(false);
        engine.set_loss_scale(LossScale { scale: config.train.loss_scale, good_steps: 0 });
        Ok(engine)
    }

    /// Makes the f16 copies of the parameters, where the precision is mixed: after weights were written from outside.
    /// Each update does it for its own.
    pub fn copy_weights(&self) -> Result<()> {
        self.copying.as_ref().map_or(Ok(()), |plan| plan.run(&self.gpu))
    }

    /// The loss scale after the last step submitted; `None` where the precision is not mixed. Waits.
    pub fn loss_scale(&self) -> Result<Option<LossScale>> {
        if !self.blueprint.mixed() {
            return Ok(None);
        }
        let values = self.store.read(&self.gpu, names::SCALING, 2)?;
        Ok(Some(LossScale { scale: values[0] as u32, good_steps: values[1] as u32 }))
    }

    /// Sets it; nothing where the precision is not mixed.
    pub fn set_loss_scale(&self, to: LossScale) {
        if self.blueprint.mixed() {
            let scale = to.scale as f32;
            self.store.write(&self.gpu, names::SCALING, &[scale, to.good_steps as f32, scale, 0.0]);
        }
    }

    /// With `record`, broken gradients reach the parameters; else the gate closes at the first of them.
    pub fn set_record(&mut self, record: bool) {
        self.record = record;
        let max_norm = self.blueprint.config.train.max_grad_norm as f32;
        self.store.write(&self.gpu, POLICY, &[max_norm, f32::from(u8::from(record))]);
        // A fresh verdict: nothing is held against this run any more.
        self.store.write(&self.gpu, VERDICT, &[0.0_f32; 4]);
    }

    /// Whether a step can be submitted without taking a reading first.
    pub fn ready(&self) -> bool {
        !self.ring.full()
    }

    /// Steps whose readings have not been taken.
    pub fn in_flight(&self) -> usize {
        self.ring.in_flight()
    }

    /// Records and submits one step, one submission a micro-batch, and returns at once.
    ///
    /// `updates` counts the updates made before it.
    pub fn submit(&mut self, step: u64, updates: u64, learning_rate: f64, batches: &[Batch]) -> Result<()> {
        let hyper = adamw::hyper(&settings(&self.blueprint.config), learning_rate, updates);
        let looks = self.blueprint.config.looks_at_layers(step);
        for (i, batch) in batches.iter().enumerate() {
            self.write_batch(batch, step, i, 1.0 / (f64::from(batch.counted.max(1)) * batches.len() as f64));
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            if i == 0 {
                self.store.clear(&mut encoder, Arenas::GRADIENTS);
                self.store.clear(&mut encoder, OBSERVATIONS);
            }
            let last = i + 1 == batches.len();
            self.micro.record(&mut encoder, looks && last);
            if last {
                self.store.write(&self.gpu, HYPER, &hyper);
                self.update.record(&mut encoder, looks);
                let names = read_back(self.blueprint.mixed(), &self.slopes, looks);
                let spans = names.into_iter().map(|name| self.store.span(name));
                let sources: Vec<_> = spans.map(|span| (&*span.buffer, span.offset, span.bytes)).collect();
                self.ring.record(&mut encoder, step, &sources);
            }
            let submission = self.gpu.queue.submit([encoder.finish()]);
            if last {
                self.ring.submitted(submission);
            }
        }
        self.gpu.check()
    }

    /// The oldest step's results, if they have come; with `wait`, waits for them.
    pub fn take(&mut self, wait: bool) -> Result<Option<StepReading>> {
        let Some(reading) = self.ring.take_oldest(&self.gpu, wait)? else { return Ok(None) };
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(&reading.bytes);
        Ok(Some(self.read_step(reading.tag, &values)))
    }

    fn read_step(&self, step: u64, values: &[f32]) -> StepReading {
        let base = self.store.span(OBSERVATIONS);
        let at = |name: &str| (self.store.span(name).offset - base.offset) as usize / 4;
        let model = &self.blueprint.config.model;
        let mut head_entropy = Vec::new();
        let mut nonfinite_rows = Vec::new();
        if self.blueprint.config.observe.entropy {
            for layer in 0..model.n_layer {
                let heads = |name: String| values[at(&name)..][..model.n_head].to_vec();
                head_entropy.push(heads(names::head_entropy(layer)));
                nonfinite_rows.push(heads(names::nonfinite(layer)).iter().map(|&rows| rows as u64).sum());
            }
        }
        let mut rest = base.bytes as usize / 4;
        let verdict = &values[rest..rest + 4];
        rest += self.store.span(VERDICT).bytes as usize / 4;
        let scaling = self.blueprint.mixed().then(|| {
            let scaling = (values[rest + 2], values[rest + 3] != 0.0);
            rest += self.store.span(names::SCALING).bytes as usize / 4;
            scaling
        });
        let mut slopes = Vec::new();
        for (name, entry, layers) in &self.slopes {
            slopes.extend(std::iter::repeat_n(values[rest + entry], *layers));
            rest += self.store.span(name).bytes as usize / 4;
        }
        let looked = self.blueprint.config.looks_at_layers(step);
        let layers =
            looked.then(|| self.read_layers(&values[rest..], scaling.map_or(1.0, |(scale, _)| scale)));
        StepReading {
            step,
            loss: values[at(names::LOSS)],
            grad_norm: verdict[0],
            halted: verdict[3] != 0.0,
            head_entropy,
            nonfinite_rows,
            slopes,
            scaling,
            layers,
        }
    }

    /// What the layers held, of a step whose gradients are `scale` times as large.
    fn read_layers(&self, values: &[f32], scale: f32) -> LayerReading {
        let base = self.store.span(LAYERS).offset;
        let model = &self.blueprint.config.model;
        let of = |name: String, count| {
            let first = (self.store.span(&name).offset - base) as usize / 4;
            &values[first..first + count]
        };
        let grad_norm = |layer| of(names::layer_gradient(layer), WITHOUT_MEDIAN)[0] / scale;
        let residual = |layer| match of(names::residual(layer), WITH_MEDIAN) {
            [_, largest, median] => (*largest, *median),
            _ => unreachable!("three numbers"),
        };
        LayerReading {
            grad_norm: (0..model.n_layer).map(grad_norm).collect(),
            active: (0..model.n_layer).map(|l| of(names::active_units(l), model.inner()).to_vec()).collect(),
            residual: (0..model.n_layer).map(residual).collect(),
        }
    }

    /// Seconds that looking at the layers takes once; `None` where it is not done, or the device has no clock.
    pub fn looking_seconds(&self) -> Result<Option<f64>> {
        if !self.blueprint.config.observe.layers || !self.gpu.has_clock() {
            return Ok(None);
        }
        let look = || -> Result<f64> {
            let mut seconds = 0.0;
            for plan in [&self.micro, &self.update] {
                seconds += plan.profile_observing(&self.gpu)?.iter().map(|time| time.seconds).sum::<f64>();
            }
            Ok(seconds)
        };
        // The first time a driver may compile.
        Ok(Some(look()?.min(look()?)))
    }

    /// The summed loss over the targets of one batch, by the evaluation pass. Waits.
    pub fn evaluate(&self, batch: &Batch) -> Result<f64> {
        self.write_batch(batch, 0, 0, 1.0);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        self.store.clear(&mut encoder, OBSERVATIONS);
        self.evaluation.record(&mut encoder, false);
        self.gpu.queue.submit([encoder.finish()]);
        Ok(f64::from(self.store.read(&self.gpu, names::LOSS, 1)?[0]))
    }

    /// Puts a micro-batch in place as `submit` does, with cleared gradients, and runs nothing. For tracing.
    pub(super) fn stage(&self, step: u64, index: usize, of: usize, batch: &Batch) {
        self.write_batch(batch, step, index, 1.0 / (f64::from(batch.counted.max(1)) * of as f64));
        if index == 0 {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            self.store.clear(&mut encoder, Arenas::GRADIENTS);
            self.store.clear(&mut encoder, OBSERVATIONS);
            self.gpu.queue.submit([encoder.finish()]);
        }
    }

    fn write_batch(&self, batch: &Batch, step: u64, index: usize, scale: f64) {
        let store = &self.store;
        store.write(&self.gpu, names::TOKENS, &batch.tokens);
        store.write(&self.gpu, names::TARGETS, &batch.targets);
        store.write(&self.gpu, names::SORTED, &batch.sorted);
        store.write(&self.gpu, names::SEGMENTS, &batch.segments);
        store.write(&self.gpu, names::SCALE, &[scale as f32]);
        if store.contains(names::DROPOUT_KEY) {
            let config = &self.blueprint.config;
            let seed = config.train.seed;
            let counter = step * config.train.gradient_accumulation_steps as u64 + index as u64;
            let key = [seed as u32, (seed >> 32) as u32, counter as u32, (counter >> 32) as u32];
            store.write(&self.gpu, names::DROPOUT_KEY, &key);
        }
    }

    /// Gives the device back, without this run's memory on it.
    pub fn into_gpu(self) -> Gpu {
        self.gpu
    }

    /// What a step runs: tape and plan, and whether it is once for each micro-batch rather than once a step.
    pub fn training_plans(&self) -> [(&Tape, &Plan, bool); 2] {
        let Blueprint { micro, update, .. } = &self.blueprint;
        [(&micro.tape, &self.micro, true), (update, &self.update, false)]
    }

    /// Bytes of device memory in use.
    pub fn bytes(&self) -> u64 {
        self.store.bytes()
            + self.micro.pool_bytes()
            + self.copying.as_ref().map_or(0, Plan::pool_bytes)
            + self.ring.bytes()
    }
}

/// Names of what the host reads after a step, in this order; of some steps what the layers held as well.
fn read_back(mixed: bool, slopes: &[(String, usize, usize)], layers: bool) -> Vec<&str> {
    let always = [OBSERVATIONS, VERDICT].into_iter().chain(mixed.then_some(names::SCALING));
    let slopes = slopes.iter().map(|(name, ..)| name.as_str());
    always.chain(slopes).chain(layers.then_some(LAYERS)).collect()
}

/// For each slope tensor: its name, the entry in use, and how many layers use it.
fn slope_places(config: &Config) -> Vec<(String, usize, usize)> {
    use crate::config::{Activation, SlopeScope};
    let model = &config.model;
    if model.activation_function != Activation::LearnableLrelu {
        return Vec::new();
    }
    let own = |layer: usize| format!("transformer.h.{layer}.mlp.act.slopes");
    match model.slope_scope {
        SlopeScope::PerLayer => (0..model.n_layer).map(|layer| (own(layer), layer, 1)).collect(),
        SlopeScope::PerBlock => (0..model.n_layer).map(|layer| (own(layer), 0, 1)).collect(),
        SlopeScope::Shared => vec![(crate::model::SHARED_SLOPE.to_owned(), 0, model.n_layer)],
    }
}
