//! The paper's first figure: mean attention entropy of every head, layers down, heads across.

use crate::draw::axes::{INK, QUIET, nice_ticks, tick_text};
use crate::draw::colormap::{ABSENT, Colormap, Rgb, WHITE, diverging};
use crate::draw::picture::{Anchor, Picture, Text};
use crate::draw::text;
use crate::fault::{Fault, Kind, Result};
use crate::observe::entropy::observed_max;

/// One model's matrix.
#[derive(Clone, Debug)]
pub struct Panel {
    pub title: String,
    /// Unobtrusive lines under the title.
    pub notes: Vec<String>,
    /// Mean entropies in nats, `[layer][head]`, layer 0 first. Non-finite values are shown as such.
    pub values: Vec<Vec<f64>>,
    /// M in nats, if heads are binned relative to one.
    pub reference: Option<f64>,
}

/// The range of entropies that the colours span. It always begins at 0, so a dark cell is a collapsed head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Scale {
    /// One range for all panels, up to the largest value of any: colours are comparable across panels.
    #[default]
    Shared,
    /// Each panel up to its own largest value, with its own colour bar.
    Own,
}

/// The smallest and the largest cell. Between these sizes, cells fill the area of `MATRIX`.
const CELL_LEAST: (f64, f64) = (34.0, 28.0);
const CELL_MOST: (f64, f64) = (64.0, 46.0);
const MATRIX: (f64, f64) = (400.0, 330.0);
const LABEL: f64 = 14.0;
const TICK: f64 = 12.0;
const TITLE: f64 = 18.0;
const NOTE: f64 = 12.5;
/// Space left of a matrix (layer numbers, "Layer") and below it (head numbers, "Head").
const LEFT: f64 = 52.0;
const BELOW: f64 = 48.0;
/// The space for a colour bar with its ticks and label, and the bar's own width.
const BAR_ROOM: f64 = 96.0;
const BAR: f64 = 18.0;
const MARGIN: f64 = 18.0;
const GAP: f64 = 26.0;
/// The smallest size of a panel's matrix area, so that the bar's label fits beside a single cell.
const LEAST: (f64, f64) = (120.0, 170.0);
/// Height of a line of notes.
const LINE: f64 = 18.0;

const HATCH: Rgb = Rgb::hex(0xa8a8a8);

/// Columns of a figure with `count` panels: up to three side by side, four as two by two, eight as four by two. Uses one
/// column more than in a square if that leaves no gap.
pub(super) fn columns(count: usize) -> usize {
    let square = (count as f64).sqrt().ceil() as usize;
    let full = (square..=square + 1).find(|&columns| columns > 0 && count.is_multiple_of(columns));
    if count <= 3 { count.max(1) } else { full.unwrap_or(square) }
}

/// An entropy rounded to hundredths of a nat, as every drawing shows it. Differences are computed from these rounded
/// values, so a head has the same number in every drawing. Never −0.
pub(super) fn rounded(entropy: f64) -> f64 {
    (entropy * 100.0).round() / 100.0 + 0.0
}

/// What the cells' colours and numbers mean.
#[derive(Clone, Copy, Debug)]
enum Shade {
    /// Entropies from 0 to `top`; `numbers` in the cells, or colours alone. A head is overloaded from `overload` on, which the
    /// bar shows.
    Entropy { top: f64, colormap: Colormap, numbers: bool, overload: Option<f64> },
    /// Differences of entropies from −`reach` to `reach`.
    Difference { reach: f64 },
}

impl Shade {
    fn range(self) -> (f64, f64) {
        match self {
            Self::Entropy { top, .. } => (0.0, top),
            Self::Difference { reach } => (-reach, reach),
        }
    }

    fn colour(self, value: f64) -> Rgb {
        match self {
            Self::Entropy { top, colormap, .. } => colormap.at(value / top),
            Self::Difference { reach } => diverging(value / reach),
        }
    }

