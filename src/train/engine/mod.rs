//! The device side of a run: memory, the three plans (micro-batch, update, evaluation), and the results of a step.

mod attached;
mod blueprint;
mod reading;
mod spectrum;
mod truncated;

pub use attached::Attached;
pub use blueprint::{Blueprint, Demand, update_tape};
pub use reading::StepReading;

use super::arena::Arenas;
use crate::config::{Accumulation, Config};
use crate::data::Batch;
use crate::device::{Commands, Device, Plan, Ring, Store};
use crate::fault::Result;
use crate::generate::{Reading, window};
use crate::model::names;
use crate::optimizer;

use crate::tape::{DType, Role, Tape, TensorInfo};
use blueprint::{EVALUATION_BYTES, HYPER, LAYERS, OBSERVATIONS, POLICY, RING, VERDICT, parts, small};
use reading::ReadBack;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::VecDeque;

/// The loss scale of mixed precision between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossScale {
    /// What the next step multiplies its gradient by; a power of two.
    pub scale: u32,
    /// Steps without overflow since the scale last changed.
    pub good_steps: u32,
}

/// The panic of a text that was not planned for.
const NO_PROMPT: &str = "a run without observe.sample_prompt continues no text";

/// How many targets of a step count.
fn targets(batches: &[Batch]) -> u64 {
    batches.iter().map(|batch| u64::from(batch.counted)).sum()
}

/// A run's device side, ready to step.
pub struct Engine {
    pub device: Device,
    pub store: Store,
    pub blueprint: Blueprint,
    pub micro: Plan,
    update: Plan,
    copying: Option<Plan>,
    uniting: Option<Plan>,
    settling: Option<Plan>,
    evaluation: Plan,
    /// Sums the moments of the feed-forward networks' units.
    spectrum: Option<Attached>,
    reading: Option<Reading>,
    ring: Ring,
    read_back: ReadBack,
    /// The summed losses of batches under evaluation.
    evaluations: RefCell<Ring>,
    /// Targets of each step in flight, oldest first.
    targets: VecDeque<u64>,
    record: bool,
}

impl Engine {
    /// Allocates, compiles and binds everything a run needs.
    ///
    /// # Errors
    /// Those of [`memory::check`](super::memory::check) and [`Plan::build`].
    pub fn new(device: impl Into<Device>, config: &Config) -> Result<Self> {
        let device = device.into();
        let blueprint = Blueprint::new(config, device.traits());
        super::memory::check(&blueprint, device.traits(), device.description())?;
        let mut store = Store::new(&device);
        let micro_tape = &blueprint.micro.tape;
        blueprint.arenas.allocate(&device, &mut store)?;
        for info in small(micro_tape, Role::Input) {
            store.allocate(&device, &info.name, info.shape.elements(), info.dtype)?;
        }
        for (tensor, values) in micro_tape.constants() {
            store.write(&device, &micro_tape.info(tensor).name, values);
        }
        let layers = blueprint.layer_parts();
        let every_step = |info: &&TensorInfo| !layers.iter().any(|(name, _)| *name == info.name);
        let observations = small(micro_tape, Role::Observation);
        let (observations, _) = parts(observations.filter(every_step).collect());
        store.allocate_arena(&device, OBSERVATIONS, &observations)?;
        if !layers.is_empty() {
            store.allocate_arena(&device, LAYERS, &layers)?;
        }
        for (name, elements) in [(POLICY, 2), (HYPER, optimizer::HYPER), (VERDICT, 4)] {
            store.allocate(&device, name, elements, DType::F32)?;
        }
        let [micro, update, evaluation] = Plan::build_all(&device, blueprint.tapes(), &store)?;
        let [copying, uniting, settling] = [&blueprint.copying, &blueprint.uniting, &blueprint.settling]
            .map(|tape| tape.as_ref().map(|tape| Plan::build(&device, tape, &store)).transpose());
        let (copying, uniting, settling) = (copying?, uniting?, settling?);
        let spectrum = blueprint.spectrum.as_ref();
        let spectrum = spectrum.map(|tape| Attached::new(&device, &mut store, tape)).transpose()?;
        let measuring = spectrum.as_ref().map(|spectrum| &spectrum.plan);
        let others = [&copying, &uniting, &settling].into_iter().flatten();
        let plans = [&micro, &update, &evaluation].into_iter().chain(others).chain(measuring);
        let reading = blueprint.reading.as_ref();
        let reading =
            reading.map(|tapes| Reading::new(&device, &mut store, &config.model, tapes)).transpose()?;
        Plan::load_kernels(&device, &plans.collect::<Vec<_>>())?;
        device.keep_pipelines();
        let read_back = ReadBack::new(&blueprint, &store);
        let ring = Ring::new(&device, RING, read_back.bytes())?;
        let evaluations = RefCell::new(Ring::new(&device, RING, EVALUATION_BYTES)?);
        let mut engine = Self {
            device,
            store,
            blueprint,
            micro,
            update,
            copying,
            uniting,
            settling,
            evaluation,
            spectrum,
            reading,
            ring,
            read_back,
            evaluations,
            targets: VecDeque::new(),
            record: false,
        };
        engine.set_record(false);
        engine.set_loss_scale(LossScale { scale: config.train.loss_scale, good_steps: 0 });
        Ok(engine)
    }

