//! What TensorBoard is told of a record of the log.

use image::RgbImage;

use super::event_file::Value;
use super::record::{Attention, Nonfinite, Record};
use crate::draw::colormap::{ABSENT, Colormap, Rgb};
use crate::fault::{Fault, Kind, Result};

/// Pixels of a head's cell: the least, and the most, with which a small model's picture is this wide.
const CELL: (u32, u32) = (8, 24);
const WIDTH: u32 = 192;

/// The scalars of a record, and of one of attention its heatmap too, in colours from 0 to `top` nats.
///
/// # Errors
/// `Io` where the heatmap cannot be encoded.
pub fn event_values(record: &Record, top: f64) -> Result<Vec<Value>> {
    let mut values = Vec::new();
    let mut scalar = |tag: &str, number: f64| values.push(Value::scalar(tag, number as f32));
    match record {
        Record::Step(step) => {
            if let Some(loss) = step.loss {
                scalar("train/loss", loss);
            }
            scalar("train/lr", step.lr);
            scalar("train/grad_norm", step.grad_norm);
            scalar("train/tokens_per_s", step.tokens_per_s);
            if let Some(penalty) = step.entropy_penalty {
                scalar("train/entropy_penalty", penalty.into());
            }
            if let Some(scale) = step.loss_scale {
                scalar("train/loss_scale", scale.into());
                scalar("train/overflow", f64::from(u8::from(step.overflow)));
            }
        }
        Record::Eval(eval) => {
            scalar("held_out/loss", eval.loss);
            scalar("held_out/ppl", eval.ppl);
        }
        Record::Attention(attention) => return of_attention(attention, top),
        Record::Slopes(slopes) => of_layers(&mut values, "slopes", &slopes.slopes),
        Record::EntropyThresholds(record) => of_heads(&mut values, "entropy_threshold", &record.thresholds),
        Record::FfnScales(scales) => {
            of_layers(&mut values, "ffn_alpha", &scales.alpha);
            of_layers(&mut values, "ffn_beta", &scales.beta);
        }
        Record::Layers(layers) => {
            of_layers(&mut values, "grad_norm", &layers.grad_norm);
            of_layers(&mut values, "zeros", &layers.zeros);
            of_layers(&mut values, "dead", &layers.dead);
            of_layers(&mut values, "residual_max", &layers.residual_max);
            of_layers(&mut values, "residual_median", &layers.residual_median);
        }
        Record::Nonfinite(found) => {
            scalar("nonfinite/value", found.value);
            values.push(Value::text("nonfinite/where", &origin(found)));
        }
    }
    Ok(values)
}

fn of_attention(record: &Attention, top: f64) -> Result<Vec<Value>> {
    let mut values = Vec::new();
    of_layers(&mut values, "layer_entropy", &record.layer_entropy);
    of_heads(&mut values, "head_entropy", &record.head_entropy);
    for (layer, &count) in record.nonfinite.iter().enumerate() {
        values.push(Value::scalar(format!("nonfinite_attention/{layer:02}"), count as f32));
    }
    let image = cells(&record.head_entropy, top);
    if image.width() > 0 && image.height() > 0 {
        let png = encode(&image);
        let png =
            png.map_err(|error| Fault::new(Kind::Io, "cannot encode the heatmap as PNG").found(error))?;
        values.push(Value::png("head_entropy", image.dimensions(), png));
    }
    Ok(values)
}

/// One number a layer.
fn of_layers(values: &mut Vec<Value>, tag: &str, row: &[f32]) {
    values.extend(row.iter().enumerate().map(|(layer, &number)| {
        // Two digits sort as they count, up to a hundred layers.
        Value::scalar(format!("{tag}/{layer:02}"), number)
    }));
}

/// One number a head.
fn of_heads(values: &mut Vec<Value>, tag: &str, grid: &[Vec<f32>]) {
    for (layer, heads) in grid.iter().enumerate() {
        let of =
            |(head, &number): (usize, &f32)| Value::scalar(format!("{tag}/{layer:02}.{head:02}"), number);
        values.extend(heads.iter().enumerate().map(of));
    }
}

/// Heads across, layers down, in the figures' colours from 0 to `top` nats; what is not finite in its grey. As large
/// for every record of a run.
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

/// A PNG that costs next to no time: most lines are those above them.
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

/// Where a number first was not finite.
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
