//! The effect of a fixed slope: when numbers stop being finite, and what share of heads collapses.

use std::collections::BTreeMap;

use super::comparison::Comparison;
use super::run::{RunData, widen};
use super::spread::references;
use super::stats::Reference;
use super::table::decimal;
use crate::draw::axes::{Axes, INK, QUIET};
use crate::draw::colormap::{OKABE_ITO, Rgb};
use crate::draw::legend::{self, Entry, Swatch};
use crate::draw::picture::{Anchor, Picture, Text, is_narrow};
use crate::draw::text;
use crate::fault::{Fault, Kind, Result};
use crate::observe::entropy::bins;
use crate::observe::quantities::HEAD_ENTROPY;

const MARGIN: f64 = 18.0;
const LEFT: f64 = 72.0;
const PLOT: (f64, f64) = (560.0, 210.0);
const BETWEEN: f64 = 38.0;
const BELOW: f64 = 66.0;
const SMALL: f64 = 12.5;
const TICK: f64 = 12.0;

/// One run with a fixed slope.
struct Point {
    slope: f64,
    normalized: bool,
    /// The first step with a number that is not finite.
    broke: Option<u64>,
    /// Steps done.
    steps: u64,
    /// Share of collapsed heads in the last record whose entropies are all finite; `None` without such a record.
    collapse: Option<f64>,
}

/// Whether there are at least two different fixed slopes to compare.
pub fn has_slopes(comparison: &Comparison) -> bool {
    let slopes: Vec<f64> = comparison.runs.iter().filter_map(RunData::fixed_slope).collect();
    let leaky = |run: &RunData| run.fixed_slope().is_some_and(|slope| slope > 0.0);
    slopes.iter().any(|slope| *slope != slopes[0]) && comparison.runs.iter().any(leaky)
}

/// Draws two quantities over the slope, for all runs with a fixed one (0 for ReLU, 1 without activation): the first step
/// with a number that is not finite, and the share of heads below M/4. Slopes are evenly spaced, not to scale. A run whose
/// numbers are all finite is an empty triangle at the step that it reached. The picture takes the width of `room`, if given.
///
/// # Errors
/// `Usage` when no run has a fixed slope; those of [`Reference::nats`].
pub fn slope_stability(comparison: &Comparison, reference: Reference, room: Option<f64>) -> Result<Picture> {
    let plot = room.map_or(PLOT, |room| (room - 2.0 * MARGIN - LEFT - 10.0, PLOT.1));
    let references = references(&comparison.runs, reference)?;
    let point = |(run, m): (&RunData, &Option<f64>)| {
        Some(Point {
            slope: run.fixed_slope()?,
            normalized: run.setting("model", "norm").and_then(toml::Value::as_str) != Some("none"),
            broke: run.broke_at(),
            steps: run.steps_done(),
            collapse: m.and_then(|m| collapse(run, m)),
        })
    };
    let points: Vec<Point> = comparison.runs.iter().zip(&references).filter_map(point).collect();
    if points.is_empty() {
        return Err(Fault::new(Kind::Usage, "no run has an activation of fixed slope"));
    }
    let mut slopes: Vec<f64> = points.iter().map(|point| point.slope).collect();
    slopes.sort_by(f64::total_cmp);
    slopes.dedup();
    let place = |slope: f64| slopes.iter().position(|&other| other == slope).unwrap_or(0) as f64;

    let kinds = [("without normalization", OKABE_ITO[1]), ("with LayerNorm", OKABE_ITO[4])];
    let entries: Vec<Entry<'_>> = kinds
        .iter()
        .zip([false, true])
        .filter(|(_, normalized)| points.iter().any(|point| point.normalized == *normalized))
        .map(|((name, color), normalized)| Entry {
            name,
            color: *color,
            swatch: Swatch::Marker(shape(normalized)),
        })
        .collect();
    let width = 2.0 * MARGIN + LEFT + plot.0 + 10.0;
    let left = MARGIN + LEFT;
    let rows = legend::rows(&entries, width - left - MARGIN);
    let note = "marker: a number was not finite; empty triangle: none until this step";
    let key = if is_narrow(room) { MARGIN } else { left };
    let notes = match room {
        None => vec![note.to_owned()],
        Some(width) => text::wrapped(note, SMALL, text::lines_in(width - key - MARGIN, is_narrow(room))),
    };
    let top = MARGIN + rows.len() as f64 * legend::LINE + 13.0 + 17.0 * notes.len() as f64;
    let height = top + 2.0 * plot.1 + BETWEEN + BELOW + MARGIN;
    let title =
        "First step with a number that is not finite, and share of collapsed heads, over the fixed slope";
    let mut picture = Picture::new(width, height, title);
    legend::draw(&mut picture, (left, MARGIN + 8.0), &rows);
    for (line, note) in notes.into_iter().enumerate() {
        let middle = MARGIN + rows.len() as f64 * legend::LINE + 8.0 + 17.0 * line as f64;
        picture.text(Text::new(key, middle, SMALL, note).anchor(Anchor::Start).color(QUIET));
    }

    let last = points.iter().map(|point| point.steps.max(point.broke.unwrap_or(0))).max().unwrap_or(0);
    let x = (-0.5, slopes.len() as f64 - 0.5);
    let size = |top: f64, y: (f64, f64)| Axes { left, top, width: plot.0, height: plot.1, x, y };
    let onset = size(top, (0.0, last.max(1) as f64 * 1.08));
    let collapse = size(top + plot.1 + BETWEEN, (0.0, 105.0));
    onset.draw_y(&mut picture, "Steps done");
    collapse.draw_y(&mut picture, "Collapsed heads (%)");
    for axes in [&onset, &collapse] {
        axes.draw_frame(&mut picture);
    }
    let below = collapse.top + plot.1;
    for &slope in &slopes {
        let at = collapse.place((place(slope), 0.0)).0;
        picture.line(vec![(at, below), (at, below + 4.0)], 1.2, INK);
        picture.text(Text::new(at, below + 15.0, TICK, format!("{slope}")).color(INK));
        let what = match slope {
            0.0 => "ReLU",
            1.0 => "no activation",
            _ => continue,
        };
        picture.text(Text::new(at, below + 31.0, TICK, what).color(QUIET));
    }
    let label =
        Text::new(left + plot.0 / 2.0, below + 52.0, 14.0, "Slope for negative inputs (not to scale)");
    picture.text(label.color(INK));
    draw_points(&mut picture, (&onset, &collapse), &points, &place, kinds.map(|kind| kind.1));
    if let Some(&m) = references.iter().flatten().next() {
        let m = decimal(m, 2);
        let text = match room {
            None => format!("below M/4, last finite record; M = {m} nats, {reference}"),
            Some(_) if is_narrow(room) => format!("below M/4; M = {m} nats"),
            Some(_) => format!("below M/4, last finite record; M = {m} nats"),
        };
        let text = Text::new(left + 10.0, collapse.top - 12.0, SMALL, text);
        picture.text(text.anchor(Anchor::Start).color(QUIET));
    }
    Ok(picture)
}

