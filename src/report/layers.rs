//! Something of every layer over training, one panel a configuration.

use std::collections::BTreeMap;

use super::comparison::{Comparison, Group};
use super::curves::thin;
use super::diverged::Divergence;
use super::heatmap::columns;
use super::run::RunData;
use crate::draw::axes::{Axes, INK, QUIET, STEPS, last_finite};
use crate::draw::colormap::{Colormap, Rgb, WHITE};
use crate::draw::picture::{Anchor, Picture, Text};
use crate::draw::text;
use crate::fault::{Fault, Kind, Result};
use crate::observe::entropy::causal_ceiling;
use crate::observe::record::{EntropyThresholds, Layers};

const MARGIN: f64 = 18.0;
/// Room for ticks and label left of an axis, and below it.
const LEFT: f64 = 68.0;
const BELOW: f64 = 50.0;
const SMALL: f64 = 12.5;
const TITLE: f64 = 16.0;
const ABOVE: f64 = 34.0;
const PLOT: (f64, f64) = (400.0, 250.0);
const GAP: f64 = 30.0;
/// Room of the key at the right.
const KEY: f64 = 150.0;
const COLOURS: Colormap = Colormap::Viridis;

/// What is drawn of the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Mean attention entropy, nats.
    Entropy,
    /// Learnable slope of the activation for negative inputs.
    Slopes,
    /// Share of the feed-forward network's activations that are zero.
    Zeros,
    /// Share of its units that are zero for every token.
    Dead,
    /// Largest magnitude in the residual stream.
    ResidualMax,
    /// Median magnitude there.
    ResidualMedian,
    /// L2 norm of the gradient of a block's parameters.
    GradNorm,
    /// Learned threshold of the entropy regularizer, a share of ln T; mean of the layer's heads.
    Thresholds,
    /// What the feed-forward network's result is divided by: learned, with `ffn_scaling`.
    FfnAlpha,
    /// What the residual stream is multiplied with there.
    FfnBeta,
}

/// The values of each layer at some steps, in order.
pub type Series = Vec<(u64, Vec<f32>)>;

impl Quantity {
    pub const ALL: [Self; 10] = [
        Self::Entropy,
        Self::Slopes,
        Self::Zeros,
        Self::Dead,
        Self::ResidualMax,
        Self::ResidualMedian,
        Self::GradNorm,
        Self::Thresholds,
        Self::FfnAlpha,
        Self::FfnBeta,
    ];