    /// Two decimals; for differences also the sign, which colour does not show in grey.
    fn number(self, value: f64) -> String {
        let value = rounded(value);
        let text = if value.abs() < 1e4 { format!("{value:.2}") } else { format!("{value:.0e}") };
        match self {
            Self::Difference { .. } if value > 0.0 => format!("+{text}"),
            _ => text.replace('-', "−"),
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Entropy { .. } => "Mean entropy (nats)",
            Self::Difference { .. } => "Difference (nats)",
        }
    }
}

/// Draws the panels, with `caption` below them (empty for none).
///
/// # Errors
/// `Usage` when there is no panel, or one without a single head.
pub fn heatmap(panels: &[Panel], caption: &str, scale: Scale, colormap: Colormap) -> Result<Picture> {
    heatmap_in((columns(panels.len()), None), panels, caption, scale, colormap)
}

/// As [`heatmap`], with at most a number of columns, in the width of `room` if given.
///
/// # Errors
/// As [`heatmap`].
pub(super) fn heatmap_in(
    space: (usize, Option<f64>),
    panels: &[Panel],
    caption: &str,
    scale: Scale,
    colormap: Colormap,
) -> Result<Picture> {
    let names: Vec<&str> = panels.iter().map(|panel| panel.title.as_str()).collect();
    let title = format!("Mean attention entropy (nats) per layer and head: {}", names.join(", "));
    let shade = |panels: &[Panel]| Shade::Entropy {
        top: top_of(panels),
        colormap,
        numbers: true,
        overload: overload(panels),
    };
    draw(space, panels, (&title, caption), scale, shade)
}

/// Draws the panels in colours only, from 0 to `top` nats whatever values they hold: for frames that pass too quickly to
/// read numbers.
///
/// # Errors
/// As [`heatmap`].
pub(super) fn heatmap_up_to(
    panels: &[Panel],
    caption: &str,
    top: f64,
    colormap: Colormap,
) -> Result<Picture> {
    let top = if top > 0.0 { top } else { 1.0 };
    let shade =
        |panels: &[Panel]| Shade::Entropy { top, colormap, numbers: false, overload: overload(panels) };
    let title = "Mean attention entropy (nats) per layer and head";
    draw((columns(panels.len()), None), panels, (title, caption), Scale::Shared, shade)
}

/// Draws the difference of the shown entropies, `one` minus `other`, head by head.
///
/// # Errors
/// `Usage` if the two differ in shape, or have no head.
pub fn difference(one: &Panel, other: &Panel, caption: &str, room: Option<f64>) -> Result<Picture> {
    let shape = |panel: &Panel| (panel.values.len(), heads(panel));
    let told =
        |panel: &Panel| format!("{}: {} layers of {} heads", panel.title, shape(panel).0, shape(panel).1);
    if shape(one) != shape(other) {
        return Err(Fault::new(Kind::Usage, "heads of models of different shapes cannot be compared")
            .found(format!("{}; {}", told(one), told(other)))
            .remedy("give two runs with the same number of layers and heads"));
    }
    let rows = one.values.iter().zip(&other.values);
    let minus = |(a, b): (&f64, &f64)| rounded(rounded(*a) - rounded(*b));
    let values = rows.map(|(a, b)| a.iter().zip(b).map(minus).collect()).collect();
    let title = format!("{} minus {}", one.title, other.title);
    let spoken = format!("Difference of mean attention entropies (nats) per layer and head: {title}");
    let panel = Panel { title, notes: Vec::new(), values, reference: None };
    let shade = |panels: &[Panel]| {
        let sizes = panels.iter().flat_map(|panel| panel.values.iter().flatten()).map(|value| value.abs());
        let reach = sizes.filter(|size| size.is_finite()).fold(0.0, f64::max);
        Shade::Difference { reach: if reach > 0.0 { reach } else { 1.0 } }
    };
    draw((1, room), &[panel], (&spoken, caption), Scale::Shared, shade)
}

