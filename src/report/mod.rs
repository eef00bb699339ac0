//! Reads run folders and draws their results: figures, tables, one page; also draws the memory of a plan. Independent of
//! the GPU.

mod animation;
pub mod comparison;
pub mod curves;
pub mod diverged;
pub mod export;
pub mod figures;
mod frames;
pub mod gather;
mod gif;
pub mod heatmap;
pub mod layers;
pub mod liveness;
pub mod outcome;
pub mod page;
pub mod paired;
mod panels;
pub mod published;
pub mod quarters;
mod reach;
pub mod roofline;
pub mod run;
mod shade;
pub mod spread;
pub mod stability;
pub mod state;
pub mod stats;
pub mod study;
pub mod table;
pub mod verdicts;
mod whole;

use std::path::{Path, PathBuf};

use crate::fault::{Fault, Kind, Result};
use crate::files::{remove_leftovers, write_atomic};
pub use animation::{Animation, heatmap_over_training};
use comparison::Comparison;
use figures::{Options, figures};

/// Writes every figure that the runs have records for as PNG, SVG and PDF, the animated heatmap as PNG and GIF, and the table
/// as Markdown, CSV and LaTeX into the folder `out`. Makes the folder if needed and returns the paths written.
///
/// # Errors
/// `Usage` when there is no run; those of [`figures`](fn@figures); `Io` when a file cannot be written.
pub fn write_comparison(comparison: &Comparison, out: &Path, options: &Options) -> Result<Vec<PathBuf>> {
    if comparison.runs.is_empty() {
        return Err(Fault::new(Kind::Usage, "there is no run to compare").remedy("give a run folder"));
    }
    // Everything is made before anything is written.
    let mut files = Vec::new();
    for figure in figures(comparison, options)? {
        let path = |extension: &str| out.join(format!("{}.{extension}", figure.stem));
        files.push((path("png"), figure.picture.png()?));
        files.push((path("svg"), figure.picture.svg().into_bytes()));
        files.push((path("pdf"), figure.picture.pdf()?));
    }
    if let Some(moving) = heatmap_over_training(comparison, &comparison.shown(), options.colormap)? {
        files.push((out.join("heatmap_over_training.png"), moving.png));
        files.push((out.join("heatmap_over_training.gif"), moving.gif));
    }
    let outcomes = outcome::outcomes(comparison, options.reference)?;
    let table = outcomes.table();
    files.push((out.join("table.md"), table.markdown().into_bytes()));
    files.push((out.join("table.csv"), outcomes.csv().into_bytes()));
    files.push((out.join("table.tex"), table.latex().into_bytes()));
    std::fs::create_dir_all(out).map_err(|error| Fault::io("make the folder", out, &error))?;
    // This includes leftovers of figures that are not written this time.
    let kinds = [".png", ".svg", ".pdf", ".gif", ".md", ".csv", ".tex"];
    remove_leftovers(out, |name| kinds.iter().any(|kind| name.ends_with(kind)));
    for (path, bytes) in &files {
        write_atomic(path, bytes)?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}
