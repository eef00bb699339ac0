//! What a step brings back, and where it lies in what was read.

use super::{Engine, LAYERS, OBSERVATIONS, VERDICT};
use crate::config::Config;
use crate::model::{Naming, names};
use crate::ops::magnitudes::{WITH_MEDIAN, WITHOUT_MEDIAN};

/// What one step brought back.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReading {
    pub step: u64,
    /// Targets that count; the loss is their mean, or with `mean_of_means` that of the micro-batches' means.
    pub targets: u64,
    /// 0 where there is no target.
    pub loss: f32,
    /// What attention entropy adds to that in what is trained for, λ included; there with the regularizer alone.
    pub entropy_penalty: Option<f32>,
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
    /// The entropy threshold of each head, [layer][head]; empty without the regularizer.
    pub thresholds: Vec<Vec<f32>>,
    /// α and β of each layer's feed-forward network; empty where it is not scaled.
    pub ffn_scales: Vec<(f32, f32)>,
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
    /// Tokens for which each unit of the feed-forward network is not zero, [layer][unit]; empty where it has no units.
    pub active: Vec<Vec<f32>>,
    /// Largest and median magnitude of the residual stream behind each block.
    pub residual: Vec<(f32, f32)>,
}

impl Engine {
    pub(super) fn read_step(&self, step: u64, targets: u64, values: &[f32]) -> StepReading {
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
        let penalty =
            |layer| values[at(&names::entropy_penalty(layer))..][..model.n_head].iter().sum::<f32>();
        let entropy_penalty = model.regularizes_entropy().then(|| (0..model.n_layer).map(penalty).sum());
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
        let mut learned = Vec::new();
        for name in &self.learned {
            learned.push((name, &values[rest..]));
            rest += self.store.span(name).bytes as usize / 4;
        }
        let of = |end: &str| -> Vec<&[f32]> {
            learned.iter().filter(|(name, _)| name.ends_with(end)).map(|&(_, values)| values).collect()
        };
        let thresholds = of(THRESHOLDS).into_iter().map(|values| values[..model.n_head].to_vec()).collect();
        let ffn_scales =
            of(ALPHA).into_iter().zip(of(BETA)).map(|(alpha, beta)| (alpha[0], beta[0])).collect();
        let looked = self.blueprint.config.looks_at_layers(step);
        let layers =
            looked.then(|| self.read_layers(&values[rest..], scaling.map_or(1.0, |(scale, _)| scale)));
        StepReading {
            step,
            targets,
            loss: values[at(names::LOSS)],
            entropy_penalty,
            grad_norm: verdict[0],
            halted: verdict[3] != 0.0,
            head_entropy,
            nonfinite_rows,
            slopes,
            thresholds,
            ffn_scales,
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
            active: match model.units() {
                0 => Vec::new(),
                units => (0..model.n_layer).map(|l| of(names::active_units(l), units).to_vec()).collect(),
            },
            residual: (0..model.n_layer).map(residual).collect(),
        }
    }
}

/// Names of what the host reads after a step, in this order; of some steps what the layers held as well.
pub(super) fn read_back<'a>(
    mixed: bool,
    slopes: &'a [(String, usize, usize)],
    learned: &'a [String],
    layers: bool,
) -> Vec<&'a str> {
    let always = [OBSERVATIONS, VERDICT].into_iter().chain(mixed.then_some(names::SCALING));
    let slopes = slopes.iter().map(|(name, ..)| name.as_str());
    let slopes = slopes.chain(learned.iter().map(String::as_str));
    always.chain(slopes).chain(layers.then_some(LAYERS)).collect()
}

const THRESHOLDS: &str = ".reg_threshold_weights";
const ALPHA: &str = ".alpha";
const BETA: &str = ".beta";

/// Of these names of parameters those whose few numbers, beside slopes, are read back after each step.
pub(super) fn learned<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let few = |name: &&str| [THRESHOLDS, ALPHA, BETA].iter().any(|end| name.ends_with(end));
    names.filter(few).map(str::to_owned).collect()
}

/// For each slope tensor: its name, the entry in use, and how many layers use it.
pub(super) fn slope_places(config: &Config) -> Vec<(String, usize, usize)> {
    use crate::config::{Activation, SlopeScope};
    let model = &config.model;
    if model.activation_function != Activation::LearnableLrelu {
        return Vec::new();
    }
    let naming = Naming::of(model.family);
    let own = |layer: usize| naming.slopes(layer);
    match model.slope_scope {
        SlopeScope::PerLayer => (0..model.n_layer).map(|layer| (own(layer), layer, 1)).collect(),
        SlopeScope::PerBlock => (0..model.n_layer).map(|layer| (own(layer), 0, 1)).collect(),
        SlopeScope::Shared => vec![(naming.shared_slope.to_owned(), 0, model.n_layer)],
    }
}
