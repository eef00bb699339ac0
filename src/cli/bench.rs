//! `normfree bench`.

use super::picture::{check_place, picture_file, write_picture};
use super::{Global, Kernels, bytes, columns, say, say_json, short, stop, table};
use crate::bench::products::{Extents, PATIENCE, Products, Wanted, products, products_on_cpu};
use crate::bench::{
    Bound, Ceilings, Difference, Host, KernelRow, Measured, Options, Part, Start, Steps, measure,
};
use crate::config::{Config, Norm};
use crate::draw::picture::Picture;
use crate::fault::{Fault, Kind, Result};
use crate::report::roofline::{Ceiling, Point, rate_text, roofline};
use crate::train::kernel_choice::attempts;
use clap::ValueEnum;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Measures the ceilings first: arithmetic, copies, starting work. Then it times
every kernel of the configuration's step at its shapes, by the device's clock,
and whole steps in turns, with and without entropy, LayerNorm and, if the
configuration has it, the entropy regularizer. FLOP and bytes are those the ops
count for themselves: each operand moves once. The floor is the time that the
ceilings would allow. Nothing else should run meanwhile; no data is needed.

Examples:
  normfree bench
  normfree bench configs/small/sm_r.toml --picture roofline.svg
  normfree bench --only steps --json
  normfree bench --device cpu
  normfree bench --product 1024x3072x768";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Configuration to measure [default: a small one, configs/bench/small.toml]
    config: Option<PathBuf>,
    /// Set one key, as in model.n_layer=3; may be repeated, the last one wins
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Measure only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Compare whole steps only in these respects [default: all, entropy with either normalization]
    #[arg(long, value_enum, value_delimiter = ',')]
    compare: Vec<Difference>,
    /// Compare with the ceilings in this file, which `bench --json` printed, instead of measuring them
    #[arg(long, value_name = "FILE")]
    ceilings: Option<PathBuf>,
    /// Rounds of each measurement
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Print JSON: one object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    kernels: Kernels,
    /// Measure only one matrix product, of M rows and N columns, summed over K; in every layout and variant
    #[arg(long, value_name = "MxNxK", value_parser = extents,
          conflicts_with_all = ["config", "set", "only", "compare", "picture", "ceilings", "no_tune", "retune"])]
    product: Option<Extents>,
    /// With --product: f16 operands and results instead of f32
    #[arg(long, requires = "product")]
    half: bool,
    /// With --product: on a software device, also time the variants meant for GPUs
    #[arg(long = "every-way", requires = "product")]
    every_variant: bool,
    /// Draw the kernels under the device's ceilings
    #[arg(long, value_name = "FILE.svg|png", value_parser = picture_file)]
    picture: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    if let Some(extents) = arguments.product {
        let wanted = Wanted { half: arguments.half, every_variant: arguments.every_variant };
        if let Some(host) = global.open_cpu()? {
            if wanted.half || wanted.every_variant {
                return Err(Fault::new(Kind::Usage, "the CPU computes a product in one way, in f32")
                    .at(if wanted.half { "--half" } else { "--every-way" })
                    .remedy("omit it, or choose an adapter with --device"));
            }
            let measured = products_on_cpu(&host, arguments.rounds as usize, extents)?;
            return tell_product(&measured, wanted, arguments.json);
        }
        let mut gpu = global.open_gpu()?;
        let mut attempts = attempts(&gpu, |fault| stop::give_up(&fault));
        let measured = products(&mut gpu, arguments.rounds as usize, extents, wanted, &mut attempts)?;
        global.note_skipped(attempts.met(), attempts.file().as_deref());
        return tell_product(&measured, wanted, arguments.json);
    }
    let config = match &arguments.config {
        Some(path) => Config::load(path, &arguments.set)?,
        None => {
            let text = include_str!("../../configs/bench/small.toml");
            Config::parse(text, "configs/bench/small.toml", &arguments.set)?
        }
    };
    let wanted = |part: Part| arguments.only.is_empty() || arguments.only.contains(&part);
    let parts: Vec<Part> = Part::value_variants().iter().copied().filter(|&part| wanted(part)).collect();
    if arguments.picture.is_some() && !parts.contains(&Part::Kernels) {
        return Err(Fault::new(Kind::Usage, "the picture shows kernels, which --only leaves out")
            .at("--picture")
            .remedy("add `kernels` to --only, or omit --only"));
    }
    if arguments.ceilings.is_some() && arguments.only.contains(&Part::Ceilings) {
        return Err(Fault::new(Kind::Usage, "the ceilings are measured or read, not both")
            .at("--ceilings")
            .remedy("omit --ceilings, or remove `ceilings` from --only"));
    }
    if !arguments.compare.is_empty() {
        if !parts.contains(&Part::Steps) {
            return Err(Fault::new(
                Kind::Usage,
                "there is nothing to compare: --only leaves out whole steps",
            )
            .at("--compare")
            .remedy("add `steps` to --only, or omit --only"));
        }
        let regularizer = arguments.compare.contains(&Difference::Regularizer);
        if regularizer && config.model.entropy_regularization == 0.0 {
            return Err(Fault::new(Kind::Usage, "the configuration has no entropy regularizer to compare")
                .at("--compare regularizer")
                .remedy("set model.entropy_regularization, or remove `regularizer` from --compare"));
        }
    }
    arguments.picture.as_deref().map_or(Ok(()), check_place)?;
    // Opening prints a note for a software device; every part opens its own.
    let mut opened = global.open()?;
    arguments.kernels.prepare(&mut opened, &config, global)?;
    let choices = opened.traits().choices.clone();
    let load = |path| Ceilings::load(path, &opened.description().name);
    let ceilings = arguments.ceilings.as_deref().map(load).transpose()?;
    drop(opened);
    let options = Options {
        open: &|| Global { quiet: true, ..global.clone() }.open(),
        choices,
        parts,
        ceilings,
        differences: arguments.compare.clone(),
        rounds: arguments.rounds as usize,
    };
    let measured = measure(&options, &config, &mut |part| {
        global.note(format!("measuring {part}"));
    })?;
    if let (Some(path), Some(picture)) = (&arguments.picture, draw(&measured)) {
        write_picture(&picture, path)?;
    }
    if arguments.json {
        return say_json(serde_json::json!(measured));
    }
    say(format!("{}, {}\n", measured.adapter.name, measured.adapter.driver))?;
    if let Some(ceilings) = &measured.ceilings {
        say(format!("{}\n", ceiling_table(ceilings)))?;
    }
    if let Some(kernels) = &measured.kernels {
        say(format!("{}\n", kernel_table(kernels)))?;
    }
    if let Some(steps) = &measured.steps {
        say(format!("{}\n", step_table(steps, &measured)))?;
    }
    if let Some(host) = &measured.host {
        say(format!("{}\n", host_table(host)))?;
    }
    Ok(())
}

