//! Loss over steps.

use super::axes::{Axes, QUIET, last_finite};
use super::colormap::{OKABE_ITO, Rgb};
use super::comparison::{Comparison, Group};
use super::legend::{self, Entry, Swatch};
use super::picture::{Anchor, Picture, Text};
use super::run::RunData;
use crate::fault::{Fault, Kind, Result};

const MARGIN: f64 = 18.0;
/// Room for ticks and label left of an axis, right of one, and below it.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 66.0;
const BELOW: f64 = 50.0;
const SMALL: f64 = 12.5;
/// The training loss is averaged over this part of the run.
const WINDOW: f64 = 0.02;
/// The loss axis leaves out this first part of the run, where the loss falls from ln V.
const TRANSIENT: f64 = 0.1;
/// More points than this along a curve cannot be seen.
const MOST_POINTS: usize = 1500;

/// One run's curves.
struct Curve {
    train: Vec<(f64, f64)>,
    held_out: Vec<(f64, f64)>,
    color: Rgb,
    dash: Option<f64>,
    /// The marker of held-out losses.
    shape: usize,
}

/// The colour and the dash of the configuration at `index`.
pub(super) fn style(index: usize) -> (Rgb, Option<f64>) {
    // Beyond the colours that can be told apart, the dash tells.
    let dash = [None, Some(7.0), Some(3.0)][index / OKABE_ITO.len() % 3];
    (OKABE_ITO[index % OKABE_ITO.len()], dash)
}

/// Training loss (averaged over 2% of the run) and held-out loss of every run over the steps, runs of one
/// configuration alike; with `perplexity`, an axis on the right reads e^loss. A cross marks where a run stopped being
/// finite.
///
/// # Errors
/// `Usage` when no run has a finite loss.
pub fn loss_curves(comparison: &Comparison, perplexity: bool) -> Result<Picture> {
    // What is published has no curve.
    let here = |index: &&usize| comparison.runs[**index].published.is_none();
    let groups: Vec<_> =
        comparison.groups.iter().filter(|group| group.runs.iter().filter(here).count() > 0).collect();
    let of_group = |(index, group): (usize, &&Group)| -> Vec<Curve> {
        comparison.of(group).map(|run| curve(run, index)).collect()
    };
    let curves: Vec<Curve> = groups.iter().enumerate().flat_map(of_group).collect();
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

    let plot = (720.0, 400.0);
    let seeds = if comparison.seeds() { "; a line for each seed" } else { "" };
    let note = format!("lines: training loss, averaged over 2% of the run; points: held-out loss{seeds}");
    let right = if perplexity { RIGHT } else { 0.0 };
    let width = 2.0 * MARGIN + LEFT + plot.0 + right + 12.0;
    let left = MARGIN + LEFT;
    let entry = |(index, group): (usize, &&Group)| {
        let (color, dash) = style(index);
        (group.name.clone(), color, Swatch::Marked(dash, index))
    };
    let named: Vec<(String, Rgb, Swatch)> = groups.iter().enumerate().map(entry).collect();
    let entries: Vec<Entry<'_>> =
        named.iter().map(|(name, color, swatch)| Entry { name, color: *color, swatch: *swatch }).collect();
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
    let thickness = if comparison.seeds() { 1.1 } else { 1.8 };
    for curve in &curves {
        axes.curve(&mut picture, &curve.train, thickness, curve.color, curve.dash);
        for &point in curve.held_out.iter().filter(|point| axes.shows(**point)) {
            legend::marker(&mut picture, axes.place(point), curve.shape, curve.color);
        }
        if let Some(end) = last_finite(&curve.train).or_else(|| last_finite(&curve.held_out)) {
            axes.cross(&mut picture, end, curve.color);
        }
    }
    Ok(picture)
}

fn curve(run: &RunData, shape: usize) -> Curve {
    let (color, dash) = style(shape);
    let losses = run.steps.iter().filter_map(|step| Some((step.step as f64, step.loss?)));
    let losses: Vec<(f64, f64)> = losses.collect();
    let window = (losses.len() as f64 * WINDOW).round() as usize;
    let held_out = run.evals.iter().map(|eval| (eval.step as f64, eval.loss)).collect();
    Curve { train: thin(&smooth(&losses, window)), held_out, color, dash, shape }
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
pub(super) fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(MOST_POINTS).max(1);
    let finite = |index: usize| points.get(index).is_some_and(|point| point.1.is_finite());
    let kept = |&index: &usize| {
        let edge = index > 0 && finite(index - 1) != finite(index) || finite(index) != finite(index + 1);
        index % every == 0 || edge
    };
    (0..points.len()).filter(kept).map(|index| points[index]).collect()
}
