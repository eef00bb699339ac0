//! Loss over steps, and the entropy of every layer over training.

use super::axes::{Axes, INK, QUIET, last_finite};
use super::colormap::{Colormap, OKABE_ITO, Rgb, WHITE};
use super::heatmap::columns;
use super::legend::{self, Entry, SLACK, Swatch};
use super::picture::{Anchor, Picture, Text};
use super::run::{RunData, distinct_names};
use super::stats::causal_ceiling;
use super::text;
use crate::fault::{Fault, Kind, Result};

const MARGIN: f64 = 18.0;
/// Room for ticks and label left of an axis, right of one, and below it.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 66.0;
const BELOW: f64 = 50.0;
const SMALL: f64 = 12.5;
const TITLE: f64 = 16.0;
/// The training loss is averaged over this part of the run.
const WINDOW: f64 = 0.02;
/// The loss axis leaves out this first part of the run, where the loss falls from ln V.
const TRANSIENT: f64 = 0.1;
/// More points than this along a curve cannot be seen.
const MOST_POINTS: usize = 1500;
const LAYER: Colormap = Colormap::Viridis;

/// One run's curves.
struct Curve {
    name: String,
    train: Vec<(f64, f64)>,
    held_out: Vec<(f64, f64)>,
    color: Rgb,
    dash: Option<f64>,
}

impl Curve {
    fn entry(&self) -> Entry<'_> {
        Entry { name: &self.name, color: self.color, swatch: Swatch::Line(self.dash) }
    }
}

/// Training loss (averaged over 2% of the run) and held-out loss of every run over the steps; with
/// `perplexity`, an axis on the right reads e^loss. A cross marks where a run stopped being finite.
///
/// # Errors
/// `Usage` when no run has a finite loss.
pub fn loss_curves(runs: &[RunData], perplexity: bool) -> Result<Picture> {
    let names = distinct_names(runs);
    let curves: Vec<Curve> = runs.iter().zip(names).enumerate().map(curve).collect();
    let all = || curves.iter().flat_map(|curve| curve.train.iter().chain(&curve.held_out)).copied();
    let last = all().map(|point| point.0).fold(0.0, f64::max);
    let finite = |from: f64| all().filter(move |point| point.0 >= from && point.1.is_finite()).map(|p| p.1);
    let settled = if finite(last * TRANSIENT).next().is_some() { last * TRANSIENT } else { 0.0 };
    let low = finite(0.0).fold(f64::INFINITY, f64::min);
    let high = finite(settled).fold(f64::NEG_INFINITY, f64::max);
    if !(low.is_finite() && high.is_finite()) {
        return Err(Fault::new(Kind::Usage, "no run has a finite loss to draw"));
    }
    let room = ((high - low) * 0.06).max(0.02);

    let (plot, note) =
        ((720.0, 400.0), "lines: training loss, averaged over 2% of the run; points: held-out loss");
    let right = if perplexity { RIGHT } else { 0.0 };
    let width = 2.0 * MARGIN + LEFT + plot.0 + right + 12.0;
    let left = MARGIN + LEFT;
    let entries: Vec<Entry<'_>> = curves.iter().map(Curve::entry).collect();
    let widest = entries.iter().map(Entry::width).fold(0.0, f64::max);
    let width = width.max(left + widest + MARGIN);
    let rows = legend::rows(&entries, width - left - MARGIN);
    let top = MARGIN + rows.len() as f64 * legend::LINE + 28.0;
    let mut picture =
        Picture::new(width, top + plot.1 + BELOW + MARGIN, "Loss over training steps, nats per token");
    legend::draw(&mut picture, (left, MARGIN + 8.0), &rows);
    let at = Text::new(left, MARGIN + rows.len() as f64 * legend::LINE + 8.0, SMALL, note);
    picture.text(at.anchor(Anchor::Start).color(QUIET));

    let axes = Axes {
        left,
        top,
        width: plot.0,
        height: plot.1,
        x: (0.0, if last > 0.0 { last } else { 1.0 }),
        y: (low - room, high + room),
    };
    axes.draw(&mut picture, "Step", "Loss (nats per token)");
    if perplexity {
        axes.draw_exponential(&mut picture, "Perplexity");
    }
    for curve in &curves {
        axes.curve(&mut picture, &curve.train, 1.8, curve.color, curve.dash);
        for &point in &curve.held_out {
            // A white rim sets points apart that lie over each other.
            axes.point(&mut picture, point, 4.6, WHITE);
            axes.point(&mut picture, point, 3.4, curve.color);
        }
        if let Some(end) = last_finite(&curve.train).or_else(|| last_finite(&curve.held_out)) {
            axes.cross(&mut picture, end, curve.color);
        }
    }
    Ok(picture)
}

