//! Loss over steps.

use super::comparison::{Comparison, Group};
use super::diverged::Divergence;
use super::reach::{Track, far, of_losses};
use super::run::RunData;
use crate::draw::axes::{Axes, QUIET, STEPS, last_finite};
use crate::draw::colormap::{BLACK, OKABE_ITO, Rgb, WHITE};
use crate::draw::legend::{self, Entry, Swatch};
use crate::draw::picture::{Anchor, Picture, Text, is_narrow};
use crate::draw::text;
use crate::fault::{Fault, Kind, Result};
use crate::observe::quantities::EVAL_LOSS;

const MARGIN: f64 = 18.0;
/// Room for ticks and label left of an axis, right of one, and below it.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 66.0;
const BELOW: f64 = 50.0;
const SMALL: f64 = 12.5;
/// The training loss is averaged over this part of the run.
const WINDOW: f64 = 0.02;
/// More points than this along a curve cannot be seen.
const MOST_POINTS: usize = 1500;
/// The same along a curve as wide as a column of text.
const NARROW_POINTS: usize = 400;

/// One run's curves.
struct Curve {
    train: Vec<(f64, f64)>,
    held_out: Vec<(f64, f64)>,
    color: Rgb,
    dash: Option<f64>,
    /// The marker of held-out losses.
    shape: usize,
    diverged: Option<u64>,
}

const DASHES: [Option<f64>; 3] = [None, Some(7.0), Some(3.0)];
/// How many styles differ in colour or dash.
const LINES: usize = 2 * DASHES.len() * OKABE_ITO.len();

/// The colour and the dash of a style. Beyond the number of distinguishable colours, the dash differs; then the colours are
/// darker, and black is grey.
pub(super) fn style(index: usize) -> (Rgb, Option<f64>) {
    let (colour, round) = (OKABE_ITO[index % OKABE_ITO.len()], index / OKABE_ITO.len());
    let shade = match round / DASHES.len() % 2 {
        0 => colour,
        _ if colour == BLACK => BLACK.mix(WHITE, 0.5),
        _ => colour.mix(BLACK, 0.5),
    };
    (shade, DASHES[round % DASHES.len()])
}

/// The marker of a style. Where a line looks like an earlier one, its marker does not.
fn marker_of(index: usize) -> usize {
    index + index / LINES
}

