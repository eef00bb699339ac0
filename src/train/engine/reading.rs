//! The results of a step, and their layout in the readback.

use super::blueprint::{Blueprint, LAYERS, OBSERVATIONS, VERDICT};
use crate::config::Config;
use crate::device::Store;
use crate::model::names;
use crate::observe::quantities::{
    ALL, Extent, GRAD_NORM, LOSS, LOSS_SCALE, NONFINITE_ATTENTION, OVERFLOW, Quantity, Stored,
};
use crate::observe::record::{Measured, Values};
use crate::tape::{Role, TensorInfo, Watched};
use std::collections::BTreeMap;
use std::ops::Range;

/// The results of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReading {
    pub step: u64,
    /// Targets that count. The loss is the mean over them, or with `mean_of_means` the mean of the micro-batches' means.
    pub targets: u64,
    /// 0 if no target counts.
    pub loss: f32,
    /// Global gradient norm before clipping.
    pub grad_norm: f32,
    /// Whether the update was held back: this step's loss or gradient is not finite, or an earlier one's was.
    pub halted: bool,
    /// The quantities that the device measured. Those that come from observing the layers are present only for a step that
    /// observes them.
    pub values: Measured,
    /// If the layers were observed: for how many tokens of the last micro-batch each unit of the feed-forward network is
    /// not zero, `[layer][unit]`; empty if the network has no units.
    pub active: Option<Vec<Vec<f32>>>,
}

/// The layout of what the host reads after a step: ranges of f32, computed once.
pub(super) struct ReadBack {
    /// What is copied, in this order. If the step's layers are observed, their arena follows.
    copied: Vec<String>,
    ranges: BTreeMap<String, Range<usize>>,
    watched: Vec<Place>,
    /// How many f32 are read for a step whose layers are observed.
    end: usize,
}

/// Where numbers of a quantity are.
struct Place {
    watched: Watched,
    range: Range<usize>,
    /// What they are divided by, if that is another number.
    over: Option<usize>,
    /// Only present if the layers are observed.
    looked: bool,
}

impl ReadBack {
    pub fn new(blueprint: &Blueprint, store: &Store) -> Self {
        let looked: Vec<String> = blueprint.layer_parts().into_iter().map(|part| part.0).collect();
        let mut copied = vec![OBSERVATIONS.to_owned(), VERDICT.to_owned()];
        copied.extend(blueprint.mixed().then(|| names::LOSS_SCALE.to_owned()));
        copied.extend(blueprint.watched().map(|parameter| parameter.name.clone()));
        let (mut ranges, mut end) = (BTreeMap::new(), 0);
        let arena = (!looked.is_empty()).then(|| LAYERS.to_owned());
        for name in copied.iter().chain(&arena) {
            let first = end;
            end += store.place(name).1 as usize / 4;
            ranges.insert(name.clone(), first..end);
        }
        let mut watched = Vec::new();
        let micro = blueprint.micro.tape.tensors().iter();
        let micro = micro.filter(|info| info.role == Role::Observation && info.parent.is_none());
        for info in micro.chain(blueprint.update.observed()) {
            let looked = looked.contains(&info.name);
            let arena = if looked { LAYERS } else { OBSERVATIONS };
            let inside = (store.place(&info.name).0 - store.place(arena).0) as usize / 4;
            let first = ranges[arena].start + inside;
            ranges.insert(info.name.clone(), first..first + info.shape.elements());
            let TensorInfo { watched: all, .. } = info;
            watched.extend(all.iter().map(|watched| Place::of(watched, first, looked)));
        }
        for place in &mut watched {
            place.over = place.watched.over.as_ref().map(|name| ranges[name].start);
        }
        for parameter in blueprint.watched() {
            let first = ranges[&parameter.name].start;
            watched.extend(parameter.declared.watched.iter().map(|of| Place::of(of, first, false)));
        }
        Self { copied, ranges, watched, end }
    }

    /// Names of what is copied after a step.
    pub fn copied(&self, looks: bool) -> impl Iterator<Item = &str> {
        self.copied.iter().map(String::as_str).chain(looks.then_some(LAYERS))
    }

