//! How many units of its feed-forward networks a model can do without (Luo et al., Sparsing Law, arXiv 2411.02335).
//!
//! A unit j adds n_j = f_j·w_j to a network's output, where w_j is its row of the last matrix. Truncation at ε leaves out the units
//! with |n_j| < ε. Its error for a token is |Σ of what is left out| / |Σ of all|; CETT is the mean of that over tokens. Given one
//! CETT for all layers, each layer gets the largest ε that stays within it, and its sparsity is the share of units left out.
//! PPL-p% sparsity is that of the largest CETT at which the perplexity on held-out text rises by no more than p%.

use super::checkpoint::WeightFile;
use super::engine::{Attached, Engine};
use super::evaluate::{NO_TARGETS, held_out, mean_loss};
use super::loader::load_weights;
use crate::config::{Config, Precision};
use crate::data::{Batch, Batches, Corpus};
use crate::device::Device;
use crate::fault::{Fault, Kind, Result};
use crate::model::names;
use rayon::prelude::*;

/// The most tokens whose truncation errors are averaged.
const SAMPLE: usize = 512;
/// Halvings of the range of thresholds, which are quantiles of the sample.
const THRESHOLD_STEPS: u32 = 14;
/// Halvings of the range of errors.
const CETT_STEPS: u32 = 8;

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    /// This much more perplexity, as a share of it.
    Increase(f64),
    /// This truncation error.
    Cett(f64),
}

/// What a model can do without.
#[derive(Clone, Debug, PartialEq)]
pub struct Sparsity {
    /// The mean truncation error of each layer.
    pub cett: f64,
    /// Held-out loss of the whole model, in nats per token.
    pub loss: f64,
    /// The same without the units that are left out.
    pub truncated_loss: f64,
    pub layers: Vec<Layer>,
}

/// One layer's part of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layer {
    /// The least |n_j| that is kept.
    pub threshold: f64,
    /// Share of a token's units that are left out.
    pub sparsity: f64,
    /// Share that is exactly zero, and can be left out at no error.
    pub zeros: f64,
}

/// The units of one layer for some tokens, and the rows that they weigh.
struct Units {
    width: usize,
    /// `[tokens, units]`
    values: Vec<f32>,
    /// `[units, width]`
    rows: Vec<f32>,
    /// `[units]`: the length of each row.
    lengths: Vec<f32>,
    /// All |n_j|, in ascending order.
    sizes: Vec<f32>,
}

impl Units {
    fn new(width: usize, values: Vec<f32>, rows: Vec<f32>, lengths: Vec<f32>) -> Self {
        let mut sizes: Vec<f32> =
            values.chunks_exact(lengths.len()).flat_map(|token| sizes(token, &lengths)).collect();
        sizes.par_sort_unstable_by(f32::total_cmp);
        Self { width, values, rows, lengths, sizes }
    }

    /// The mean truncation error at a threshold.
    fn cett(&self, threshold: f32) -> f64 {
        let count = self.lengths.len();
        let errors = self.values.par_chunks_exact(count).map(|token| {
            let (mut all, mut left_out) = (vec![0.0_f32; self.width], vec![0.0_f32; self.width]);
            for ((&value, size), row) in
                token.iter().zip(sizes(token, &self.lengths)).zip(self.rows.chunks_exact(self.width))
            {
                if value == 0.0 {
                    continue;
                }
                all.iter_mut().zip(row).for_each(|(sum, w)| *sum += value * w);
                if size < threshold {
                    left_out.iter_mut().zip(row).for_each(|(sum, w)| *sum += value * w);
                }
            }
            let (left_out, all) = (length(&left_out), length(&all));
            if all > 0.0 { left_out / all } else { 0.0 }
        });
        // Summed in order, so that the number of threads changes no bit.
        let errors: Vec<f64> = errors.collect();
        errors.iter().sum::<f64>() / errors.len() as f64
    }

    /// The largest threshold, among the sizes of the sample, with an error of at most `cett`.
    fn threshold(&self, cett: f64) -> f32 {
        let (mut fits, mut fails) = (0, self.sizes.len());
        for _ in 0..THRESHOLD_STEPS {
            let middle = usize::midpoint(fits, fails);
            if self.cett(self.sizes[middle.min(self.sizes.len() - 1)]) <= cett {
                fits = middle;
            } else {
                fails = middle;
            }
        }
        if fits == 0 { 0.0 } else { self.sizes[fits] }
    }

    fn layer(&self, threshold: f32) -> Layer {
        let share = |below: &dyn Fn(f32) -> bool| {
            self.sizes.partition_point(|&size| below(size)) as f64 / self.sizes.len() as f64
        };
        let zeros = share(&|size| size <= 0.0);
        let sparsity = share(&|size| size < threshold).max(zeros);
        Layer { threshold: f64::from(threshold), sparsity, zeros }
    }
}

/// |n_j| of one token's units.
fn sizes<'a>(token: &'a [f32], lengths: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
    token.iter().zip(lengths).map(|(value, length)| value.abs() * length)
}