    /// Makes the f16 copies of the parameters if the precision is mixed. Needed after weights are written from outside; an
    /// update writes the copies itself.
    ///
    /// # Errors
    /// Those of [`Device::check`].
    pub fn copy_weights(&self) -> Result<()> {
        self.copying.as_ref().map_or(Ok(()), |plan| plan.run(&self.device))
    }

    /// Gives the weights that a run starts from what updates keep: vectors of length one, and singular vectors of scaled matrices.
    /// Needed before its first step, and before [`Self::copy_weights`]; updates do so themselves.
    ///
    /// # Errors
    /// Those of [`Device::check`].
    pub fn settle(&self) -> Result<()> {
        self.uniting.iter().try_for_each(|plan| plan.run(&self.device))?;
        let Some(plan) = &self.settling else { return Ok(()) };
        (0..optimizer::ITERATIONS).try_for_each(|_| plan.run(&self.device))
    }

    /// The loss scale after the last step submitted; `None` if the precision is not mixed. Waits.
    ///
    /// # Errors
    /// Those of [`Device::check`].
    pub fn loss_scale(&self) -> Result<Option<LossScale>> {
        if !self.blueprint.mixed() {
            return Ok(None);
        }
        let values = self.store.read(&self.device, names::LOSS_SCALE, 2)?;
        Ok(Some(LossScale { scale: values[0] as u32, good_steps: values[1] as u32 }))
    }

    /// Sets the loss scale; does nothing if the precision is not mixed.
    pub fn set_loss_scale(&self, to: LossScale) {
        if self.blueprint.mixed() {
            let scale = to.scale as f32;
            self.store.write(&self.device, names::LOSS_SCALE, &[scale, to.good_steps as f32, scale, 0.0]);
        }
    }

    /// With `record`, broken gradients reach the parameters; otherwise the gate closes at the first one.
    pub fn set_record(&mut self, record: bool) {
        self.record = record;
        let max_norm = self.blueprint.config.train.max_grad_norm as f32;
        self.store.write(&self.device, POLICY, &[max_norm, f32::from(u8::from(record))]);
        // A fresh verdict: earlier non-finite numbers no longer count.
        self.store.write(&self.device, VERDICT, &[0.0_f32; 4]);
    }

    /// Whether a step can be submitted without taking a reading first.
    pub fn ready(&self) -> bool {
        !self.ring.full()
    }

    /// Steps whose readings have not been taken.
    pub fn in_flight(&self) -> usize {
        self.ring.in_flight()
    }

