//! A picture as plain data: marks on a page, and their SVG. `raster` makes the PNG from the same marks.
//!
//! Lengths are in CSS pixels, x to the right, y down.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::colormap::{BLACK, Rgb};
use super::escape::xml;
use super::text;

/// The size of the smallest text, that of ticks, in pixels, and in points where a picture is printed at the width that it was
/// laid out for.
pub const TICK: f64 = 12.0;
pub const PRINTED_TEXT: f64 = 8.0;

/// The width in pixels of a picture that is printed `inches` wide: text of [`TICK`] pixels then has [`PRINTED_TEXT`] points.
pub fn layout_width(inches: f64) -> f64 {
    (inches * 72.0 / (PRINTED_TEXT / TICK)).floor()
}

/// Whether a picture in this width is for a column of text: keys and names stand above and below, not beside.
pub fn is_narrow(room: Option<f64>) -> bool {
    room.is_some_and(|room| room < layout_width(5.0))
}

/// Marks on a white page, painted in order.
#[derive(Clone, Debug)]
pub struct Picture {
    pub width: f64,
    pub height: f64,
    /// A description of the picture for screen readers.
    pub title: String,
    pub marks: Vec<Mark>,
    /// The width at which it is printed, in inches, if it was laid out for one.
    pub printed: Option<f64>,
}

/// One thing on the page.
#[derive(Clone, Debug)]
pub enum Mark {
    Rect { x: f64, y: f64, width: f64, height: f64, fill: Rgb },
    Line(Line),
    Disc { x: f64, y: f64, radius: f64, fill: Rgb },
    Text(Text),
    Image(Image),
}

/// A matrix of colours, stretched over a box. It is not smoothed: an entry that covers several pixels is a rectangle of them.
#[derive(Clone, Debug)]
pub struct Image {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
    /// Entries in a row.
    pub columns: usize,
    /// Row after row, from the top.
    pub pixels: Vec<Rgb>,
}

impl Image {
    /// Rows of entries.
    pub fn rows(&self) -> usize {
        self.pixels.len() / self.columns
    }
}

impl Mark {
    /// Moves the mark to the right.
    fn shift(&mut self, by: f64) {
        match self {
            Self::Rect { x, .. } | Self::Disc { x, .. } => *x += by,
            Self::Line(line) => line.points.iter_mut().for_each(|point| point.0 += by),
            Self::Text(text) => text.at.0 += by,
            Self::Image(image) => image.x += by,
        }
    }
}

/// An open polyline.
#[derive(Clone, Debug)]
pub struct Line {
    pub points: Vec<(f64, f64)>,
    pub width: f64,
    pub color: Rgb,
    /// Length of a dash and of the gap after it; `None` for a solid line.
    pub dash: Option<f64>,
}

/// One line of text.
#[derive(Clone, Debug)]
pub struct Text {
    /// The point that `anchor` refers to; vertically the middle of a capital letter.
    pub at: (f64, f64),
    pub text: String,
    /// Font size (em).
    pub size: f64,
    pub color: Rgb,
    pub anchor: Anchor,
    pub bold: bool,
    /// Rotated by 90° counterclockwise, to be read from bottom to top.
    pub turned: bool,
}

/// Which end of a text is at its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Text {
    /// Black text whose middle is at (x, y).
    pub fn new(x: f64, y: f64, size: f64, text: impl Into<String>) -> Self {
        Self {
            at: (x, y),
            text: text.into(),
            size,
            color: BLACK,
            anchor: Anchor::Middle,
            bold: false,
            turned: false,
        }
    }

    pub fn color(self, color: Rgb) -> Self {
        Self { color, ..self }
    }

    pub fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub fn turned(self) -> Self {
        Self { turned: true, ..self }
    }

    /// Where the text begins, relative to `at` and along its own direction.
    pub fn start(&self) -> f64 {
        let width = text::width(&self.text, self.size);
        match self.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -width / 2.0,
            Anchor::End => -width,
        }
    }

    /// The box of the text on the page: left, top, right, bottom.
    pub fn bounds(&self) -> (f64, f64, f64, f64) {
        let (start, half) = (self.start(), self.size * text::CAPITAL / 2.0);
        let (end, below) = (start + text::width(&self.text, self.size), half + self.size * 0.2);
        let (x, y) = self.at;
        if self.turned {
            (x - half, y - end, x + below, y - start)
        } else {
            (x + start, y - half, x + end, y + below)
        }
    }
}

impl Picture {
    pub fn new(width: f64, height: f64, title: impl Into<String>) -> Self {
        let (width, height) = (width.ceil(), height.ceil());
        Self { width, height, title: title.into(), marks: Vec::new(), printed: None }
    }

    /// Makes the picture one to be printed `inches` wide. A narrower one gets margins, so that its text has the size of that
    /// in all others: that of ticks, [`TICK`] pixels, is then [`PRINTED_TEXT`] points. Returns the size in points of that text,
    /// which is smaller if the picture could not be laid out for this width.
    pub fn print(&mut self, inches: f64) -> f64 {
        let wanted = layout_width(inches);
        let before = self.width;
        self.width = self.width.max(wanted);
        let shift = ((self.width - before) / 2.0).floor();
        self.marks.iter_mut().for_each(|mark| mark.shift(shift));
        self.printed = Some(inches);
        PRINTED_TEXT * wanted / self.width
    }

