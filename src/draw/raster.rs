//! The pixels of a picture, smoothed at every edge, and its PNG.

use std::io::Cursor;
use std::ops::Range;

use image::{ImageFormat, RgbImage};

use super::colormap::Rgb;
use super::picture::{Image, Line, Mark, Picture, Text};
use super::text::{self, BOLD, PLAIN};
use crate::fault::{Fault, Kind, Result};

/// PNG pixels per CSS pixel: sharp on dense screens and on paper.
pub const DENSITY: f64 = 2.0;

/// PNG pixels per inch of a picture with a printed width.
const PRINTED: f64 = 300.0;

/// The largest side of a PNG in pixels, and the most pixels; beyond them most viewers give up.
const LARGEST: f64 = 30_000.0;
const MOST: f64 = 2.5e8;

impl Picture {
    /// The picture as a PNG of `DENSITY` pixels per CSS pixel.
    ///
    /// # Errors
    /// `Usage` when the picture is larger than a PNG viewer opens.
    pub fn png(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.pixels()?
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .map_err(|error| Fault::new(Kind::Io, "cannot encode the picture as PNG").found(error))?;
        Ok(bytes)
    }

    /// The pixels of the PNG.
    ///
    /// # Errors
    /// As [`Picture::png`].
    pub fn pixels(&self) -> Result<RgbImage> {
        let density = self.printed.map_or(DENSITY, |inches| inches * PRINTED / self.width);
        self.pixels_at(density)
    }

    /// The pixels of a picture with `density` of them per CSS pixel.
    ///
    /// # Errors
    /// As [`Picture::png`].
    pub fn pixels_at(&self, density: f64) -> Result<RgbImage> {
        let (width, height) = (self.width * density, self.height * density);
        if !(width <= LARGEST && height <= LARGEST && width * height <= MOST) {
            return Err(Fault::new(Kind::Usage, format!("the picture would be {width} × {height} pixels"))
                .remedy(format!(
                    "draw fewer runs at once: the limit is {LARGEST} pixels a side and {} million in all",
                    MOST / 1e6
                )));
        }
        let mut page = RgbImage::from_pixel(width as u32, height as u32, image::Rgb([255; 3]));
        for mark in &self.marks {
            match mark {
                Mark::Rect { x, y, width, height, fill } => {
                    rect(&mut page, density, (*x, *y), (*width, *height), *fill)
                }
                Mark::Line(line) => polyline(&mut page, density, line),
                Mark::Disc { x, y, radius, fill } => disc(&mut page, density, (*x, *y), *radius, *fill),
                Mark::Text(text) => write(&mut page, density, text),
                Mark::Image(image) => matrix(&mut page, density, image),
            }
        }
        Ok(page)
    }
}

/// How much of each pixel one mark covers, over the part of the page that it can reach.
struct Coverage {
    left: i64,
    top: i64,
    width: i64,
    height: i64,
    parts: Vec<f32>,
}

impl Coverage {
    /// Coverage of a box in pixels, clipped to the page.
    fn new(page: &RgbImage, (left, top): (f64, f64), (right, bottom): (f64, f64)) -> Self {
        let cut = |value: f64, most: u32| (value as i64).clamp(0, i64::from(most));
        let (x, y) = (cut(left.floor(), page.width()), cut(top.floor(), page.height()));
        let width = (cut(right.ceil() + 1.0, page.width()) - x).max(0);
        let height = (cut(bottom.ceil() + 1.0, page.height()) - y).max(0);
        Self { left: x, top: y, width, height, parts: vec![0.0; (width * height) as usize] }
    }

    /// The rows or columns between two ends, clipped to the page: a mark may reach far beyond it.
    fn rows(&self, from: f64, to: f64) -> Range<i64> {
        Self::within(from, to, self.top, self.height)
    }

    fn columns(&self, from: f64, to: f64) -> Range<i64> {
        Self::within(from, to, self.left, self.width)
    }

    fn within(from: f64, to: f64, first: i64, count: i64) -> Range<i64> {
        (from.floor() as i64).max(first)..(to.ceil() as i64).min(first + count)
    }

    /// Raises the coverage of pixel (x, y) to at least `part`. Overlapping pieces of one mark do not darken each other.
    fn add(&mut self, x: i64, y: i64, part: f32) {
        let (x, y) = (x - self.left, y - self.top);
        if (0..self.width).contains(&x)
            && y >= 0
            && let Some(there) = self.parts.get_mut((y * self.width + x) as usize)
        {
            *there = there.max(part.min(1.0));
        }
    }

