//! The values that TensorBoard gets from a record of the log.

use image::RgbImage;

use super::event_file::Value;
use super::quantities::HEAD_ENTROPY;
use super::record::{Nonfinite, Record, Values};
use crate::draw::colormap::{ABSENT, Colormap, Rgb};
use crate::fault::{Fault, Kind, Result};

/// The smallest and the largest side of a head's cell, in pixels. Between them, the picture is `WIDTH` wide.
const CELL: (u32, u32) = (8, 24);
const WIDTH: u32 = 192;

/// The scalars of a record and, for head entropies, also a heatmap in colours from 0 to `top` nats.
///
/// # Errors
/// `Io` if the heatmap cannot be encoded.
pub fn event_values(record: &Record, top: f64) -> Result<Vec<Value>> {
    let mut told = Vec::new();
    match record {
        Record::Measured { kind, values, .. } => {
            for row in kind.rows() {
                if let Some((tag, values)) = row.tag.zip(values.get(row)) {
                    scalars(&mut told, tag, values);
                }
            }
            let image = cells(values.heads(&HEAD_ENTROPY), top);
            if image.width() > 0 && image.height() > 0 {
                let png = encode(&image)
                    .map_err(|error| Fault::new(Kind::Io, "cannot encode the heatmap as PNG").found(error))?;
                told.push(Value::png(HEAD_ENTROPY.name, image.dimensions(), png));
            }
        }
        Record::Nonfinite(found) => {
            told.push(Value::scalar("nonfinite/value", found.value as f32));
            told.push(Value::text("nonfinite/where", &origin(found)));
        }
        Record::Sample(sample) => told.push(Value::text("sample", &as_code(&sample.prompt, &sample.text))),
    }
    Ok(told)
}

/// A text and its continuation as a block of code in Markdown, which keeps lines and spaces; a bar stands between them.
fn as_code(prompt: &str, text: &str) -> String {
    format!("    {}", format!("{prompt}▏{text}").replace('\n', "\n    "))
}

/// One scalar of a step, or one for each layer or head.
fn scalars(told: &mut Vec<Value>, tag: &str, values: &Values) {
    // With two digits, names sort in numeric order, up to a hundred layers.
    let of_layer = |(layer, number): (usize, f32)| Value::scalar(format!("{tag}/{layer:02}"), number);
    match values {
        Values::Step(number) => told.push(Value::scalar(tag, *number as f32)),
        Values::Layers(layers) => told.extend(layers.iter().copied().enumerate().map(of_layer)),
        Values::Counts(counts) => {
            told.extend(counts.iter().map(|&count| count as f32).enumerate().map(of_layer));
        }
        Values::Heads(layers) => {
            for (layer, heads) in layers.iter().enumerate() {
                told.extend(
                    heads
                        .iter()
                        .enumerate()
                        .map(|(head, &number)| Value::scalar(format!("{tag}/{layer:02}.{head:02}"), number)),
                );
            }
        }
    }
}

/// Heads across, layers down, in the figures' colours from 0 to `top` nats; non-finite values are in the figures' grey. The
/// size is the same for every record of a run.
fn cells(entropies: &[Vec<f32>], top: f64) -> RgbImage {
    let heads = entropies.iter().map(Vec::len).max().unwrap_or(0) as u32;
    let side = (WIDTH / heads.max(1)).clamp(CELL.0, CELL.1);
    RgbImage::from_fn(heads * side, entropies.len() as u32 * side, |x, y| {
        let row = &entropies[(y / side) as usize];
        let entropy = row.get((x / side) as usize).copied().unwrap_or(f32::NAN);
        let Rgb(r, g, b) =
            if entropy.is_finite() { Colormap::default().at(f64::from(entropy) / top) } else { ABSENT };
        image::Rgb([r, g, b])
    })
}

/// A PNG that is very cheap to encode: most lines repeat the line above.
fn encode(image: &RgbImage) -> std::result::Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width(), image.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Fast);
    encoder.set_filter(png::Filter::Up);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(image.as_raw())?;
    writer.finish()?;
    Ok(bytes)
}

/// The origin of a non-finite number.
fn origin(found: &Nonfinite) -> String {
    let Nonfinite { micro_batch, phase, scope, op, tensor, index, value, .. } = found;
    let part = |label: &str, text: &str| match text {
        "" => String::new(),
        text => format!(", {label} {text}"),
    };
    format!(
        "{value} at element {index} of `{tensor}`{}{}, {phase}, micro-batch {micro_batch}",
        part("made by", op),
        part("in", scope)
    )
}
