//! Text as outlines: how wide it is, and how much of each pixel it covers.

use ab_glyph::{Font, FontRef, GlyphId, PxScale, ScaleFont, point};
use std::sync::LazyLock;

/// The font of the pictures, embedded in the program so that a picture looks the same on every machine.
static FONT: LazyLock<FontRef<'static>> =
    LazyLock::new(|| FontRef::try_from_slice(FONT_FILE).expect("the font inside the program is whole"));

/// The file of the font.
pub const FONT_FILE: &[u8] = include_bytes!("../../assets/ubuntu/Ubuntu-Light.ttf");

/// Stroke widening as a part of the font size: it lifts the light font to an ordinary and to a bold weight.
pub const PLAIN: f64 = 0.022;
pub const BOLD: f64 = 0.06;

/// Text is measured in the PNG's font; SVG viewers may set a wider one.
pub const SLACK: f64 = 1.2;

/// Height of a capital letter as a fraction of the font size. Half of it is the distance from a line's middle to its
/// baseline.
pub const CAPITAL: f64 = 0.69;

/// ab_glyph measures a font by ascent − descent, everyone else by its em.
fn scale(size: f64) -> PxScale {
    let em = FONT.units_per_em().unwrap_or(1000.0);
    PxScale::from(size as f32 * FONT.height_unscaled() / em)
}

/// Width of a line of text in the unit of `size`.
pub fn width(text: &str, size: f64) -> f64 {
    let font = FONT.as_scaled(scale(size));
    let mut previous = None;
    let mut width = 0.0;
    for id in text.chars().map(|c| font.glyph_id(c)) {
        width += previous.map_or(0.0, |before| font.kern(before, id)) + font.h_advance(id);
        previous = Some(id);
    }
    f64::from(width)
}

/// The text in lines of at most `most`, in the unit of `size`, broken at blanks; a longer word is broken anywhere.
pub fn wrapped(text: &str, size: f64, most: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let joined = lines.last().map(|line| format!("{line} {word}"));
        match joined.filter(|line| width(line, size) <= most) {
            Some(line) => *lines.last_mut().expect("there is a line to join") = line,
            None => {
                let mut piece = String::new();
                for letter in word.chars() {
                    if !piece.is_empty() && width(&format!("{piece}{letter}"), size) > most {
                        lines.push(std::mem::take(&mut piece));
                    }
                    piece.push(letter);
                }
                lines.push(piece);
            }
        }
    }
    lines
}

/// The width that lines of text may have in a `room`: viewers of a narrow page, such as a telephone's, may set a wider font.
pub fn lines_in(room: f64, narrow: bool) -> f64 {
    if narrow { room / SLACK } else { room }
}

/// A glyph of a line of text; lengths in thousandths of the em.
pub struct Placed {
    pub glyph: u16,
    pub letter: char,
    /// The change of its distance from the glyph before it.
    pub kern: f32,
    pub advance: f32,
}

/// The glyphs of a line of text.
pub fn placed(text: &str) -> Vec<Placed> {
    let thousandths = 1000.0 / FONT.units_per_em().unwrap_or(1000.0);
    let mut previous: Option<GlyphId> = None;
    let place = |letter: char| {
        let id = FONT.glyph_id(letter);
        let kern = previous.map_or(0.0, |before| FONT.kern_unscaled(before, id));
        previous = Some(id);
        let advance = FONT.h_advance_unscaled(id) * thousandths;
        Placed { glyph: id.0, letter, kern: kern * thousandths, advance }
    };
    text.chars().map(place).collect()
}

/// What a font descriptor says, in thousandths of the em.
pub struct Metrics {
    pub ascent: f32,
    pub descent: f32,
    /// Left, bottom, right, top of all glyphs.
    pub bounds: [f32; 4],
}

/// The font's own.
pub fn metrics() -> Metrics {
    let thousandths = 1000.0 / FONT.units_per_em().unwrap_or(1000.0);
    let (ascent, descent) = (FONT.ascent_unscaled() * thousandths, FONT.descent_unscaled() * thousandths);
    // The widest glyph of the font is a little wider than two ems.
    Metrics { ascent, descent, bounds: [-170.0, descent, 2200.0, ascent] }
}

/// Calls `cover(x, y, coverage)` for every pixel touched by `text`, whose baseline begins at (0, 0), y down.
/// A glyph may touch a pixel more than once.
///
/// `extra` widens the strokes by that many pixels: the font has one weight, and it is a light one.
pub fn outline(text: &str, size: f64, extra: f64, mut cover: impl FnMut(i64, i64, f32)) {
    let font = FONT.as_scaled(scale(size));
    let passes = (extra / 0.4).ceil() as usize;
    let mut previous = None;
    let mut pen = 0.0f32;
    for id in text.chars().map(|c| font.glyph_id(c)) {
        pen += previous.map_or(0.0, |before| font.kern(before, id));
        for pass in 0..=passes {
            let shift = if passes == 0 { 0.0 } else { extra * (pass as f64 / passes as f64 - 0.5) };
            let glyph = id.with_scale_and_position(font.scale(), point(pen + shift as f32, 0.0));
            if let Some(outlined) = font.outline_glyph(glyph) {
                let corner = outlined.px_bounds().min;
                outlined.draw(|x, y, coverage| {
                    cover(i64::from(x) + corner.x as i64, i64::from(y) + corner.y as i64, coverage);
                });
            }
        }
        pen += font.h_advance(id);
        previous = Some(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_at_blanks_where_they_can_be() {
        let text = "SM+LearnableR(per layer), no decay of slopes";
        let lines = wrapped(text, 14.0, 130.0);
        assert!(lines.len() > 2 && lines.iter().all(|line| width(line, 14.0) <= 130.0), "{lines:?}");
        assert_eq!(lines.join(" "), text);
        assert_eq!(wrapped(text, 14.0, 1e4), [text]);
        let word = wrapped("averyveryverylongword", 14.0, 60.0);
        assert!(word.len() > 1 && word.concat() == "averyveryverylongword", "{word:?}");
        assert_eq!(wrapped("", 14.0, 60.0), [""]);
    }
}
