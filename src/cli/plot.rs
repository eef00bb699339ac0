//! `normfree plot`.

use super::{Global, say};
use crate::draw::colormap::Colormap;
use crate::fault::Result;
use crate::observe::quantities::of_layers;
use crate::report::comparison::Comparison;
use crate::report::figures::Options;
use crate::report::heatmap::Scale;
use crate::report::outcome::outcomes;
use crate::report::run::RunData;
use crate::report::stats::Reference;
use crate::report::write_comparison;
use std::path::PathBuf;

const FIGURES: &str = "\
Writes, as PNG, SVG and PDF, whatever there are records for:
  heatmap              entropy of every head, the runs side by side
  heatmap_difference   the same minus that of another run, head by head
  quarters             share of heads per entropy quarter, and evaluation loss
  loss                 training and held-out loss
";

const AFTER_HELP: &str = "  slope_stability      fixed slopes: first NaN, and collapsed heads
and heatmap_over_training, an animation, as .png and .gif, and the table as
table.md, .csv and .tex. A PDF has its font inside; with --width its smallest
text has 8 points, and the picture is laid out for that width, down to that of a
column (3.25in). Runs that differ only in their seed are combined: mean,
standard deviation, paired t-test. A run may still be training.

A study's folder stands for all its runs, any other folder (runs, runs/demo) for
the runs and studies inside. Steps count the steps done, everywhere. A TOML file
of matrices (name = [[entropy of each head], …], a row for each layer; context =
the length of the sequences, if it is known) is drawn beside the runs in the
same style; tests/data/published_head_entropies.toml has the paper's.

Examples:
  normfree plot runs/sm_g runs/sm_r
  normfree plot runs/study --out figures
  normfree plot runs/demo --width 5.5in --out paper
  normfree plot runs/a runs/b runs/c --difference SM+R SM+G
  normfree plot runs/sm_r tests/data/published_head_entropies.toml --scale own
  normfree plot runs/sm_g --reference causal_ceiling --colormap cividis";

#[derive(Debug, clap::Args)]
#[command(after_help = after_help())]
pub(super) struct Arguments {
    /// Run folders, studies' folders, folders of these, and TOML files of entropies
    #[arg(required = true, value_name = "RUN|STUDY|FOLDER|FILE.toml")]
    runs: Vec<PathBuf>,
    /// Folder for the pictures [default: the given folder, or plots/ for several]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The largest possible entropy M, relative to which heads are binned [default: the first run's
    /// observe.entropy_reference]
    #[arg(long, value_enum)]
    reference: Option<Reference>,
    /// One range of colours for all panels, or one for each
    #[arg(long, value_enum, default_value_t)]
    scale: Scale,
    /// Colours, from the lowest entropy to the highest
    #[arg(long, value_enum, default_value_t)]
    colormap: Colormap,
    /// Draw the heatmap of the first run minus that of the second, each given by its name in the table, its
    /// configuration's name, or its folder [default: for exactly two runs, the second minus the first]
    #[arg(long, num_args = 2, value_names = ["RUN", "RUN"])]
    difference: Option<Vec<String>>,
    /// Width at which the pictures are printed, in inches (5.5in), centimetres (14cm), millimetres or points
    #[arg(long, value_name = "LENGTH", value_parser = inches)]
    width: Option<f64>,
}

/// A length in inches; LaTeX's points are 72.27 to the inch.
fn inches(text: &str) -> std::result::Result<f64, String> {
    let units = [("in", 1.0), ("cm", 2.54), ("mm", 25.4), ("pt", 72.27)];
    let parsed = units.iter().find_map(|(unit, per_inch)| {
        let number: f64 = text.trim().strip_suffix(unit)?.trim().parse().ok()?;
        Some(number / per_inch)
    });
    match parsed {
        Some(inches) if (3.0..=40.0).contains(&inches) => Ok(inches),
        Some(_) => Err("a picture is 3 to 40 inches wide: axes and names need that".to_owned()),
        None => Err("a width is a number and its unit: 5.5in, 14cm, 140mm or 397pt".to_owned()),
    }
}

/// What is written: figures of whole runs, of each layer by the table of quantities, and what goes with them.
fn after_help() -> String {
    let mut lines = vec![String::from("  of each layer over training, one panel per configuration:")];
    for (_, drawn) in of_layers() {
        match lines.last_mut() {
            Some(line) if line.starts_with("    ") && line.len() + 2 + drawn.stem.len() < 78 => {
                line.push_str(&format!(", {}", drawn.stem));
            }
            _ => lines.push(format!("    {}", drawn.stem)),
        }
    }
    format!("{FIGURES}{}\n{AFTER_HELP}", lines.join("\n"))
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let comparison = Comparison::load(&arguments.runs)?;
    let out = match (&arguments.out, arguments.runs.as_slice()) {
        (Some(out), _) => out.clone(),
        (None, [run]) if run.is_dir() => run.clone(),
        _ => PathBuf::from("plots"),
    };
    let reference = arguments.reference.unwrap_or_else(|| RunData::reference_of(&comparison.runs));
    let pair = |names: &Vec<String>| Some((names.first()?.clone(), names.get(1)?.clone()));
    let options = Options {
        reference,
        scale: arguments.scale,
        colormap: arguments.colormap,
        difference: arguments.difference.as_ref().and_then(pair),
        width: arguments.width,
        ..Options::default()
    };
    let files = write_comparison(&comparison, &out, &options)?;
    for missing in &comparison.missing {
        global.note(format!("left out: {missing}"));
    }
    say(outcomes(&comparison, reference)?.table().plain())?;
    for (stem, what) in [
        ("heatmap", "attention records, so there are no heatmaps and no curves of layers"),
        ("loss", "finite loss, so there are no loss curves"),
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
