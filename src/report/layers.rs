//! A quantity of each layer over training, one panel per configuration.

use std::collections::BTreeMap;

use super::comparison::{Comparison, Group};
use super::curves::thin;
use super::diverged::Divergence;
use super::heatmap::columns;
use super::run::RunData;
use crate::draw::axes::{Axes, INK, QUIET, STEPS, last_finite};
use crate::draw::colormap::{Rgb, WHITE, layers};
use crate::draw::legend::{self, Entry, Swatch};
use crate::draw::picture::{Anchor, Picture, Text, is_narrow};
use crate::draw::text;
use crate::fault::{Fault, Kind, Result};
use crate::observe::entropy::causal_ceiling;
use crate::observe::quantities::{Axis, Drawn, Quantity};

const MARGIN: f64 = 18.0;
/// Room for ticks and label left of an axis, and below it.
const LEFT: f64 = 68.0;
const BELOW: f64 = 50.0;
const SMALL: f64 = 12.5;
const TITLE: f64 = 16.0;
const ABOVE: f64 = 34.0;
/// The lines of a title and of a note.
const TITLE_LINE: f64 = 20.0;
const NOTE_LINE: f64 = 17.0;
/// The most layers that the key below a picture names.
const NAMED: usize = 9;
const PLOT: (f64, f64) = (400.0, 250.0);
/// The narrowest plot of a picture for print.
const LEAST_PLOT: f64 = 200.0;
const GAP: f64 = 30.0;
/// Width of the key on the right.
const KEY: f64 = 150.0;

/// The values of each layer at some steps, in step order.
pub type Series = Vec<(u64, Vec<f32>)>;

/// A run's numbers of a quantity, layer by layer: for heads the mean of each layer; for values that all layers share, only
/// the first layer's. Empty lists are left out.
pub fn series(run: &RunData, quantity: &'static Quantity) -> Series {
    let mean = |heads: &Vec<f32>| heads.iter().sum::<f32>() / heads.len().max(1) as f32;
    let heads =
        run.log.heads(quantity).iter().map(|(step, layers)| (*step, layers.iter().map(mean).collect()));
    let counts = run.log.counts(quantity).iter();
    let counts = counts.map(|(step, layers)| (*step, layers.iter().map(|&count| count as f32).collect()));
    let layers = run.log.layers(quantity).iter().cloned();
    let shared = quantity
        .drawn
        .as_ref()
        .and_then(|drawn| drawn.shared)
        .is_some_and(|(key, word)| run.setting("model", key).and_then(toml::Value::as_str) == Some(word));
    let most = if shared { 1 } else { usize::MAX };
    let all = layers.chain(counts).chain(heads).filter(|(_, layers): &(u64, Vec<f32>)| !layers.is_empty());
    all.map(|(step, layers)| (step, layers.into_iter().take(most).collect())).collect()
}

/// Whether the axis is logarithmic.
fn logarithmic(drawn: &Drawn) -> bool {
    drawn.axis == Axis::Logarithmic
}

/// A value in the axis's coordinates.
fn on_axis(drawn: &Drawn, value: f32) -> f64 {
    let value = f64::from(value);
    if logarithmic(drawn) { value.log10() } else { value }
}

/// One run's records, and the step at which it diverged.
struct Seed {
    series: Series,
    diverged: Option<u64>,
}

/// One configuration: the records of its seeds.
struct Panel<'a> {
    name: &'a str,
    /// When its runs diverged, as text.
    note: Option<String>,
    seeds: Vec<Seed>,
    ceiling: Option<f64>,
}