fn curve((index, (run, name)): (usize, (&RunData, String))) -> Curve {
    let losses: Vec<(f64, f64)> = run.steps.iter().map(|step| (step.step as f64, step.loss)).collect();
    let window = (losses.len() as f64 * WINDOW).round() as usize;
    // Beyond the colours that can be told apart, the dash tells.
    let dash = [None, Some(7.0), Some(3.0)][index / OKABE_ITO.len() % 3];
    Curve {
        name,
        train: thin(&smooth(&losses, window)),
        held_out: run.evals.iter().map(|eval| (eval.step as f64, eval.loss)).collect(),
        color: OKABE_ITO[index % OKABE_ITO.len()],
        dash,
    }
}

/// A moving average over `window` points (at least one) that never reaches over a non-finite value, which stays
/// what it is. It is centred; at the start, where the loss is steep, narrower; at the end it looks back.
pub fn smooth(points: &[(f64, f64)], window: usize) -> Vec<(f64, f64)> {
    let half = window / 2;
    let averaged = |index: usize| {
        if !points[index].1.is_finite() {
            return points[index];
        }
        let before = points[..index].iter().rev().take(half).take_while(|point| point.1.is_finite()).count();
        let after = points[index + 1..].iter().take(half).take_while(|point| point.1.is_finite()).count();
        let near = &points[index - before..=index + after.min(before)];
        (points[index].0, near.iter().map(|point| point.1).sum::<f64>() / near.len() as f64)
    };
    (0..points.len()).map(averaged).collect()
}

/// At most `MOST_POINTS` points, evenly chosen, the last one and the ends of finite stretches among them.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(MOST_POINTS).max(1);
    let finite = |index: usize| points.get(index).is_some_and(|point| point.1.is_finite());
    let kept = |&index: &usize| {
        let edge = index > 0 && finite(index - 1) != finite(index) || finite(index) != finite(index + 1);
        index % every == 0 || edge
    };
    (0..points.len()).filter(kept).map(|index| points[index]).collect()
}

