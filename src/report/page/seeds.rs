//! The seeds of each configuration as a column of the table: a dot for each, a band over them, and their mean.

use std::fmt::Write;

use super::html::Pictures;
use crate::observe::quantities::EVAL_PPL;
use crate::report::comparison::Comparison;
use crate::report::table::decimal;

/// Size of a cell's picture, in units of its own.
const WIDTH: f64 = 144.0;
const HEIGHT: f64 = 18.0;
const EDGE: f64 = 5.0;

/// The column, if some configuration has several seeds with a finite perplexity: a value to sort by and a picture for each
/// configuration, all on one logarithmic scale.
pub fn column(comparison: &Comparison) -> Vec<Pictures> {
    let of = |group| -> Vec<f64> {
        let learning = comparison.of(group).filter(|run| run.diverged_at().is_none());
        let newest = learning.filter_map(|run| run.log.numbers(&EVAL_PPL).last()).map(|eval| eval.1);
        newest.filter(|perplexity| perplexity.is_finite() && *perplexity > 0.0).collect()
    };
    let groups: Vec<Vec<f64>> = comparison.groups.iter().map(of).collect();
    let all = || groups.iter().flatten().copied();
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    if low >= high || groups.iter().all(|seeds| seeds.len() < 2) {
        return Vec::new();
    }
    let place = |value: f64| EDGE + (value / low).ln() / (high / low).ln() * (WIDTH - 2.0 * EDGE);
    let cell = |seeds: &Vec<f64>| {
        if seeds.is_empty() {
            return (None, String::new());
        }
        let mean = seeds.iter().sum::<f64>() / seeds.len() as f64;
        (Some(mean), picture(seeds, mean, &place))
    };
    let header = format!("perplexity by seed, {} to {}", decimal(low, 1), decimal(high, 1));
    vec![Pictures { header, cells: groups.iter().map(cell).collect() }]
}

fn picture(seeds: &[f64], mean: f64, place: &impl Fn(f64) -> f64) -> String {
    let ends =
        seeds.iter().fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), &s| (low.min(s), high.max(s)));
    let told: Vec<String> = seeds.iter().map(|&seed| decimal(seed, 2)).collect();
    let told = told.join(", ");
    let (left, right) = (place(ends.0), place(ends.1));
    let mut out = format!(
        "<svg class=\"seeds\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{told}\"><title>{told}</title>\
         <rect class=\"band\" x=\"{:.1}\" y=\"3\" width=\"{:.1}\" height=\"{}\"/>",
        left - 2.0,
        right - left + 4.0,
        HEIGHT - 6.0
    );
    // Writing into a String cannot fail.
    for &seed in seeds {
        let _ = write!(
            out,
            "<circle class=\"seed\" cx=\"{:.1}\" cy=\"{}\" r=\"2.5\"/>",
            place(seed),
            HEIGHT / 2.0
        );
    }
    let at = place(mean);
    let _ = write!(
        out,
        "<line class=\"mean\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"1\" y2=\"{}\"/></svg>",
        HEIGHT - 1.0
    );
    out
}
