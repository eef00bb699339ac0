//! The memory that is alive while a plan runs, node by node, stacked by purpose. Takes plain numbers and does not depend on
//! plans.

use crate::draw::axes::{Axes, INK, QUIET, tick_text};
use crate::draw::colormap::{OKABE_ITO, Rgb, WHITE};
use crate::draw::legend::{self, Entry, Swatch};
use crate::draw::picture::{Anchor, Picture, Text};
use crate::draw::text;

const MARGIN: f64 = 18.0;
/// Room for ticks and label left of the axis, and below it.
const LEFT: f64 = 62.0;
const BELOW: f64 = 50.0;
const TITLE: f64 = 16.0;
const SMALL: f64 = 12.5;
const TICK: f64 = 12.0;
const PLOT: (f64, f64) = (920.0, 400.0);
/// The axis's height as a multiple of the pool's, which leaves room for text above the pool's line.
const HEADROOM: f64 = 1.16;
/// Two pixels of the PNG: edges that lie on them leave no seam between neighbours.
const GRAIN: f64 = 0.5;

/// What the picture shows.
#[derive(Clone, Debug)]
pub struct Alive<'a> {
    pub title: &'a str,
    /// From the bottom of the stack up, all with the same number of nodes; at most as many as there are colours.
    pub layers: Vec<Layer<'a>>,
    /// Bytes that are allocated throughout.
    pub pool: u64,
    /// The node at which the stack is highest, and its name.
    pub peak: (usize, &'a str),
    /// Where each place of the model begins, and its short name.
    pub places: Vec<(usize, String)>,
    /// The first node of the backward pass.
    pub backward: usize,
}

/// One purpose of memory.
#[derive(Clone, Debug)]
pub struct Layer<'a> {
    pub name: &'a str,
    /// Bytes alive at each node.
    pub bytes: Vec<u64>,
}

/// From the bottom of the stack up. Neighbours differ in hue and lightness for every kind of colour vision.
const COLORS: [Rgb; 6] = [OKABE_ITO[0], OKABE_ITO[4], OKABE_ITO[5], OKABE_ITO[1], OKABE_ITO[3], OKABE_ITO[2]];

/// Bytes alive over the nodes in the order in which they run.
pub fn liveness(alive: &Alive<'_>) -> Picture {
    let nodes = alive.layers.iter().map(|layer| layer.bytes.len()).max().unwrap_or(0);
    let (unit, size) = if alive.pool >= 4 << 30 { ("GiB", 30) } else { ("MiB", 20) };
    let scaled = |bytes: u64| bytes as f64 / f64::from(1_u32 << size);
    let amount = |bytes: u64| format!("{} {unit}", tick_text((scaled(bytes) * 10.0).round() / 10.0, 0.1));

    // Purposes that are thinner than a pixel everywhere have no entry.
    let seen = |bytes: u64| bytes as f64 * PLOT.1 > alive.pool as f64;
    let shown = alive.layers.iter().zip(COLORS);
    let shown = shown.filter(|(layer, _)| layer.bytes.iter().any(|&bytes| seen(bytes)));
    let areas = shown.map(|(layer, color)| Entry { name: layer.name, color, swatch: Swatch::Area });
    let pool = Entry { name: "the pool: what is allocated", color: INK, swatch: Swatch::Line(Some(6.0)) };
    let entries: Vec<Entry<'_>> = areas.chain([pool]).collect();
    let rows = legend::rows(&entries, PLOT.0);
    let (left, legend_top) = (MARGIN + LEFT, MARGIN + 38.0);
    let top = legend_top + rows.len() as f64 * legend::LINE + 18.0;
    let (width, height) = (left + PLOT.0 + MARGIN, top + PLOT.1 + BELOW + MARGIN);
    let mut picture = Picture::new(width, height, alive.title);
    let title = Text::new(left, MARGIN + 8.0, TITLE, alive.title);
    picture.text(title.anchor(Anchor::Start).bold().color(INK));
    legend::draw(&mut picture, (left, legend_top), &rows);

    let axes = Axes {
        left,
        top,
        width: PLOT.0,
        height: PLOT.1,
        x: (0.0, nodes.max(1) as f64),
        y: (0.0, scaled(alive.pool).max(f64::MIN_POSITIVE) * HEADROOM),
    };
    axes.draw_y(&mut picture, &format!("Alive ({unit})"));
    let at = |node: usize| (axes.place((node as f64, 0.0)).0 / GRAIN).round() * GRAIN;
    let tops = stacked(alive, nodes);
    // The highest first: each is painted down to the axis, and those below it are painted over it.
    for (heights, color) in tops.iter().zip(COLORS).rev() {
        for (first, end, bytes) in stretches(heights).into_iter().filter(|&(.., bytes)| bytes > 0) {
            let y = axes.place((0.0, scaled(bytes))).1;
            // Drawn at least `GRAIN` wide: it may be the peak.
            picture.rect(at(first), y, (at(end) - at(first)).max(GRAIN), top + PLOT.1 - y, color);
        }
    }
    let whole = tops.last().map_or(&[][..], Vec::as_slice);
    let height_at = |node: usize| scaled(whole.get(node).copied().unwrap_or(0));
    mark_places(&mut picture, alive, &axes, nodes, &at, &height_at);
    mark_passes(&mut picture, &axes, at(alive.backward), scaled(alive.pool));
    axes.draw_frame(&mut picture);
    let label = "Nodes in the order in which they run, block by block";
    picture.text(Text::new(left + PLOT.0 / 2.0, top + PLOT.1 + 37.0, 14.0, label).color(INK));
    let peak = format!("peak {} at {}", amount(whole.iter().copied().max().unwrap_or(0)), alive.peak.1);
    let place = axes.place((alive.peak.0 as f64 + 0.5, height_at(alive.peak.0)));
    let pool = format!("pool {}", amount(alive.pool));
    mark_pool_and_peak(&mut picture, &axes, scaled(alive.pool), &pool, place, &peak);
    picture
}