    /// The name of the picture's file.
    pub fn stem(self) -> &'static str {
        match self {
            Self::Entropy => "layer_entropy",
            Self::Slopes => "slopes",
            Self::Zeros => "activation_zeros",
            Self::Dead => "dead_units",
            Self::ResidualMax => "residual_max",
            Self::ResidualMedian => "residual_median",
            Self::GradNorm => "layer_grad_norm",
            Self::Thresholds => "entropy_thresholds",
            Self::FfnAlpha => "ffn_alpha",
            Self::FfnBeta => "ffn_beta",
        }
    }

    /// What it is, in a line.
    pub fn title(self) -> &'static str {
        match self {
            Self::Entropy => "Mean attention entropy of each layer over training, nats",
            Self::Slopes => "Learnable slope of the activation in each layer over training",
            Self::Zeros => "Share of feed-forward activations that are zero, by layer, over training",
            Self::Dead => {
                "Share of feed-forward units that are zero for every token, by layer, over training"
            }
            Self::ResidualMax => "Largest magnitude in the residual stream behind each layer over training",
            Self::ResidualMedian => "Median magnitude in the residual stream behind each layer over training",
            Self::GradNorm => "L2 norm of the gradient of each layer's parameters over training",
            Self::Thresholds => {
                "Learned entropy threshold, mean of each layer's heads, as a share of ln T, over training"
            }
            Self::FfnAlpha => "Learned divisor α of each layer's feed-forward network over training",
            Self::FfnBeta => "Learned factor β of the residual stream in each layer over training",
        }
    }

    /// The label of its axis.
    pub fn label(self) -> &'static str {
        match self {
            Self::Entropy => "Entropy (nats)",
            Self::Slopes => "Slope",
            Self::Zeros => "Share of zeros",
            Self::Dead => "Share of dead units",
            Self::ResidualMax => "Largest magnitude",
            Self::ResidualMedian => "Median magnitude",
            Self::GradNorm => "Gradient norm",
            Self::Thresholds => "Threshold (share of ln T)",
            Self::FfnAlpha => "α",
            Self::FfnBeta => "β",
        }
    }

    /// Whether its values differ by orders of magnitude.
    pub fn logarithmic(self) -> bool {
        matches!(self, Self::ResidualMax | Self::ResidualMedian | Self::GradNorm)
    }

    /// A run's records of it; of a slope that all layers share, only the first layer's.
    pub fn series(self, run: &RunData) -> Series {
        let of_layers = |part: fn(&Layers) -> &Vec<f32>| -> Series {
            let records = run.layers.iter().filter(|record| !part(record).is_empty());
            records.map(|record| (record.step, part(record).clone())).collect()
        };
        match self {
            Self::Entropy => run.attention.iter().map(|r| (r.step, r.layer_entropy.clone())).collect(),
            Self::Slopes => {
                let scope = run.setting("model", "slope_scope").and_then(toml::Value::as_str);
                let most = if scope == Some("shared") { 1 } else { usize::MAX };
                let cut = |slopes: &Vec<f32>| slopes.iter().take(most).copied().collect();
                run.slopes.iter().map(|record| (record.step, cut(&record.slopes))).collect()
            }
            Self::Zeros => of_layers(|record| &record.zeros),
            Self::Dead => of_layers(|record| &record.dead),
            Self::ResidualMax => of_layers(|record| &record.residual_max),
            Self::ResidualMedian => of_layers(|record| &record.residual_median),
            Self::GradNorm => of_layers(|record| &record.grad_norm),
            Self::Thresholds => {
                let mean = |heads: &Vec<f32>| heads.iter().sum::<f32>() / heads.len().max(1) as f32;
                let layers = |record: &EntropyThresholds| record.thresholds.iter().map(mean).collect();
                run.thresholds.iter().map(|record| (record.step, layers(record))).collect()
            }
            Self::FfnAlpha => run.ffn_scales.iter().map(|r| (r.step, r.alpha.clone())).collect(),
            Self::FfnBeta => run.ffn_scales.iter().map(|r| (r.step, r.beta.clone())).collect(),
        }
    }

    /// A value as the axis has it.
    fn on_axis(self, value: f32) -> f64 {
        let value = f64::from(value);
        if self.logarithmic() { value.log10() } else { value }
    }
}

/// One run's records, and the step at which it diverged.
struct Seed {
    series: Series,
    diverged: Option<u64>,
}

/// One configuration: the records of its seeds.
struct Panel<'a> {
    name: &'a str,
    /// When its runs diverged, in words.
    note: Option<String>,
    seeds: Vec<Seed>,
    ceiling: Option<f64>,
}

/// Draws a quantity for every configuration that has records of it, all on one scale. With several seeds there is a
/// faint line for each and a strong one for their mean. A dashed line shows the causal ceiling of an entropy where the
/// context length is known, and zero for slopes.
///
/// # Errors
/// `Usage` when no run has records of it.
pub fn layer_curves(comparison: &Comparison, quantity: Quantity) -> Result<Picture> {
    let (panels, _) = panels(comparison, quantity);
    let seeds = || panels.iter().flat_map(|panel| &panel.seeds);
    let records = || seeds().flat_map(|seed| &seed.series);
    let depth = records().map(|(_, layers)| layers.len()).max().unwrap_or(0);
    if depth == 0 {
        let what = quantity.title();
        return Err(Fault::new(Kind::Usage, format!("no run has records to draw: {what}")));
    }
    // What a run holds that learns no more would take the room of the others.
    let learnt = |seed: &Seed, step: u64| RunData::learns_at(seed.diverged, step);
    let any = seeds().any(|seed| seed.series.iter().any(|record| learnt(seed, record.0)));
    let told = seeds().flat_map(|seed| {
        seed.series.iter().filter(move |record| !any || learnt(seed, record.0)).flat_map(|record| &record.1)
    });
    let values = told.map(|&value| quantity.on_axis(value));
    let y = range(quantity, values.chain(panels.iter().filter_map(|panel| panel.ceiling)));

    // More than three side by side are too small in print.
    let columns = columns(panels.len()).min(3);
    let rows = panels.len().div_ceil(columns);
    let title = |panel: &Panel<'_>| {
        let note = panel.note.as_deref().map_or(0.0, |note| text::width(note, SMALL) + 14.0);
        (text::width(panel.name, TITLE) + note) * text::SLACK
    };
    let title_width = panels.iter().map(title).fold(0.0, f64::max);
    let room = (LEFT + PLOT.0.max(title_width), ABOVE + PLOT.1 + BELOW);
    let width = MARGIN + columns as f64 * (room.0 + GAP) + KEY + MARGIN;
    let height = 2.0 * MARGIN + rows as f64 * (room.1 + GAP) - GAP;
    let mut picture = Picture::new(width, height, quantity.title());
    let color = |layer: usize| COLOURS.at(0.9 * layer as f64 / (depth.max(2) - 1) as f64);
    let last = records().map(|(step, _)| *step).max().unwrap_or(0);
    let x = (0.0, last.max(1) as f64);
    for (index, panel) in panels.iter().enumerate() {
        let left = MARGIN + (index % columns) as f64 * (room.0 + GAP) + LEFT;
        let above = MARGIN + (index / columns) as f64 * (room.1 + GAP);
        let axes = Axes { left, top: above + ABOVE, width: PLOT.0, height: PLOT.1, x, y };
        draw_panel(&mut picture, panel, quantity, &axes, &color);
    }
    let several = panels.iter().any(|panel| panel.seeds.len() > 1);
    let dashed = panels.iter().find_map(|panel| panel.ceiling).map(|_| match quantity {
        Quantity::Slopes => "zero",
        _ => "causal ceiling",
    });
    layer_key(&mut picture, (width - MARGIN - KEY + 10.0, height), depth, (dashed, several), &color);
    Ok(picture)
}