    /// The part of the segment from `a` to `b`, as a range within 0 to 1, that lies within `reach` of what is covered here;
    /// `None` if no part does, or if the segment has no length or an end that is not finite.
    fn part_inside(&self, a: (f64, f64), b: (f64, f64), reach: f64) -> Option<(f64, f64)> {
        let mut part = (0.0f64, 1.0f64);
        let (left, top) = (self.left as f64, self.top as f64);
        let sides = [(a.0, b.0, left, left + self.width as f64), (a.1, b.1, top, top + self.height as f64)];
        for (from, to, low, high) in sides {
            let (low, high, way) = (low - reach, high + reach, to - from);
            if way == 0.0 {
                if !(low..=high).contains(&from) {
                    return None;
                }
                continue;
            }
            let (one, other) = ((low - from) / way, (high - from) / way);
            part = (part.0.max(one.min(other)), part.1.min(one.max(other)));
        }
        let there = a != b && (b.0 - a.0).hypot(b.1 - a.1).is_finite();
        (there && part.0 <= part.1).then_some(part)
    }

    fn paint(&self, page: &mut RgbImage, color: Rgb) {
        for (index, &part) in self.parts.iter().enumerate().filter(|(_, part)| **part > 0.0) {
            let (x, y) = (index as i64 % self.width + self.left, index as i64 / self.width + self.top);
            let pixel = page.get_pixel_mut(x as u32, y as u32);
            for (below, above) in pixel.0.iter_mut().zip([color.0, color.1, color.2]) {
                *below = (f32::from(*below) + (f32::from(above) - f32::from(*below)) * part).round() as u8;
            }
        }
    }
}

fn rect(page: &mut RgbImage, density: f64, (x, y): (f64, f64), (width, height): (f64, f64), fill: Rgb) {
    let (left, top) = (x * density, y * density);
    let (right, bottom) = (left + width * density, top + height * density);
    let inside = |from: f64, to: f64, pixel: i64| {
        let pixel = pixel as f64;
        (to.min(pixel + 1.0) - from.max(pixel)).clamp(0.0, 1.0)
    };
    let mut coverage = Coverage::new(page, (left, top), (right, bottom));
    for row in coverage.rows(top, bottom) {
        for column in coverage.columns(left, right) {
            coverage.add(column, row, (inside(left, right, column) * inside(top, bottom, row)) as f32);
        }
    }
    coverage.paint(page, fill);
}

/// Each pixel is the mean of the entries below it, by area; pixels that the box covers in part belong to it whole.
fn matrix(page: &mut RgbImage, density: f64, image: &Image) {
    let (rows, columns) = (image.rows(), image.columns);
    // The entries under a pixel, each with its share.
    let shares = |pixel: u32, from: f64, length: f64, entries: usize| -> Vec<(usize, f64)> {
        let at = |edge: f64| {
            ((edge - from * density) / (length * density) * entries as f64).clamp(0.0, entries as f64)
        };
        let (low, high) = (at(f64::from(pixel)), at(f64::from(pixel) + 1.0));
        let entry = |entry: usize| {
            let share = (high.min(entry as f64 + 1.0) - low.max(entry as f64)) / (high - low);
            (entry, share)
        };
        (low as usize..(high.ceil() as usize).min(entries)).map(entry).collect()
    };
    let span = |from: f64, length: f64, most: u32| {
        (from * density).round().clamp(0.0, f64::from(most)) as u32
            ..((from + length) * density).round().clamp(0.0, f64::from(most)) as u32
    };
    let across: Vec<_> = span(image.x, image.width, page.width())
        .map(|x| (x, shares(x, image.x, image.width, columns)))
        .collect();
    for y in span(image.y, image.height, page.height()) {
        let down = shares(y, image.y, image.height, rows);
        for (x, across) in &across {
            let mut sum = [0.0; 3];
            for (row, tall) in &down {
                for (column, wide) in across {
                    let Rgb(red, green, blue) = image.pixels[row * columns + column];
                    for (sum, channel) in sum.iter_mut().zip([red, green, blue]) {
                        *sum += tall * wide * f64::from(channel);
                    }
                }
            }
            page.put_pixel(*x, y, image::Rgb(sum.map(|channel| channel.round() as u8)));
        }
    }
}