/// For each layer, the height of the stack up to it at each node.
fn stacked(alive: &Alive<'_>, nodes: usize) -> Vec<Vec<u64>> {
    let mut below = vec![0; nodes];
    let add = |layer: &Layer<'_>| {
        for (sum, bytes) in below.iter_mut().zip(&layer.bytes) {
            *sum += bytes;
        }
        below.clone()
    };
    alive.layers.iter().map(add).collect()
}

/// Runs of equal values: first, end, value.
fn stretches(values: &[u64]) -> Vec<(usize, usize, u64)> {
    let mut found: Vec<(usize, usize, u64)> = Vec::new();
    for (i, &value) in values.iter().enumerate() {
        match found.last_mut() {
            Some((_, end, same)) if *same == value => *end = i + 1,
            _ => found.push((i, i + 1, value)),
        }
    }
    found
}

/// Block boundaries, and as many names below them as fit.
fn mark_places(
    picture: &mut Picture,
    alive: &Alive<'_>,
    axes: &Axes,
    nodes: usize,
    at: &impl Fn(usize) -> f64,
    height_at: &impl Fn(usize) -> f64,
) {
    let bottom = axes.top + axes.height;
    let ends = alive.places.iter().skip(1).map(|place| place.0).chain([nodes]);
    let mut labels = Vec::new();
    for ((first, name), end) in alive.places.iter().zip(ends) {
        let x = at(*first);
        if *first > 0 {
            let height = height_at(*first).min(height_at(first - 1));
            picture.line(vec![(x, axes.place((0.0, height)).1), (x, bottom)], 0.7, WHITE);
            picture.line(vec![(x, bottom), (x, bottom + 4.0)], 1.0, INK);
        }
        let half = text::width(name, TICK) * text::SLACK / 2.0;
        // Blocks are numbered, and a number may reach over its neighbours'; words may not.
        let number: Option<usize> = name.parse().ok();
        if number.is_some() || 2.0 * half < at(end) - x {
            labels.push(((x + at(end)) / 2.0, half, number, name));
        }
    }
    let every = [1, 2, 5, 10, 20, 50, 100, 200, 500].into_iter().find(|every| {
        let mut free = f64::NEG_INFINITY;
        labels.iter().filter(|label| label.2.is_none_or(|number| number % every == 0)).all(|label| {
            let fits = label.0 - label.1 > free;
            free = label.0 + label.1 + 3.0;
            fits
        })
    });
    let shown =
        |number: Option<usize>| number.is_none_or(|number| every.is_some_and(|every| number % every == 0));
    for (middle, _, _, name) in labels.into_iter().filter(|label| shown(label.2)) {
        picture.text(Text::new(middle, bottom + 14.0, TICK, name).color(INK));
    }
}

/// The line between the two passes, and their names over it.
fn mark_passes(picture: &mut Picture, axes: &Axes, turn: f64, pool: f64) {
    let (top, right) = (axes.top, axes.left + axes.width);
    // The line leaves out the text above the pool's line.
    for (from, to) in [(top - 16.0, top - 2.0), (axes.place((0.0, pool)).1, top + axes.height)] {
        picture.line(vec![(turn, from), (turn, to)], 1.2, INK);
    }
    for (from, to, name) in [(axes.left, turn, "forward"), (turn, right, "backward")] {
        if to - from > text::width(name, SMALL) * text::SLACK {
            picture.text(Text::new((from + to) / 2.0, top - 9.0, SMALL, name).color(QUIET));
        }
    }
}

/// The pool's line with its size, and the labelled mark at the peak.
fn mark_pool_and_peak(
    picture: &mut Picture,
    axes: &Axes,
    pool: f64,
    pool_text: &str,
    (x, y): (f64, f64),
    peak_text: &str,
) {
    let right = axes.left + axes.width;
    let line = axes.place((0.0, pool)).1;
    picture.dashed(vec![(axes.left, line), (right, line)], 1.6, INK, 6.0);
    let written = (axes.top + line) / 2.0;
    let half = text::width(peak_text, SMALL) * text::SLACK / 2.0;
    // The leader line begins under the words, even if they had to move.
    let (least, most) = (axes.left + half + 8.0, right - half - 8.0);
    write_clear(picture, Text::new(x.clamp(least, most.max(least)), written, SMALL, peak_text));
    picture.line(vec![(x, written + 9.0), (x, y)], 1.2, INK);
    picture.disc(x, y, 3.0, INK);
    // The pool's size is on the side away from the peak.
    let (edge, anchor) = match x > axes.left + axes.width / 2.0 {
        true => (axes.left + 8.0, Anchor::Start),
        false => (right - 8.0, Anchor::End),
    };
    write_clear(picture, Text::new(edge, written, SMALL, pool_text).anchor(anchor));
}

/// Text on a white background, so that no grid line crosses it.
fn write_clear(picture: &mut Picture, text: Text) {
    let (left, top, right, bottom) = text.bounds();
    picture.rect(left - 3.0, top - 2.0, right - left + 6.0, bottom - top + 4.0, WHITE);
    picture.text(text.color(INK));
}
