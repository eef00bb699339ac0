//! The loop: batches in, steps submitted, readings taken as they arrive, evaluation and checkpoints on their cadence.
//! `written` logs a step, `nonfinite` handles one that breaks, `origin` checks a run before it resumes.

mod evaluation;
mod journal;
mod nonfinite;
mod origin;
mod voice;
mod written;

use super::checkpoint::{Checkpoint, ModelTensors, Snapshot, TensorSource, TrainerState};
use super::engine::{Engine, StepReading};
use super::evaluate::left_out;
use super::kernel_choice;
use super::loader::{self, Loader, check_start, load_weights};
use super::places;
use super::run_folder::RunFolder;
use crate::config::{Config, OnNonfinite, Order};
use crate::data::{Batch, Batches, DataSeal};
use crate::device::Device;
use crate::fault::{Fault, Kind, Result};
use crate::hub;
use crate::observe::log::FoundLog;
use crate::observe::record::{Eval, Measured, Nonfinite, Sample};
use crate::observe::units::ActiveUnits;
use crate::shell;
use journal::Journal;
use origin::Data;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use voice::Voice;

/// What a trainer reports to its watcher.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A step's results arrived.
    Step {
        /// Counted from 0.
        step: u64,
        /// Everything that was measured, logged or not.
        values: &'a Measured,
    },
    Eval(Eval),
    /// A text of an evaluation.
    Sample(&'a Sample),
    Checkpoint(&'a Path),
    /// A non-finite number arose, and training goes on.
    Nonfinite(&'a Nonfinite),
    /// Something worth a line, such as a damaged checkpoint that was skipped.
    Note(String),
}

/// A run under way.
pub struct Trainer {
    config: Config,
    engine: Engine,
    layout: ModelTensors,
    batches: Batches,
    held_out: Batches,
    run: RunFolder,
    journal: Journal,
    /// The next step to submit.
    step: u64,
    /// Updates made before it, if every step under way succeeds.
    updates: u64,
    /// Whether a non-finite number has been recorded, and updates continue regardless.
    recording: bool,
    /// Whether the evaluation after the last step was interrupted.
    owes_evaluation: bool,
    /// The last evaluation of this session, if it was not finite.
    broken_evaluation: Option<Eval>,
    /// Consecutive steps skipped up to the last one, by `on_nonfinite = "skip"`.
    skipped: u64,
    /// Steps of this session without a target that counts.
    without_targets: u64,
    /// How the data is identified, now and in the second format of checkpoints.
    data: (DataSeal, u64),
    /// Units active since the last `layers` record.
    active_units: ActiveUnits,
    /// Whether the cost of observing the layers has been reported.
    cost_told: bool,
    /// What continues `observe.sample_prompt`.
    voice: Option<Voice>,
    /// When the last reading arrived.
    clock: Instant,
    scratch: Vec<Batch>,
}

/// The oldest step under way, if it was halted: the loop returns early with it.
type Halted = Box<StepReading>;

impl Trainer {
    /// Starts a run in a new, locked folder: fresh weights, or those of `train.init_from`.
    ///
    /// # Errors
    /// [`Kind::Data`], [`Kind::Checkpoint`], [`Kind::Memory`], [`Kind::Device`] or [`Kind::Io`]: whatever keeps the run
    /// from beginning.
    pub fn start(device: impl Into<Device>, config: &Config, run: RunFolder) -> Result<Self> {
        Self::start_on(|_| Ok(device.into()), config, run)
    }

    /// The same on a device that `make_ready` provides. It may take minutes, and is not called before data and weights are
    /// known to be good.
    ///
    /// # Errors
    /// As [`Self::start`], and those of `make_ready`.
    pub fn start_on(
        make_ready: impl FnOnce(&RunFolder) -> Result<Device>,
        config: &Config,
        run: RunFolder,
    ) -> Result<Self> {
        let data = Data::open(Path::new(&config.data.path), config, &run)?;
        check_start(config)?;
        let device = make_ready(&run)?;
        let weights = config.train.init_from.as_ref().map(PathBuf::from);
        Self::begin(device, config, run, (data, weights))
    }

    /// Starts with this data, from these weights or fresh ones.
    fn begin(
        device: Device,
        config: &Config,
        run: RunFolder,
        (data, weights): (Data, Option<PathBuf>),
    ) -> Result<Self> {
        let trainer = Self::open(device, config, run, data, None)?;
        loader::begin(&trainer.engine, config, weights.as_deref())?;
        Ok(trainer)
    }

    /// Resumes from the newest whole checkpoint of a locked folder, or from the beginning if there is none.
    ///
    /// # Errors
    /// As [`Self::start`]; [`Kind::Config`] if the configuration or the data differs from the checkpoint's.
    pub fn resume(
        device: impl Into<Device>,
        config: &Config,
        run: RunFolder,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Self> {
        let mut device = device.into();
        let Some(latest) = Checkpoint::latest(&run)? else {
            watch(Event::Note("there is no checkpoint yet; starting from the beginning".to_owned()));
            let found = (Data::find(&run, config, None)?, places::init_from(&run, config));
            return Self::begin(device, config, run, found);
        };
        for fault in &latest.skipped {
            watch(Event::Note(format!("skipped a damaged checkpoint: {fault}")));
        }
        let checkpoint = &latest.checkpoint;
        origin::check_state(config, checkpoint)?;
        let data = Data::find(&run, config, Some(checkpoint))?;
        if let Some(kernels) = &checkpoint.state().kernels {
            device.set_choices(kernels.clone());
        }
        let mut trainer = Self::open(device, config, run, data, Some(checkpoint))?;
        trainer.restore(checkpoint)?;
        Ok(trainer)
    }

    /// Opens the device side and the log. Keeps the part of the log that `checkpoint` counts, once it is known to be this
    /// run's.
    fn open(
        device: Device,
        config: &Config,
        run: RunFolder,
        data: Data,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Self> {
        let train = &config.train;
        let Data { corpus, seal, fingerprint, voice } = data;
        let (written, step) = checkpoint.map_or((0, 0), |checkpoint| {
            let state = checkpoint.state();
            (state.metrics_bytes, state.step)
        });
        let log = FoundLog::look(&run.metrics(), written)?;
        if let Some(checkpoint) = checkpoint {
            origin::check_log(&log, checkpoint)?;
        }
        places::keep(&run, config, corpus.folder())?;
        if let Some(tokenizer) = corpus.tokenizer()? {
            run.keep_tokenizer(&tokenizer)?;
        }
        let end = left_out(config, &corpus);
        let batches = Batches::new(corpus.train, config.data.order, train.seed, end);
        let held_out = Batches::new(corpus.valid, Order::Sequential, 0, end);
        let engine = Engine::new(device, config)?;
        let layout = ModelTensors::of(config.model.family, engine.blueprint.arenas.parameters());
        let journal = Journal::begin(log.open()?, &run, config, step);
        let empty = Batch::new(train.batch_size, train.sequence_length);
        Ok(Self {
            config: config.clone(),
            engine,
            layout,
            batches,
            held_out,
            run,
            journal,
            step: 0,
            updates: 0,
            recording: false,
            owes_evaluation: false,
            broken_evaluation: None,
            skipped: 0,
            without_targets: 0,
            data: (seal, fingerprint),
            active_units: ActiveUnits::default(),
            cost_told: false,
            voice,
            clock: Instant::now(),
            scratch: vec![empty; train.gradient_accumulation_steps],
        })
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let state = checkpoint.state().clone();
        load_weights(&self.engine, checkpoint.model(&self.layout)?)?;
        let Engine { device, store, .. } = &self.engine;
        let mut loader = Loader::new(device, store);
        let mut states = checkpoint.states(&self.layout, self.engine.blueprint.arenas.states())?;
        for i in 0..states.len() {
            let tensor = states.read(i)?;
            // The file names states `PREFIX.NAME`, the arenas `PREFIX NAME`.
            loader.write(&tensor.name.replacen('.', " ", 1), &tensor.data)?;
        }
        self.step = state.step;
        self.updates = state.optimizer_steps;
        self.recording = state.recording && self.config.train.on_nonfinite == OnNonfinite::Record;
        self.owes_evaluation = state.owes_evaluation;
        self.active_units = ActiveUnits::from_hex(&state.active_units, self.config.model.units());
        self.engine.set_record(self.recording);
        if let Some(loss_scale) = state.loss_scale {
            self.engine.set_loss_scale(loss_scale);
        }
        self.batches.seek(state.data_cursor);
        Ok(())
    }

    /// The step that comes next.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The run's folder.
    pub fn run_folder(&self) -> &RunFolder {
        &self.run
    }

    /// The device side.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Releases the run's folder and returns the device.
    pub fn into_device(self) -> Device {
        self.engine.into_device()
    }

    /// Trains to the last step. If `stop` becomes true, finishes the step, writes a checkpoint and returns a fault of kind
    /// [`Kind::Interrupted`].
    ///
    /// # Errors
    /// [`Kind::Interrupted`] if it was stopped, [`Kind::NonFinite`] if a number is not finite and the run is configured to
    /// stop; those of the device and of writing.
    pub fn train(&mut self, stop: &AtomicBool, watch: &mut dyn FnMut(Event)) -> Result<()> {
        self.run.keep();
        if self.owes_evaluation {
            self.write_evaluation(stop, watch)?;
            if !self.owes_evaluation {
                self.save(watch)?;
            }
        }
        self.clock = Instant::now();
        while !stop.load(Ordering::Relaxed) && !self.done() {
            if let Some(halted) = self.advance(stop, watch)? {
                self.answer(&halted, stop, watch)?;
            }
        }
        if self.done() { self.check_last_evaluation() } else { self.interrupted(stop, watch) }
    }

    /// Writes a checkpoint of a run as it begins, before its first step.
    ///
    /// # Errors
    /// Those of writing.
    pub fn save_beginning(&mut self, watch: &mut dyn FnMut(Event)) -> Result<()> {
        self.run.keep();
        self.save(watch)
    }

    /// Whether nothing is left to do.
    pub fn done(&self) -> bool {
        self.step >= self.config.train.steps && !self.owes_evaluation
    }

    /// One step of the loop: submits, takes the readings that have arrived, and keeps the cadences.
    fn advance(&mut self, stop: &AtomicBool, watch: &mut dyn FnMut(Event)) -> Result<Option<Halted>> {
        while !self.engine.ready() {
            if let Some(halted) = self.take(true, watch)? {
                return Ok(Some(halted));
            }
        }
        // The wait may have been long; do not begin an unwanted step after it.
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.fill(self.step);
        let learning_rate = self.config.train.learning_rate_at(self.step);
        self.engine.submit(self.step, self.updates, learning_rate, &self.scratch)?;
        self.step += 1;
        self.updates += 1;
        if let Some(halted) = self.take(false, watch)? {
            return Ok(Some(halted));
        }
        self.keep_cadence(stop, watch)
    }

    /// Evaluates and saves if either is due after the steps done so far.
    fn keep_cadence(&mut self, stop: &AtomicBool, watch: &mut dyn FnMut(Event)) -> Result<Option<Halted>> {
        let train = &self.config.train;
        let last = train.is_end(self.step);
        let evaluates = last || self.step.is_multiple_of(train.eval_every);
        let saves = last || self.step.is_multiple_of(train.checkpoint_every);
        if evaluates || saves {
            if let Some(halted) = self.drain(watch)? {
                return Ok(Some(halted));
            }
            if evaluates {
                self.write_evaluation(stop, watch)?;
            }
            // If the evaluation was interrupted, the run ends, and writes a checkpoint then.
            if saves && !self.owes_evaluation {
                self.save(watch)?;
            }
            self.clock = Instant::now();
        }
        Ok(None)
    }

    /// Fills the scratch batches with those of a step; its place in the data depends only on its number.
    fn fill(&mut self, step: u64) {
        let train = &self.config.train;
        let sequences = (train.batch_size * train.gradient_accumulation_steps) as u64;
        self.batches.seek(step * sequences);
        for batch in &mut self.scratch {
            self.batches.fill(batch);
        }
    }

    /// Takes all readings that have arrived; with `wait`, waits for the first.
    fn take(&mut self, wait: bool, watch: &mut dyn FnMut(Event)) -> Result<Option<Halted>> {
        let mut come = Vec::new();
        let mut halted = None;
        while let Some(reading) = self.engine.take(wait && come.is_empty())? {
            if reading.halted {
                halted = Some(Box::new(reading));
                break;
            }
            come.push(reading);
        }
        if come.is_empty() {
            return Ok(halted);
        }
        // If several readings arrive together, the time of each step is unknown, so all get the mean.
        let seconds = self.seconds_since_last() / come.len() as f64;
        for reading in come {
            self.write_down(reading, seconds, watch)?;
        }
        Ok(halted)
    }

    /// Seconds since the last call.
    fn seconds_since_last(&mut self) -> f64 {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.clock, now)).as_secs_f64()
    }

    /// Takes every reading in flight.
    fn drain(&mut self, watch: &mut dyn FnMut(Event)) -> Result<Option<Halted>> {
        while self.engine.in_flight() > 0 {
            if let Some(halted) = self.take(true, watch)? {
                return Ok(Some(halted));
            }
        }
        Ok(None)
    }

    fn interrupted(&mut self, stop: &AtomicBool, watch: &mut dyn FnMut(Event)) -> Result<()> {
        if let Some(halted) = self.drain(watch)? {
            self.answer(&halted, stop, watch)?;
        }
        self.save(watch)?;
        Err(Fault::new(
            Kind::Interrupted,
            format!("interrupted after step {}; a checkpoint was written", self.step),
        )
        .at(self.run.path().display())
        .remedy(format!("continue with: {}", shell::resume(self.run.path()))))
    }

    /// Writes a checkpoint.
    ///
    /// # Errors
    /// [`Kind::NonFinite`] if a weight or moment is not finite and the run does not record such numbers: every checkpoint
    /// of such a run must be good to go on from.
    fn save(&mut self, watch: &mut dyn FnMut(Event)) -> Result<()> {
        let metrics_bytes = self.journal.sync()?;
        self.tell_trouble(watch);
        let train = &self.config.train;
        let sequences = (train.batch_size * train.gradient_accumulation_steps) as u64;
        let state = TrainerState {
            step: self.step,
            data_cursor: self.step * sequences,
            seed: train.seed,
            optimizer_steps: self.updates,
            metrics_bytes,
            metrics_sha256: Some(self.journal.sha256()),
            recording: self.recording,
            owes_evaluation: self.owes_evaluation,
            data_fingerprint: self.data.1,
            data: Some(self.data.0.clone()),
            config: Some(self.config.lasting()),
            kernels: Some(kernel_choice::used(&self.engine.blueprint, self.engine.device.traits())),
            loss_scale: self.engine.loss_scale()?,
            active_units: self.active_units.to_hex(),
        };
        let Engine { device, store, blueprint, .. } = &self.engine;
        let any = train.on_nonfinite == OnNonfinite::Record;
        let source = |of| {
            let source = blueprint.arenas.source(device, store, of);
            if any { source } else { source.finite() }
        };
        let mut model = source(None);
        let states = blueprint.arenas.states();
        let mut sources: Vec<_> = states.iter().map(|state| source(Some(state))).collect();
        let sources = sources.iter_mut().map(|source| source as &mut dyn TensorSource);
        let described = hub::described(&self.config.model, self.data.0.end_of_text, false);
        let snapshot = Snapshot {
            state,
            layout: &self.layout,
            described: &described,
            model: &mut model,
            states: states.iter().copied().zip(sources).collect(),
        };
        let path =
            Checkpoint::write(&self.run, snapshot, train.keep_checkpoints).map_err(|fault| {
                match fault.kind {
                    Kind::NonFinite => {
                        fault.at(self.run.path().display()).remedy(self.remedy_of_nonfinite(false))
                    }
                    _ => fault,
                }
            })?;
        watch(Event::Checkpoint(&path));
        Ok(())
    }
}