/// Training loss (averaged over 2% of the run) and held-out loss of every run over the steps, runs of one configuration
/// alike; with `perplexity`, an axis on the right reads e^loss. A cross marks where a run's loss stopped being finite, a
/// triangle where it is outside the frame. The frame's range is that of the runs that learn. The picture takes the width of
/// `room`, if given.
///
/// # Errors
/// `Usage` when no run has a finite loss.
pub fn loss_curves(comparison: &Comparison, perplexity: bool, room: Option<f64>) -> Result<Picture> {
    // Published values have no curve.
    let here = |index: &&usize| comparison.runs[**index].published.is_none();
    let groups: Vec<_> =
        comparison.groups.iter().filter(|group| group.runs.iter().filter(here).count() > 0).collect();
    let most = if is_narrow(room) { NARROW_POINTS } else { MOST_POINTS };
    let of_group = |group: &&Group| -> Vec<Curve> {
        comparison.of(group).map(|run| curve(run, group.style, most)).collect()
    };
    let curves: Vec<Curve> = groups.iter().flat_map(of_group).collect();
    let tracks: Vec<Track> = curves.iter().map(Curve::track).collect();
    let last = tracks.iter().flat_map(|track| &track.points).map(|point| point.0).fold(0.0, f64::max);
    let Some((low, high)) = of_losses(&tracks, true) else {
        return Err(Fault::new(Kind::Usage, "no run has a finite loss to draw"));
    };
    let far = far(&tracks);
    let margin = ((high - low) * 0.06).max(0.02);

    let right = if perplexity { RIGHT } else { 0.0 };
    let plot = match room {
        None => (720.0, 400.0),
        Some(room) => (room - 2.0 * MARGIN - LEFT - right - 12.0, 300.0),
    };
    let seeds = if comparison.seeds() { "; a line for each seed" } else { "" };
    let lines = "lines: training loss, averaged over 2% of the run";
    let (points, beyond) = ("points: held-out loss", "triangles: beyond the frame from there");
    let notes = match room {
        None => vec![format!("{lines}; {points}{seeds}; {beyond}")],
        Some(_) => vec![format!("{lines}{seeds}"), format!("{points}; {beyond}")],
    };
    let width = 2.0 * MARGIN + LEFT + plot.0 + right + 12.0;
    let left = MARGIN + LEFT;
    // In a column of text, the key and the notes begin at its edge.
    let (key, notes) = match room.filter(|_| is_narrow(room)) {
        None => (left, notes),
        Some(room) => {
            let most = text::lines_in(room - 2.0 * MARGIN, true);
            let lines = notes.iter().flat_map(|note| text::wrapped(note, SMALL, most));
            (MARGIN, lines.collect())
        }
    };
    let entry = |group: &&Group| {
        let (color, dash) = style(group.style);
        (told(comparison, group), color, Swatch::Marked(dash, marker_of(group.style)))
    };
    let named: Vec<(String, Rgb, Swatch)> = groups.iter().map(entry).collect();
    let entries: Vec<Entry<'_>> =
        named.iter().map(|(name, color, swatch)| Entry { name, color: *color, swatch: *swatch }).collect();
    let widest = entries.iter().map(Entry::width).fold(0.0, f64::max);
    let width = if is_narrow(room) { width } else { width.max(left + widest + MARGIN) };
    let rows = legend::rows(&entries, width - key - MARGIN);
    let top = MARGIN + rows.len() as f64 * legend::LINE + 11.0 + 17.0 * notes.len() as f64;
    let mut picture =
        Picture::new(width, top + plot.1 + BELOW + MARGIN, "Loss over training steps, nats per token");
    legend::draw(&mut picture, (key, MARGIN + 8.0), &rows);
    for (line, note) in notes.into_iter().enumerate() {
        let middle = MARGIN + rows.len() as f64 * legend::LINE + 8.0 + 17.0 * line as f64;
        picture.text(Text::new(key, middle, SMALL, note).anchor(Anchor::Start).color(QUIET));
    }

    let axes = Axes {
        left,
        top,
        width: plot.0,
        height: plot.1,
        x: (0.0, if last > 0.0 { last } else { 1.0 }),
        y: (low - margin, high + margin),
    };
    axes.draw(&mut picture, STEPS, "Loss (nats per token)");
    if perplexity {
        axes.draw_exponential(&mut picture, "Perplexity");
    }
    let thickness = if comparison.seeds() { 1.1 } else { 1.8 };
    for curve in &curves {
        axes.curve(&mut picture, &curve.train, thickness, curve.color, curve.dash);
        // The steep beginning leaves the frame too, but every reader expects that.
        let out = |loss: f64| !(0.0..=far).contains(&loss);
        for points in [&curve.train, &curve.held_out] {
            axes.mark_leaving(&mut picture, points, out, curve.color);
        }
        for &point in curve.held_out.iter().filter(|point| axes.shows(**point)) {
            legend::marker(&mut picture, axes.place(point), curve.shape, curve.color);
        }
        if let Some(end) = last_finite(&curve.train).or_else(|| last_finite(&curve.held_out)) {
            axes.cross(&mut picture, end, curve.color);
        }
    }
    Ok(picture)
}

/// A configuration's name in the key, with the step at which it diverged.
fn told(comparison: &Comparison, group: &Group) -> String {
    match Divergence::of(comparison.of(group)) {
        Some(divergence) => format!("{} ({divergence})", group.name),
        None => group.name.clone(),
    }
}