fn draw(
    (most, room): (usize, Option<f64>),
    panels: &[Panel],
    (title, caption): (&str, &str),
    scale: Scale,
    shade: impl Fn(&[Panel]) -> Shade,
) -> Result<Picture> {
    if panels.is_empty() {
        return Err(Fault::new(Kind::Usage, "there is no run to draw a heatmap of"));
    }
    if let Some(empty) = panels.iter().find(|panel| heads(panel) == 0) {
        return Err(Fault::new(Kind::Usage, format!("`{}` has no attention head to draw", empty.title)));
    }
    let wrapped: Vec<Panel>;
    let panels = match room {
        None => panels,
        Some(_) => {
            wrapped = panels.iter().map(wrapped_notes).collect();
            &wrapped[..]
        }
    };
    let page = |columns| Page::new(columns, panels, caption, scale, room);
    let fits = |page: &Page| room.is_none_or(|room| page.width <= room);
    let page = (1..=most).rev().map(page).find(fits).unwrap_or_else(|| page(1));
    let mut picture = Picture::new(page.width, page.height, title);
    let shared = shade(panels);
    for (index, panel) in panels.iter().enumerate() {
        let (x, y) = page.corner(index);
        let own = if scale == Scale::Own { shade(std::slice::from_ref(panel)) } else { shared };
        draw_panel(&mut picture, panel, (x, y), page.cell, own);
        if scale == Scale::Own {
            let bar = (x + heads(panel) as f64 * page.cell.0 + 16.0, y);
            colour_bar(&mut picture, bar, page.matrix.1, own);
        }
    }
    if scale == Scale::Shared {
        let first = page.corner(0);
        let last = page.corner(page.columns * ((panels.len() - 1) / page.columns)).1 + page.matrix.1;
        let x = page.corner(page.columns - 1).0 + page.bar;
        colour_bar(&mut picture, (x, first.1), last - first.1, shared);
    }
    for (index, line) in page.caption.iter().rev().enumerate() {
        let middle = page.height - MARGIN - 4.0 - LINE * index as f64;
        let foot = Text::new(MARGIN + LEFT, middle, NOTE, *line);
        picture.text(foot.anchor(Anchor::Start).color(QUIET));
    }
    Ok(picture)
}

/// A panel whose notes are broken at their dots: in print, columns are narrow.
fn wrapped_notes(panel: &Panel) -> Panel {
    let notes = panel.notes.iter().flat_map(|note| note.split(" · ")).map(str::to_owned);
    Panel { notes: notes.collect(), ..panel.clone() }
}

fn heads(panel: &Panel) -> usize {
    panel.values.iter().map(Vec::len).max().unwrap_or(0)
}

/// 3M/4, if the panels that have an M share it: diverged ones have none.
fn overload(panels: &[Panel]) -> Option<f64> {
    let mut references = panels.iter().filter_map(|panel| panel.reference);
    let first = references.next()?;
    references.all(|own| (own - first).abs() < 0.005).then_some(0.75 * first)
}

/// The upper end of the colours; 1 where no entropy is above zero.
fn top_of(panels: &[Panel]) -> f64 {
    let top = observed_max(panels.iter().map(|panel| panel.values.as_slice()));
    if top > 0.0 { top } else { 1.0 }
}

/// The layout of the panels: each gets the space of the largest.
struct Page<'a> {
    /// One entry per line.
    caption: Vec<&'a str>,
    width: f64,
    height: f64,
    columns: usize,
    cell: (f64, f64),
    /// Size of a matrix.
    matrix: (f64, f64),
    /// Size of a panel, including its titles and labels.
    panel: (f64, f64),
    above: f64,
    /// Distance from the left edge of a row's last matrix to a shared bar.
    bar: f64,
}

