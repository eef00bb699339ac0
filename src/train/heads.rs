//! What the attention heads of given weights do on held-out text: entropy, and the numbers of
//! [`attention_logits`](crate::ops::attention_logits).

use super::checkpoint::WeightFile;
use super::loader::Loader;
use crate::config::{Accumulation, Config, Order, Precision, Recompute};
use crate::data::{Batch, Batches, Corpus};
use crate::device::{Commands, Device, Plan, Store};
use crate::fault::Result;
use crate::model::{Pass, Recorded, names, parameters, record};
use crate::observe::quantities::{
    HEAD_ENTROPY, LARGEST_LOGIT, LOGIT_VARIANCE, NORMALIZED_ENTROPY_1, NORMALIZED_ENTROPY_2,
    NORMALIZED_ENTROPY_3, NORMALIZED_ENTROPY_4, Quantity, RECENCY, SINK_MASS,
};
use crate::ops::attention_logits::QUANTITIES;
use crate::ops::cross_entropy::Logits;
use crate::tape::{DType, Role, Tape};

/// The quantities of a head, in the order in which [`measure`] gives them.
pub static OF_HEADS: [&Quantity; 1 + QUANTITIES] = [
    &HEAD_ENTROPY,
    &LARGEST_LOGIT,
    &LOGIT_VARIANCE,
    &SINK_MASS,
    &RECENCY,
    &NORMALIZED_ENTROPY_1,
    &NORMALIZED_ENTROPY_2,
    &NORMALIZED_ENTROPY_3,
    &NORMALIZED_ENTROPY_4,
];

/// Quantities of every head over some text.
pub struct Heads {
    /// For each of [`OF_HEADS`], `[n_layer][n_head]`: the largest logit of all rows, means over all rows of the others.
    pub values: [Vec<Vec<f64>>; 1 + QUANTITIES],
    /// Sequences read.
    pub chunks: usize,
}

/// Measures the heads over the first `chunks` held-out sequences of a corpus; 0 means all. `watch` receives the number of
/// sequences done. Computes in f32.
///
/// # Errors
/// [`Kind::Memory`](crate::fault::Kind::Memory) if the device has no room; those of reading the weights.
pub fn measure(
    device: &Device,
    config: &Config,
    weights: &mut WeightFile,
    corpus: &Corpus,
    chunks: usize,
    watch: &mut dyn FnMut(usize),
) -> Result<Heads> {
    let all = corpus.valid.sequences();
    let chunks = if chunks == 0 { all } else { chunks.min(all) };
    let size = config.train.batch_size.min(chunks);
    // Every sequence counts once: those that fill no batch are read in a smaller one, whose inputs are a prefix of the other's.
    let sizes = [size, chunks % size];
    let recorded = sizes.map(|rows| (rows > 0).then(|| pass(config, rows, device)));
    let mut store = Store::new(device);
    for parameter in parameters(&config.model, config.train.decay_slopes, Precision::F32) {
        store.allocate(device, &parameter.name, parameter.elements(), DType::F32)?;
    }
    for tape in recorded.iter().flatten() {
        for info in tape.ids().map(|id| tape.info(id)) {
            let kept = matches!(info.role, Role::Input | Role::Observation) && info.parent.is_none();
            if kept && !store.contains(&info.name) {
                store.allocate(device, &info.name, info.shape.elements(), info.dtype)?;
            }
        }
        for (tensor, values) in tape.constants() {
            store.write(device, &tape.info(tensor).name, values);
        }
    }
    let mut loader = Loader::new(device, &store);
    for i in 0..weights.len() {
        let tensor = weights.read(i)?;
        loader.write(&tensor.name, &tensor.data)?;
    }
    let plan = |tape: &Option<Tape>| tape.as_ref().map(|tape| Plan::build(device, tape, &store)).transpose();
    let [whole, rest] = [plan(&recorded[0])?, plan(&recorded[1])?];
    let plans: Vec<&Plan> = whole.iter().chain(&rest).collect();
    Plan::load_kernels(device, &plans)?;
    device.keep_pipelines();

    let mut batches = Batches::new(corpus.valid.clone(), Order::Sequential, 0, None);
    let mut sums = Sums::new(config);
    let observed: Vec<String> = recorded.iter().flatten().next().map_or(Vec::new(), observations);
    for (rows, times, plan) in [(sizes[0], chunks / size, &whole), (sizes[1], 1, &rest)] {
        let Some(plan) = plan else { continue };
        let mut batch = Batch::new(rows, config.train.sequence_length);
        for _ in 0..times {
            watch(sums.chunks);
            batches.fill(&mut batch);
            store.write(device, names::TOKENS, &batch.tokens);
            store.write(device, names::TARGETS, &batch.targets);
            store.write(device, names::SORTED, &batch.sorted);
            store.write(device, names::SEGMENTS, &batch.segments);
            store.write(device, names::TARGET_WEIGHT, &[1.0_f32]);
            let mut commands = Commands::new(device);
            observed.iter().for_each(|name| commands.clear(&store, name));
            commands.replay(plan, true);
            commands.send();
            sums.add(device, &store, rows)?;
        }
    }
    Ok(sums.means())
}

