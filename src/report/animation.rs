//! Heatmaps over the course of training, as an animated PNG and a GIF.

use std::collections::BTreeSet;

use image::RgbImage;

use super::comparison::Comparison;
use super::frames::changed;
use super::gif;
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

/// An animation in two formats.
pub struct Animation {
    /// For web pages: every colour is exact. Viewers that do not support animation show its first frame.
    pub png: Vec<u8>,
    /// For slides, which take no other: at most 256 colours.
    pub gif: Vec<u8>,
}

/// The heatmaps of the runs at `shown`, at up to 32 of the steps that have attention records. `None` if nothing moves.
///
/// # Errors
/// Those of [`heatmap`](super::heatmap::heatmap) and of encoding.
pub fn heatmap_over_training(
    comparison: &Comparison,
    shown: &[usize],
    colormap: Colormap,
) -> Result<Option<Animation>> {
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
                let panel = Panel { title: (*name).clone(), notes: vec![note], values, reference: None };
                (!panel.values.is_empty()).then_some(panel)
            })
            .collect();
        let caption = format!("Step {} of {}.", tick_text(step as f64, 1.0), tick_text(last as f64, 1.0));
        frames.push(heatmap_up_to(&panels, &caption, most, colormap)?.pixels_at(DENSITY)?);
    }
    let frames = of_one_size(frames);
    Ok(Some(Animation { png: encode(&frames)?, gif: gif::encode(&frames, FRAME, LAST)? }))
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
