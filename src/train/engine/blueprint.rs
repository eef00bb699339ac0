//! What a run needs from a device, as plain data: tapes, arenas, bytes.

use crate::config::{Config, Precision};
use crate::generate::{reading_memory, reading_tapes};
use crate::model::pass::Recompute;
use crate::model::{Parameter, Pass, Recorded, names, record};
use crate::observe::quantities::LAYER_GRAD_NORM;
use crate::ops::Traits;
use crate::ops::cross_entropy::Logits;
use crate::ops::magnitudes::WITHOUT_MEDIAN;
use crate::optimizer::{self, Update};
use crate::plan::{Pool, padded_bytes};
use crate::tape::shapes;
use crate::tape::{DType, Role, Tape, TensorId, TensorInfo};
use crate::train::arena::Arenas;
use std::collections::BTreeSet;

/// Steps whose results may be in flight while the next one is recorded.
pub(super) const RING: usize = 3;

/// Bytes of the loss of one evaluated batch.
pub(super) const EVALUATION_BYTES: u64 = 4;

pub(super) const POLICY: &str = "policy";
pub(super) const HYPER: &str = "hyper";
pub(super) const VERDICT: &str = "verdict";
/// The arena of everything that the host reads back after each step.
pub(super) const OBSERVATIONS: &str = "observations";
/// The arena of what it also reads back after steps whose layers are observed.
pub(super) const LAYERS: &str = "layers";

/// What a run needs from a device. [`Engine::new`](super::Engine::new) allocates it, `train --dry-run` adds it up.
pub struct Blueprint {
    pub micro: Recorded,
    pub update: Tape,
    /// Makes the f16 copies of the parameters, if there are any.
    pub(super) copying: Option<Tape>,
    /// Gives the vectors of the weights length one, if they have it after each update.
    pub(super) uniting: Option<Tape>,
    /// Makes a power iteration of every singular vector, if there are any.
    pub(super) settling: Option<Tape>,
    pub(super) evaluation: Recorded,
    /// Sums the moments of the feed-forward networks' units, if their spectra are measured.
    pub(super) spectrum: Option<Tape>,
    /// Of the model that continues a text, if the run does so at its evaluations.
    pub(super) reading: Option<[Tape; 2]>,
    pub arenas: Arenas,
    pub(super) config: Config,
}

/// Bytes of device memory by purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    pub parameters: u64,
    /// f16 copies of parameters.
    pub copies: u64,
    pub gradients: u64,
    /// What the optimizer keeps.
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
        let pass = training_pass(config, device);
        let micro = record(&config.model, &pass);
        let evaluating = evaluation_pass(config, device);
        let evaluation = record(&config.model, &evaluating);
        let spectrum = (config.observe.spectrum && config.model.units() > 0)
            .then(|| record(&config.model, &Pass { spectrum: true, ..evaluating }).tape);
        let train = &config.train;
        let parameters = crate::model::parameters(&config.model, train.decay_slopes, train.precision);
        let arenas = Arenas::new(parameters, train.optimizer.states);
        let update = update_tape(config, &arenas);
        let copying = (arenas.copied() > 0).then(|| {
            let mut tape = Tape::new();
            let parameters = tape.observation(Arenas::PARAMETERS, &[arenas.elements()]);
            let copies = copies(&mut tape, &arenas);
            tape.half_into(parameters, copies);
            tape
        });
        let on_parameters = |record: &dyn Fn(&mut Tape, TensorId)| {
            let mut tape = Tape::new();
            let parameters = tape.observation(Arenas::PARAMETERS, &[arenas.elements()]);
            record(&mut tape, parameters);
            tape
        };
        let places = arenas.places();
        let uniting = train.unit_weights.then(|| {
            on_parameters(&|tape, parameters| optimizer::unite(tape, parameters, None, &places, None))
        });
        let has_vectors = |parameter: &Parameter| parameter.declared.singular_of.is_some();
        let settling =
            arenas.parameters().iter().any(has_vectors).then(|| {
                on_parameters(&|tape, parameters| optimizer::iterate(tape, parameters, &places, None))
            });
        drop(places);
        let reading = config.observe.sample_prompt.is_some().then(|| reading_tapes(&config.model, device));
        Self {
            micro,
            update,
            copying,
            uniting,
            settling,
            evaluation,
            spectrum,
            reading,
            arenas,
            config: config.clone(),
        }
    }

    /// The device memory this run takes.
    pub fn demand(&self, device: &Traits) -> Demand {
        let arena = self.arenas.elements() as u64 * 4;
        let small = |tape: &Tape, role: Role| parts(small(tape, role).collect()).1;
        let numbers = |count| padded_bytes(count, DType::F32);
        let observations = small(&self.micro.tape, Role::Observation) + parts(self.update.observed()).1;
        // A parameter's span in its arena is padded for its f16 copy as well.
        let watched: u64 = self.watched().map(|p| 2 * padded_bytes(p.elements(), DType::F16)).sum();
        let reading = self.reading.iter().flat_map(reading_memory);
        let reading: u64 = reading.map(|info| padded_bytes(info.shape.elements(), info.dtype)).sum();
        let scaling = if self.mixed() { numbers(4) } else { 0 };
        let ring = RING as u64 * (observations + numbers(4) + scaling + watched + EVALUATION_BYTES);
        Demand {
            parameters: arena,
            copies: self.arenas.copied() as u64 * 2,
            gradients: arena,
            moments: self.arenas.states().len() as u64 * arena,
            intermediates: Pool::plan(self.tapes(), device).0.bytes()
                + [&self.copying, &self.uniting, &self.settling, &self.spectrum]
                    .into_iter()
                    .flatten()
                    .map(|tape| Pool::plan([tape], device).0.bytes())
                    .sum::<u64>()
                + self.reading.as_ref().map_or(0, |tapes| Pool::plan(tapes.each_ref(), device).0.bytes()),
            other: small(&self.micro.tape, Role::Input)
                + observations
                + self.spectrum.as_ref().map_or(0, |tape| small(tape, Role::Observation))
                + reading
                + ring
                + 3 * numbers(8),
        }
    }

    /// Names and bytes of what is read back if the layers are observed.
    pub(super) fn layer_parts(&self) -> Vec<(String, u64)> {
        let observed = self.micro.tape.observed().into_iter().chain(self.update.observed());
        parts(observed.collect()).0
    }

    /// The parameters with numbers that are read back after each step.
    pub(super) fn watched(&self) -> impl Iterator<Item = &Parameter> {
        self.arenas.parameters().iter().filter(|parameter| parameter.declared.watched.is_some())
    }

    pub(super) fn mixed(&self) -> bool {
        self.config.train.precision == Precision::Mixed
    }

    /// The tapes of a run, which never run at the same time: training, update, evaluation.
    pub fn tapes(&self) -> [&Tape; 3] {
        [&self.micro.tape, &self.update, &self.evaluation.tape]
    }

    /// The tuning keys of all ops with several variants on the device.
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

