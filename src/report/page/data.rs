//! The data that the page's scripts draw, as JSON: thinned so that a page with many runs stays small, but without losing
//! outliers.

use serde_json::{Value, json};

use crate::draw::colormap::{Rgb, diverging, layers as layer_color};
use crate::fault::Result;
use crate::observe::entropy::{bins, causal_ceiling, observed_max};
use crate::observe::quantities::{self, Axis, Cadence, Drawn, EVAL_LOSS, HEAD_ENTROPY, Quantity};
use crate::pattern;
use crate::report::comparison::Comparison;
use crate::report::curves::{smoothed, style};
use crate::report::figures::Options;
use crate::report::heatmap::rounded;
use crate::report::layers::series;
use crate::report::reach::{Reach, Track, of_losses, of_values};
use crate::report::run::{RunData, widen};
use crate::report::spread::references;
use crate::report::table::percent;

/// Approximate limit on the head entropies in a page, over all steps and runs.
const HEAD_NUMBERS: usize = 400_000;
/// The fewest and the most frames of one run.
const FRAMES: (usize, usize) = (12, 80);
/// Approximate limit on the points of layer curves in a page, and the fewest and the most points of one curve.
const LAYER_POINTS: usize = 250_000;
const OF_LAYER: (usize, usize) = (60, 600);

/// Curves with fewer points are not smoothed.
const SMOOTHED: usize = 100;

/// Everything that the scripts need.
///
/// # Errors
/// Those of [`Reference::nats`](crate::report::stats::Reference::nats).
pub fn data(comparison: &Comparison, options: &Options) -> Result<Value> {
    let references = references(&comparison.runs, options.reference)?;
    let cells = |run: &RunData| {
        run.log.heads(&HEAD_ENTROPY).last().map_or(0, |(_, grid)| grid.iter().flatten().count())
    };
    let all_cells: usize = comparison.runs.iter().map(cells).sum();
    let frames = (HEAD_NUMBERS / all_cells.max(1)).clamp(FRAMES.0, FRAMES.1);
    let lines: usize = comparison
        .runs
        .iter()
        .map(|run| {
            let depth = |(quantity, _)| series(run, quantity).first().map_or(0, |record| record.1.len());
            quantities::of_layers().into_iter().map(depth).sum::<usize>()
        })
        .sum();
    let of_layer = (LAYER_POINTS / lines.max(1)).clamp(OF_LAYER.0, OF_LAYER.1);

    let shown = comparison.shown();
    let first: Vec<usize> = shown.iter().copied().take(4).collect();
    let mut runs = Vec::new();
    for of in &comparison.groups {
        let (color, dash) = style(of.style);
        for &index in &of.runs {
            let run = &comparison.runs[index];
            runs.push(json!({
                "name": comparison.names[index],
                "patterns": run.patterns.iter().map(|(step, of)| json!({ "step": step, "of": pattern::data(of) })).collect::<Value>(),
                "group": of.name,
                "color": hex(color),
                "dash": dash.is_some(),
                "picked": if shown.is_empty() { runs.len() < 4 } else { first.contains(&index) },
                "published": run.published.is_some(),
                "m": references[index].map(|m| format!("{m:.2}")),
                "ceiling": run.context.map(causal_ceiling).map(short),
                "heads": heads(run, references[index].unwrap_or(0.0), frames),
                "curves": curves(run),
                "smooth": smooth(run),
                "layers": layers(run, of_layer),
                "diverged": run.diverged_at(),
            }));
        }
    }
    let every: Vec<Vec<Vec<f64>>> = comparison
        .runs
        .iter()
        .flat_map(|run| run.log.heads(&HEAD_ENTROPY))
        .map(|(_, grid)| widen(grid))
        .collect();
    let quantity = |(_, drawn): (_, &'static Drawn)| {
        json!({
            "key": drawn.stem,
            "title": drawn.title,
            "label": drawn.label,
            "log": drawn.axis == Axis::Logarithmic,
            "zero": drawn.axis == Axis::Signed,
            "ceiling": drawn.axis == Axis::Entropy,
        })
    };
    let curve = |(quantity, drawn): (&'static Quantity, &'static Drawn)| {
        json!({
            "key": drawn.stem,
            "title": drawn.title,
            "log": drawn.axis == Axis::Logarithmic,
            "points": quantity.kind.cadence == Cadence::Evaluation,
        })
    };
    let sampled =
        |colour: &dyn Fn(f64) -> Rgb| (0..=32).map(|k| hex(colour(f64::from(k) / 32.0))).collect::<Vec<_>>();
    Ok(json!({
        "runs": runs,
        "reach": reach(comparison),
        "top": hundredths(observed_max(every.iter().map(Vec::as_slice)).max(0.01)),
        "reference": options.reference.to_string(),
        "colors": sampled(&|t| options.colormap.at(t)),
        "diverging": sampled(&|t| diverging(2.0 * t - 1.0)),
        "layers": sampled(&layer_color),
        "live": options.live,
        "quantities": quantities::of_layers().into_iter().map(quantity).collect::<Vec<_>>(),
        "curves": quantities::of_steps().into_iter().map(curve).collect::<Vec<_>>(),
    }))
}