    /// Records and submits one step, as one or more submissions per micro-batch, and returns at once.
    ///
    /// `updates` counts the updates made before it.
    ///
    /// # Errors
    /// Those of [`Device::check`].
    pub fn submit(&mut self, step: u64, updates: u64, learning_rate: f64, batches: &[Batch]) -> Result<()> {
        let hyper = self.blueprint.config.train.hyper(learning_rate, updates);
        let looks = self.blueprint.config.looks_at_layers(step);
        for (i, batch) in batches.iter().enumerate() {
            self.write_batch(batch, step, i, self.target_weight(batches, i));
            let mut commands = Commands::new(&self.device);
            if i == 0 {
                commands.clear(&self.store, Arenas::GRADIENTS);
                commands.clear(&self.store, OBSERVATIONS);
            }
            let last = i + 1 == batches.len();
            commands.replay(&self.micro, looks && last);
            if last {
                self.store.write(&self.device, HYPER, &hyper);
                commands.replay(&self.update, looks);
                let names = self.read_back.copied(looks).map(|name| (name, None));
                commands.read_back(&mut self.ring, step, &self.store, names);
            }
            let submission = commands.send();
            if last {
                self.ring.sent(submission);
            }
        }
        self.targets.push_back(targets(batches));
        self.device.check()
    }

    /// The oldest step's results, if they have arrived; with `wait`, waits for them.
    ///
    /// # Errors
    /// Those of [`Device::check`].
    pub fn take(&mut self, wait: bool) -> Result<Option<StepReading>> {
        let Some(reading) = self.ring.take_oldest(&self.device, wait)? else { return Ok(None) };
        let targets = self.targets.pop_front().expect("every step under way has its count");
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(&reading.bytes);
        Ok(Some(self.read_back.read(&self.blueprint.config, reading.tag, targets, &values)))
    }

    /// Seconds that one observation of the layers takes; `None` if layers are not observed, or the adapter has no clock.
    ///
    /// # Errors
    /// Those of [`Device::check`].
    pub fn looking_seconds(&self) -> Result<Option<f64>> {
        if !self.blueprint.config.observe.layers {
            return Ok(None);
        }
        let look = || -> Result<Option<f64>> {
            let mut seconds = 0.0;
            for plan in [&self.micro, &self.update] {
                let Some(times) = plan.profile_observing(&self.device)? else { return Ok(None) };
                seconds += times.iter().map(|time| time.seconds).sum::<f64>();
            }
            Ok(Some(seconds))
        };
        // The driver may compile on the first run.
        let Some(first) = look()? else { return Ok(None) };
        Ok(look()?.map(|second| first.min(second)))
    }

    /// The summed loss over the targets of one batch, by the evaluation pass. Waits.
    ///
    /// # Errors
    /// Those of [`Device::check`].
    ///
    /// # Panics
    /// If losses that [`Self::begin_evaluation`] began have not been taken.
    pub fn evaluate(&self, batch: &Batch) -> Result<f64> {
        assert_eq!(self.evaluations.borrow().in_flight(), 0, "losses are under way");
        self.begin_evaluation(batch)?;
        Ok(self.take_evaluation(true)?.expect("one is under way"))
    }

    /// Whether another evaluation can be begun without taking a loss first.
    pub fn ready_to_evaluate(&self) -> bool {
        !self.evaluations.borrow().full()
    }

    /// Starts the evaluation of one batch on the device and returns at once.
    ///
    /// # Errors
    /// Those of [`Device::check`].
    pub fn begin_evaluation(&self, batch: &Batch) -> Result<()> {
        self.begin_evaluation_of(&self.evaluation, batch)
    }

    fn begin_evaluation_of(&self, plan: &Plan, batch: &Batch) -> Result<()> {
        self.write_batch(batch, 0, 0, 1.0);
        let mut commands = Commands::new(&self.device);
        commands.clear(&self.store, OBSERVATIONS);
        commands.replay(plan, false);
        let mut ring = self.evaluations.borrow_mut();
        let loss = std::iter::once((names::LOSS, Some(EVALUATION_BYTES)));
        commands.read_back(&mut ring, 0, &self.store, loss);
        ring.sent(commands.send());
        self.device.check()
    }

    /// The oldest summed loss begun, if it has arrived; with `wait`, waits for it. `None` if nothing is in flight.
    ///
    /// # Errors
    /// Those of [`Device::check`].
    pub fn take_evaluation(&self, wait: bool) -> Result<Option<f64>> {
        let reading = self.evaluations.borrow_mut().take_oldest(&self.device, wait)?;
        Ok(reading.map(|reading| f64::from(bytemuck::pod_read_unaligned::<f32>(&reading.bytes))))
    }