/// Draws a quantity for every configuration that has records of it, all on one scale. With several seeds there is a
/// faint line for each and a strong one for their mean. A dashed line shows the causal ceiling of an entropy where the
/// context length is known, and zero for slopes. The picture takes the width of `room`, if given.
///
/// # Errors
/// `Usage` when no run has records of it.
///
/// # Panics
/// If the quantity is not drawn.
pub fn layer_curves(
    comparison: &Comparison,
    quantity: &'static Quantity,
    room: Option<f64>,
) -> Result<Picture> {
    let drawn = quantity.drawn.as_ref().expect("a quantity that is drawn");
    let (panels, _) = panels(comparison, quantity, drawn);
    let seeds = || panels.iter().flat_map(|panel| &panel.seeds);
    let records = || seeds().flat_map(|seed| &seed.series);
    let depth = records().map(|(_, layers)| layers.len()).max().unwrap_or(0);
    if depth == 0 {
        let what = drawn.title;
        return Err(Fault::new(Kind::Usage, format!("no run has records to draw: {what}")));
    }
    // Values of a run that has stopped learning would compress all other curves.
    let learnt = |seed: &Seed, step: u64| RunData::learns_at(seed.diverged, step);
    let any = seeds().any(|seed| seed.series.iter().any(|record| learnt(seed, record.0)));
    let told = seeds().flat_map(|seed| {
        seed.series.iter().filter(move |record| !any || learnt(seed, record.0)).flat_map(|record| &record.1)
    });
    let values = told.map(|&value| on_axis(drawn, value));
    let y = range(drawn.axis, values.chain(panels.iter().filter_map(|panel| panel.ceiling)));

    // With more than three side by side, panels are too small in print.
    let most = if is_narrow(room) { 1 } else { columns(panels.len()).min(3) };
    let fits = |columns: &usize| plot_width(room, *columns).is_none_or(|width| width >= LEAST_PLOT);
    let columns = (1..=most).rev().find(fits).unwrap_or(1);
    let plot = (plot_width(room, columns).unwrap_or(PLOT.0), PLOT.1);
    let rows = panels.len().div_ceil(columns);
    let narrow = is_narrow(room);
    let title = |panel: &Panel<'_>| {
        let note = panel.note.as_deref().map_or(0.0, |note| text::width(note, SMALL) + 14.0);
        (text::width(panel.name, TITLE) + note) * text::SLACK
    };
    let title_width = panels.iter().map(title).fold(0.0, f64::max);
    let wide = if room.is_some() { plot.0 } else { plot.0.max(title_width) };
    let color = |layer: usize| layers(layer as f64 / (depth.max(2) - 1) as f64);
    let several = panels.iter().any(|panel| panel.seeds.len() > 1);
    let dashed = panels.iter().find_map(|panel| panel.ceiling).map(|_| match drawn.axis {
        Axis::Signed => "zero",
        _ => "causal ceiling",
    });
    let headings: Vec<Heading> = panels
        .iter()
        .map(|panel| Heading::new(panel, room.map(|_| text::lines_in(plot.0, narrow))))
        .collect();
    let more = headings.iter().map(Heading::more).fold(0.0, f64::max);
    let each = (LEFT + wide, ABOVE + more + plot.1 + BELOW);
    let beside = if narrow { 0.0 } else { GAP + KEY };
    let width = MARGIN + columns as f64 * (each.0 + GAP) - GAP + beside + MARGIN;
    let panels_end = MARGIN + rows as f64 * (each.1 + GAP) - GAP;
    let key = key(depth, (dashed, several), &color);
    let entries: Vec<Entry<'_>> =
        key.iter().map(|(name, color, swatch)| Entry { name, color: *color, swatch: *swatch }).collect();
    let below = if narrow { legend::rows(&entries, width - 2.0 * MARGIN) } else { Vec::new() };
    let foot = below.len() as f64 * legend::LINE;
    let mut picture = Picture::new(width, panels_end + foot + MARGIN, drawn.title);
    let last = records().map(|(step, _)| *step).max().unwrap_or(0);
    let x = (0.0, last.max(1) as f64);
    for (index, panel) in panels.iter().enumerate() {
        let left = MARGIN + (index % columns) as f64 * (each.0 + GAP) + LEFT;
        let above = MARGIN + (index / columns) as f64 * (each.1 + GAP);
        let axes = Axes { left, top: above + ABOVE + more, width: plot.0, height: plot.1, x, y };
        headings[index].draw(&mut picture, (left, above + 14.0));
        draw_panel(&mut picture, panel, drawn, &axes, &color);
    }
    match narrow {
        true => legend::draw(&mut picture, (MARGIN, panels_end + legend::LINE / 2.0), &below),
        false => {
            let place = (width - MARGIN - KEY + 10.0, panels_end + MARGIN);
            layer_key(&mut picture, place, depth, (dashed, several), &color);
        }
    }
    Ok(picture)
}