    /// Bytes of the largest copy.
    pub fn bytes(&self) -> u64 {
        self.end as u64 * 4
    }

    /// Reads what was copied after `step`, which had `targets` targets that count.
    pub fn read(&self, config: &Config, step: u64, targets: u64, copied: &[f32]) -> StepReading {
        let of = |name: &str| &copied[self.ranges[name].clone()];
        let verdict = of(VERDICT);
        let scaling = self.ranges.get(names::LOSS_SCALE).map(|range| {
            let scaling = &copied[range.clone()];
            (scaling[2], scaling[3] != 0.0)
        });
        let (loss, grad_norm) = (of(names::LOSS)[0], verdict[0]);
        let looks = config.looks_at_layers(step);
        let mut values = self.values(copied, looks, scaling.map_or(1.0, |(scale, _)| scale));
        if targets > 0 {
            values.set(&LOSS, Values::Step(loss.into()));
        }
        values.set(&GRAD_NORM, Values::Step(grad_norm.into()));
        if let Some((scale, overflow)) = scaling {
            values.set(&LOSS_SCALE, Values::Step(scale.into()));
            values.set(&OVERFLOW, Values::Step(u8::from(overflow).into()));
        }
        // A broken score breaks its whole row of probabilities.
        let length = config.train.sequence_length as u64;
        let rows = values.counts(&NONFINITE_ATTENTION);
        let probabilities: Vec<u64> = rows.iter().map(|rows| rows * length).collect();
        if !probabilities.is_empty() {
            values.set(&NONFINITE_ATTENTION, Values::Counts(probabilities));
        }
        let units = |layer| Some(copied[self.ranges.get(&names::active_units(layer))?.clone()].to_vec());
        let active = looks.then(|| (0..config.model.n_layer).filter_map(units).collect());
        StepReading { step, targets, loss, grad_norm, halted: verdict[3] != 0.0, values, active }
    }

    /// The quantities that tensors are declared to hold, for a step whose gradients are multiplied by `scale`.
    fn values(&self, copied: &[f32], looks: bool, scale: f32) -> Measured {
        let mut found: BTreeMap<usize, BTreeMap<usize, Vec<f32>>> = BTreeMap::new();
        for place in self.watched.iter().filter(|place| looks || !place.looked) {
            let numbers = copied[place.range.clone()].iter();
            let scale = if place.watched.of_gradient { scale } else { 1.0 };
            let root = place.watched.norm_of.map_or(1.0, |elements| (elements as f64).sqrt() as f32);
            let over = place.over.map_or(1.0, |at| copied[at]);
            let numbers: Vec<f32> = numbers.map(|number| number / scale / root / over).collect();
            let layers = found.entry(place.watched.quantity.index()).or_default();
            layers.extend(place.watched.layers.clone().map(|layer| (layer, numbers.clone())));
        }
        let mut values = Measured::default();
        for (index, layers) in found {
            values.set(ALL[index], folded(ALL[index], layers.into_values().collect()));
        }
        values
    }
}

impl Place {
    /// The place of `watched` in a tensor whose first element is at `first`.
    fn of(watched: &Watched, first: usize, looked: bool) -> Self {
        let Range { start, end } = watched.entries;
        Self { watched: watched.clone(), range: first + start..first + end, over: None, looked }
    }
}

/// A quantity's values from the numbers of each layer: for heads the numbers themselves, for layers and steps their sums.
fn folded(quantity: &Quantity, layers: Vec<Vec<f32>>) -> Values {
    let sum = |numbers: &[f32]| numbers.iter().copied().reduce(|sum, number| sum + number).unwrap_or(0.0);
    let sums = || layers.iter().map(|numbers| sum(numbers)).collect::<Vec<f32>>();
    match (quantity.extent, quantity.stored) {
        (Extent::Head, _) => Values::Heads(layers),
        (Extent::Layer, Stored::Whole) => {
            let whole = |numbers: &Vec<f32>| numbers.iter().map(|&count| count as u64).sum();
            Values::Counts(layers.iter().map(whole).collect())
        }
        (Extent::Layer, _) => Values::Layers(sums()),
        (Extent::Step, _) => Values::Step(sum(&sums()).into()),
    }
}
