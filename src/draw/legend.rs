//! The legend over a plot: swatches and names, in as many lines as they need.

use super::axes::INK;
use super::colormap::{Rgb, WHITE};
use super::picture::{Anchor, Picture, Text};
use super::text;

const SIZE: f64 = 13.5;
/// Height of a line of entries.
pub const LINE: f64 = 22.0;

/// The swatch before a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Swatch {
    /// A line, dashed if there is a dash.
    Line(Option<f64>),
    /// A line and the marker of its points.
    Marked(Option<f64>, usize),
    /// A marker alone.
    Marker(usize),
    Area,
    /// None: the name goes on from the line above.
    Absent,
}

/// One name and its swatch.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub name: &'a str,
    pub color: Rgb,
    pub swatch: Swatch,
}

impl Entry<'_> {
    /// Width of the entry: swatch, name, gap.
    pub fn width(&self) -> f64 {
        34.0 + text::width(self.name, SIZE) * text::SLACK + 22.0
    }
}

/// The entries, broken into lines of at most `width`; names that are longer go on in the next line.
pub fn rows<'a>(entries: &[Entry<'a>], width: f64) -> Vec<Vec<Entry<'a>>> {
    let mut rows: Vec<Vec<Entry<'a>>> = Vec::new();
    let mut used = f64::INFINITY;
    let pieces = entries.iter().flat_map(|entry| {
        let pieces = pieces(*entry, width);
        let alone = pieces.len() > 1;
        pieces.into_iter().map(move |piece| (piece, alone))
    });
    for (entry, alone) in pieces {
        let needed = if alone { f64::INFINITY } else { entry.width() };
        if used + needed > width {
            rows.push(Vec::new());
            used = 0.0;
        }
        used += needed;
        if let Some(row) = rows.last_mut() {
            row.push(entry);
        }
    }
    rows
}

/// An entry in pieces that are no wider than `width`, if its name has blanks to be broken at.
fn pieces(entry: Entry<'_>, width: f64) -> Vec<Entry<'_>> {
    let mut pieces = vec![entry];
    while let Some(last) = pieces.last_mut().filter(|last| last.width() > width) {
        let whole = last.name;
        let fits = |at: &usize| Entry { name: &whole[..*at], ..entry }.width() <= width;
        let breaks: Vec<usize> = whole.match_indices(' ').map(|(at, _)| at).collect();
        let Some(&at) = breaks.iter().rfind(|at| fits(at)).or(breaks.first()) else { break };
        let (name, rest) = whole.split_at(at);
        last.name = name;
        pieces.push(Entry { name: &rest[1..], color: entry.color, swatch: Swatch::Absent });
    }
    pieces
}

/// Draws lines of entries; the first one's middle is at `top`.
pub fn draw(picture: &mut Picture, (left, top): (f64, f64), rows: &[Vec<Entry<'_>>]) {
    for (row, entries) in rows.iter().enumerate() {
        let (mut x, y) = (left, top + row as f64 * LINE);
        for entry in entries {
            let across = vec![(x, y), (x + 26.0, y)];
            match entry.swatch {
                Swatch::Line(Some(dash)) => picture.dashed(across, 2.4, entry.color, dash),
                Swatch::Line(None) => picture.line(across, 2.4, entry.color),
                Swatch::Marked(dash, shape) => {
                    match dash {
                        Some(dash) => picture.dashed(across, 2.4, entry.color, dash),
                        None => picture.line(across, 2.4, entry.color),
                    }
                    marker(picture, (x + 13.0, y), shape, entry.color);
                }
                Swatch::Marker(shape) => marker(picture, (x + 13.0, y), shape, entry.color),
                Swatch::Area => picture.rect(x, y - 6.0, 26.0, 12.0, entry.color),
                Swatch::Absent => {}
            }
            picture.text(Text::new(x + 34.0, y, SIZE, entry.name).anchor(Anchor::Start).color(INK));
            x += entry.width();
        }
    }
}

/// A point in one of seven shapes, so that grey shows as much as colour: disc, square, ring, hollow square, plus, triangle,
/// bar. A white rim separates overlapping points.
pub fn marker(picture: &mut Picture, (x, y): (f64, f64), shape: usize, color: Rgb) {
    let mut square = |half: f64, color: Rgb| picture.rect(x - half, y - half, 2.0 * half, 2.0 * half, color);
    match shape % 7 {
        1 => [(4.4, WHITE), (3.2, color)].into_iter().for_each(|(half, color)| square(half, color)),
        3 => {
            let layers = [(5.0, WHITE), (3.8, color), (2.0, WHITE)];
            layers.into_iter().for_each(|(half, color)| square(half, color));
        }
        4 => {
            for (width, arm, color) in [(4.4, 5.6, WHITE), (2.2, 4.6, color)] {
                picture.line(vec![(x - arm, y), (x + arm, y)], width, color);
                picture.line(vec![(x, y - arm), (x, y + arm)], width, color);
            }
        }
        5 => {
            let corners = vec![(x - 4.2, y + 3.4), (x + 4.2, y + 3.4), (x, y - 4.2), (x - 4.2, y + 3.4)];
            picture.disc(x, y, 4.0, WHITE);
            picture.line(corners.clone(), 3.6, WHITE);
            picture.line(corners, 1.8, color);
        }
        6 => {
            picture.rect(x - 6.2, y - 3.2, 12.4, 6.4, WHITE);
            picture.rect(x - 5.0, y - 2.0, 10.0, 4.0, color);
        }
        ring => {
            picture.disc(x, y, 5.0, WHITE);
            picture.disc(x, y, 3.8, color);
            if ring == 2 {
                picture.disc(x, y, 2.0, WHITE);
            }
        }
    }
}
