//! The memory that is alive while a plan runs, node by node, stacked by purpose. Plain numbers: knows no plan.

use super::axes::{Axes, INK, QUIET};
use super::colormap::{OKABE_ITO, Rgb, WHITE};
use super::legend::{self, Entry, Swatch};
use super::picture::{Anchor, Picture, Text};
use super::text;

const MARGIN: f64 = 18.0;
/// Room for ticks and label left of the axis, and below it.
const LEFT: f64 = 62.0;
const BELOW: f64 = 50.0;
const TITLE: f64 = 16.0;
const SMALL: f64 = 12.5;
const TICK: f64 = 12.0;
const PLOT: (f64, f64) = (920.0, 400.0);
/// What is over the pool's line, as a part of it: room for what is written there.
const HEADROOM: f64 = 1.16;
/// Two pixels of the PNG: edges that lie on them leave no seam between neighbours.
const GRAIN: f64 = 0.5;

/// What the picture shows.
#[derive(Clone, Debug)]
pub struct Alive<'a> {
    pub title: &'a str,
    /// From the bottom of the stack; all with one number of nodes. At most as many as there are colours.
    pub layers: Vec<Layer<'a>>,
    /// Bytes that are allocated throughout.
    pub pool: u64,
    /// The node at which the stack is highest, and what it is.
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

/// From the bottom of the stack: neighbours differ in hue and in lightness, for every kind of colour vision.
const COLORS: [Rgb; 6] = [OKABE_ITO[0], OKABE_ITO[4], OKABE_ITO[5], OKABE_ITO[1], OKABE_ITO[3], OKABE_ITO[2]];

/// Bytes alive over the nodes in the order in which they run.
pub fn liveness(alive: &Alive<'_>) -> Picture {
    let nodes = alive.layers.iter().map(|layer| layer.bytes.len()).max().unwrap_or(0);
    let (unit, size) = if alive.pool >= 4 << 30 { ("GiB", 30) } else { ("MiB", 20) };
    let scaled = |bytes: u64| bytes as f64 / f64::from(1_u32 << size);
    let amount = |bytes: u64| format!("{:.1} {unit}", scaled(bytes));

    let shown =
        alive.layers.iter().zip(COLORS).filter(|(layer, _)| layer.bytes.iter().any(|&bytes| bytes > 0));
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
    // The highest first: each is painted down to the axis, and over by those below it.
    for (heights, color) in tops.iter().zip(COLORS).rev() {
        for (first, end, bytes) in stretches(heights).into_iter().filter(|&(.., bytes)| bytes > 0) {
            let y = axes.place((0.0, scaled(bytes))).1;
            picture.rect(at(first), y, at(end) - at(first), top + PLOT.1 - y, color);
        }
    }
    let whole = tops.last().map_or(&[][..], Vec::as_slice);
    let height_at = |node: usize| scaled(whole.get(node).copied().unwrap_or(0));
    mark_places(&mut picture, alive, &axes, nodes, &at, &height_at);
    axes.draw_frame(&mut picture);
    let label = "Nodes in the order in which they run, block by block";
    picture.text(Text::new(left + PLOT.0 / 2.0, top + PLOT.1 + 37.0, 14.0, label).color(INK));
    mark_pool_and_peak(&mut picture, alive, &axes, &amount, scaled(alive.pool), &height_at);
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

/// Block boundaries, the names under them, and the two passes over them.
fn mark_places(
    picture: &mut Picture,
    alive: &Alive<'_>,
    axes: &Axes,
    nodes: usize,
    at: &impl Fn(usize) -> f64,
    height_at: &impl Fn(usize) -> f64,
) {
    let (top, bottom) = (axes.top, axes.top + axes.height);
    let ends = alive.places.iter().skip(1).map(|place| place.0).chain([nodes]);
    let mut free = axes.left - 4.0;
    for ((first, name), end) in alive.places.iter().zip(ends) {
        let x = at(*first);
        if *first > 0 {
            let height = height_at(*first).min(height_at(first - 1));
            picture.line(vec![(x, axes.place((0.0, height)).1), (x, bottom)], 0.7, WHITE);
            picture.line(vec![(x, bottom), (x, bottom + 4.0)], 1.0, INK);
        }
        let middle = (x + at(end)) / 2.0;
        let half = text::width(name, TICK) * legend::SLACK / 2.0;
        if middle - half > free && middle + half < axes.left + axes.width + 4.0 {
            picture.text(Text::new(middle, bottom + 14.0, TICK, name).color(INK));
            free = middle + half + 4.0;
        }
    }
    let turn = at(alive.backward);
    picture.line(vec![(turn, top - 16.0), (turn, bottom)], 1.2, INK);
    let over = |x: f64, name: &str| Text::new(x, top - 9.0, SMALL, name).color(QUIET);
    for (from, to, name) in [(axes.left, turn, "forward"), (turn, axes.left + axes.width, "backward")] {
        if to - from > text::width(name, SMALL) * legend::SLACK {
            picture.text(over((from + to) / 2.0, name));
        }
    }
}

/// The pool's line, and a mark at the peak with what it is.
fn mark_pool_and_peak(
    picture: &mut Picture,
    alive: &Alive<'_>,
    axes: &Axes,
    amount: &impl Fn(u64) -> String,
    pool: f64,
    height_at: &impl Fn(usize) -> f64,
) {
    let right = axes.left + axes.width;
    let line = axes.place((0.0, pool)).1;
    picture.dashed(vec![(axes.left, line), (right, line)], 1.6, INK, 6.0);
    let (x, y) = axes.place((alive.peak.0 as f64 + 0.5, height_at(alive.peak.0)));
    let written = (axes.top + line) / 2.0;
    let mut name = Text::new(x, written, SMALL, alive.peak.1).color(INK);
    let half = text::width(&name.text, SMALL) * legend::SLACK / 2.0;
    // The leader begins under the words, wherever these had to go.
    name.at.0 = x.clamp(axes.left + half + 8.0, (right - half - 8.0).max(axes.left + half + 8.0));
    picture.line(vec![(x, written + 9.0), (x, y)], 1.2, INK);
    picture.disc(x, y, 4.6, WHITE);
    picture.disc(x, y, 3.4, INK);
    // The pool's size at the side where the peak is not.
    let (edge, anchor) = match x > axes.left + axes.width / 2.0 {
        true => (axes.left + 8.0, Anchor::Start),
        false => (right - 8.0, Anchor::End),
    };
    picture.text(name);
    let size = Text::new(edge, written, SMALL, format!("pool {}", amount(alive.pool)));
    picture.text(size.anchor(anchor).color(INK));
}
