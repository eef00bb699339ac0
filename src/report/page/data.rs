//! What the page's scripts draw, as JSON: thinned so that a page of many runs stays small, without losing what sticks
//! out.

use serde_json::{Value, json};

use crate::draw::colormap::{OKABE_ITO, Rgb, diverging};
use crate::fault::Result;
use crate::observe::entropy::{bins, causal_ceiling, observed_max};
use crate::report::comparison::Comparison;
use crate::report::curves::style;
use crate::report::figures::Options;
use crate::report::heatmap::rounded;
use crate::report::layers::Quantity;
use crate::report::reach::{Reach, Track, of_losses, of_values};
use crate::report::run::{RunData, widen};
use crate::report::spread::references;
use crate::report::table::percent;

/// About so many entropies of heads may be in a page, over all steps and runs.
const HEAD_NUMBERS: usize = 400_000;
/// So many frames of one run at most, and at least.
const FRAMES: (usize, usize) = (12, 80);
/// Points of a curve of one run at most: two in each of so many stretches are more than a screen has columns.
const POINTS: usize = 1200;
/// About so many points of curves of layers may be in a page, and of one curve at most and at least.
const LAYER_POINTS: usize = 250_000;
const OF_LAYER: (usize, usize) = (60, 600);

/// Everything that the scripts need.
///
/// # Errors
/// Those of [`Reference::nats`](crate::report::stats::Reference::nats).
pub fn data(comparison: &Comparison, options: &Options) -> Result<Value> {
    let references = references(&comparison.runs, options.reference)?;
    let cells =
        |run: &RunData| run.attention.last().map_or(0, |record| record.head_entropy.iter().flatten().count());
    let all_cells: usize = comparison.runs.iter().map(cells).sum();
    let frames = (HEAD_NUMBERS / all_cells.max(1)).clamp(FRAMES.0, FRAMES.1);
    let lines: usize = comparison
        .runs
        .iter()
        .map(|run| {
            let depth = |quantity: &Quantity| quantity.series(run).first().map_or(0, |record| record.1.len());
            Quantity::ALL.iter().map(depth).sum::<usize>()
        })
        .sum();
    let of_layer = (LAYER_POINTS / lines.max(1)).clamp(OF_LAYER.0, OF_LAYER.1);

    let shown = comparison.shown();
    let first: Vec<usize> = shown.iter().copied().take(4).collect();
    let mut runs = Vec::new();
    for (group, of) in comparison.groups.iter().enumerate() {
        let (color, dash) = style(group);
        for &index in &of.runs {
            let run = &comparison.runs[index];
            runs.push(json!({
                "name": comparison.names[index],
                "group": of.name,
                "color": hex(color),
                "dash": dash.is_some(),
                "picked": if shown.is_empty() { runs.len() < 4 } else { first.contains(&index) },
                "published": run.published.is_some(),
                "m": references[index].map(|m| format!("{m:.2}")),
                "ceiling": run.context.map(causal_ceiling).map(short),
                "heads": heads(run, references[index].unwrap_or(0.0), frames),
                "curves": curves(run),
                "layers": layers(run, of_layer),
                "diverged": run.diverged_at(),
            }));
        }
    }
    let every: Vec<Vec<Vec<f64>>> = comparison
        .runs
        .iter()
        .flat_map(|run| &run.attention)
        .map(|record| widen(&record.head_entropy))
        .collect();
    let quantity = |quantity: Quantity| {
        json!({
            "key": quantity.stem(),
            "title": quantity.title(),
            "label": quantity.label(),
            "log": quantity.logarithmic(),
            "zero": quantity == Quantity::Slopes,
            "ceiling": quantity == Quantity::Entropy,
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
        "layerColors": OKABE_ITO.map(hex),
        "quantities": Quantity::ALL.map(quantity),
    }))
}

fn hex(color: Rgb) -> String {
    format!("#{:02x}{:02x}{:02x}", color.0, color.1, color.2)
}

/// Hundredths of a nat: what is shown.
fn hundredths(entropy: f64) -> i64 {
    (rounded(entropy) * 100.0).round() as i64
}

