//! A picture as a PDF of one page, with the part of the font that it uses inside: what LaTeX and printers take.

use std::collections::BTreeMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use pdf_writer::types::{CidFontType, FontFlags, LineJoinStyle, SystemInfo, TextRenderingMode, UnicodeCmap};
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect, Ref, Str, TextStr};
use subsetter::GlyphRemapper;

use super::colormap::{Rgb, WHITE};
use super::picture::{Image, Line, Mark, Picture, Text};
use super::text::{self, BOLD, FONT_FILE, PLAIN, Placed};
use crate::fault::{Fault, Kind, Result};

const FONT: Name<'_> = Name(b"F");
const SYSTEM: SystemInfo<'_> =
    SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };
/// How far control points lie from the ends of a quarter of a circle, in radii.
const ROUND: f32 = 0.552_285;

/// The glyphs that the page uses: their numbers in the part of the font that is embedded, and what they stand for.
#[derive(Default)]
struct Glyphs {
    remapper: GlyphRemapper,
    known: BTreeMap<u16, (char, f32)>,
}

impl Picture {
    /// The picture as a PDF; text in it can be searched and copied.
    ///
    /// # Errors
    /// `Io` if the font cannot be embedded.
    pub fn pdf(&self) -> Result<Vec<u8>> {
        let size = (self.printed_width() * 72.0, self.printed_height() * 72.0);
        let mut glyphs = Glyphs::default();
        let mut content = Content::new();
        // From pixels, down, to points, up.
        let scale = (size.0 / self.width) as f32;
        content.transform([scale, 0.0, 0.0, -scale, 0.0, size.1 as f32]);
        content.set_line_join(LineJoinStyle::RoundJoin);
        fill(&mut content, WHITE);
        content.rect(0.0, 0.0, self.width as f32, self.height as f32).fill_nonzero();
        for mark in &self.marks {
            match mark {
                Mark::Rect { x, y, width, height, fill: color } => {
                    fill(&mut content, *color);
                    content.rect(*x as f32, *y as f32, *width as f32, *height as f32).fill_nonzero();
                }
                Mark::Line(line) => polyline(&mut content, line),
                Mark::Disc { x, y, radius, fill: color } => {
                    fill(&mut content, *color);
                    disc(&mut content, (*x as f32, *y as f32), *radius as f32);
                }
                Mark::Text(text) => write(&mut content, text, &mut glyphs),
                Mark::Image(image) => matrix(&mut content, image),
            }
        }
        self.document(size, &content.finish(), &glyphs)
    }

    fn document(&self, size: (f64, f64), content: &[u8], glyphs: &Glyphs) -> Result<Vec<u8>> {
        let failed = |e: String| Fault::new(Kind::Io, "cannot embed the font into the PDF").found(e);
        let font = subsetter::subset(FONT_FILE, 0, &glyphs.remapper).map_err(|e| failed(format!("{e:?}")))?;
        let packed = |bytes: &[u8]| -> Result<Vec<u8>> {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(bytes).and_then(|()| encoder.finish()).map_err(|e| failed(e.to_string()))
        };
        let mut ids = (1..).map(Ref::new);
        let mut id = || ids.next().expect("references are without end");
        let (catalog, pages, page, contents, info) = (id(), id(), id(), id(), id());
        let (outer, inner, descriptor, file, unicode) = (id(), id(), id(), id(), id());
        let mut pdf = Pdf::new();
        pdf.catalog(catalog).pages(pages);
        pdf.document_info(info).title(TextStr(&self.title)).creator(TextStr("normfree"));
        pdf.pages(pages).kids([page]).count(1);
        let mut sheet = pdf.page(page);
        sheet.media_box(Rect::new(0.0, 0.0, size.0 as f32, size.1 as f32)).parent(pages).contents(contents);
        sheet.resources().fonts().pair(FONT, outer);
        sheet.finish();
        pdf.stream(contents, &packed(content)?).filter(Filter::FlateDecode);

        // Its name has six letters before it that say that it is a part.
        let name = Name(b"NORMFR+Ubuntu-Light");
        let mut whole = pdf.type0_font(outer);
        whole.base_font(name).encoding_predefined(Name(b"Identity-H")).descendant_font(inner);
        whole.to_unicode(unicode);
        whole.finish();
        let mut part = pdf.cid_font(inner);
        part.subtype(CidFontType::Type2).base_font(name).system_info(SYSTEM).font_descriptor(descriptor);
        part.default_width(0.0).cid_to_gid_map_predefined(Name(b"Identity"));
        let mut by_number: BTreeMap<u16, (char, f32)> = BTreeMap::new();
        for (glyph, known) in &glyphs.known {
            by_number.insert(glyphs.remapper.get(*glyph).unwrap_or_default(), *known);
        }
        let mut widths = part.widths();
        for (&number, &(_, width)) in &by_number {
            widths.same(number, number, width);
        }
        widths.finish();
        part.finish();
        let metrics = text::metrics();
        pdf.font_descriptor(descriptor)
            .name(name)
            .flags(FontFlags::SYMBOLIC)
            .bbox(Rect::new(metrics.bounds[0], metrics.bounds[1], metrics.bounds[2], metrics.bounds[3]))
            .italic_angle(0.0)
            .ascent(metrics.ascent)
            .descent(metrics.descent)
            .cap_height(text::CAPITAL as f32 * 1000.0)
            .stem_v(70.0)
            .font_file2(file);
        let mut map = UnicodeCmap::new(Name(b"Normfree"), SYSTEM);
        by_number.iter().for_each(|(&number, &(letter, _))| map.pair(number, letter));
        pdf.cmap(unicode, &map.finish());
        pdf.stream(file, &packed(&font)?)
            .filter(Filter::FlateDecode)
            .pair(Name(b"Length1"), font.len() as i32);
        Ok(pdf.finish())
    }
}

