//! `normfree plot`.

use super::{Global, say};
use crate::fault::{Fault, Kind, Result};
use crate::observe::record::Attention;
use crate::report::colormap::Colormap;
use crate::report::heatmap::Scale;
use crate::report::run::RunData;
use crate::report::stats::Reference;
use crate::report::{Options, table, write_comparison};
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Writes heatmap, layer_entropy and loss as PNG and SVG, and table.md. A run may
still be training. A TOML file of matrices (name = [[entropy of each head], …],
a row for each layer) is drawn beside the runs, one panel for each;
tests/data/published_head_entropies.toml has those of the paper's first figure.

Examples:
  normfree plot runs/sm_g runs/sm_r
  normfree plot runs/sm_r tests/data/published_head_entropies.toml --scale own
  normfree plot runs/sm_g --reference causal_ceiling --colormap cividis";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Run folders, and TOML files of entropies
    #[arg(required = true, value_name = "RUN|FILE.toml")]
    runs: Vec<PathBuf>,
    /// Where the pictures go [default: the run folder, or plots/ for several]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What counts as the largest possible entropy M, against which heads are binned [default: the first run's
    /// observe.entropy_reference]
    #[arg(long, value_enum)]
    reference: Option<Reference>,
    /// One range of colours for all panels, or one for each
    #[arg(long, value_enum, default_value_t)]
    scale: Scale,
    /// The colours, from the least entropy to the most
    #[arg(long, value_enum, default_value_t)]
    colormap: Colormap,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let mut runs = Vec::new();
    for path in &arguments.runs {
        match path.extension() {
            Some(extension) if extension == "toml" && path.is_file() => runs.extend(matrices(path)?),
            _ => runs.push(RunData::load(path)?),
        }
    }
    let out = match (&arguments.out, arguments.runs.as_slice()) {
        (Some(out), _) => out.clone(),
        (None, [run]) if run.is_dir() => run.clone(),
        _ => PathBuf::from("plots"),
    };
    let reference = arguments.reference.unwrap_or_else(|| Reference::of(&runs));
    let (scale, colormap) = (arguments.scale, arguments.colormap);
    let files = write_comparison(&runs, &out, Options { reference, scale, colormap, ..Options::default() })?;
    say(table::comparison(&runs, reference)?.plain())?;
    for (stem, what) in [
        ("heatmap", "attention records, so no heatmap and no curves of layers"),
        ("loss", "finite loss, so no loss curves"),
    ] {
        if !files.iter().any(|file| file.file_stem().is_some_and(|of| of == stem)) {
            global.note(format!("no run has {what}"));
        }
    }
    if !global.quiet {
        for file in files {
            say(file.display())?;
        }
    }
    Ok(())
}

/// The matrices of a TOML file, each as a run of which nothing else is known. Keys that hold no matrix are
/// passed by.
fn matrices(path: &Path) -> Result<Vec<RunData>> {
    let damaged = |found: String| {
        Fault::new(Kind::Data, "the file of entropies cannot be used")
            .at(path.display())
            .found(found)
            .remedy("it holds matrices as in sm_g = [[2.7, 3.4], [1.9, 1.7]]")
    };
    let text = std::fs::read_to_string(path).map_err(|e| Fault::io("read the entropies", path, &e))?;
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| damaged(e.message().to_owned()))?;
    let mut runs = Vec::new();
    for (key, value) in table {
        if !value.as_array().is_some_and(|rows| rows.first().is_some_and(toml::Value::is_array)) {
            continue;
        }
        let head_entropy: Vec<Vec<f32>> =
            value.try_into().map_err(|e: toml::de::Error| damaged(format!("{key}: {}", e.message())))?;
        let heads = head_entropy.first().map_or(0, Vec::len);
        if heads == 0 || head_entropy.iter().any(|row| row.len() != heads) {
            return Err(damaged(format!("{key}: rows of different length, or none")));
        }
        let layer_entropy = head_entropy.iter().map(|row| row.iter().sum::<f32>() / heads as f32).collect();
        let nonfinite = vec![0; head_entropy.len()];
        runs.push(RunData {
            dir: path.to_owned(),
            name: key.to_uppercase().replace('_', "+"),
            attention: vec![Attention { step: 0, head_entropy, layer_entropy, nonfinite }],
            ..RunData::default()
        });
    }
    if runs.is_empty() {
        return Err(damaged("no matrix".to_owned()));
    }
    Ok(runs)
}