fn hex(color: Rgb) -> String {
    format!("#{:02x}{:02x}{:02x}", color.0, color.1, color.2)
}

/// An entropy in hundredths of a nat, rounded as it is shown.
fn hundredths(entropy: f64) -> i64 {
    (rounded(entropy) * 100.0).round() as i64
}

/// Head entropies at up to `frames` steps, including the first and the last: each frame row by row, in hundredths of a nat,
/// null where an entropy is not finite. Also the shares of overloaded and collapsed heads, formatted as in the table.
fn heads(run: &RunData, m: f64, frames: usize) -> Value {
    let records = run.log.heads(&HEAD_ENTROPY);
    let Some((_, grid)) = records.last() else { return Value::Null };
    let (layers, heads) = (grid.len(), grid.first().map_or(0, Vec::len));
    let count = records.len().min(frames);
    let chosen = (0..count).map(|k| &records[k * (records.len() - 1) / (count - 1).max(1)]);
    let number = |&entropy: &f32| entropy.is_finite().then(|| hundredths(f64::from(entropy)));
    let shares = |grid: &Vec<Vec<f32>>| {
        let bins = bins(&widen(grid), m);
        [percent(bins[3]), percent(bins[0])]
    };
    let frame = |grid: &Vec<Vec<f32>>| grid.iter().flatten().map(number).collect::<Vec<Option<i64>>>();
    let (mut steps, mut values, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for (step, grid) in chosen {
        steps.push(*step);
        values.push(frame(grid));
        told.push(shares(grid));
    }
    json!({ "layers": layers, "heads": heads, "steps": steps, "frames": values, "shares": told })
}

/// The range that each whole-run curve's axis has to show, so that a spike or a diverged run hides no other run; no key if
/// the axis shows everything.
fn reach(comparison: &Comparison) -> Value {
    let tracks = |quantity: &'static Quantity| -> Vec<Track> {
        let here = comparison.runs.iter().filter(|run| run.published.is_none());
        let points = |run: &RunData| {
            run.log.numbers(quantity).iter().map(|&(step, number)| (step as f64, number)).collect()
        };
        here.map(|run| Track { points: points(run), diverged: run.diverged_at() }).collect()
    };
    let mut reaches = serde_json::Map::new();
    for (quantity, drawn) in quantities::of_steps() {
        let reach: Option<Reach> = match drawn.axis {
            Axis::Loss => of_losses(&tracks(quantity), false),
            Axis::Perplexity => {
                of_losses(&tracks(&EVAL_LOSS), false).map(|(low, high)| (low.exp(), high.exp()))
            }
            Axis::Logarithmic => of_values(&tracks(quantity)),
            _ => continue,
        };
        reaches.insert(drawn.stem.to_owned(), json!(reach.map(|(low, high)| [short(low), short(high)])));
    }
    reaches.into()
}

