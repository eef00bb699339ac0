//! The report: a single self-contained page that needs no network and can be sent by email.
//!
//! Everything that can be read without scripts is in the page as text and pictures: summary, tables, figures, configurations.
//! The scripts beside this file add the interactive heatmaps and curves, drawn by Apache ECharts (`assets/echarts`).

mod claims;
mod data;
mod html;
mod samples;
mod settings;
mod summary;

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
const SCRIPTS: [&str; 7] = [
    include_str!("picks.js"),
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
    let data = html::json(&data::data(comparison, options)?);
    let parts = [
        ("title", escape(&comparison.title)),
        ("nonce", html::nonce(&data)),
        ("style", STYLE.to_owned() + pattern::STYLE),
        ("summary", summary::summary(comparison, &outcomes)),
        ("table", html::table(&table)),
        ("downloads", downloads(&table, &outcomes.csv())),
        ("figures", figures.iter().map(figure).collect()),
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

/// One figure as it is printed, with a button that saves its file.
fn figure(figure: &Figure) -> String {
    let (stem, caption) = (figure.stem, escape(&figure.caption));
    let (width, height) = (figure.picture.width, figure.picture.height);
    // Below this width the smallest text is unreadable, so the figure scrolls instead.
    let least = (width * 0.8).ceil();
    format!(
        "<figure id=\"figure-{stem}\"><div class=\"sheet\" tabindex=\"0\" role=\"region\" \
         aria-label=\"{stem}, scrolls sideways\"><img loading=\"lazy\" style=\"min-width:{least}px\" width=\"{width}\" height=\"{height}\" alt=\"{}\" src=\"{}\"></div>\
         <figcaption>{caption} <button type=\"button\" data-figure=\"{stem}\">Save {stem}.svg</button>\
         </figcaption></figure>\n",
        escape(&figure.picture.title),
        escape(&html::svg_address(&figure.picture.svg())),
    )
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
