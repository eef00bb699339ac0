//! `normfree report`.

use super::serve::{Page, serve};
use super::shown::add_patterns;
use super::{Global, bytes, say};
use crate::draw::colormap::Colormap;
use crate::fault::{Fault, Kind, Result};
use crate::host::Host;
use crate::referee::{judge, verdicts};
use crate::report::comparison::Comparison;
use crate::report::figures::Options;
use crate::report::page::{page, write_page};
use crate::report::run::RunData;
use crate::report::state::state;
use crate::report::stats::Reference;
use crate::study::Claim;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Writes one HTML page that contains everything it shows and needs no network: the
heatmap, findings, as sentences made from the numbers, the table, heatmaps with
a slider over training, curves to zoom into, every figure of `normfree plot`,
configurations and environment. A click on a head of a heatmap opens what it
reads in the run's held-out text, by its checkpoints; this is computed on the
CPU, or on --device. Of absolute paths it shows only the last part. A
study's folder stands for all its runs, any other folder for the runs and
studies inside; runs may still be training. Folders in which several machines
trained parts of one study are one study. A TOML file of published entropies, as
`normfree plot` reads it, can be given as well. A claim (see `normfree referee`)
stands for the runs of its study, and the page has its verdict; --set repeats
what was set in all of them.

With --serve nothing is written: the page is given to browsers on this machine
until Ctrl-C, and is loaded again when a run writes to its log.

Examples:
  normfree report runs/study
  normfree report runs/demo
  normfree report runs/sm_g runs/sm_r -o report.html
  normfree report runs/study tests/data/published_head_entropies.toml
  normfree report machine1/study machine2/study -o study.html
  normfree report configs/study/referee/derf.toml
  normfree report runs/study --serve";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Studies' folders, run folders, folders of these, TOML files of entropies, and claims
    #[arg(required = true, value_name = "STUDY|RUN|FOLDER|FILE.toml")]
    runs: Vec<PathBuf>,
    /// Give the page to browsers on this machine, at this port of the loopback address [default: 8470, or
    /// any that is free; 0: any]
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "8470", conflicts_with = "out")]
    serve: Option<u16>,
    /// Page to write [default: report.html in the given folder, or here for several]
    #[arg(short, long, value_name = "FILE.html", value_parser = page_file)]
    out: Option<PathBuf>,
    /// The largest possible entropy M, relative to which heads are binned [default: the first run's
    /// observe.entropy_reference]
    #[arg(long, value_enum)]
    reference: Option<Reference>,
    /// Key that was set in every run when the study of the claims was trained; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
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
    let source = Source::new(arguments)?;
    if let Some(port) = arguments.serve {
        // What is wrong with the runs is told here rather than in a browser.
        source.options(&source.comparison()?)?;
        global.note("Ctrl-C ends");
        return serve(source, port);
    }
    let mut comparison = source.comparison()?;
    let path = match (&arguments.out, arguments.runs.as_slice()) {
        (Some(out), _) => out.clone(),
        (None, [run]) if run.is_dir() => run.join("report.html"),
        _ => PathBuf::from("report.html"),
    };
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
    write_page(&comparison, &path, &source.options(&comparison)?)?;
    for missing in &comparison.missing {
        global.note(format!("left out: {missing}"));
    }
    say(path.display())?;
    global.note(format!("{} in one file", bytes(size(&path)?)));
    Ok(())
}

/// What a page is made of.
struct Source {
    runs: Vec<PathBuf>,
    claims: Vec<PathBuf>,
    set: Vec<String>,
    reference: Option<Reference>,
    colormap: Colormap,
}

impl Source {
    fn new(arguments: &Arguments) -> Result<Self> {
        let (mut runs, mut claims) = (Vec::new(), Vec::new());
        for path in &arguments.runs {
            let is_toml = path.extension().is_some_and(|of| of == "toml") && path.is_file();
            if is_toml && Claim::is_claim(path)? {
                claims.push(path.clone())
            } else {
                runs.push(path.clone())
            }
        }
        if claims.is_empty() && !arguments.set.is_empty() {
            return Err(Fault::new(
                Kind::Usage,
                "--set is about the study of a claim, and no claim is given",
            )
            .remedy("leave it out, or give the claim's file"));
        }
        let has_folder = runs.iter().any(|path| path.is_dir());
        for path in claims.iter().filter(|_| !has_folder) {
            let folder = Claim::load(path)?.grid(false, &arguments.set)?.out;
            if !runs.contains(&folder) {
                runs.push(folder);
            }
        }
        let Arguments { reference, colormap, .. } = *arguments;
        Ok(Self { runs, claims, set: arguments.set.clone(), reference, colormap })
    }

    fn comparison(&self) -> Result<Comparison> {
        Comparison::load(&self.runs)
    }

    fn options(&self, comparison: &Comparison) -> Result<Options> {
        let reference = self.reference.unwrap_or_else(|| RunData::reference_of(&comparison.runs));
        let mut claims = Vec::new();
        for path in &self.claims {
            let claim = Claim::load(path)?;
            let mut grid = claim.grid(false, &self.set)?;
            // A study that was moved is the folder that is given.
            if let [folder] = self.runs.iter().filter(|path| path.is_dir()).collect::<Vec<_>>().as_slice() {
                grid.out.clone_from(folder);
            }
            if claims.iter().any(|(other, _): &(Claim, _)| other.name == claim.name) {
                return Err(Fault::new(Kind::Usage, "a claim is given twice")
                    .at(path.display())
                    .found(claim.name));
            }
            claims.push((claim, grid));
        }
        let verdicts = if claims.is_empty() { None } else { Some(verdicts(&judge(claims)?)) };
        Ok(Options { reference, colormap: self.colormap, verdicts, ..Options::default() })
    }
}

impl Page for Source {
    fn state(&self) -> String {
        state(&self.runs)
    }

    fn page(&self) -> Result<String> {
        // Taken first: what a run writes meanwhile is another state.
        let live = Some(state(&self.runs));
        let comparison = self.comparison()?;
        page(&comparison, &Options { live, ..self.options(&comparison)? })
    }
}

fn size(path: &Path) -> Result<u64> {
    Ok(std::fs::metadata(path).map_err(|error| Fault::io("read the page", path, &error))?.len())
}