/// Configurations without a panel in a quantity's picture: where others have activations that are zero, those that never
/// have one.
pub fn without_zeros(comparison: &Comparison, quantity: Quantity) -> Vec<&str> {
    panels(comparison, quantity).1
}

/// The panels of a quantity, and the names of those left out.
fn panels(comparison: &Comparison, quantity: Quantity) -> (Vec<Panel<'_>>, Vec<&str>) {
    let has_zeros = |group: &Group| {
        let mut zeros = comparison.of(group).flat_map(|run| &run.layers).flat_map(|record| &record.zeros);
        zeros.any(|&share| share != 0.0)
    };
    let of_zeros = matches!(quantity, Quantity::Zeros | Quantity::Dead);
    let choosy = of_zeros && comparison.groups.iter().any(has_zeros);
    let (mut panels, mut left_out) = (Vec::new(), Vec::new());
    for group in &comparison.groups {
        let runs = comparison.of(group).filter(|run| run.published.is_none());
        let seed = |run: &RunData| Seed { series: quantity.series(run), diverged: run.diverged_at() };
        let seeds: Vec<Seed> = runs.map(seed).filter(|seed| !seed.series.is_empty()).collect();
        let note = Divergence::of(comparison.of(group)).map(|divergence| divergence.to_string());
        let ceiling = match quantity {
            Quantity::Entropy => comparison.of(group).find_map(|run| run.context).map(causal_ceiling),
            Quantity::Slopes => Some(0.0),
            _ => None,
        };
        if !seeds.is_empty() && choosy && !has_zeros(group) {
            left_out.push(group.name.as_str());
        } else if !seeds.is_empty() {
            panels.push(Panel { name: &group.name, note, seeds, ceiling });
        }
    }
    (panels, left_out)
}

/// The range of the vertical axis, in which all finite values lie.
fn range(quantity: Quantity, values: impl Iterator<Item = f64>) -> (f64, f64) {
    let ends = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
    let (low, high) = values.filter(|value| value.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), ends);
    match quantity {
        _ if low > high => (0.0, 1.0),
        Quantity::Slopes
        | Quantity::ResidualMax
        | Quantity::ResidualMedian
        | Quantity::GradNorm
        | Quantity::Thresholds
        | Quantity::FfnAlpha
        | Quantity::FfnBeta => {
            let room = ((high - low) * 0.06).max(1e-3);
            (low - room, high + room)
        }
        _ => (0.0, if high > 0.0 { high * 1.06 } else { 1.0 }),
    }
}

