//! Text as outlines: how wide it is, and how much of each pixel it covers.

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use std::sync::LazyLock;

/// The font of the pictures, embedded in the program so that a picture looks the same on every machine.
static FONT: LazyLock<FontRef<'static>> = LazyLock::new(|| {
    let font = include_bytes!("../../assets/ubuntu/Ubuntu-Light.ttf");
    FontRef::try_from_slice(font).expect("the font inside the program is whole")
});

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