    /// Width and height in inches; a picture that was not laid out for print has 96 pixels to the inch.
    pub(super) fn printed_width(&self) -> f64 {
        self.printed.unwrap_or(self.width / 96.0)
    }

    pub(super) fn printed_height(&self) -> f64 {
        self.printed_width() * self.height / self.width
    }

    pub fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, fill: Rgb) {
        self.marks.push(Mark::Rect { x, y, width, height, fill });
    }

    pub fn line(&mut self, points: Vec<(f64, f64)>, width: f64, color: Rgb) {
        self.marks.push(Mark::Line(Line { points, width, color, dash: None }));
    }

    pub fn dashed(&mut self, points: Vec<(f64, f64)>, width: f64, color: Rgb, dash: f64) {
        self.marks.push(Mark::Line(Line { points, width, color, dash: Some(dash) }));
    }

    pub fn disc(&mut self, x: f64, y: f64, radius: f64, fill: Rgb) {
        self.marks.push(Mark::Disc { x, y, radius, fill });
    }

    pub fn text(&mut self, text: Text) {
        self.marks.push(Mark::Text(text));
    }

    /// The picture as an SVG document.
    pub fn svg(&self) -> String {
        let mut out = String::new();
        let (w, h) = (self.width, self.height);
        let size = match self.printed {
            None => format!("width=\"{w}\" height=\"{h}\""),
            Some(_) => {
                let (wide, high) = (short(self.printed_width()), short(self.printed_height()));
                format!("width=\"{wide}in\" height=\"{high}in\"")
            }
        };
        // Writing into a String cannot fail.
        let _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" {size} viewBox=\"0 0 {w} {h}\" \
             font-family=\"Ubuntu, 'Helvetica Neue', Helvetica, Arial, sans-serif\" role=\"img\">\n\
             <title>{}</title>\n<rect width=\"{w}\" height=\"{h}\" fill=\"#ffffff\"/>",
            xml(&self.title)
        );
        for mark in &self.marks {
            let _ = match mark {
                Mark::Rect { x, y, width, height, fill } => writeln!(
                    out,
                    "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"{}\" \
                     shape-rendering=\"crispEdges\"/>",
                    short(*x),
                    short(*y),
                    short(*width),
                    short(*height),
                    hex(*fill)
                ),
                Mark::Line(line) => writeln!(out, "{}", svg_line(line)),
                Mark::Disc { x, y, radius, fill } => writeln!(
                    out,
                    "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{}\"/>",
                    short(*x),
                    short(*y),
                    short(*radius),
                    hex(*fill)
                ),
                Mark::Text(text) => writeln!(out, "{}", svg_text(text)),
                Mark::Image(image) => writeln!(out, "{}", svg_image(image)),
            };
        }
        out.push_str("</svg>\n");
        out
    }
}

/// The matrix as a PNG inside the SVG, an entry a pixel.
fn svg_image(image: &Image) -> String {
    let bytes: Vec<u8> = image.pixels.iter().flat_map(|pixel| [pixel.0, pixel.1, pixel.2]).collect();
    format!(
        "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
         style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{}\"/>",
        short(image.x),
        short(image.y),
        short(image.width),
        short(image.height),
        BASE64.encode(png(image.columns, image.rows(), &bytes))
    )
}

/// An RGB PNG of `width` by `height` pixels.
fn png(width: usize, height: usize, rgb: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // Writing into a Vec cannot fail, and the sizes are those of the matrix.
    let mut writer = encoder.write_header().expect("an image has pixels");
    writer.write_image_data(rgb).expect("three bytes for each pixel");
    writer.finish().expect("the image is whole");
    out
}

fn svg_line(line: &Line) -> String {
    let points: Vec<String> = line.points.iter().map(|p| format!("{},{}", short(p.0), short(p.1))).collect();
    let dash = line.dash.map_or(String::new(), |dash| format!(" stroke-dasharray=\"{}\"", short(dash)));
    format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\" stroke-linejoin=\"round\"{dash}/>",
        points.join(" "),
        hex(line.color),
        short(line.width),
    )
}

fn svg_text(text: &Text) -> String {
    let (x, y) = text.at;
    let anchor = match text.anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let turn = if text.turned {
        format!(" transform=\"rotate(-90 {} {})\"", short(x), short(y))
    } else {
        String::new()
    };
    format!(
        "<text x=\"{}\" y=\"{}\" font-size=\"{}\" text-anchor=\"{anchor}\" fill=\"{}\"{}{turn}>{}</text>",
        short(x),
        // SVG places the baseline; not every viewer supports dominant-baseline.
        short(y + text.size * text::CAPITAL / 2.0),
        short(text.size),
        hex(text.color),
        if text.bold { " font-weight=\"bold\"" } else { "" },
        xml(&text.text)
    )
}

/// At most two decimals, without trailing zeros.
fn short(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn hex(color: Rgb) -> String {
    format!("#{:02x}{:02x}{:02x}", color.0, color.1, color.2)
}