/// What stands above a panel: its name, and when its runs diverged, beside it if there is room.
struct Heading {
    title: Vec<String>,
    note: Vec<String>,
    beside: bool,
}

impl Heading {
    /// With lines of at most `most`, if given.
    fn new(panel: &Panel<'_>, most: Option<f64>) -> Self {
        let note = panel.note.as_deref();
        let whole = text::width(panel.name, TITLE) * text::SLACK
            + note.map_or(0.0, |note| text::width(note, SMALL) + 14.0);
        let most = most.unwrap_or(f64::INFINITY);
        let lines = |text: &str, size| text::wrapped(text, size, most);
        Self {
            title: lines(panel.name, TITLE),
            note: note.map_or(Vec::new(), |note| lines(note, SMALL)),
            beside: whole <= most,
        }
    }

    /// The height of all lines but the first.
    fn more(&self) -> f64 {
        let notes = if self.beside { 0.0 } else { NOTE_LINE * self.note.len() as f64 };
        TITLE_LINE * (self.title.len() - 1) as f64 + notes
    }

    /// Draws it; the first line's middle is at `top`.
    fn draw(&self, picture: &mut Picture, (left, top): (f64, f64)) {
        for (line, title) in self.title.iter().enumerate() {
            let title = Text::new(left, top + TITLE_LINE * line as f64, TITLE, title);
            picture.text(title.anchor(Anchor::Start).bold().color(INK));
        }
        let first = match self.beside {
            true => (left + text::width(&self.title[0], TITLE) * text::SLACK + 14.0, top),
            false => (left, top + TITLE_LINE * self.title.len() as f64),
        };
        for (line, note) in self.note.iter().enumerate() {
            let note = Text::new(first.0, first.1 + NOTE_LINE * line as f64, SMALL, note);
            picture.text(note.anchor(Anchor::Start).color(QUIET));
        }
    }
}

/// The width of each of the plots that stand side by side in `room`.
fn plot_width(room: Option<f64>, columns: usize) -> Option<f64> {
    room.map(|width| match is_narrow(room) {
        true => width - 2.0 * MARGIN - LEFT,
        false => (width - 2.0 * MARGIN - KEY) / columns as f64 - LEFT - GAP,
    })
}

/// Configurations without a panel in a quantity's picture: those whose activations are never zero, if other configurations
/// have zeros.
pub fn without_zeros<'a>(
    comparison: &'a Comparison,
    quantity: &'static Quantity,
    drawn: &Drawn,
) -> Vec<&'a str> {
    panels(comparison, quantity, drawn).1
}

/// The panels of a quantity, and the names of those left out.
fn panels<'a>(
    comparison: &'a Comparison,
    quantity: &'static Quantity,
    drawn: &Drawn,
) -> (Vec<Panel<'a>>, Vec<&'a str>) {
    let has_any = |group: &Group| {
        let series = drawn.unless_zero.map(|zeros| comparison.of(group).flat_map(|run| series(run, zeros)));
        series.is_some_and(|mut series| series.any(|(_, layers)| layers.iter().any(|&share| share != 0.0)))
    };
    let choosy = comparison.groups.iter().any(has_any);
    let (mut panels, mut left_out) = (Vec::new(), Vec::new());
    for group in &comparison.groups {
        let runs = comparison.of(group).filter(|run| run.published.is_none());
        let seed = |run: &RunData| Seed { series: series(run, quantity), diverged: run.diverged_at() };
        let seeds: Vec<Seed> = runs.map(seed).filter(|seed| !seed.series.is_empty()).collect();
        let note = Divergence::of(comparison.of(group)).map(|divergence| divergence.to_string());
        let ceiling = match drawn.axis {
            Axis::Entropy => comparison.of(group).find_map(|run| run.context).map(causal_ceiling),
            Axis::Signed => Some(0.0),
            _ => None,
        };
        if !seeds.is_empty() && choosy && !has_any(group) {
            left_out.push(group.name.as_str());
        } else if !seeds.is_empty() {
            panels.push(Panel { name: &group.name, note, seeds, ceiling });
        }
    }
    (panels, left_out)
}