fn tell_product(measured: &Products, wanted: Wanted, json: bool) -> Result<()> {
    if json {
        return say_json(serde_json::json!(measured));
    }
    let head = ["layout", "variant", "time", "middle half", "FLOP/s", "of ceiling", "agrees with f64"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for variant in &measured.variants {
        rows.push(vec![
            variant.layout.to_owned(),
            variant.variant.clone(),
            short(variant.seconds.median),
            format!("{} to {}", short(variant.seconds.low), short(variant.seconds.high)),
            rate_text(variant.flops, ""),
            format!("{:.0}%", 100.0 * variant.flops / measured.ceiling),
            if variant.agrees { "yes" } else { "NO" }.to_owned(),
        ]);
    }
    let number = if wanted.half { "the fastest number type here" } else { "f32" };
    say(format!("{}, {}\n", measured.adapter.name, measured.adapter.driver))?;
    say(format!("multiply-adds in {number}: {}\n", rate_text(measured.ceiling, "FLOP/s")))?;
    say(table(&rows, &[false, false, true, true, true, true, true], 2))?;
    match measured.untried {
        0 => Ok(()),
        untried => say(format!(
            "\n{} not tried: after {} s no further variant of a layout is compiled",
            if untried == 1 { "1 variant was".to_owned() } else { format!("{untried} variants were") },
            PATIENCE.as_secs()
        )),
    }
}

/// Parses extents such as `1024x3072x768`.
fn extents(text: &str) -> std::result::Result<Extents, String> {
    let numbers: Option<Vec<usize>> = text.split('x').map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[m, n, k]) if [m, n, k].iter().all(|size| (1..=1 << 16).contains(size)) => {
            Ok(Extents { m, n, k })
        }
        _ => Err("expected three sizes from 1 to 65536, as in 1024x3072x768".to_owned()),
    }
}

/// The kernels under the ceilings; `None` if they were not measured.
fn draw(measured: &Measured) -> Option<Picture> {
    let (ceilings, kernels) = (measured.ceilings.as_ref()?, measured.kernels.as_ref()?);
    let title = format!("One training step's kernels on {}", measured.adapter.name);
    let arithmetic: Vec<Ceiling> = ceilings
        .arithmetic
        .iter()
        .map(|arithmetic| Ceiling { name: arithmetic.number.to_owned(), rate: arithmetic.flops })
        .collect();
    let copies = [ceilings.copies.iter().max_by(|a, b| a.rate.total_cmp(&b.rate)), ceilings.copies.last()];
    let memory: Vec<Ceiling> = copies
        .into_iter()
        .flatten()
        .map(|copies| Ceiling { name: format!("copying {}", bytes(copies.bytes / 2)), rate: copies.rate })
        .collect();
    let points: Vec<Point> = kernels
        .iter()
        .map(|row| Point {
            name: format!("{} {}", row.op, row.extents),
            flops: row.flops as f64,
            bytes: row.bytes as f64,
            seconds: row.seconds.median,
        })
        .collect();
    Some(roofline(&title, &arithmetic, &memory, &points))
}