/// The forward pass over so many sequences, with what is observed of the layers.
fn pass(config: &Config, rows: usize, device: &Device) -> Tape {
    let pass = Pass {
        batch: rows,
        sequence: config.train.sequence_length,
        micro_batches: 1,
        accumulation: Accumulation::Mean,
        training: false,
        entropy: true,
        layers: true,
        spectrum: false,
        truncated: false,
        logits: Logits { piece_bytes: device.traits().max_binding, kept_bytes: 0 },
        recompute: Recompute::None,
        precision: Precision::F32,
    };
    let Recorded { tape, .. } = record(&config.model, &pass);
    tape
}

/// The names of a tape's observations.
fn observations(tape: &Tape) -> Vec<String> {
    let infos = tape.ids().map(|id| tape.info(id));
    let own = infos.filter(|info| info.role == Role::Observation && info.parent.is_none());
    own.map(|info| info.name.clone()).collect()
}

/// The quantities of all heads, each row of sequences counted once.
struct Sums {
    heads: usize,
    values: [Vec<Vec<f64>>; 1 + QUANTITIES],
    chunks: usize,
}

impl Sums {
    fn new(config: &Config) -> Self {
        let (layers, heads) = (config.model.n_layer, config.model.n_head);
        let start = |quantity: &Quantity| if *quantity == LARGEST_LOGIT { f64::NEG_INFINITY } else { 0.0 };
        let values = OF_HEADS.map(|quantity| vec![vec![start(quantity); heads]; layers]);
        Self { heads, values, chunks: 0 }
    }

    /// Adds what was observed over `rows` sequences. Waits.
    fn add(&mut self, device: &Device, store: &Store, rows: usize) -> Result<()> {
        let heads = self.heads;
        for layer in 0..self.values[0].len() {
            let entropies = store.read(device, &names::head_entropy(layer), heads)?;
            let others = store.read(device, &names::attention_logits(layer), QUANTITIES * heads)?;
            for (place, (values, quantity)) in self.values.iter_mut().zip(OF_HEADS).enumerate() {
                let seen = if place == 0 { &entropies[..] } else { &others[(place - 1) * heads..] };
                for (sum, &value) in values[layer].iter_mut().zip(seen) {
                    let value = f64::from(value);
                    // A maximum must not drop NaN.
                    match *quantity == LARGEST_LOGIT {
                        true if value <= *sum => {}
                        true => *sum = value,
                        false => *sum += value * rows as f64,
                    }
                }
            }
        }
        self.chunks += rows;
        Ok(())
    }

    fn means(mut self) -> Heads {
        let chunks = self.chunks as f64;
        for (values, quantity) in self.values.iter_mut().zip(OF_HEADS) {
            if *quantity != LARGEST_LOGIT {
                values.iter_mut().flatten().for_each(|sum| *sum /= chunks);
            }
        }
        Heads { values: self.values, chunks: self.chunks }
    }
}
