//! `normfree referee`.

use super::{Global, say};
use crate::fault::{Fault, Kind, Result};
use crate::files::write_atomic;
use crate::referee::{json, judge, markdown, picture, table};
use crate::study::Claim;
use std::collections::BTreeSet;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
A CLAIM is a TOML file: what a paper claims, in a sentence, what it reports, and
which configurations of a study must differ, in what, and by how much.
`normfree study CLAIM` trains their runs; this judges them by their logs:
  held                      every expectation is met
  not held                  one is contradicted, or there is no difference
  not decided at this size  the seeds are too few to say
Runs are paired by seed and read at the end and at their best checkpoint; both
must agree. p-values are corrected for all comparisons of the claims given.
Claims of one study share their runs. configs/study/referee has ten claims.

Examples:
  normfree study configs/study/referee/relu.toml --jobs 2
  normfree referee configs/study/referee/relu.toml
  normfree referee configs/study/referee/*.toml --out runs/referee
  normfree referee configs/study/referee/derf.toml --own-size --json";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Claims, TOML files
    #[arg(required = true, value_name = "CLAIM")]
    claims: Vec<PathBuf>,
    /// Judge by the runs at the size of the paper that makes the claim
    #[arg(long)]
    own_size: bool,
    /// Key that was set in every run when the study was trained; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder of the runs [default: the one in the study]
    #[arg(long, value_name = "DIR")]
    runs: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Folder to write referee.md, referee.json, referee.png and referee.svg into
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let mut names = BTreeSet::new();
    let claims = arguments.claims.iter().map(|path| {
        let claim = Claim::load(path)?;
        let mut grid = claim.grid(arguments.own_size, &arguments.set)?;
        if !names.insert(claim.name.clone()) {
            return Err(Fault::new(Kind::Usage, "a claim is given twice")
                .at(path.display())
                .found(claim.name));
        }
        if let Some(runs) = &arguments.runs {
            grid.out.clone_from(runs);
        }
        Ok((claim, grid))
    });
    let ruling = judge(claims.collect::<Result<Vec<_>>>()?)?;
    let whole = serde_json::to_string_pretty(&json(&ruling)).expect("texts and numbers are always JSON");
    if arguments.json {
        say(&whole)?;
    } else {
        say(table(&ruling).plain())?;
        for ruled in &ruling.claims {
            say(format!("{}: {}", ruled.claim.text.trim_end_matches('.'), ruled.verdict.words()))?;
        }
    }
    let Some(out) = &arguments.out else { return Ok(()) };
    let mut files = vec![("referee.md", markdown(&ruling).into_bytes())];
    files.push(("referee.json", (whole + "\n").into_bytes()));
    match picture(&ruling) {
        Some(picture) => {
            files.push(("referee.png", picture.png()?));
            files.push(("referee.svg", picture.svg().into_bytes()));
        }
        None => global.note("no comparison has two seeds yet, so there is no picture"),
    }
    std::fs::create_dir_all(out).map_err(|error| Fault::io("make the folder", out, &error))?;
    for (name, bytes) in files {
        write_atomic(&out.join(name), &bytes)?;
        if !global.quiet && !arguments.json {
            say(out.join(name).display())?;
        }
    }
    Ok(())
}
