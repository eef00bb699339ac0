//! Frames as an animated GIF, with one palette for all of them.

use std::collections::HashMap;

use color_quant::NeuQuant;
use gif::{DisposalMethod, Encoder, Frame, Repeat};
use image::{Rgb, RgbImage};

use super::frames::changed;
use crate::fault::{Fault, Kind, Result};

/// The most colours of a GIF.
const MOST: usize = 256;
/// How thoroughly colours are chosen: 1 is the best, 30 the fastest.
const SAMPLING: i32 = 3;

/// Frames of one size: the first one whole, then only the box in which each differs from the one before it. `delay` is the
/// duration of a frame, `last` that of the last one, in hundredths of a second.
///
/// # Errors
/// [`Kind::Io`] if the frames cannot be encoded.
pub fn encode(frames: &[RgbImage], delay: u16, last: u16) -> Result<Vec<u8>> {
    let failed =
        |e: &dyn std::fmt::Display| Fault::new(Kind::Io, "cannot encode the animation as GIF").found(e);
    let (width, height) = frames[0].dimensions();
    let side = |pixels: u32| {
        u16::try_from(pixels).map_err(|_| {
            Fault::new(Kind::Usage, format!("the animation would be {width} × {height} pixels"))
                .remedy("draw fewer runs at once: a GIF has at most 65,535 pixels a side")
        })
    };
    let palette = Palette::of(frames);
    let mut bytes = Vec::new();
    let mut encoder =
        Encoder::new(&mut bytes, side(width)?, side(height)?, &palette.bytes).map_err(|e| failed(&e))?;
    encoder.set_repeat(Repeat::Infinite).map_err(|e| failed(&e))?;
    for (index, frame) in frames.iter().enumerate() {
        let (left, top, right, bottom) = match index {
            0 => (0, 0, width, height),
            _ => changed(&frames[index - 1], frame),
        };
        let part = image::imageops::crop_imm(frame, left, top, right - left, bottom - top).to_image();
        let pixels: Vec<u8> = part.pixels().map(|pixel| palette.index[pixel]).collect();
        let frame = Frame {
            delay: if index + 1 == frames.len() { last } else { delay },
            dispose: DisposalMethod::Keep,
            left: side(left)?,
            top: side(top)?,
            width: side(right - left)?,
            height: side(bottom - top)?,
            buffer: pixels.into(),
            ..Frame::default()
        };
        encoder.write_frame(&frame).map_err(|e| failed(&e))?;
    }
    drop(encoder);
    Ok(bytes)
}

/// The colours of a GIF, and which of them stands for each colour of the frames.
struct Palette {
    bytes: Vec<u8>,
    index: HashMap<Rgb<u8>, u8>,
}

impl Palette {
    /// The colours of the frames themselves, if they are few; otherwise those that stand for them best, and white.
    fn of(frames: &[RgbImage]) -> Self {
        let mut counts: HashMap<Rgb<u8>, u64> = HashMap::new();
        frames.iter().flat_map(RgbImage::pixels).for_each(|pixel| *counts.entry(*pixel).or_default() += 1);
        let mut colors: Vec<Rgb<u8>> = counts.keys().copied().collect();
        // In an order that does not depend on the map, so that equal frames give equal bytes.
        colors.sort_unstable_by_key(|color| color.0);
        if colors.len() <= MOST {
            let index = colors.iter().zip(0..).map(|(color, index)| (*color, index)).collect();
            return Self { bytes: colors.iter().flat_map(|color| color.0).collect(), index };
        }
        // Each colour counts by the logarithm of its pixels: paper must not take the palette from the cells.
        let weighted = colors.iter().flat_map(|color| {
            let copies = 1 + counts[color].ilog2() as usize;
            std::iter::repeat_n([color.0[0], color.0[1], color.0[2], 255], copies)
        });
        let samples: Vec<u8> = weighted.flatten().collect();
        let chosen = NeuQuant::new(SAMPLING, MOST - 1, &samples);
        let mut bytes = chosen.color_map_rgb();
        bytes.extend([255; 3]);
        let white = (bytes.len() / 3 - 1) as u8;
        let of = |color: &Rgb<u8>| match color.0 {
            [255, 255, 255] => white,
            [red, green, blue] => chosen.index_of(&[red, green, blue, 255]) as u8,
        };
        Self { index: colors.iter().map(|color| (*color, of(color))).collect(), bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gif::{ColorOutput, DecodeOptions};

    /// The frames of a GIF as a viewer shows them.
    fn shown(bytes: &[u8]) -> Vec<RgbImage> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::RGBA);
        let mut decoder = options.read_info(bytes).unwrap();
        let mut page = RgbImage::new(u32::from(decoder.width()), u32::from(decoder.height()));
        let mut frames = Vec::new();
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            for (at, pixel) in frame.buffer.chunks_exact(4).enumerate() {
                let (x, y) = (at as u32 % u32::from(frame.width), at as u32 / u32::from(frame.width));
                let at = (x + u32::from(frame.left), y + u32::from(frame.top));
                page.put_pixel(at.0, at.1, Rgb([pixel[0], pixel[1], pixel[2]]));
            }
            frames.push(page.clone());
        }
        frames
    }

    #[test]
    fn few_colours_are_exact() {
        let mut frames = vec![RgbImage::from_pixel(20, 10, Rgb([255; 3])); 3];
        frames[1].put_pixel(5, 5, Rgb([1, 2, 3]));
        frames[2].put_pixel(5, 5, Rgb([1, 2, 3]));
        frames[2].put_pixel(19, 9, Rgb([68, 1, 84]));
        assert_eq!(shown(&encode(&frames, 20, 100).unwrap()), frames);
    }

    #[test]
    fn many_colours_are_close_and_paper_is_white() {
        let gradient = |x: u32, y: u32| match y {
            0 => Rgb([255; 3]),
            _ => Rgb([(x % 256) as u8, (x * 3 % 256) as u8, (y * 20) as u8]),
        };
        let frames = [RgbImage::from_fn(256, 12, gradient), RgbImage::from_pixel(256, 12, Rgb([255; 3]))];
        let found = shown(&encode(&frames, 20, 100).unwrap());
        assert!(found[0].pixels().take(256).all(|pixel| pixel.0 == [255; 3]));
        assert_eq!(found[1], frames[1]);
        let off = |(one, other): (&Rgb<u8>, &Rgb<u8>)| {
            one.0.iter().zip(other.0).map(|(a, b)| u64::from(a.abs_diff(b))).sum::<u64>()
        };
        let mean = found[0].pixels().zip(frames[0].pixels()).map(off).sum::<u64>() as f64 / (256.0 * 12.0);
        assert!(mean < 36.0, "colours are {mean} off, over three channels");
    }
}
