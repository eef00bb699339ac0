//! The legend over a plot: swatches and names, in as many lines as they need.

use super::axes::INK;
use super::colormap::Rgb;
use super::picture::{Anchor, Picture, Text};
use super::text;

const SIZE: f64 = 13.5;
/// Height of a line of entries.
pub const LINE: f64 = 22.0;

/// What stands before a name.
#[derive(Clone, Copy, Debug)]
pub enum Swatch {
    /// A line, dashed where there is a dash.
    Line(Option<f64>),
    Area,
}

/// One name and what is drawn so.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub name: &'a str,
    pub color: Rgb,
    pub swatch: Swatch,
}

impl Entry<'_> {
    /// Room of the entry: swatch, name, gap.
    pub fn width(&self) -> f64 {
        34.0 + text::width(self.name, SIZE) * text::SLACK + 22.0
    }
}

/// The entries, broken into lines of at most `width`.
pub fn rows<'a>(entries: &[Entry<'a>], width: f64) -> Vec<Vec<Entry<'a>>> {
    let mut rows: Vec<Vec<Entry<'a>>> = Vec::new();
    let mut used = f64::INFINITY;
    for entry in entries {
        let needed = entry.width();
        if used + needed > width {
            rows.push(Vec::new());
            used = 0.0;
        }
        used += needed;
        if let Some(row) = rows.last_mut() {
            row.push(*entry);
        }
    }
    rows
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
                Swatch::Area => picture.rect(x, y - 6.0, 26.0, 12.0, entry.color),
            }
            picture.text(Text::new(x + 34.0, y, SIZE, entry.name).anchor(Anchor::Start).color(INK));
            x += entry.width();
        }
    }
}