impl<'a> Page<'a> {
    /// In a `room`, cells are as wide as it allows, if that is not too narrow for their numbers.
    fn new(columns: usize, panels: &[Panel], caption: &'a str, scale: Scale, room: Option<f64>) -> Self {
        let rows = panels.len().div_ceil(columns);
        let most = |size: fn(&Panel) -> f64| panels.iter().map(size).fold(0.0, f64::max);
        let (across, down) = (most(|panel| heads(panel) as f64), most(|panel| panel.values.len() as f64));
        let wide = match room {
            None => MATRIX.0,
            Some(room) => {
                let bars = if scale == Scale::Own { columns as f64 } else { 1.0 } * (BAR_ROOM + 16.0);
                (room - 2.0 * MARGIN - bars + GAP) / columns as f64 - GAP - LEFT
            }
        };
        let cell = (
            (wide / across).clamp(CELL_LEAST.0, CELL_MOST.0).floor(),
            (MATRIX.1 / down).clamp(CELL_LEAST.1, CELL_MOST.1).floor(),
        );
        // Pictures for print have their font in them.
        let slack = if room.is_some() { 1.0 } else { text::SLACK };
        let matrix = ((across * cell.0).max(LEAST.0), (down * cell.1).max(LEAST.1));
        let titles = most(|panel| {
            let notes = panel.notes.iter().map(|note| text::width(note, NOTE));
            notes.fold(text::width(&panel.title, TITLE), f64::max)
        });
        let above = 34.0 + LINE * most(|panel| panel.notes.len() as f64);
        let own_bar = if scale == Scale::Own { BAR_ROOM } else { 0.0 };
        let panel = (LEFT + (matrix.0 + own_bar).max(titles * slack), above + matrix.1 + BELOW);
        let spread = |count: usize, size: f64| count as f64 * (size + GAP) - GAP;
        // A shared bar stands beside the last matrix. If there is one row, the title may reach over it.
        let beside = if rows == 1 { matrix.0 } else { matrix.0.max(titles * slack) };
        let bar = beside + 16.0;
        let last = if scale == Scale::Own { panel.0 } else { panel.0.max(LEFT + beside + BAR_ROOM) };
        let width = 2.0 * MARGIN + spread(columns, panel.0) - panel.0 + last;
        let needed = |line: &str| text::width(line, NOTE) * slack + 2.0 * MARGIN + LEFT;
        // On one line if it fits; otherwise each sentence has its own line.
        let caption: Vec<&str> = match caption {
            "" => Vec::new(),
            short if needed(short) <= width => vec![short],
            long => long.split_inclusive(". ").map(str::trim_end).collect(),
        };
        let foot = if caption.is_empty() { 0.0 } else { 8.0 + LINE * caption.len() as f64 };
        Self {
            width: caption.iter().map(|line| needed(line)).fold(width, f64::max),
            caption,
            height: 2.0 * MARGIN + spread(rows, panel.1) + foot,
            columns,
            cell,
            matrix,
            panel,
            above,
            bar,
        }
    }

    /// Top left corner of the matrix of panel `index`.
    fn corner(&self, index: usize) -> (f64, f64) {
        let (row, column) = ((index / self.columns) as f64, (index % self.columns) as f64);
        (MARGIN + column * (self.panel.0 + GAP) + LEFT, MARGIN + row * (self.panel.1 + GAP) + self.above)
    }
}

fn draw_panel(picture: &mut Picture, panel: &Panel, (x, y): (f64, f64), size: (f64, f64), shade: Shade) {
    let (layers, heads) = (panel.values.len(), heads(panel));
    let (width, height) = (heads as f64 * size.0, layers as f64 * size.1);
    let lines = panel.notes.len() as f64;
    let title = Text::new(x, y - 17.0 - LINE * lines, TITLE, &panel.title);
    picture.text(title.anchor(Anchor::Start).bold().color(INK));
    for (index, note) in panel.notes.iter().enumerate() {
        let middle = y - 14.0 - LINE * (lines - 1.0 - index as f64);
        picture.text(Text::new(x, middle, NOTE, note).anchor(Anchor::Start).color(QUIET));
    }
    for (layer, row) in panel.values.iter().enumerate() {
        for (head, &value) in row.iter().enumerate() {
            let corner = (x + head as f64 * size.0, y + layer as f64 * size.1);
            cell(picture, corner, size, value, shade);
        }
    }
    for head in (0..heads).step_by(heads.div_ceil(32)) {
        let middle = x + (head as f64 + 0.5) * size.0;
        picture.text(Text::new(middle, y + height + 12.0, TICK, head.to_string()).color(INK));
    }
    for layer in (0..layers).step_by(layers.div_ceil(64)) {
        let middle = y + (layer as f64 + 0.5) * size.1;
        let tick = Text::new(x - 7.0, middle, TICK, layer.to_string());
        picture.text(tick.anchor(Anchor::End).color(INK));
    }
    picture.text(Text::new(x + width / 2.0, y + height + 33.0, LABEL, "Head").color(INK));
    picture.text(Text::new(x - 39.0, y + height / 2.0, LABEL, "Layer").turned().color(INK));
}