fn ceiling_table(ceilings: &Ceilings) -> String {
    let mut rows = vec![["ceiling".to_owned(), "measured".to_owned()].to_vec()];
    let mut row = |name: String, value: String| rows.push(vec![name, value]);
    for arithmetic in &ceilings.arithmetic {
        row(format!("multiply-adds in {}", arithmetic.number), rate_text(arithmetic.flops, "FLOP/s"));
    }
    for copies in &ceilings.copies {
        row(format!("copy of {}", bytes(copies.bytes / 2)), rate_text(copies.rate, "B/s"));
    }
    let costs = match ceilings.start {
        Start::Commands { dispatch, submit, encode } => vec![
            ("a dispatch", dispatch),
            ("submitting one and waiting for it", submit),
            ("recording one (host)", encode),
        ],
        Start::Tasks { tasks } => vec![("a task for each thread", tasks)],
    };
    costs.into_iter().for_each(|(name, seconds)| row(name.to_owned(), short(seconds)));
    columns(&rows, &[false, true])
}

fn kernel_table(kernels: &[KernelRow]) -> String {
    let head = ["kernel", "shape", "times", "time", "share", "FLOP/s", "B/s", "bound by", "of floor"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let total: f64 = kernels.iter().map(|row| row.seconds.median).sum();
    let rate = |count: u64, seconds: f64| match count {
        0 => String::new(),
        count => rate_text(count as f64 / seconds, ""),
    };
    for row in kernels {
        let seconds = row.seconds.median;
        let bound = match row.bound {
            Bound::Arithmetic => "arithmetic",
            Bound::Memory => "memory",
        };
        rows.push(vec![
            row.op.clone(),
            row.extents.clone(),
            row.times.to_string(),
            short(seconds),
            format!("{:.1}%", 100.0 * seconds / total),
            rate(row.flops, seconds),
            rate(row.bytes, seconds),
            bound.to_owned(),
            format!("{:.1}×", seconds / row.floor),
        ]);
    }
    rows.push(vec![
        "all of a step".to_owned(),
        String::new(),
        String::new(),
        short(total),
        String::new(),
        String::new(),
        String::new(),
        String::new(),
        format!("{:.1}×", total / kernels.iter().map(|row| row.floor).sum::<f64>()),
    ]);
    table(&rows, &[false, false, true, true, true, true, true, false, true], 2)
}

fn step_table(steps: &Steps, measured: &Measured) -> String {
    let head = ["step", "entropy", "tokens/s", "time", "middle half", "floor", "of floor"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for row in &steps.rows {
        let norm = if row.norm == Norm::LAYER_NORM { "LayerNorm" } else { "no norm" };
        rows.push(vec![
            format!("{norm}, {}{}", row.activation, if row.regularizer { ", regularizer" } else { "" }),
            if row.entropy { "on" } else { "off" }.to_owned(),
            super::thousands(row.tokens_per_second.round() as u64),
            short(row.seconds.median),
            format!("{} to {}", short(row.seconds.low), short(row.seconds.high)),
            row.floor.map_or(String::new(), short),
            row.floor.map_or(String::new(), |floor| format!("{:.1}×", row.seconds.median / floor)),
        ]);
    }
    let mut pairs = vec![vec!["in turns".to_owned(), "ratio of times".to_owned(), "middle half".to_owned()]];
    for pair in &steps.pairs {
        let ratio = pair.ratio;
        let range = format!("{:.3} to {:.3}", ratio.low, ratio.high);
        pairs.push(vec![pair.what.to_owned(), format!("{:.3}", ratio.median), range]);
    }
    format!(
        "{} parameters, {} a step\n{}\n\n{}",
        super::thousands(measured.parameters),
        super::counted(measured.tokens, "token"),
        table(&rows, &[false, false, true, true, true, true, true], 2),
        table(&pairs, &[false, true, true], 1),
    )
}

fn host_table(host: &Host) -> String {
    let share = 100.0 * host.record.median / host.step.median;
    let rows = [
        ["host's part of a step", "time"].map(str::to_owned).to_vec(),
        vec![
            "writing, recording and submitting".to_owned(),
            format!("{} ({share:.2}%)", short(host.record.median)),
        ],
        vec!["preparing its micro-batches".to_owned(), short(host.batches.median)],
        vec!["tapes and memory plan (once a run)".to_owned(), short(host.tapes.median)],
        vec!["open device to first step's end (once)".to_owned(), short(host.start)],
    ];
    columns(&rows, &[false, true])
}
