//! What a step brings back, and where it lies in what was read.

use super::blueprint::{Blueprint, LAYERS, OBSERVATIONS, VERDICT};
use crate::model::names;
use crate::ops::magnitudes::{WITH_MEDIAN, WITHOUT_MEDIAN};
use crate::plan::Store;
use crate::tape::Watched;
use std::collections::BTreeMap;

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
    /// Mean entropy of each head, `[layer][head]`; empty where it is not measured.
    pub head_entropy: Vec<Vec<f32>>,
    /// Rows of each layer whose attention probabilities are not finite, summed over heads.
    pub nonfinite_rows: Vec<u64>,
    /// The slope each layer uses; empty where none is learned.
    pub slopes: Vec<f32>,
    /// The entropy threshold of each head, `[layer][head]`; empty without the regularizer.
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

/// Where in memory the numbers lie that a step brings back.
pub(super) struct Places<'a> {
    pub store: &'a Store,
    pub blueprint: &'a Blueprint,
}

impl Places<'_> {
    /// What step `step` brought back, of whose targets `targets` count; `values` are the bytes read, in the order of
    /// [`read_back`].
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
            rest += self.store.span(names::LOSS_SCALE).bytes as usize / 4;
            scaling
        });
        // By quantity, the numbers of each layer.
        let mut watched: BTreeMap<&str, Vec<&[f32]>> = BTreeMap::new();
        for parameter in self.blueprint.watched() {
            if let Some(Watched { quantity, entries, layers }) = &parameter.declared.watched {
                let numbers = &values[rest..][entries.clone()];
                watched.entry(quantity).or_default().extend(layers.clone().map(|_| numbers));
            }
            rest += self.store.span(&parameter.name).bytes as usize / 4;
        }
        let mut of = |quantity: &str| watched.remove(quantity).unwrap_or_default();
        let slopes = of(names::SLOPES).into_iter().map(|numbers| numbers[0]).collect();
        let thresholds = of(names::ENTROPY_THRESHOLDS).into_iter().map(<[f32]>::to_vec).collect();
        let scales = of(names::FFN_ALPHA).into_iter().zip(of(names::FFN_BETA));
        let ffn_scales = scales.map(|(alpha, beta)| (alpha[0], beta[0])).collect();
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
pub(super) fn read_back(blueprint: &Blueprint, layers: bool) -> Vec<&str> {
    let always = [OBSERVATIONS, VERDICT].into_iter().chain(blueprint.mixed().then_some(names::LOSS_SCALE));
    let watched = blueprint.watched().map(|parameter| parameter.name.as_str());
    always.chain(watched).chain(layers.then_some(LAYERS)).collect()
}