/// Entropies of heads at up to `frames` steps, the first and the last among them: each frame row by row, in hundredths
/// of a nat, null where there is no finite one; and the shares of overloaded and of collapsed heads, as the table has
/// them.
fn heads(run: &RunData, m: f64, frames: usize) -> Value {
    let records = &run.attention;
    let Some(grid) = records.last().map(|record| &record.head_entropy) else { return Value::Null };
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
    for record in chosen {
        steps.push(record.step);
        values.push(frame(&record.head_entropy));
        told.push(shares(&record.head_entropy));
    }
    json!({ "layers": layers, "heads": heads, "steps": steps, "frames": values, "shares": told })
}

/// What the axis of a curve of whole runs has to show, so that a spike or a run that diverged hides no other run.
fn reach(comparison: &Comparison) -> Value {
    let here = || comparison.runs.iter().filter(|run| run.published.is_none());
    let tracks = |part: &dyn Fn(&RunData) -> Vec<(f64, f64)>| -> Vec<Track> {
        here().map(|run| Track { points: part(run), diverged: run.diverged_at() }).collect()
    };
    let trained = tracks(&|run| run.losses().map(|(step, loss)| (step as f64, loss)).collect());
    let norms = tracks(&|run| run.steps.iter().map(|step| (step.step as f64, step.grad_norm)).collect());
    let held_out = tracks(&|run| run.evals.iter().map(|eval| (eval.step as f64, eval.loss)).collect());
    let held_out = of_losses(&held_out, false);
    let told = |reach: Option<Reach>| reach.map(|(low, high)| [short(low), short(high)]);
    json!({
        "loss": told(of_losses(&trained, false)),
        "held_out": told(held_out),
        "perplexity": told(held_out.map(|(low, high)| (low.exp(), high.exp()))),
        "grad_norm": told(of_values(&norms)),
    })
}

/// The curves of a whole run; a key without records is left out. Held-out losses are all there.
fn curves(run: &RunData) -> Value {
    let steps = |part: fn(&crate::observe::record::Step) -> f64| -> Vec<(u64, f64)> {
        run.steps.iter().map(|step| (step.step, part(step))).collect()
    };
    let evals = |part: fn(&crate::observe::record::Eval) -> f64| -> Vec<(u64, f64)> {
        let own = run.evals.iter().filter(|_| run.published.is_none());
        own.map(|eval| (eval.step, part(eval))).collect()
    };
    let losses: Vec<_> = run.losses().collect();
    let scale = run.steps.iter().filter_map(|step| Some((step.step, f64::from(step.loss_scale?))));
    let all = [
        ("loss", thin(&losses, POINTS)),
        ("held_out", evals(|eval| eval.loss)),
        ("perplexity", evals(|eval| eval.ppl)),
        ("grad_norm", thin(&steps(|step| step.grad_norm), POINTS)),
        ("lr", thin(&steps(|step| step.lr), POINTS / 4)),
        ("tokens_per_s", thin(&steps(|step| step.tokens_per_s), POINTS / 2)),
        ("loss_scale", thin(&scale.collect::<Vec<_>>(), POINTS / 4)),
    ];
    let some = all.into_iter().filter(|(_, points)| !points.is_empty());
    some.map(|(key, points)| (key.to_owned(), line(&points))).collect::<serde_json::Map<_, _>>().into()
}

/// The curves of every layer, by quantity.
fn layers(run: &RunData, most: usize) -> Value {
    let mut out = serde_json::Map::new();
    for quantity in Quantity::ALL.into_iter().filter(|_| run.published.is_none()) {
        let series = quantity.series(run);
        let depth = series.iter().map(|(_, layers)| layers.len()).max().unwrap_or(0);
        let of = |layer: usize| -> Vec<(u64, f64)> {
            let value = |layers: &Vec<f32>| layers.get(layer).map_or(f64::NAN, |&value| f64::from(value));
            series.iter().map(|(step, layers)| (*step, value(layers))).collect()
        };
        if depth > 0 {
            let lines: Vec<Value> = (0..depth).map(|layer| line(&thin(&of(layer), most))).collect();
            out.insert(quantity.stem().to_owned(), lines.into());
        }
    }
    out.into()
}

/// Steps and values; what is not finite is null.
fn line(points: &[(u64, f64)]) -> Value {
    let number = |value: f64| value.is_finite().then(|| short(value));
    let (x, y): (Vec<u64>, Vec<Option<f64>>) = points.iter().map(|point| (point.0, number(point.1))).unzip();
    json!([x, y])
}

/// Five significant digits.
fn short(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

/// At most about `most` of the points. Of every stretch the least and the largest stay, so that no spike is lost, and
/// of what is not finite the first and the last; where all fit, all stay.
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
