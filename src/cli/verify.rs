//! `normfree verify`.

use super::{Global, columns, say};
use crate::fault::{Fault, Kind, Result};
use crate::ops::CASES;
use crate::verify::{Outcome, check};

const AFTER_HELP: &str = "\
Every op, forward and adjoint, runs on this device and on a reference in 64-bit floats, over random and awkward
shapes, in memory that was filled with NaN before. The error of a tensor is its largest deviation, relative to its
largest magnitude. Exit code 11 where one lies outside its bound: do not trust this driver with a training run.

Examples:
  normfree verify
  normfree verify --device llvmpipe --op matmul --seed 7";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// What shapes and values are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this op
    #[arg(long, value_name = "NAME")]
    op: Option<String>,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let stems: Vec<&str> = CASES.iter().map(|(stem, _)| *stem).collect();
    if let Some(op) = arguments.op.as_deref().filter(|op| !stems.contains(op)) {
        return Err(Fault::new(Kind::Usage, format!("there is no op `{op}`"))
            .at("--op")
            .remedy(format!("one of {} would do", stems.join(", "))));
    }
    let gpu = global.open()?;
    let mut rows: Vec<Vec<String>> =
        vec![["op", "case", "worst error", "bound", ""].map(String::from).into()];
    let mut failed = Vec::new();
    let mut cases = 0;
    for (stem, list) in CASES.iter().filter(|(stem, _)| arguments.op.as_deref().is_none_or(|op| op == *stem))
    {
        for case in list(arguments.seed) {
            let outcome = check(&gpu, &case)?;
            cases += 1;
            rows.push(row(stem, &outcome));
            if !outcome.passed() {
                failed.push(format!("{} {}: {}", outcome.stem, outcome.label, outcome.place));
            }
        }
    }
    say(columns(&rows, &[false, false, true, true, false]))?;
    say(format!("\n{cases} cases, seed {}, on {}", arguments.seed, gpu.description().name))?;
    if failed.is_empty() {
        return Ok(());
    }
    Err(Fault::new(Kind::Verify, format!("{} of {cases} cases lie outside their bound", failed.len()))
        .at(format!("{} ({})", gpu.description().name, gpu.description().driver))
        .found(failed.join("; "))
        .remedy("update the driver, or choose another --device"))
}

fn row(stem: &str, outcome: &Outcome) -> Vec<String> {
    let verdict = if outcome.passed() { "ok" } else { "FAILED" };
    let numbers = [outcome.worst, outcome.bound].map(|number| format!("{number:.1e}"));
    let [worst, bound] = numbers;
    vec![stem.to_owned(), outcome.label.clone(), worst, bound, verdict.to_owned()]
}
