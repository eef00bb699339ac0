//! The paper's first figure: mean attention entropy of every head, layers down, heads across.

pub(super) use super::panels::columns;
use super::panels::{LEFT, LINE, MARGIN, NOTE, Page, heads};
pub use super::panels::{Panel, Scale};
pub(super) use super::shade::rounded;
use super::shade::{PRINTED, Shade, bar_across, colour_bar};
use crate::draw::axes::{INK, QUIET};
use crate::draw::colormap::{ABSENT, Colormap, Rgb};
use crate::draw::picture::{Anchor, Picture, Text};
use crate::draw::text;
use crate::fault::{Fault, Kind, Result};
use crate::numbers::counted;
use crate::observe::entropy::observed_max;

const LABEL: f64 = 14.0;
const TICK: f64 = 12.0;
const HATCH: Rgb = Rgb::hex(0xa8a8a8);

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
    let told = |panel: &Panel| {
        let (layers, heads) = shape(panel);
        format!("{}: {} of {}", panel.title, counted(layers as u64, "layer"), counted(heads as u64, "head"))
    };
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
        Shade::Difference { reach: if reach > 0.0 { reach } else { 1.0 }, numbers: true }
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
            wrapped = panels.iter().map(dotted_notes).collect();
            &wrapped[..]
        }
    };
    let shared = shade(panels);
    let page = |columns, numbers| Page::new((columns, room), panels, caption, scale, (shared, numbers));
    let fits = |page: &Page| room.is_none_or(|room| page.width <= room);
    let numbered = (1..=most).rev().map(|columns| page(columns, true)).find(fits);
    // Where no numbers fit, colours alone do.
    let page = numbered.unwrap_or_else(|| page(1, room.is_none()));
    let panels = &page.panels[..];
    let shade = |panels: &[Panel]| if page.numbers { shade(panels) } else { shade(panels).bare() };
    let shared = shade(panels);
    let mut picture = Picture::new(page.width, page.height, title);
    for (index, panel) in panels.iter().enumerate() {
        let (x, y) = page.corner(index);
        let own = if scale == Scale::Own { shade(std::slice::from_ref(panel)) } else { shared };
        draw_panel(&mut picture, index, &page, own);
        if scale == Scale::Own {
            let bar = (x + heads(panel) as f64 * page.cell.0 + 16.0, y);
            colour_bar(&mut picture, bar, page.matrix.1, own);
        }
    }
    if let Some(below) = page.bar_below {
        let (left, wide) = (MARGIN + LEFT, page.width - 2.0 * MARGIN - LEFT - 8.0);
        bar_across(&mut picture, (left, below), wide, shared);
    } else if scale == Scale::Shared {
        let first = page.corner(0);
        let last = page.corner(page.columns * ((panels.len() - 1) / page.columns)).1 + page.matrix.1;
        let x = page.corner(page.columns - 1).0 + page.bar;
        colour_bar(&mut picture, (x, first.1), last - first.1, shared);
    }
    for (index, line) in page.caption.iter().rev().enumerate() {
        let middle = page.height - MARGIN - 4.0 - LINE * index as f64;
        let foot = Text::new(page.caption_left, middle, NOTE, line);
        picture.text(foot.anchor(Anchor::Start).color(QUIET));
    }
    Ok(picture)
}

/// A panel whose notes are broken at their dots: in print, columns are narrow.
fn dotted_notes(panel: &Panel) -> Panel {
    let notes = panel.notes.iter().flat_map(|note| note.split(" · ")).map(str::to_owned);
    Panel { notes: notes.collect(), ..panel.clone() }
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

fn draw_panel(picture: &mut Picture, index: usize, page: &Page, shade: Shade) {
    let (panel, size, (x, y)) = (&page.panels[index], page.cell, page.corner(index));
    let (layers, heads) = (panel.values.len(), heads(panel));
    let (width, height) = (heads as f64 * size.0, layers as f64 * size.1);
    let lines = panel.notes.len() as f64;
    for (line, title) in page.titles[index].iter().rev().enumerate() {
        let middle = y - 17.0 - LINE * lines - (page.title + 3.0) * line as f64;
        picture.text(Text::new(x, middle, page.title, title).anchor(Anchor::Start).bold().color(INK));
    }
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
    // No more numbers than have room beside each other.
    let apart = ((text::width(&heads.to_string(), TICK) * text::SLACK + 4.0) / size.0).ceil() as usize;
    for head in (0..heads).step_by(heads.div_ceil(32).max(apart)) {
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
    let font = (size.0 * 0.37).clamp(TICK, 16.0);
    let mut label = Text::new(x + width / 2.0, y + height / 2.0, font, "").color(fill.ink());
    if value.is_finite() {
        if shade.has_numbers() {
            label.text = shade.number(value);
        }
    } else {
        hatch(picture, (x, y), (width, height));
        label.text = if value.is_nan() { "NaN" } else { "inf" }.to_string();
        label.bold = true;
        // The hatching alone says it in a narrow cell.
        if size.0 < PRINTED.0 {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::picture::Mark;

    /// A long caption and a run's folder in its title take lines, not columns.
    #[test]
    fn narrow_print_has_as_many_columns_as_fit() {
        let panel = |run: &str| Panel {
            title: format!("SM+R (runs/{run})"),
            notes: vec!["20 steps · perplexity 1955.89".to_owned()],
            values: vec![vec![1.0; 2]; 2],
            reference: None,
        };
        let panels = ["one", "two", "three"].map(panel);
        let caption = "A caption without an end ".repeat(8);
        let room = 594.0;
        let drawn = |caption: &str| {
            heatmap_in((3, Some(room)), &panels, caption, Scale::Shared, Colormap::default()).unwrap()
        };
        let (plain, captioned) = (drawn(""), drawn(caption.trim_end()));
        assert!(plain.width <= room && captioned.width <= room, "{} {}", plain.width, captioned.width);
        let lines = captioned.height - plain.height;
        assert!(lines < 6.0 * LINE, "{lines}");
        assert!(plain.height < 2.5 * plain.width / 2.0, "{} × {}", plain.width, plain.height);
        let starts: Vec<f64> = plain
            .marks
            .iter()
            .filter_map(|mark| match mark {
                Mark::Text(text) if text.text.starts_with("SM+R") => Some(text.at.0),
                _ => None,
            })
            .collect();
        assert!(starts.len() == 3 && starts[1] > starts[0], "{starts:?}");
    }
}