/// The pass of a micro-batch.
fn training_pass(config: &Config, device: &Traits) -> Pass {
    let recompute = config.train.recompute;
    let kept_bytes = if recompute == Recompute::None { device.kept_logits() } else { 0 };
    Pass {
        batch: config.train.batch_size,
        sequence: config.train.sequence_length,
        micro_batches: config.train.gradient_accumulation_steps,
        accumulation: config.train.accumulation,
        training: true,
        entropy: config.observe.entropy,
        layers: config.observe.layers,
        spectrum: false,
        truncated: false,
        logits: Logits { piece_bytes: device.max_binding, kept_bytes },
        recompute,
        precision: config.train.precision,
    }
}

/// The pass of a batch that is evaluated.
pub(super) fn evaluation_pass(config: &Config, device: &Traits) -> Pass {
    Pass { training: false, entropy: false, layers: false, ..training_pass(config, device) }
}

/// The tensors of a role that have memory of their own.
pub(super) fn small(tape: &Tape, role: Role) -> impl Iterator<Item = &TensorInfo> {
    tape.tensors().iter().filter(move |info| info.role == role && info.parent.is_none())
}

fn flops(tape: &Tape) -> u64 {
    tape.acting().map(|node| node.op.flops(&shapes(tape, node))).sum()
}

/// Names and bytes of tensors, and the total of these bytes.
pub(super) fn parts(infos: Vec<&TensorInfo>) -> (Vec<(String, u64)>, u64) {
    let part = |info: &TensorInfo| (info.name.clone(), padded_bytes(info.shape.elements(), info.dtype));
    let parts: Vec<_> = infos.into_iter().map(part).collect();
    let bytes = parts.iter().map(|&(_, bytes)| bytes).sum();
    (parts, bytes)
}

/// The optimizer's tape: the verdict on the gradient, then the update.
pub fn update_tape(config: &Config, arenas: &Arenas) -> Tape {
    let mut tape = Tape::new();
    let all = [arenas.elements()];
    let loss = tape.observation(names::LOSS, &[1]);
    let policy = tape.input(POLICY, &[2], DType::F32);
    let hyper = tape.input(HYPER, &[optimizer::HYPER], DType::F32);
    let verdict = tape.observation(VERDICT, &[4]);
    let [gradients, parameters] =
        [Arenas::GRADIENTS, Arenas::PARAMETERS].map(|name| tape.observation(name, &all));
    let states: Vec<_> = arenas.states().iter().map(|state| tape.observation(state.arena, &all)).collect();
    let mixed = config.train.precision == Precision::Mixed;
    let scaling = mixed.then(|| (tape.observation(names::LOSS_SCALE, &[4]), config.train.loss_scale_window));
    let copies = mixed.then(|| copies(&mut tape, arenas));
    tape.gradient_norm(gradients, loss, policy, verdict, scaling);
    if config.observe.layers {
        tape.observing(|tape| {
            for layer in 0..config.model.n_layer {
                let out = tape.observation(&names::layer_gradient(layer), &[WITHOUT_MEDIAN]);
                tape.watch_gradient(out, &LAYER_GRAD_NORM, layer, 0..1);
                tape.magnitudes_of(gradients, arenas.layer(layer), out);
            }
        });
    }
    let (states, places) = (&states[..], &arenas.places()[..]);
    let settings = &config.train.settings();
    let update = Update { settings, gradients, parameters, states, copies, hyper, verdict, places };
    if config.train.adaptive_clipping > 0.0 {
        optimizer::clip_units(&mut tape, &update, config.train.adaptive_clipping);
    }
    let watches = config.observe.layers;
    let parts = if watches { optimizer::by_layer(places) } else { vec![places] };
    for places in parts {
        let update = Update { places, ..update };
        let record = |tape: &mut Tape| {
            let norms = config.train.project_weights.then(|| optimizer::measure(tape, &update));
            (config.train.optimizer.record)(tape, &update);
            if let Some(norms) = norms {
                optimizer::project(tape, &update, &norms);
            }
            if config.train.unit_weights {
                optimizer::unite(tape, parameters, copies, places, Some(verdict));
            }
        };
        match watches {
            true => optimizer::watch_change(&mut tape, &update, record),
            false => record(&mut tape),
        }
    }
    optimizer::iterate(&mut tape, parameters, places, Some(verdict));
    tape
}

/// Declares the arena of the f16 copies.
fn copies(tape: &mut Tape, arenas: &Arenas) -> TensorId {
    tape.observation_of(Arenas::COPIES, &[arenas.copied()], DType::F16)
}