/// Mean entropy of each layer over the steps, one panel a run, all on one scale; a dashed line shows the
/// causal ceiling where the context length is known.
///
/// # Errors
/// `Usage` when no run has attention records.
pub fn layer_entropy_curves(runs: &[RunData]) -> Result<Picture> {
    let shown: Vec<(&RunData, String)> =
        runs.iter().zip(distinct_names(runs)).filter(|(run, _)| !run.attention.is_empty()).collect();
    let layers =
        |run: &RunData| run.attention.iter().map(|record| record.layer_entropy.len()).max().unwrap_or(0);
    let depth = shown.iter().map(|(run, _)| layers(run)).max().unwrap_or(0);
    if depth == 0 {
        return Err(Fault::new(Kind::Usage, "no run has layer entropies to draw"));
    }
    let ceilings: Vec<Option<f64>> = shown.iter().map(|(run, _)| run.context.map(causal_ceiling)).collect();
    let entropies = shown.iter().flat_map(|(run, _)| &run.attention).flat_map(|record| &record.layer_entropy);
    let entropies = entropies.map(|&entropy| f64::from(entropy)).filter(|entropy| entropy.is_finite());
    let top = entropies.chain(ceilings.iter().flatten().copied()).fold(0.0, f64::max);
    let top = if top > 0.0 { top * 1.06 } else { 1.0 };

    let columns = columns(shown.len());
    let rows = shown.len().div_ceil(columns);
    let plot: (f64, f64) = (400.0, 250.0);
    let title_width = shown.iter().map(|(_, name)| text::width(name, TITLE) * SLACK).fold(0.0, f64::max);
    let panel = (LEFT + plot.0.max(title_width), 34.0 + plot.1 + BELOW);
    let (gap, key) = (30.0, 150.0);
    let width = MARGIN + columns as f64 * (panel.0 + gap) + key + MARGIN;
    let height = 2.0 * MARGIN + rows as f64 * (panel.1 + gap) - gap;
    let mut picture = Picture::new(width, height, "Mean attention entropy of each layer over training, nats");
    let color = |layer: usize| LAYER.at(0.9 * layer as f64 / (depth.max(2) - 1) as f64);

    for (index, ((run, name), ceiling)) in shown.iter().zip(&ceilings).enumerate() {
        let left = MARGIN + (index % columns) as f64 * (panel.0 + gap) + LEFT;
        let above = MARGIN + (index / columns) as f64 * (panel.1 + gap);
        let last = run.attention.last().map_or(0.0, |record| record.step as f64);
        let axes = Axes {
            left,
            top: above + 34.0,
            width: plot.0,
            height: plot.1,
            x: (0.0, if last > 0.0 { last } else { 1.0 }),
            y: (0.0, top),
        };
        picture.text(Text::new(left, above + 14.0, TITLE, name).anchor(Anchor::Start).bold().color(INK));
        axes.draw(&mut picture, "Step", "Entropy (nats)");
        if let Some(ceiling) = ceiling {
            let ends = [(axes.x.0, *ceiling), (axes.x.1, *ceiling)].map(|end| axes.place(end));
            picture.dashed(ends.to_vec(), 1.4, QUIET, 5.0);
        }
        for layer in 0..layers(run) {
            let value = |record: &crate::observe::record::Attention| {
                record.layer_entropy.get(layer).map_or(f64::NAN, |&entropy| f64::from(entropy))
            };
            let points: Vec<_> = run.attention.iter().map(|r| (r.step as f64, value(r))).collect();
            axes.curve(&mut picture, &thin(&points), 1.8, color(layer), None);
            if let Some(end) = last_finite(&points) {
                axes.cross(&mut picture, end, color(layer));
            }
        }
    }
    let x = width - MARGIN - key + 10.0;
    layer_key(&mut picture, x, depth, ceilings.iter().any(Option::is_some), height, &color);
    Ok(picture)
}

/// The layers' colours, deepest last, and the ceiling's dash.
fn layer_key(
    picture: &mut Picture,
    x: f64,
    depth: usize,
    ceiling: bool,
    height: f64,
    color: &impl Fn(usize) -> Rgb,
) {
    let line = 19.0;
    let room = ((height - MARGIN - 34.0 - BELOW - line) / line).max(2.0) as usize;
    let mut y = MARGIN + 42.0;
    if ceiling {
        picture.dashed(vec![(x, y), (x + 24.0, y)], 1.4, QUIET, 5.0);
        let label = Text::new(x + 32.0, y, SMALL, "causal ceiling");
        picture.text(label.anchor(Anchor::Start).color(INK));
        y += line;
    }
    for layer in (0..depth).step_by(depth.div_ceil(room)) {
        picture.line(vec![(x, y), (x + 24.0, y)], 2.4, color(layer));
        let label = Text::new(x + 32.0, y, SMALL, format!("layer {layer}"));
        picture.text(label.anchor(Anchor::Start).color(INK));
        y += line;
    }
}