fn disc(page: &mut RgbImage, density: f64, (x, y): (f64, f64), radius: f64, fill: Rgb) {
    let center = (x * density, y * density);
    let mut coverage = around(page, &[center], radius * density);
    capsule(&mut coverage, center, center, radius * density);
    coverage.paint(page, fill);
}

fn polyline(page: &mut RgbImage, density: f64, line: &Line) {
    let points: Vec<_> = line.points.iter().map(|point| (point.0 * density, point.1 * density)).collect();
    let half = line.width * density / 2.0;
    let mut coverage = around(page, &points, half);
    let mut walked = 0.0;
    for pair in points.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let length = (b.0 - a.0).hypot(b.1 - a.1);
        let Some(dash) = line.dash.map(|dash| dash * density) else {
            capsule(&mut coverage, a, b, half);
            continue;
        };
        let on = |at: f64| (a.0 + (b.0 - a.0) * at / length, a.1 + (b.1 - a.1) * at / length);
        // Draw dashes only on the page, however far the line continues beyond it.
        if let Some((enters, leaves)) = coverage.part_inside(a, b, half) {
            let first = ((walked + enters * length) / (2.0 * dash)).floor();
            let periods = ((leaves - enters) * length / (2.0 * dash)).ceil() as usize + 1;
            for period in (0..=periods).map(|k| first + k as f64) {
                let from = (period * 2.0 * dash - walked).max(0.0);
                let to = (period * 2.0 * dash + dash - walked).min(length);
                if to > from {
                    capsule(&mut coverage, on(from), on(to), half);
                }
            }
        }
        walked += if length.is_finite() { length } else { 0.0 };
    }
    coverage.paint(page, line.color);
}

/// Coverage for everything within `reach` of the points.
fn around(page: &RgbImage, points: &[(f64, f64)], reach: f64) -> Coverage {
    let low = |axis: fn(&(f64, f64)) -> f64| points.iter().map(axis).fold(f64::INFINITY, f64::min);
    let high = |axis: fn(&(f64, f64)) -> f64| points.iter().map(axis).fold(f64::NEG_INFINITY, f64::max);
    let margin = reach + 1.0;
    let corner = (low(|p| p.0) - margin, low(|p| p.1) - margin);
    Coverage::new(page, corner, (high(|p| p.0) + margin, high(|p| p.1) + margin))
}

/// A segment with round ends: what lies within `half` of it.
fn capsule(coverage: &mut Coverage, a: (f64, f64), b: (f64, f64), half: f64) {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let squared = dx * dx + dy * dy;
    let reach = half + 1.0;
    for row in coverage.rows(a.1.min(b.1) - reach, a.1.max(b.1) + reach + 1.0) {
        for column in coverage.columns(a.0.min(b.0) - reach, a.0.max(b.0) + reach + 1.0) {
            let (x, y) = (column as f64 + 0.5 - a.0, row as f64 + 0.5 - a.1);
            let along = if squared > 0.0 { ((x * dx + y * dy) / squared).clamp(0.0, 1.0) } else { 0.0 };
            let distance = (x - dx * along).hypot(y - dy * along);
            coverage.add(column, row, (half + 0.5 - distance).clamp(0.0, 1.0) as f32);
        }
    }
}

fn write(page: &mut RgbImage, density: f64, text: &Text) {
    let size = text.size * density;
    let (left, top, right, bottom) = text.bounds();
    let scaled = |x: f64, y: f64, grow: f64| (x * density + grow * size, y * density + grow * size);
    let mut coverage = Coverage::new(page, scaled(left, top, -0.4), scaled(right, bottom, 0.4));
    let (x, y) = (text.at.0 * density, text.at.1 * density);
    let (start, drop) = (text.start() * density, size * text::CAPITAL / 2.0);
    // Whole pixels for the baseline keep horizontal strokes sharp.
    let (x, y) = if text.turned {
        ((x + drop).round() as i64, (y - start).round() as i64)
    } else {
        ((x + start).round() as i64, (y + drop).round() as i64)
    };
    let extra = size * if text.bold { BOLD } else { PLAIN };
    text::outline(&text.text, size, extra, |along, down, part| {
        let (column, row) = if text.turned { (x + down, y - along - 1) } else { (x + along, y + down) };
        coverage.add(column, row, part);
    });
    coverage.paint(page, text.color);
}
