//! Heatmaps over the course of training, as one animated PNG.

use std::collections::BTreeSet;

use image::RgbImage;

use super::comparison::Comparison;
use super::heatmap::{Panel, heatmap_up_to};
use super::run::widen;
use crate::draw::axes::tick_text;
use crate::draw::colormap::Colormap;
use crate::fault::{Fault, Kind, Result};
use crate::observe::entropy::observed_max;
use crate::observe::quantities::HEAD_ENTROPY;

/// More frames than this make the file large and show nothing more.
const MOST_FRAMES: usize = 32;
/// Duration of a frame, and of the last one, in hundredths of a second.
const FRAME: u16 = 20;
const LAST: u16 = 250;
/// Pixels per CSS pixel: fewer than in a still picture, because there are many frames.
const DENSITY: f64 = 1.0;

/// The heatmaps of the runs at `shown`, at up to 32 of the steps that have attention records, as an animated PNG. Viewers
/// that do not support animation show its first frame. `None` if nothing moves.
///
/// # Errors
/// Those of [`heatmap`](super::heatmap::heatmap) and of encoding.
pub fn heatmap_over_training(
    comparison: &Comparison,
    shown: &[usize],
    colormap: Colormap,
) -> Result<Option<Vec<u8>>> {
    let runs: Vec<_> = shown
        .iter()
        .map(|&index| (&comparison.runs[index], &comparison.names[index]))
        .filter(|(run, _)| run.log.heads(&HEAD_ENTROPY).len() > 1)
        .collect();
    let steps: BTreeSet<u64> =
        runs.iter().flat_map(|(run, _)| run.log.heads(&HEAD_ENTROPY)).map(|(step, _)| *step).collect();
    let steps = thinned(&steps.into_iter().collect::<Vec<_>>());
    let (Some(&last), true) = (steps.last(), steps.len() > 1) else { return Ok(None) };
    // One scale for all of training: the largest entropy of any frame.
    let grids: Vec<Vec<Vec<f64>>> =
        runs.iter().flat_map(|(run, _)| run.log.heads(&HEAD_ENTROPY)).map(|(_, grid)| widen(grid)).collect();
    let most = observed_max(grids.iter().map(Vec::as_slice));
    let mut frames = Vec::new();
    for &step in &steps {
        let panels: Vec<Panel> = runs
            .iter()
            .filter_map(|(run, name)| {
                let records = run.log.heads(&HEAD_ENTROPY);
                let after = records.partition_point(|record| record.0 <= step);
                let (own, grid) = &records[after.saturating_sub(1)];
                let note = match run.diverged_at().filter(|&lost| step >= lost) {
                    Some(lost) => format!("diverged at step {}", tick_text(lost as f64, 1.0)),
                    None => format!("step {}", tick_text(*own as f64, 1.0)),
                };
                let values = widen(grid);
                (!values.is_empty()).then(|| Panel { title: (*name).clone(), notes: vec![note], values })
            })
            .collect();
        let caption = format!("Step {} of {}.", tick_text(step as f64, 1.0), tick_text(last as f64, 1.0));
        frames.push(heatmap_up_to(&panels, &caption, most, colormap)?.pixels_at(DENSITY)?);
    }
    encode(&of_one_size(frames)).map(Some)
}

/// The frames, each on a page as large as the largest frame.
fn of_one_size(frames: Vec<RgbImage>) -> Vec<RgbImage> {
    let most = |side: fn(&RgbImage) -> u32| frames.iter().map(side).max().unwrap_or(1);
    let (width, height) = (most(RgbImage::width), most(RgbImage::height));
    let placed = |frame: RgbImage| {
        let mut page = RgbImage::from_pixel(width, height, image::Rgb([255; 3]));
        image::imageops::replace(&mut page, &frame, 0, 0);
        page
    };
    frames.into_iter().map(placed).collect()
}

/// At most `MOST_FRAMES` of the steps, evenly chosen, the first and the last among them.
fn thinned(steps: &[u64]) -> Vec<u64> {
    let count = steps.len().min(MOST_FRAMES);
    (0..count).map(|k| steps[k * (steps.len() - 1) / (count - 1).max(1)]).collect()
}

/// Frames of one size as an APNG: the first one whole, then only the box in which each frame differs from the one before
/// it.
fn encode(frames: &[RgbImage]) -> Result<Vec<u8>> {
    let failed =
        |error: png::EncodingError| Fault::new(Kind::Io, "cannot encode the animation as PNG").found(error);
    let (width, height) = frames[0].dimensions();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Balanced);
    encoder.set_animated(frames.len() as u32, 0).map_err(failed)?;
    encoder.set_frame_delay(FRAME, 100).map_err(failed)?;
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(frames[0].as_raw()).map_err(failed)?;
    for (index, pair) in frames.windows(2).enumerate() {
        let (left, top, right, bottom) = changed(&pair[0], &pair[1]);
        let part = image::imageops::crop_imm(&pair[1], left, top, right - left, bottom - top).to_image();
        writer.reset_frame_position().map_err(failed)?;
        writer.set_frame_dimension(right - left, bottom - top).map_err(failed)?;
        writer.set_frame_position(left, top).map_err(failed)?;
        writer.set_frame_delay(if index + 2 == frames.len() { LAST } else { FRAME }, 100).map_err(failed)?;
        writer.write_image_data(part.as_raw()).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

/// The smallest box that contains every difference between two images: left, top, right, bottom; a single pixel for equal
/// images.
fn changed(one: &RgbImage, other: &RgbImage) -> (u32, u32, u32, u32) {
    let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
    for ((x, y, a), b) in one.enumerate_pixels().zip(other.pixels()) {
        if a != b {
            (left, top) = (left.min(x), top.min(y));
            (right, bottom) = (right.max(x + 1), bottom.max(y + 1));
        }
    }
    if right == 0 { (0, 0, 1, 1) } else { (left, top, right, bottom) }
}