/// The range of the vertical axis, which contains all finite values.
fn range(axis: Axis, values: impl Iterator<Item = f64>) -> (f64, f64) {
    let ends = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
    let (low, high) = values.filter(|value| value.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), ends);
    match axis {
        _ if low > high => (0.0, 1.0),
        Axis::Share | Axis::Entropy => (0.0, if high > 0.0 { high * 1.06 } else { 1.0 }),
        _ => {
            let room = ((high - low) * 0.06).max(1e-3);
            (low - room, high + room)
        }
    }
}

fn draw_panel(
    picture: &mut Picture,
    panel: &Panel<'_>,
    drawn: &Drawn,
    axes: &Axes,
    color: &impl Fn(usize) -> Rgb,
) {
    if logarithmic(drawn) {
        axes.draw_x(picture, STEPS);
        axes.draw_y_decades(picture, drawn.label);
        axes.draw_frame(picture);
    } else {
        axes.draw(picture, STEPS, drawn.label);
    }
    if let Some(ceiling) = panel.ceiling {
        let ends = [(axes.x.0, ceiling), (axes.x.1, ceiling)].map(|end| axes.place(end));
        picture.dashed(ends.to_vec(), 1.4, QUIET, 5.0);
    }
    let several = panel.seeds.len() > 1;
    for seed in &panel.seeds {
        for (layer, points) in lines(&seed.series, drawn).into_iter().enumerate() {
            let (width, color) =
                if several { (0.8, WHITE.mix(color(layer), 0.45)) } else { (1.8, color(layer)) };
            axes.curve(picture, &thin(&points), width, color, None);
            if let Some(end) = last_finite(&points) {
                axes.cross(picture, end, color);
            }
        }
    }
    if several {
        for (layer, points) in lines(&mean(&panel.seeds), drawn).into_iter().enumerate() {
            axes.curve(picture, &thin(&points), 2.0, color(layer), None);
        }
    }
}

/// A series layer by layer, in the axis's coordinates. The logarithm of zero is left out; a non-finite value makes a gap.
fn lines(series: &Series, drawn: &Drawn) -> Vec<Vec<(f64, f64)>> {
    let depth = series.iter().map(|(_, layers)| layers.len()).max().unwrap_or(0);
    let point = |layer: usize, (step, layers): &(u64, Vec<f32>)| {
        let value = layers.get(layer).map_or(f64::NAN, |&value| on_axis(drawn, value));
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

/// The key for a picture without room beside it: layers, deepest last, and what else is drawn.
fn key(
    depth: usize,
    (dashed, several): (Option<&str>, bool),
    color: &impl Fn(usize) -> Rgb,
) -> Vec<(String, Rgb, Swatch)> {
    let mut key: Vec<(String, Rgb, Swatch)> = Vec::new();
    key.extend(dashed.map(|dashed| (dashed.to_owned(), QUIET, Swatch::Line(Some(5.0)))));
    if several {
        key.push(("one seed".to_owned(), WHITE.mix(INK, 0.45), Swatch::Line(None)));
        key.push(("mean of seeds".to_owned(), INK, Swatch::Line(None)));
    }
    for layer in (0..depth).step_by(depth.div_ceil(NAMED)) {
        let name = if depth == 1 { "all layers".to_owned() } else { format!("layer {layer}") };
        key.push((name, color(layer), Swatch::Line(None)));
    }
    key
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