fn curve(run: &RunData, index: usize, most: usize) -> Curve {
    let ((color, dash), shape) = (style(index), marker_of(index));
    let losses: Vec<(f64, f64)> = run.losses().map(|(step, loss)| (step as f64, loss)).collect();
    let window = (losses.len() as f64 * WINDOW).round() as usize;
    let held_out = run.log.numbers(&EVAL_LOSS).iter().map(|&(step, loss)| (step as f64, loss)).collect();
    // Only the points that are drawn are averaged: both the window and the number of points grow with the run.
    let train = kept_of(&losses, most).into_iter().map(|index| averaged(&losses, index, window)).collect();
    Curve { train, held_out, color, dash, shape, diverged: run.diverged_at() }
}

impl Curve {
    fn track(&self) -> Track {
        let points = self.train.iter().chain(&self.held_out).copied().collect();
        Track { points, diverged: self.diverged }
    }
}

/// A moving average over `window` points (at least one) that never crosses a non-finite value, which is left unchanged. It
/// is centred, narrower at the start, where the loss is steep, and looks back at the end.
pub fn smooth(points: &[(f64, f64)], window: usize) -> Vec<(f64, f64)> {
    (0..points.len()).map(|index| averaged(points, index, window)).collect()
}

/// At most about `most` points of the average over 2% of a run; those chosen are evenly spaced.
pub(super) fn smoothed(points: &[(u64, f64)], most: usize) -> Vec<(u64, f64)> {
    let points: Vec<(f64, f64)> = points.iter().map(|&(step, value)| (step as f64, value)).collect();
    let window = (points.len() as f64 * WINDOW).round() as usize;
    let of = |index| averaged(&points, index, window);
    kept_of(&points, most).into_iter().map(of).map(|(step, value)| (step as u64, value)).collect()
}

/// The point of [`smooth`] at `index`.
fn averaged(points: &[(f64, f64)], index: usize, window: usize) -> (f64, f64) {
    let half = window / 2;
    if !points[index].1.is_finite() {
        return points[index];
    }
    let before = points[..index].iter().rev().take(half).take_while(|point| point.1.is_finite()).count();
    let after = points[index + 1..].iter().take(half).take_while(|point| point.1.is_finite()).count();
    let near = &points[index - before..=index + after.min(before)];
    (points[index].0, near.iter().map(|point| point.1).sum::<f64>() / near.len() as f64)
}

/// At most about twice `MOST_POINTS` points, evenly chosen; includes the last one and the ends of finite stretches.
pub(super) fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    kept_of(points, MOST_POINTS).into_iter().map(|index| points[index]).collect()
}

/// The indices of about `most` points.
fn kept_of(points: &[(f64, f64)], most: usize) -> Vec<usize> {
    let every = points.len().div_ceil(most).max(1);
    let finite = |index: usize| points.get(index).is_some_and(|point| point.1.is_finite());
    let edge = |&index: &usize| {
        index > 0 && finite(index - 1) != finite(index) || finite(index) != finite(index + 1)
    };
    let mut kept = Vec::new();
    for first in (0..points.len()).step_by(every) {
        let edges = (first + 1..(first + every).min(points.len())).filter(edge);
        kept.push(first);
        // A run that breaks at every other step gets no more points than others.
        kept.extend(edges.take(if every > 4 { 4 } else { every }));
    }
    if kept.last().is_some_and(|&last| last + 1 < points.len()) {
        kept.push(points.len() - 1);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_lines_look_the_same() {
        let lines: Vec<_> = (0..LINES).map(style).collect();
        for (index, line) in lines.iter().enumerate() {
            assert!(!lines[..index].contains(line), "{index}: {line:?}");
        }
        // Where colour and dash are those of an earlier one, the marker is another.
        for index in LINES..7 * LINES {
            let alike = (index % LINES..index).step_by(LINES);
            let marked = |index: usize| marker_of(index) % 7;
            assert!(alike.map(marked).all(|earlier| earlier != marked(index)), "{index}");
        }
    }
}
