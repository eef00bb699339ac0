//! `normfree report`.

use super::shown::add_patterns;
use super::{Global, bytes, say};
use crate::draw::colormap::Colormap;
use crate::fault::{Fault, Result};
use crate::host::Host;
use crate::report::comparison::Comparison;
use crate::report::figures::Options;
use crate::report::page::write_page;
use crate::report::run::RunData;
use crate::report::stats::Reference;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Writes one HTML page that contains everything it shows and needs no network:
findings, as sentences made from the numbers, the table, heatmaps with a slider
over training, curves to zoom into, every figure of `normfree plot`,
configurations and environment. A click on a head of a heatmap opens what it
reads in the run's held-out text, by its checkpoints; this is computed on the
CPU, or on --device. Of absolute paths it shows only the last part. A
study's folder stands for all its runs, any other folder for the runs and
studies inside; runs may still be training. A TOML file of published entropies,
as `normfree plot` reads it, can be given as well.

Examples:
  normfree report runs/study
  normfree report runs/demo
  normfree report runs/sm_g runs/sm_r -o report.html
  normfree report runs/study tests/data/published_head_entropies.toml";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Studies' folders, run folders, folders of these, and TOML files of entropies
    #[arg(required = true, value_name = "STUDY|RUN|FOLDER|FILE.toml")]
    runs: Vec<PathBuf>,
    /// Page to write [default: report.html in the given folder, or here for several]
    #[arg(short, long, value_name = "FILE.html", value_parser = page_file)]
    out: Option<PathBuf>,
    /// The largest possible entropy M, relative to which heads are binned [default: the first run's
    /// observe.entropy_reference]
    #[arg(long, value_enum)]
    reference: Option<Reference>,
    /// Leave out the patterns that a click on a head opens
    #[arg(long)]
    no_attention: bool,
    /// Colours, from the lowest entropy to the highest
    #[arg(long, value_enum, default_value_t)]
    colormap: Colormap,
}

/// A file for the page. The required extension keeps a typing slip from overwriting a run's log.
fn page_file(text: &str) -> std::result::Result<PathBuf, &'static str> {
    let path = PathBuf::from(text);
    match path.extension().is_some_and(|of| of.eq_ignore_ascii_case("html") || of.eq_ignore_ascii_case("htm"))
    {
        true => Ok(path),
        false => Err("a report is an HTML page: give a file name that ends in .html"),
    }
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let mut comparison = Comparison::load(&arguments.runs)?;
    let path = match (&arguments.out, arguments.runs.as_slice()) {
        (Some(out), _) => out.clone(),
        (None, [run]) if run.is_dir() => run.join("report.html"),
        _ => PathBuf::from("report.html"),
    };
    let reference = arguments.reference.unwrap_or_else(|| RunData::reference_of(&comparison.runs));
    let options = Options { reference, colormap: arguments.colormap, ..Options::default() };
    if !arguments.no_attention {
        let device = match global.device {
            Some(_) => global.open()?,
            None => Host::open(global.threads)?.into(),
        };
        let _waiting = global.wait("reading held-out text");
        if let Some(why) = add_patterns(&mut comparison, &device, global) {
            global.note(format!("some heads have no pattern to open: {why}"));
        }
    }
    write_page(&comparison, &path, &options)?;
    for missing in &comparison.missing {
        global.note(format!("left out: {missing}"));
    }
    say(path.display())?;
    global.note(format!("{} in one file", bytes(size(&path)?)));
    Ok(())
}

fn size(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).map_err(|error| Fault::io("read the page", path, &error))?.len())
}