    /// Begins a text with the weights as they are now, for [`Self::next_logits`].
    ///
    /// # Errors
    /// Those of [`Device::check`].
    ///
    /// # Panics
    /// If `observe.sample_prompt` is not set.
    pub fn begin_text(&mut self) -> Result<()> {
        self.reading.as_mut().expect(NO_PROMPT).begin(&self.device)
    }

    /// The logits `[vocab_size]` of the token that follows the newest part of `text` which the model can read. Waits.
    ///
    /// # Errors
    /// Those of [`Device::check`].
    ///
    /// # Panics
    /// If `observe.sample_prompt` is not set, or the text is empty.
    pub fn next_logits(&mut self, text: &[u32]) -> Result<Vec<f32>> {
        let reading = self.reading.as_mut().expect(NO_PROMPT);
        reading.logits((&self.device, &self.store), window(text, reading.context()))
    }

    /// Prepares micro-batch `index` of a step as `submit` does, the first with cleared gradients, without running anything. For
    /// tracing.
    pub(super) fn stage(&self, step: u64, index: usize, batches: &[Batch]) {
        self.write_batch(&batches[index], step, index, self.target_weight(batches, index));
        if index == 0 {
            let mut commands = Commands::new(&self.device);
            commands.clear(&self.store, Arenas::GRADIENTS);
            commands.clear(&self.store, OBSERVATIONS);
            commands.send();
        }
    }

    /// The weight of one target of micro-batch `index` in the loss of its step; 0 if no target counts.
    fn target_weight(&self, batches: &[Batch], index: usize) -> f64 {
        let count = match self.blueprint.config.train.accumulation {
            Accumulation::Mean => targets(batches) as f64,
            Accumulation::MeanOfMeans => f64::from(batches[index].counted) * batches.len() as f64,
        };
        if count > 0.0 { count.recip() } else { 0.0 }
    }

    fn write_batch(&self, batch: &Batch, step: u64, index: usize, scale: f64) {
        let store = &self.store;
        store.write(&self.device, names::TOKENS, &batch.tokens);
        store.write(&self.device, names::TARGETS, &batch.targets);
        store.write(&self.device, names::SORTED, &batch.sorted);
        store.write(&self.device, names::SEGMENTS, &batch.segments);
        store.write(&self.device, names::TARGET_WEIGHT, &[scale as f32]);
        if store.contains(names::TAPER) {
            store.write(&self.device, names::TAPER, &self.blueprint.config.train.taper_at(step));
        }
        if store.contains(names::STATISTICS) {
            let schedule = self.blueprint.config.train.statistics_at(step, index);
            store.write(&self.device, names::STATISTICS, &schedule);
        }
        if store.contains(names::REMOVAL) {
            let config = &self.blueprint.config;
            let schedule = config.train.removal_at(step, config.model.n_layer);
            store.write(&self.device, names::REMOVAL, &schedule);
        }
        if store.contains(names::DROPOUT_KEY) {
            let config = &self.blueprint.config;
            let seed = config.train.seed;
            let counter = step * config.train.gradient_accumulation_steps as u64 + index as u64;
            let key = [seed as u32, (seed >> 32) as u32, counter as u32, (counter >> 32) as u32];
            store.write(&self.device, names::DROPOUT_KEY, &key);
        }
    }

    /// Gives the device back, without this run's memory on it.
    pub fn into_device(self) -> Device {
        self.device
    }

    /// What a step runs: tapes and plans, each with whether it runs once per micro-batch rather than once per step.
    pub fn training_plans(&self) -> [(&Tape, &Plan, bool); 2] {
        let Blueprint { micro, update, .. } = &self.blueprint;
        [(&micro.tape, &self.micro, true), (update, &self.update, false)]
    }

    /// Bytes of device memory in use.
    pub fn bytes(&self) -> u64 {
        self.store.bytes()
            + self.micro.pool_bytes()
            + [&self.copying, &self.uniting, &self.settling]
                .into_iter()
                .flatten()
                .map(Plan::pool_bytes)
                .sum::<u64>()
            + self.spectrum.as_ref().map_or(0, |spectrum| spectrum.plan.pool_bytes())
            + self.reading.as_ref().map_or(0, Reading::pool_bytes)
            + self.ring.bytes()
            + self.evaluations.borrow().bytes()
    }
}