fn draw_panel(
    picture: &mut Picture,
    panel: &Panel<'_>,
    quantity: Quantity,
    axes: &Axes,
    color: &impl Fn(usize) -> Rgb,
) {
    let title = Text::new(axes.left, axes.top - ABOVE + 14.0, TITLE, panel.name);
    picture.text(title.anchor(Anchor::Start).bold().color(INK));
    if let Some(note) = &panel.note {
        let beside = axes.left + text::width(panel.name, TITLE) * text::SLACK + 14.0;
        let note = Text::new(beside, axes.top - ABOVE + 14.0, SMALL, note);
        picture.text(note.anchor(Anchor::Start).color(QUIET));
    }
    if quantity.logarithmic() {
        axes.draw_x(picture, STEPS);
        axes.draw_y_decades(picture, quantity.label());
        axes.draw_frame(picture);
    } else {
        axes.draw(picture, STEPS, quantity.label());
    }
    if let Some(ceiling) = panel.ceiling {
        let ends = [(axes.x.0, ceiling), (axes.x.1, ceiling)].map(|end| axes.place(end));
        picture.dashed(ends.to_vec(), 1.4, QUIET, 5.0);
    }
    let several = panel.seeds.len() > 1;
    for seed in &panel.seeds {
        for (layer, points) in lines(&seed.series, quantity).into_iter().enumerate() {
            let (width, color) =
                if several { (0.8, WHITE.mix(color(layer), 0.45)) } else { (1.8, color(layer)) };
            axes.curve(picture, &thin(&points), width, color, None);
            if let Some(end) = last_finite(&points) {
                axes.cross(picture, end, color);
            }
        }
    }
    if several {
        for (layer, points) in lines(&mean(&panel.seeds), quantity).into_iter().enumerate() {
            axes.curve(picture, &thin(&points), 2.0, color(layer), None);
        }
    }
}

/// A series layer by layer, as the axis has it. A logarithm of zero is no point at all, what is not finite a hole.
fn lines(series: &Series, quantity: Quantity) -> Vec<Vec<(f64, f64)>> {
    let depth = series.iter().map(|(_, layers)| layers.len()).max().unwrap_or(0);
    let point = |layer: usize, (step, layers): &(u64, Vec<f32>)| {
        let value = layers.get(layer).map_or(f64::NAN, |&value| quantity.on_axis(value));
        (value != f64::NEG_INFINITY).then_some((*step as f64, value))
    };
    (0..depth).map(|layer| series.iter().filter_map(|record| point(layer, record)).collect()).collect()
}

/// The mean over seeds, at the steps that all have.
fn mean(seeds: &[Seed]) -> Series {
    let mut at: BTreeMap<u64, Vec<&Vec<f32>>> = BTreeMap::new();
    for (step, layers) in seeds.iter().flat_map(|seed| &seed.series) {
        at.entry(*step).or_default().push(layers);
    }
    let of = |layers: &[&Vec<f32>], layer: usize| {
        layers.iter().map(|layers| layers.get(layer).copied().unwrap_or(f32::NAN)).sum::<f32>()
            / layers.len() as f32
    };
    at.into_iter()
        .filter(|(_, layers)| layers.len() == seeds.len())
        .map(|(step, layers)| (step, (0..layers[0].len()).map(|layer| of(&layers, layer)).collect()))
        .collect()
}

/// The layers' colours, deepest last, and what else is drawn.
fn layer_key(
    picture: &mut Picture,
    (x, height): (f64, f64),
    depth: usize,
    (dashed, several): (Option<&str>, bool),
    color: &impl Fn(usize) -> Rgb,
) {
    let line = 19.0;
    let mut y = MARGIN + 42.0;
    let entry = |picture: &mut Picture, y: &mut f64, text: String| {
        picture.text(Text::new(x + 32.0, *y, SMALL, text).anchor(Anchor::Start).color(INK));
        *y += line;
    };
    if let Some(dashed) = dashed {
        picture.dashed(vec![(x, y), (x + 24.0, y)], 1.4, QUIET, 5.0);
        entry(picture, &mut y, dashed.to_owned());
    }
    if several {
        picture.line(vec![(x, y), (x + 24.0, y)], 0.8, WHITE.mix(INK, 0.45));
        entry(picture, &mut y, "one seed".to_owned());
        picture.line(vec![(x, y), (x + 24.0, y)], 2.0, INK);
        entry(picture, &mut y, "mean of seeds".to_owned());
    }
    let room = ((height - BELOW - y) / line).max(2.0) as usize;
    for layer in (0..depth).step_by(depth.div_ceil(room)) {
        picture.line(vec![(x, y), (x + 24.0, y)], 2.4, color(layer));
        let name = if depth == 1 { "all layers".to_owned() } else { format!("layer {layer}") };
        entry(picture, &mut y, name);
    }
}
