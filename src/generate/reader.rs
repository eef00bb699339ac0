//! A language model as a reader with a memory.

use crate::config::ModelConfig;
use crate::device::{Device, Plan, Store};
use crate::fault::Result;
use crate::model::{CachedPass, names, parameters, record_reading};
use crate::ops::Traits;
use crate::ops::gather::NO_ROW;
use crate::tape::{DType, Role, Tape, TensorInfo};

/// Tokens that are read at once when many are new.
const CHUNK: usize = 64;

/// A model on a device that reads text and predicts the next token. It caches the keys and values of what it has read, so
/// one more token costs the work of one token.
pub struct Reader {
    device: Device,
    store: Store,
    reading: Reading,
}

impl Reader {
    /// A reader with the weights that `load` writes into a store. It computes in f32, whatever precision they were trained in.
    ///
    /// # Errors
    /// [`crate::fault::Kind::Memory`] where the device has no room; those of `load`.
    pub fn new(
        device: impl Into<Device>,
        model: &ModelConfig,
        load: impl FnOnce(&Device, &Store) -> Result<()>,
    ) -> Result<Self> {
        let device = device.into();
        let tapes = reading_tapes(model, device.traits());
        let mut store = Store::new(&device);
        for parameter in parameters(model, true, crate::config::Precision::F32) {
            store.allocate(&device, &parameter.name, parameter.elements(), DType::F32)?;
        }
        load(&device, &store)?;
        let reading = Reading::new(&device, &mut store, model, &tapes)?;
        device.keep_pipelines();
        reading.fix(&device)?;
        Ok(Self { device, store, reading })
    }

    /// The most tokens it can read: the positions of the model.
    pub fn context(&self) -> usize {
        self.reading.context()
    }

    /// The logits `[vocab_size]` of the token after `text`; see [`Reading::logits`].
    ///
    /// # Errors
    /// Those of [`Device::check`].
    ///
    /// # Panics
    /// As [`Reading::logits`].
    pub fn logits(&mut self, text: &[u32]) -> Result<Vec<f32>> {
        self.reading.logits((&self.device, &self.store), text)
    }

    /// Forgets what was read.
    pub fn forget(&mut self) {
        self.reading.forget();
    }
}

/// The tapes of a reader: one takes one token and predicts the next, the other takes many.
pub fn reading_tapes(model: &ModelConfig, device: &Traits) -> [Tape; 2] {
    let reading = |rows, logits| CachedPass { rows, logits, piece_bytes: device.max_binding };
    [record_reading(model, &reading(1, true)), record_reading(model, &reading(CHUNK, false))]
}

/// What a reader takes of a store besides the parameters: its inputs, its caches and the logits.
pub fn reading_memory([next, many]: &[Tape; 2]) -> Vec<&TensorInfo> {
    let mut kept: Vec<&TensorInfo> = Vec::new();
    // The larger tape first: the other's inputs are a prefix of its own.
    for tape in [many, next] {
        for info in tape.ids().map(|id| tape.info(id)) {
            let outlives = matches!(info.role, Role::Input | Role::Observation) && info.parent.is_none();
            if outlives && !kept.iter().any(|known| known.name == info.name) {
                kept.push(info);
            }
        }
    }
    kept
}

/// A reader's plans and memory, beside the parameters in a store, and what it has read.
pub struct Reading {
    model: ModelConfig,
    /// Takes one token and predicts the next.
    next: Plan,
    /// Takes [`CHUNK`] tokens.
    many: Plan,
    /// The tokens in the cache.
    read: Vec<u32>,
}

impl Reading {
    /// A reader by these [`reading_tapes`] of the model whose parameters are in `store`.
    ///
    /// # Errors
    /// [`crate::fault::Kind::Memory`] where the device has no room; those of [`Plan::build`].
    pub fn new(device: &Device, store: &mut Store, model: &ModelConfig, tapes: &[Tape; 2]) -> Result<Self> {
        for info in reading_memory(tapes) {
            if !store.contains(&info.name) {
                store.allocate(device, &info.name, info.shape.elements(), info.dtype)?;
            }
        }
        let [next, many] = tapes;
        for (tensor, values) in next.constants() {
            store.write(device, &next.info(tensor).name, values);
        }
        let [next, many] = Plan::build_all(device, [next, many], store)?;
        Plan::load_kernels(device, &[&next, &many])?;
        Ok(Self { model: model.clone(), next, many, read: Vec::new() })
    }

    /// Takes the parameters as they are now: forgets what was read with others, and has devices copy those that they read as
    /// images.
    ///
    /// # Errors
    /// Those of [`Device::check`].
    pub fn begin(&mut self, device: &Device) -> Result<()> {
        self.forget();
        self.fix(device)
    }

    fn fix(&self, device: &Device) -> Result<()> {
        [&self.next, &self.many].into_iter().try_for_each(|plan| plan.fix(device))
    }

    /// The most tokens it can read: the positions of the model.
    pub fn context(&self) -> usize {
        self.model.n_positions
    }

    /// Bytes of memory for intermediates.
    pub fn pool_bytes(&self) -> u64 {
        self.next.pool_bytes()
    }

    /// The logits `[vocab_size]` of the token after `text`. Computes only what the reader has not just read. Waits.
    ///
    /// # Errors
    /// Those of [`Device::check`].
    ///
    /// # Panics
    /// If the text is empty or longer than the context, or a token is outside the model's vocabulary.
    pub fn logits(&mut self, (device, store): (&Device, &Store), text: &[u32]) -> Result<Vec<f32>> {
        assert!((1..=self.context()).contains(&text.len()), "{} tokens to read", text.len());
        assert!(
            text.iter().all(|&token| (token as usize) < self.model.vocab_size),
            "a token of another model"
        );
        // The last token is always read again: its logits are not kept.
        let known = self.read.iter().zip(&text[..text.len() - 1]).take_while(|(a, b)| a == b).count();
        self.read.truncate(known);
        let body = &text[known..text.len() - 1];
        for (i, tokens) in body.chunks(CHUNK).enumerate() {
            self.run((device, store), known + i * CHUNK, tokens)?;
        }
        self.run((device, store), text.len() - 1, &text[text.len() - 1..])?;
        self.read = text.to_vec();
        store.read(device, names::LOGITS, self.model.vocab_size)
    }

    /// Forgets what was read.
    pub fn forget(&mut self) {
        self.read.clear();
    }

    /// Reads tokens from position `first` on, with the plan for one token or the plan for many.
    fn run(&self, (device, store): (&Device, &Store), first: usize, tokens: &[u32]) -> Result<()> {
        let (plan, rows) = if tokens.len() == 1 { (&self.next, 1) } else { (&self.many, CHUNK) };
        let filled = |mut values: Vec<u32>| {
            values.resize(rows, NO_ROW);
            values
        };
        let positions = (first..first + tokens.len()).map(|position| position as u32).collect();
        let positions: Vec<u32> = filled(positions);
        if store.contains(names::TEMPERATURES) {
            let context = self.context() as u32;
            let place = |head: u32, p: u32| if p == NO_ROW { NO_ROW } else { head * context + p };
            let heads = 0..self.model.n_head as u32;
            let places: Vec<u32> =
                heads.flat_map(|head| positions.iter().map(move |&p| place(head, p))).collect();
            store.write(device, names::TEMPERATURES, &places);
        }
        store.write(device, names::READ, &filled(tokens.to_vec()));
        store.write(device, names::POSITIONS, &positions);
        plan.submit(device)
    }
}