/// A disc without normalization, a square with it: in grey their colours are similar.
fn shape(normalized: bool) -> usize {
    usize::from(normalized)
}

/// Share of heads below M/4 in the newest record whose entropies are all finite.
fn collapse(run: &RunData, m: f64) -> Option<f64> {
    let finite = |grid: &&Vec<Vec<f32>>| grid.iter().flatten().all(|entropy| entropy.is_finite());
    let grid = run.log.heads(&HEAD_ENTROPY).iter().rev().map(|(_, grid)| grid).find(finite)?;
    (m > 0.0).then(|| bins(&widen(grid), m)[0])
}

fn draw_points(
    picture: &mut Picture,
    (onset, collapse): (&Axes, &Axes),
    points: &[Point],
    place: &impl Fn(f64) -> f64,
    colors: [Rgb; 2],
) {
    // Runs with the same slope are drawn side by side, so that none hides another.
    let mut beside: BTreeMap<(u64, bool), f64> = BTreeMap::new();
    let count = |point: &Point| {
        points.iter().filter(|p| p.slope == point.slope && p.normalized == point.normalized).count() as f64
    };
    let both = |slope: f64| {
        points.iter().any(|p| p.slope == slope && p.normalized)
            && points.iter().any(|p| p.slope == slope && !p.normalized)
    };
    for point in points {
        let place_in = beside.entry((point.slope.to_bits(), point.normalized)).or_default();
        let step = 0.3 / count(point).max(3.0);
        let side = match (both(point.slope), point.normalized) {
            (false, _) => 0.0,
            (true, false) => -0.18,
            (true, true) => 0.18,
        };
        let x = place(point.slope) + side + (*place_in - (count(point) - 1.0) / 2.0) * step;
        *place_in += 1.0;
        let color = colors[usize::from(point.normalized)];
        match point.broke {
            Some(step) => {
                let at = onset.place((x, step as f64));
                legend::marker(picture, at, shape(point.normalized), color);
            }
            None => {
                let (x, y) = onset.place((x, point.steps as f64));
                let corners = [(x - 6.0, y + 5.0), (x + 6.0, y + 5.0), (x, y - 6.0), (x - 6.0, y + 5.0)];
                picture.line(corners.to_vec(), 1.6, color);
            }
        }
        if let Some(share) = point.collapse {
            let at = collapse.place((x, share * 100.0));
            legend::marker(picture, at, shape(point.normalized), color);
        }
    }
}