/// The whole-run curves of a run; a key without records is left out.
fn curves(run: &RunData) -> Value {
    let mut curves = serde_json::Map::new();
    for (quantity, drawn) in quantities::of_steps().into_iter().filter(|_| run.published.is_none()) {
        let points = thin(run.log.numbers(quantity), drawn.points);
        if !points.is_empty() {
            curves.insert(drawn.stem.to_owned(), line(&points));
        }
    }
    curves.into()
}

/// The averages of a run's long curves over 2% of the run; a key without one is left out.
fn smooth(run: &RunData) -> Value {
    let mut curves = serde_json::Map::new();
    for (quantity, drawn) in quantities::of_steps().into_iter().filter(|_| run.published.is_none()) {
        let numbers = run.log.numbers(quantity);
        // An average over fewer than two points is the curve itself.
        if numbers.len() >= SMOOTHED && quantity.kind.cadence != Cadence::Evaluation {
            curves.insert(drawn.stem.to_owned(), line(&smoothed(numbers, drawn.points / 2)));
        }
    }
    curves.into()
}

/// The curves of every layer, by quantity.
fn layers(run: &RunData, most: usize) -> Value {
    let mut out = serde_json::Map::new();
    for (quantity, drawn) in quantities::of_layers().into_iter().filter(|_| run.published.is_none()) {
        let series = series(run, quantity);
        let depth = series.iter().map(|(_, layers)| layers.len()).max().unwrap_or(0);
        let of = |layer: usize| -> Vec<(u64, f64)> {
            let value = |layers: &Vec<f32>| layers.get(layer).map_or(f64::NAN, |&value| f64::from(value));
            series.iter().map(|(step, layers)| (*step, value(layers))).collect()
        };
        if depth > 0 {
            let lines: Vec<Value> = (0..depth).map(|layer| line(&thin(&of(layer), most))).collect();
            out.insert(drawn.stem.to_owned(), lines.into());
        }
    }
    out.into()
}

/// Steps and values; a value that is not finite is null.
fn line(points: &[(u64, f64)]) -> Value {
    let number = |value: f64| value.is_finite().then(|| short(value));
    let (x, y): (Vec<u64>, Vec<Option<f64>>) = points.iter().map(|point| (point.0, number(point.1))).unzip();
    json!([x, y])
}

/// Five significant digits.
fn short(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

/// At most about `most` of the points. Keeps the smallest and the largest of every stretch, so that no spike is lost, and
/// its first and last non-finite ones. If all fit, all are kept.
pub(super) fn thin(points: &[(u64, f64)], most: usize) -> Vec<(u64, f64)> {
    if points.len() <= most {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(most / 2);
    let mut out = Vec::with_capacity(most + 2);
    for (index, stretch) in points.chunks(stretch).enumerate() {
        let finite = || (0..stretch.len()).filter(|&at| stretch[at].1.is_finite());
        let broken = || (0..stretch.len()).filter(|&at| !stretch[at].1.is_finite());
        let by_value = |a: &usize, b: &usize| stretch[*a].1.total_cmp(&stretch[*b].1);
        let first = (index == 0).then_some(0);
        let kept = [
            finite().min_by(by_value),
            finite().max_by(by_value),
            broken().next(),
            broken().next_back(),
            first,
        ];
        let mut kept: Vec<usize> = kept.into_iter().flatten().collect();
        kept.sort_unstable();
        kept.dedup();
        out.extend(kept.into_iter().map(|at| stretch[at]));
    }
    if out.last() != points.last() {
        out.extend(points.last());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::thin;

    #[test]
    fn thinning_loses_neither_spikes_nor_holes() {
        let mut points: Vec<(u64, f64)> = (0..10_000).map(|k| (k, (k as f64 * 0.7).sin())).collect();
        points[1234].1 = 50.0;
        points[4321].1 = -50.0;
        points[7777].1 = f64::NAN;
        let thinned = thin(&points, 400);
        assert!(thinned.len() <= 404, "{}", thinned.len());
        for kept in [0, 1234, 4321, 9999] {
            assert!(thinned.contains(&points[kept]), "{kept}");
        }
        assert_eq!(thinned.iter().filter(|point| point.1.is_nan()).count(), 1);
        assert!(thinned.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(thin(&points[..300], 400).len(), 300);
    }
}