fn length(vector: &[f32]) -> f64 {
    vector.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

/// Measures the sparsity of weights over the first `chunks` held-out chunks of a corpus, in whole batches; 0 means all of them.
/// Truncation errors are those of the first tokens of the first batch. Computes in f32. `watch` is called before each
/// evaluation.
///
/// # Errors
/// Those of opening the device and reading the weights; [`Kind::Config`] where the networks have no units.
pub fn measure(
    device: impl Into<Device>,
    config: &Config,
    weights: WeightFile,
    corpus: Corpus,
    chunks: usize,
    allowed: Allowed,
    watch: &mut dyn FnMut(),
) -> Result<Sparsity> {
    let mut config = config.clone();
    config.train.precision = Precision::F32;
    if config.model.units() == 0 {
        return Err(Fault::new(Kind::Config, "the feed-forward networks have no units to leave out")
            .found(format!("model.ffn = \"{}\"", config.model.ffn))
            .remedy("measure a model whose networks have an activation"));
    }
    let folder = corpus.folder().to_owned();
    let mut batches = held_out(&config, corpus);
    let mut engine = Engine::new(device, &config)?;
    load_weights(&engine, weights)?;
    let truncated = engine.attach_truncated()?;
    let mut batch = Batch::new(config.train.batch_size, config.train.sequence_length);
    let units = sample(&engine, &config, &truncated, &mut batches, &mut batch)?;
    let set = |thresholds: &[f32]| {
        for (layer, threshold) in thresholds.iter().enumerate() {
            engine.write(&names::unit_bound(layer), &[*threshold]);
        }
    };
    let mut loss_at = |thresholds: &[f32]| -> Result<f64> {
        set(thresholds);
        watch();
        let go_on = &mut |_: &Batch, _| true;
        let mean = mean_loss(&engine, Some(&truncated), &mut batches, &mut batch, chunks, go_on)?;
        mean.flatten().ok_or_else(|| {
            Fault::new(Kind::Data, "there is nothing to evaluate on")
                .at(folder.display())
                .found(NO_TARGETS)
                .remedy("evaluate on more chunks (on all of them with --chunks 0)")
        })
    };
    let loss = loss_at(&vec![0.0; units.len()])?;
    let thresholds = |cett: f64| units.iter().map(|units| units.threshold(cett)).collect::<Vec<f32>>();
    let found = |cett: f64, thresholds: &[f32], truncated_loss| Sparsity {
        cett,
        loss,
        truncated_loss,
        layers: units.iter().zip(thresholds).map(|(units, &threshold)| units.layer(threshold)).collect(),
    };
    match allowed {
        Allowed::Cett(cett) => {
            let thresholds = thresholds(cett);
            let truncated_loss = loss_at(&thresholds)?;
            Ok(found(cett, &thresholds, truncated_loss))
        }
        Allowed::Increase(share) => {
            let most = loss + share.ln_1p();
            let mut best = found(0.0, &vec![0.0; units.len()], loss);
            let (mut fits, mut fails) = (0.0, 1.0);
            for _ in 0..CETT_STEPS {
                let cett = f64::midpoint(fits, fails);
                let thresholds = thresholds(cett);
                let truncated_loss = loss_at(&thresholds)?;
                // NaN does not fit.
                if truncated_loss <= most {
                    fits = cett;
                    best = found(cett, &thresholds, truncated_loss);
                } else {
                    fails = cett;
                }
            }
            Ok(best)
        }
    }
}

/// The units of every layer over the first held-out tokens, and the lengths that the truncation reads.
fn sample(
    engine: &Engine,
    config: &Config,
    truncated: &Attached,
    batches: &mut Batches,
    batch: &mut Batch,
) -> Result<Vec<Units>> {
    let model = &config.model;
    let (count, width) = (model.units(), model.n_embd);
    let part = |layer| model.family.naming.in_block(layer, "mlp.contract");
    let mut rows = Vec::new();
    for layer in 0..model.n_layer {
        let matrix = engine.read(&format!("{}.weight", part(layer)), count * width)?;
        let lengths: Vec<f32> = matrix.chunks_exact(width).map(|row| length(row) as f32).collect();
        engine.write(&names::unit_lengths(layer), &lengths);
        engine.write(&names::unit_bound(layer), &[0.0]);
        rows.push((matrix, lengths));
    }
    batches.seek(0);
    let tokens = (batches.fill_to_end(batch) * config.train.sequence_length).min(SAMPLE);
    engine.begin_evaluation_by(truncated, batch)?;
    engine.take_evaluation(true)?;
    let units = rows.into_iter().enumerate().map(|(layer, (matrix, lengths))| {
        let values = engine.read(&names::units(layer), tokens * count)?;
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Fault::new(Kind::NonFinite, "a unit of a feed-forward network is not finite")
                .at(format!("layer {layer}"))
                .remedy("measure an earlier checkpoint"));
        }
        Ok(Units::new(width, values, matrix, lengths))
    });
    units.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_units_are_left_out_within_the_error() {
        // One token, rows along the two axes: n = (3, 0), (0, 0.4), (0, 0), (0, 0.3).
        let rows = vec![1.0, 0.0, 0.0, 2.0, 1.0, 1.0, 0.0, 1.0];
        let lengths = vec![1.0, 2.0, 2.0_f32.sqrt(), 1.0];
        let units = Units::new(2, vec![3.0, 0.2, 0.0, 0.3], rows, lengths);
        assert_eq!(units.sizes, [0.0, 0.3, 0.4, 3.0]);
        let whole = 3.0_f64.hypot(0.7);
        assert!((units.cett(0.35) - 0.3 / whole).abs() < 1e-7);
        assert!((units.cett(0.41) - 0.7 / whole).abs() < 1e-7);
        // At 0.15 of the output, 0.3 may go and 0.4 with it may not.
        assert_eq!(units.threshold(0.15), 0.4);
        assert_eq!(units.layer(0.4), Layer { threshold: f64::from(0.4_f32), sparsity: 0.5, zeros: 0.25 });
        assert_eq!(units.threshold(0.25), 3.0);
        assert_eq!(units.threshold(0.0), 0.3);
    }
}
