//! `normfree verify`.

use super::second::{Compared, STEPS};
use super::{Global, counted, say, say_json};
use crate::fault::{Fault, Kind, Result};
use crate::ops::CASES;
use crate::verify::{Case, check};
use serde_json::json;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Runs every op, forward and adjoint, on this device and on a reference in 64-bit
floats, over random and awkward shapes, in memory that was filled with NaN
before. The error of a tensor is its largest deviation relative to its largest
magnitude (at least 1 if it has fewer than 12 elements, all of which may be
small by chance). If an error exceeds its bound, the exit code is 11: do not
train with this driver.
--run repeats the first steps of a run on this device and on a second one in
place of that, and says how far their losses and entropies agree.

Examples:
  normfree verify
  normfree verify --quick
  normfree verify --device llvmpipe --op matmul --seed 7
  normfree verify --run runs/sm_r
  normfree verify --run runs/sm_r --against llvmpipe --steps 50";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Seed of the random shapes and values
    #[arg(long, default_value_t = 1, allow_negative_numbers = true)]
    seed: u64,
    /// Check only this op
    #[arg(long, value_name = "NAME")]
    op: Option<String>,
    /// Check only one case of each op in each number type
    #[arg(long)]
    quick: bool,
    /// Repeat the first steps of this run on two devices, instead of checking ops
    #[arg(long, value_name = "RUN", conflicts_with_all = ["op", "quick", "seed"])]
    run: Option<PathBuf>,
    /// With --run: the second device, named as for --device [default: the CPU; beside the CPU the best adapter]
    #[arg(long, requires = "run", value_name = "DEVICE")]
    against: Option<String>,
    /// With --run: how many steps
    #[arg(long, requires = "run", value_name = "N", default_value_t = STEPS, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Print JSON: one object per case, and one for all of them
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    if let Some(run) = &arguments.run {
        let wanted = (arguments.steps, arguments.against.as_deref());
        return Compared::of(run, wanted, global.open()?, global)?.tell(arguments.json);
    }
    let stems: Vec<&str> = CASES.iter().map(|(stem, _)| *stem).collect();
    if let Some(op) = arguments.op.as_deref().filter(|op| !stems.contains(op)) {
        return Err(Fault::new(Kind::Usage, format!("there is no op `{op}`"))
            .at("--op")
            .remedy(format!("use one of {}", stems.join(", "))));
    }
    let device = global.open()?;
    let chosen = CASES.iter().filter(|(stem, _)| arguments.op.as_deref().is_none_or(|op| op == *stem));
    let cases = chosen.flat_map(|(_, list)| {
        let cases = list(arguments.seed);
        if arguments.quick { one_of_each(cases) } else { cases }
    });
    let (cases, left_out): (Vec<Case>, Vec<Case>) =
        cases.partition(|case| device.traits().f16 || !case.needs_f16());
    let widest = cases.iter().map(|case| case.label.chars().count()).max().unwrap_or(0);
    let line = |[op, case, worst, bound, verdict]: [&str; 5]| {
        say(format!("{op:<14}  {case:<widest$}  {worst:>11}  {bound:>7}  {verdict}").trim_end())
    };
    if !arguments.json {
        line(["op", "case", "worst error", "bound", ""])?;
    }
    let mut failed = Vec::new();
    for case in &cases {
        let outcome = check(&device, case)?;
        let [worst, bound] = [outcome.worst, outcome.bound].map(|number| format!("{number:.1e}"));
        let verdict = if outcome.passed() { "ok" } else { "FAILED" };
        if arguments.json {
            say_json(json!({
                "op": outcome.stem,
                "case": outcome.label,
                // JSON has no infinity: the error of a value that should be finite and is not, or the reverse.
                "worst": outcome.worst.is_finite().then_some(outcome.worst),
                "bound": outcome.bound,
                "agrees": outcome.passed(),
            }))?;
        } else {
            line([outcome.stem, &outcome.label, &worst, &bound, verdict])?;
        }
        if !outcome.passed() {
            failed.push(format!("{} {}: {}", outcome.stem, outcome.label, outcome.place));
        }
    }
    let cases = cases.len();
    if arguments.json {
        say_json(json!({
            "cases": cases,
            "failed": failed,
            "left_out": left_out.len(),
            "seed": arguments.seed,
            "adapter": device.description(),
        }))?;
    } else {
        say(format!(
            "\n{}, seed {}, on {}",
            counted(cases as u64, "case"),
            arguments.seed,
            device.description().name
        ))?;
    }
    if !left_out.is_empty() && !arguments.json {
        say(format!(
            "{} of mixed precision skipped: the device has no 16-bit floats",
            counted(left_out.len() as u64, "case")
        ))?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    let their = if failed.len() == 1 { "exceeds its" } else { "exceed their" };
    Err(Fault::new(Kind::Verify, format!("{} of {cases} cases {their} bound", failed.len()))
        .at(format!("{} ({})", device.description().name, device.description().driver))
        .found(failed.join("; "))
        .remedy("update the driver, or choose another --device"))
}

/// The middle case of an op in f32, and that in f16: the first ones are of a single element.
fn one_of_each(cases: Vec<Case>) -> Vec<Case> {
    let (half, single): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(Case::needs_f16);
    let middle = |mut cases: Vec<Case>| (!cases.is_empty()).then(|| cases.swap_remove(cases.len() / 2));
    [single, half].into_iter().filter_map(middle).collect()
}
