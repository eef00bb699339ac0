//! The report: a single self-contained page that needs no network and can be sent by email.
//!
//! Everything that can be read without scripts is in the page as text and pictures: summary, tables, figures, configurations.
//! The scripts beside this file add the interactive heatmaps and curves, drawn by Apache ECharts (`assets/echarts`).

mod claims;
mod data;
mod html;
mod samples;
mod seeds;
mod settings;
mod sheets;
mod summary;
mod verdicts;

use std::path::Path;

use super::comparison::Comparison;
use super::figures::{Figure, Options, figures};
use super::outcome::outcomes;
use super::table::Table;
use crate::fault::{Fault, Kind, Result};
use crate::files::write_atomic;
use crate::pattern;
use html::escape;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// The scripts, in dependency order.
const SCRIPTS: [&str; 8] = [
    include_str!("picks.js"),
    include_str!("live.js"),
    include_str!("charts.js"),
    pattern::SCRIPT,
    include_str!("opened.js"),
    include_str!("heatmaps.js"),
    include_str!("curves.js"),
    include_str!("page.js"),
];
const ECHARTS: &str = include_str!("../../../assets/echarts/echarts.min.js");

/// Writes the page about a comparison to the file `path`.
///
/// # Errors
/// Those of [`page`]; `Io` when the file cannot be written.
pub fn write_page(comparison: &Comparison, path: &Path, options: &Options) -> Result<()> {
    write_atomic(path, page(comparison, options)?.as_bytes())
}

/// The page about a comparison.
///
/// # Errors
/// `Usage` when there is no run; those of [`figures`].
pub fn page(comparison: &Comparison, options: &Options) -> Result<String> {
    if comparison.runs.is_empty() {
        return Err(Fault::new(Kind::Usage, "there is no run to report on").remedy("give a run or a study"));
    }
    let figures = figures(comparison, options)?;
    let outcomes = outcomes(comparison, options.reference)?;
    let table = outcomes.table();
    let has_heatmap = figures.iter().any(|figure| figure.stem == "heatmap");
    let data = html::json(&data::data(comparison, options)?);
    // The first picture of the paper stands before all text.
    let (first, others): (Vec<&Figure>, Vec<&Figure>) =
        figures.iter().partition(|figure| figure.stem == if has_heatmap { "heatmap" } else { "loss" });
    let link = options.verdicts.as_ref().map_or("", |_| "<a href=\"#verdicts\">Verdicts</a> ");
    let parts = [
        ("title", escape(&comparison.title)),
        // Only scripts that carry this nonce may run, and nobody can know it in advance when naming a run.
        ("nonce", html::nonce(&data)),
        ("style", STYLE.to_owned() + pattern::STYLE),
        // A page that lies in a file asks for nothing.
        ("connect", if options.live.is_some() { "connect-src 'self'; ".to_owned() } else { String::new() }),
        ("lead", first.iter().map(|figure| sheets::lead(figure)).collect()),
        ("summary", summary::summary(comparison, &outcomes)),
        ("verdicts", options.verdicts.as_ref().map(verdicts::verdicts).unwrap_or_default()),
        ("verdicts-link", link.to_owned()),
        ("table", html::table(&table, &seeds::column(comparison))),
        ("downloads", downloads(&table, &outcomes.csv())),
        ("figures", others.iter().map(|figure| sheets::figure(figure)).collect()),
        ("opens", opens(comparison).to_owned()),
        ("texts", samples::samples(comparison)),
        ("configurations", settings::configurations(comparison)),
        ("environment", settings::environment(comparison)),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("data", data),
        ("echarts", ECHARTS.to_owned()),
        ("scripts", SCRIPTS.concat()),
    ];
    Ok(html::fill(TEMPLATE, &parts))
}

/// What a click on a head does, if it does anything.
fn opens(comparison: &Comparison) -> &'static str {
    match comparison.runs.iter().any(|run| !run.patterns.is_empty()) {
        true => {
            " A click on a cell, or Enter, opens what that head reads in the beginning of the run's held-out text."
        }
        false => "",
    }
}

/// Buttons that save the table in each of its formats; they carry the contents.
fn downloads(table: &Table, csv: &str) -> String {
    let forms = [("table.md", table.markdown()), ("table.csv", csv.to_owned()), ("table.tex", table.latex())];
    let button = |(name, text): (&str, String)| {
        format!(
            "<button type=\"button\" data-file=\"{name}\" data-text=\"{}\">Save {name}</button>\n",
            escape(&text)
        )
    };
    forms.into_iter().map(button).collect()
}
