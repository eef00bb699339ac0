//! Reads run folders and draws what they show: heatmaps, curves, a table; and the memory of a plan. Knows no GPU.

mod axes;
pub mod colormap;
pub mod curves;
pub mod heatmap;
mod legend;
pub mod liveness;
pub mod picture;
mod raster;
pub mod roofline;
pub mod run;
pub mod stats;
pub mod study;
pub mod table;
mod text;

use std::path::{Path, PathBuf};

use crate::fault::{Fault, Kind, Result};
use crate::files::write_atomic;
pub use axes::{nice_ticks, tick_text};
use colormap::Colormap;
use heatmap::{Panel, Scale, heatmap};
use picture::Picture;
pub use raster::DENSITY;
use run::{RunData, distinct_names};
use stats::Reference;
use table::{decimal, percent, spreads};

/// How a comparison is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub reference: Reference,
    pub scale: Scale,
    pub colormap: Colormap,
    /// Whether the loss plot has an axis of perplexities on the right.
    pub perplexity: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reference: Reference::default(),
            scale: Scale::default(),
            colormap: Colormap::default(),
            perplexity: true,
        }
    }
}

/// Writes `heatmap`, `loss` and `layer_entropy` as PNG and SVG and `table.md` into the folder `out`, which is
/// made if need be, and returns the paths written. A picture that no run has records for is left out.
///
/// # Errors
/// `Usage` when there is no run; `Config` when the reference M needs a context length that a run does not
/// tell; `Io` when a file cannot be written.
pub fn write_comparison(runs: &[RunData], out: &Path, options: Options) -> Result<Vec<PathBuf>> {
    if runs.is_empty() {
        return Err(Fault::new(Kind::Usage, "there is no run to compare").remedy("name a run folder"));
    }
    // Everything is made before anything is written.
    let mut pictures: Vec<(&str, Picture)> = Vec::new();
    let panels = entropy_panels(runs, options.reference)?;
    let table = table::comparison(runs, options.reference)?;
    if panels.iter().any(|panel| panel.values.iter().any(|row| !row.is_empty())) {
        let caption =
            format!("Overload: heads at 3M/4 or above; collapse: below M/4. M: {}.", options.reference);
        pictures.push(("heatmap", heatmap(&panels, &caption, options.scale, options.colormap)?));
        pictures.push(("layer_entropy", curves::layer_entropy_curves(runs)?));
    }
    let losses = runs
        .iter()
        .flat_map(|run| run.steps.iter().map(|step| step.loss).chain(run.evals.iter().map(|eval| eval.loss)));
    if losses.into_iter().any(f64::is_finite) {
        pictures.push(("loss", curves::loss_curves(runs, options.perplexity)?));
    }
    let mut files = Vec::new();
    for (stem, picture) in &pictures {
        files.push((out.join(format!("{stem}.png")), picture.png()?));
        files.push((out.join(format!("{stem}.svg")), picture.svg().into_bytes()));
    }
    files.push((out.join("table.md"), table.markdown().into_bytes()));
    std::fs::create_dir_all(out).map_err(|error| Fault::io("make the folder", out, &error))?;
    for (path, bytes) in &files {
        write_atomic(path, bytes)?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

/// The newest head entropies of every run that has some, with what the run reached written under its name.
///
/// # Errors
/// Those of [`Reference::nats`].
pub fn entropy_panels(runs: &[RunData], reference: Reference) -> Result<Vec<Panel>> {
    let spreads = spreads(runs, reference)?;
    let mut panels = Vec::new();
    for ((run, name), spread) in runs.iter().zip(distinct_names(runs)).zip(spreads) {
        let (Some(values), Some(spread), Some(record)) = (run.entropies(), spread, run.attention.last())
        else {
            continue;
        };
        // Of published matrices nothing but the entropies is known.
        let mut reached = match run.steps.is_empty() {
            true => format!("{} layers of {} heads", values.len(), values.first().map_or(0, Vec::len)),
            // Records count steps from 0.
            false => format!("{} steps", tick_text(record.step as f64 + 1.0, 1.0)),
        };
        if let Some(eval) = run.evals.last() {
            reached.push_str(&format!(" · perplexity {}", decimal(eval.ppl, 2)));
        }
        let (overload, collapse) = (percent(spread.overload()), percent(spread.collapse()));
        let m = spread.reference;
        let shares = format!("overload {overload} · collapse {collapse} · M = {m:.2} nats");
        panels.push(Panel { title: name, notes: vec![reached, shares], values });
    }
    Ok(panels)
}