/// One head: its colour and its value with two decimals, or hatched grey where there is no finite value.
fn cell(picture: &mut Picture, (x, y): (f64, f64), size: (f64, f64), value: f64, shade: Shade) {
    // A white line of one pixel between neighbours.
    let (width, height) = (size.0 - 1.0, size.1 - 1.0);
    let fill = if value.is_finite() { shade.colour(value) } else { ABSENT };
    picture.rect(x, y, width, height, fill);
    let mut label =
        Text::new(x + width / 2.0, y + height / 2.0, (size.0 * 0.37).min(16.0), "").color(fill.ink());
    if value.is_finite() {
        if !matches!(shade, Shade::Entropy { numbers: false, .. }) {
            label.text = shade.number(value);
        }
    } else {
        hatch(picture, (x, y), (width, height));
        label.text = if value.is_nan() { "NaN" } else { "inf" }.to_string();
        label.bold = true;
    }
    picture.text(label);
}

/// Diagonal lines over `ABSENT`, for cells without a number.
pub(super) fn hatch(picture: &mut Picture, (x, y): (f64, f64), (width, height): (f64, f64)) {
    let mut reach = 7.0;
    while reach < width + height {
        // The diagonal of points with dx + dy = reach, cut to the box.
        let from = (x + (reach - height).max(0.0), y + reach.min(height));
        let to = (x + reach.min(width), y + (reach - width).max(0.0));
        picture.line(vec![from, to], 1.0, HATCH);
        reach += 7.0;
    }
}

/// A vertical bar of the colours, low end below, labelled in nats.
fn colour_bar(picture: &mut Picture, (x, y): (f64, f64), height: f64, shade: Shade) {
    let (low, high) = shade.range();
    // Each stripe reaches down to the foot, so that no seam shows between neighbours.
    let stripes = 256;
    for stripe in 0..stripes {
        let from = height * f64::from(stripe) / f64::from(stripes);
        let value = high - (high - low) * (f64::from(stripe) + 0.5) / f64::from(stripes);
        picture.rect(x, y + from, BAR, height - from, shade.colour(value));
    }
    // The end of the scale is M or its substitute, so it is always labelled.
    let end = Text::new(x + BAR + 8.0, y, TICK, shade.number(high));
    picture.text(end.anchor(Anchor::Start).color(INK));
    let (ticks, step) = nice_ticks(low, high, (height / 45.0) as usize);
    let place = |value: f64| y + height * (high - value) / (high - low);
    let mark = match shade {
        Shade::Entropy { overload, .. } => overload.filter(|&mark| low < mark && mark < high),
        Shade::Difference { .. } => None,
    };
    let free = |tick: f64| mark.is_none_or(|mark| (place(tick) - place(mark)).abs() > TICK * 1.2);
    for tick in ticks.into_iter().filter(|&tick| place(tick) - y > TICK * 1.2 && free(tick)) {
        let at = place(tick);
        picture.line(vec![(x + BAR, at), (x + BAR + 4.0, at)], 1.0, INK);
        let label = Text::new(x + BAR + 8.0, at, TICK, tick_text(tick, step));
        picture.text(label.anchor(Anchor::Start).color(INK));
    }
    if let Some(mark) = mark {
        let at = place(mark);
        picture.line(vec![(x - 3.0, at), (x + BAR + 6.0, at)], 2.4, WHITE);
        picture.line(vec![(x - 3.0, at), (x + BAR + 6.0, at)], 1.4, INK);
        let label = Text::new(x + BAR + 8.0, at, TICK, "3M/4").bold();
        picture.text(label.anchor(Anchor::Start).color(INK));
    }
    let label = Text::new(x + BAR + 46.0, y + height / 2.0, LABEL, shade.label());
    picture.text(label.turned().color(INK));
}