/// A colour's channels, 0 to 1.
fn channels(color: Rgb) -> [f32; 3] {
    [color.0, color.1, color.2].map(|channel| f32::from(channel) / 255.0)
}

fn fill(content: &mut Content, color: Rgb) {
    let [red, green, blue] = channels(color);
    content.set_fill_rgb(red, green, blue);
}

fn polyline(content: &mut Content, line: &Line) {
    let Some((first, rest)) = line.points.split_first() else { return };
    let [red, green, blue] = channels(line.color);
    content.set_stroke_rgb(red, green, blue).set_line_width(line.width as f32);
    let dash = line.dash.map(|dash| dash as f32);
    content.set_dash_pattern(dash, 0.0);
    content.move_to(first.0 as f32, first.1 as f32);
    for point in rest {
        content.line_to(point.0 as f32, point.1 as f32);
    }
    content.stroke();
}

/// The entries of a matrix as rectangles; neighbours of one colour in a row are one.
fn matrix(content: &mut Content, image: &Image) {
    let (width, height) = (image.width / image.columns as f64, image.height / image.rows() as f64);
    for (row, pixels) in image.pixels.chunks_exact(image.columns).enumerate() {
        let mut column = 0;
        for run in pixels.chunk_by(|a, b| a == b) {
            fill(content, run[0]);
            let (x, y) = (image.x + column as f64 * width, image.y + row as f64 * height);
            content.rect(x as f32, y as f32, (run.len() as f64 * width) as f32, height as f32).fill_nonzero();
            column += run.len();
        }
    }
}

fn disc(content: &mut Content, (x, y): (f32, f32), radius: f32) {
    let away = radius * ROUND;
    content.move_to(x + radius, y);
    content.cubic_to(x + radius, y + away, x + away, y + radius, x, y + radius);
    content.cubic_to(x - away, y + radius, x - radius, y + away, x - radius, y);
    content.cubic_to(x - radius, y - away, x - away, y - radius, x, y - radius);
    content.cubic_to(x + away, y - radius, x + radius, y - away, x + radius, y);
    content.fill_nonzero();
}

/// A line of text. The font is a light one, so its outlines are stroked as well, as in the PNG.
fn write(content: &mut Content, text: &Text, glyphs: &mut Glyphs) {
    let (x, y) = text.at;
    let (start, drop) = (text.start(), text.size * text::CAPITAL / 2.0);
    let (right, at) = match text.turned {
        false => ([1.0, 0.0, 0.0, -1.0], (x + start, y + drop)),
        true => ([0.0, -1.0, -1.0, 0.0], (x + drop, y - start)),
    };
    let size = text.size as f32;
    let [red, green, blue] = channels(text.color);
    content.begin_text();
    content
        .set_fill_rgb(red, green, blue)
        .set_stroke_rgb(red, green, blue)
        .set_dash_pattern(None::<f32>, 0.0);
    content.set_line_width(size * if text.bold { BOLD } else { PLAIN } as f32);
    content.set_text_rendering_mode(TextRenderingMode::FillStroke).set_font(FONT, size);
    content.set_text_matrix([right[0], right[1], right[2], right[3], at.0 as f32, at.1 as f32]);
    let mut shown = content.show_positioned();
    let mut items = shown.items();
    for Placed { glyph, letter, kern, advance } in text::placed(&text.text) {
        if kern != 0.0 {
            items.adjust(-kern);
        }
        glyphs.known.insert(glyph, (letter, advance));
        items.show(Str(&glyphs.remapper.remap(glyph).to_be_bytes()));
    }
    items.finish();
    shown.finish();
    content.end_text();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pdf_has_its_font_and_its_size() {
        let mut picture = Picture::new(200.0, 100.0, "A title");
        picture.text(Text::new(50.0, 50.0, 12.0, "Overload 3M/4"));
        picture.text(Text::new(90.0, 50.0, 12.0, "turned").turned().bold());
        picture.line(vec![(0.0, 0.0), (10.0, 10.0)], 1.0, Rgb(1, 2, 3));
        picture.disc(5.0, 5.0, 3.0, Rgb(9, 9, 9));
        let pdf = picture.pdf().unwrap();
        assert!(pdf.starts_with(b"%PDF-1.") && pdf.ends_with(b"%%EOF"));
        let text = String::from_utf8_lossy(&pdf);
        assert!(text.contains("/MediaBox [0 0 150 75]"), "{text}");
        assert!(text.contains("/FontFile2") && text.contains("Ubuntu-Light"), "the font is inside");
        assert!(pdf.len() < 40_000, "{} bytes: only what is used of the font is embedded", pdf.len());
        picture.print(5.5);
        let text = picture.pdf().unwrap();
        assert!(String::from_utf8_lossy(&text).contains("/MediaBox [0 0 396 "));
    }
}
