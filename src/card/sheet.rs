//! `card.md`: the human-readable card.

use super::job::{PRECISIONS, numbers, steps_key};
use super::medians::{median, step_seconds, torch_seconds};
use super::models::EXPERIMENTS;
use super::{Card, State, peers};
use crate::draw::escape;
use crate::numbers::{bytes, counted, duration, short, thousands};
use crate::report::roofline::rate_text;
use serde_json::Value;

/// How many kernels of a step are listed.
const KERNELS: usize = 12;

/// The whole sheet.
pub fn sheet(card: &Card) -> String {
    let sections = [
        Some(head(card)),
        verify(card),
        ceilings(card),
        steps(card),
        kernels(card),
        products(card),
        resume(card),
        models(card),
        missing(card),
        Some(commands(card)),
    ];
    let sections: Vec<String> = sections.into_iter().flatten().collect();
    sections.join("\n")
}

/// A table with numeric columns aligned right.
fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| escape::markdown(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let is_number =
        |cell: &str| cell.is_empty() || cell.starts_with(|c: char| c.is_ascii_digit() || c == '–');
    let of_numbers = |column: usize| column > 0 && rows.iter().all(|row| is_number(&row[column]));
    let header: Vec<String> = header.iter().map(|&cell| cell.to_owned()).collect();
    let rules = (0..header.len()).map(|column| if of_numbers(column) { " ---: |" } else { " --- |" });
    let rules = format!("|{}\n", rules.collect::<String>());
    let rows = rows.iter().map(|row| line(row));
    [line(&header), rules].into_iter().chain(rows).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("not known").to_owned()
}

fn head(card: &Card) -> String {
    let (adapter, system) = (&card.adapter, &card.system);
    let size = |key: &str| adapter[key].as_u64().map_or("not known".to_owned(), bytes);
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let lanes = adapter["lanes"].as_u64().map_or("not known".to_owned(), |lanes| lanes.to_string());
    let units = match adapter["cooperative"].as_u64() {
        Some(side @ 1..) => format!("{side}×{side} in f16"),
        _ => "not used".to_owned(),
    };
    let processor = system.processor.as_deref().unwrap_or("a processor without a name");
    let rows = [
        ("device", format!("{}, {} through {}", card.name(), text(&adapter["kind"]), text(&adapter["api"]))),
        ("driver", text(&adapter["driver"])),
        ("lanes of a subgroup", lanes),
        ("16-bit floats", yes(adapter["f16"] == true)),
        ("matrix units", units),
        ("timestamps", yes(adapter["timestamps"] == true)),
        ("largest binding", size("max_binding")),
        (
            "system",
            format!(
                "{} on {}, {processor}, {}",
                system.os,
                system.architecture,
                counted(system.threads as u64, "thread")
            ),
        ),
        ("normfree", card.version.clone()),
        (
            "measured",
            format!("{}, in {} of {}", card.day, duration(card.seconds), duration(60.0 * card.minutes)),
        ),
    ];
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let mut out = format!("# {}\n\n{}", escape::markdown(card.name()), table(&["", ""], rows));
    if card.quick {
        out.push_str(
            "\nThe models of this card are tiny (`--quick`): its speeds say nothing about larger ones.\n",
        );
    }
    if !card.whole {
        out.push_str("\nThis card is incomplete: it was interrupted, or is still being made.\n");
    }
    out
}

fn verify(card: &Card) -> Option<String> {
    let (part, results) = (card.part("verify")?, card.results("verify"));
    let cases = results["cases"].as_u64()?;
    let failed = results["failed"].as_array().map(Vec::as_slice).unwrap_or_default();
    let agree = cases - failed.len() as u64;
    let mut out = format!("## Kernels\n\n{} of {} agree with f64", thousands(agree), counted(cases, "case"));
    match results["left_out"].as_u64() {
        Some(count @ 1..) => out.push_str(&format!(
            "; {count} {} 16-bit floats, which the device lacks.\n",
            if count == 1 { "needs" } else { "need" }
        )),
        _ => out.push_str(".\n"),
    }
    if part.state != State::Done && failed.is_empty() {
        let last = &results["last"];
        out.push_str(&format!(
            "The other cases were not reached; the last one that was: {}, {}.\n",
            escape::markdown(&text(&last[0])),
            escape::markdown(&text(&last[1]))
        ));
    }
    if !failed.is_empty() {
        let rows = failed.iter().map(|case| {
            let worst =
                case["worst"].as_f64().map_or("not finite".to_owned(), |worst| format!("{worst:.1e}"));
            let bound = case["bound"].as_f64().map_or(String::new(), |bound| format!("{bound:.1e}"));
            vec![text(&case["op"]), text(&case["case"]), worst, bound]
        });
        let rows = table(&["op", "case", "worst error", "bound"], rows.collect());
        out.push_str(&format!("\n**These do not agree:**\n\n{rows}"));
    }
    Some(out)
}

fn ceilings(card: &Card) -> Option<String> {
    let ceilings = card.results("ceilings");
    let mut rows = Vec::new();
    for arithmetic in ceilings["arithmetic"].as_array()? {
        let rate = rate_text(arithmetic["flops"].as_f64()?, "FLOP/s");
        rows.push(vec![format!("multiply-adds in {}", text(&arithmetic["number"])), rate]);
    }
    for copies in ceilings["copies"].as_array()? {
        let size = bytes(copies["bytes"].as_u64()? / 2);
        rows.push(vec![format!("copy of {size}"), rate_text(copies["rate"].as_f64()?, "B/s")]);
    }
    for (key, name) in [("dispatch", "a dispatch"), ("submit", "submitting one and waiting for it")] {
        rows.push(vec![name.to_owned(), short(ceilings[key].as_f64()?)]);
    }
    Some(format!("## Ceilings\n\n{}", table(&["", "measured"], rows)))
}

/// The parts that timed whole steps, with their sequence lengths and precisions.
fn timed_steps(card: &Card) -> impl Iterator<Item = (u64, &'static str, &Value)> {
    let lengths = [32, 64, 128, 1024];
    let every = lengths.into_iter().flat_map(|length| PRECISIONS.map(|precision| (length, precision)));
    every
        .map(|(length, precision)| (length, precision, card.results(&steps_key(length as usize, precision))))
        .filter(|(_, _, results)| results["steps"].is_array())
}

fn steps(card: &Card) -> Option<String> {
    let mut rows = Vec::new();
    let mut parameters = 0;
    for (length, precision, results) in timed_steps(card) {
        parameters = results["parameters"].as_u64()?;
        let batch = results["config"]["train"]["batch_size"].as_u64()?;
        let tokens = (batch * length) as f64;
        let floor = results["steps"].as_array()?.iter().find(|row| row["entropy"] == true)?["floor"].as_f64();
        let cells = |name: String, seconds: f64, of_floor: String| {
            let speed = thousands((tokens / seconds).round() as u64);
            vec![name, length.to_string(), batch.to_string(), speed, short(seconds), of_floor]
        };
        let ours = step_seconds(results, true)?;
        let kernels = if results["tuned"] == true { "" } else { ", kernels not searched" };
        for (entropy, what) in [(true, "entropy of every head"), (false, "no entropy")] {
            let seconds = step_seconds(results, entropy)?;
            let of_floor =
                floor.filter(|_| entropy).map_or(String::new(), |floor| format!("{:.1}×", seconds / floor));
            let name = format!("normfree, {}, {what}{kernels}", numbers(precision));
            let mut row = cells(name, seconds, of_floor);
            row.push(if entropy { "1.00".to_owned() } else { format!("{:.2}", ours / seconds) });
            rows.push(row);
        }
        for (mode, title, of, _) in peers::MODES {
            let torch = card.results(&peers::key(length as usize, mode));
            let Some(seconds) = torch_seconds(torch).filter(|_| of == precision) else { continue };
            let name = format!("{} on {}, {title}", text(&torch["version"]), text(&torch["device"]));
            let mut row = cells(name, seconds, String::new());
            row.push(format!("{:.2}", ours / seconds));
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return None;
    }
    let header = ["step", "T", "batch", "tokens/s", "time", "of floor", "relative to normfree with entropy"];
    Some(format!(
        "## Whole steps\n\nSM+LN+G with {} parameters: forward, backward, clipping and AdamW on random tokens. The floor is \
         what the ceilings allow the step's operations and bytes.\n\n{}",
        thousands(parameters),
        table(&header, rows)
    ))
}

fn kernels(card: &Card) -> Option<String> {
    let mut out = String::new();
    for (length, precision, results) in timed_steps(card) {
        let Some(kernels) = results["kernels"].as_array() else { continue };
        let seconds = |row: &Value| row["seconds"]["median"].as_f64().unwrap_or(0.0);
        let total: f64 = kernels.iter().map(seconds).sum();
        let rows = kernels.iter().take(KERNELS).map(|row| {
            let time = seconds(row);
            let of_floor =
                row["floor"].as_f64().map_or(String::new(), |floor| format!("{:.1}×", time / floor));
            let rate = match row["flops"].as_f64() {
                Some(flops) if flops > 0.0 => rate_text(flops / time, ""),
                _ => String::new(),
            };
            let count = row["times"].as_u64().unwrap_or(0).to_string();
            let share = format!("{:.1}%", 100.0 * time / total);
            vec![text(&row["op"]), text(&row["extents"]), count, short(time), share, rate, of_floor]
        });
        let header = ["kernel", "shape", "times", "time", "share", "FLOP/s", "of floor"];
        out.push_str(&format!(
            "\n### T = {length}, {}\n\nThe slowest of {}, which take {} together:\n\n{}",
            numbers(precision),
            kernels.len(),
            short(total),
            table(&header, rows.collect())
        ));
    }
    (!out.is_empty()).then(|| format!("## Kernels of a step\n{out}"))
}

fn products(card: &Card) -> Option<String> {
    let mut rows = Vec::new();
    let mut size = String::new();
    for number in ["f32", "f16"] {
        let ours = card.results(&format!("product_{number}"));
        let Some(variants) = ours["ways"].as_array() else { continue };
        let extents = ["m", "n", "k"].map(|key| ours["extents"][key].as_u64().unwrap_or(0));
        let work = 2.0 * extents.iter().map(|&size| size as f64).product::<f64>();
        size = extents.map(|size| size.to_string()).join("×");
        let torch = card.results(&format!("torch_product_{number}"));
        for layout in ["A · B", "A · Bᵀ", "Aᵀ · B"] {
            // The fastest variant of each layout comes first.
            let Some(best) = variants.iter().find(|row| row["layout"] == layout && row["agrees"] == true)
            else {
                continue;
            };
            let flops = best["flops"].as_f64()?;
            let of_ceiling = 100.0 * flops / ours["ceiling"].as_f64()?;
            let peer = torch["products"].as_array().into_iter().flatten().find(|row| row["layout"] == layout);
            let peer = peer.and_then(|row| median(&row["seconds"])).map(|seconds| work / seconds);
            rows.push(vec![
                format!("{number}, {layout}"),
                text(&best["way"]),
                rate_text(flops, ""),
                format!("{of_ceiling:.0}%"),
                peer.map_or(String::new(), |peer| rate_text(peer, "")),
                peer.map_or(String::new(), |peer| format!("{:.2}", flops / peer)),
            ]);
        }
    }
    let header = ["product", "fastest variant", "FLOP/s", "of ceiling", "PyTorch's FLOP/s", "of PyTorch"];
    (!rows.is_empty()).then(|| format!("## One matrix product, {size}\n\n{}", table(&header, rows)))
}

fn resume(card: &Card) -> Option<String> {
    let results = card.results("resume");
    let steps = results["steps"].as_u64()?;
    let same = |key: &str| if results[key] == true { "equal bytes" } else { "**different bytes**" };
    Some(format!(
        "## Stopped and resumed\n\nOne run of {} ran undisturbed, and one was killed after `{}` and resumed: \
         weights {}, optimizer {}, log {} (but for the speeds).\n",
        counted(steps, "step"),
        text(&results["killed_behind"]),
        same("model.safetensors"),
        same("optimizer.safetensors"),
        same("metrics.jsonl"),
    ))
}

fn models(card: &Card) -> Option<String> {
    let mut rows = Vec::new();
    let mut parameters = 0;
    for (key, name, _) in EXPERIMENTS {
        let results = card.results(key);
        let Some(done) = results["done"].as_u64() else { continue };
        parameters = results["parameters"].as_u64().unwrap_or(parameters);
        let number = |key: &str| results[key].as_f64();
        let state = match results["diverged_at"].as_u64() {
            Some(step) => format!("diverged at step {step}"),
            None => String::new(),
        };
        rows.push(vec![
            name.to_owned(),
            format!("{} of {}", thousands(done), thousands(results["steps"].as_u64().unwrap_or(0))),
            number("perplexity").map_or("–".to_owned(), |value| format!("{value:.1}")),
            number("loss").map_or("–".to_owned(), |value| format!("{value:.3}")),
            number("tokens_per_second").map_or("–".to_owned(), |value| thousands(value.round() as u64)),
            state,
        ]);
    }
    if rows.is_empty() {
        return None;
    }
    let data = card.results("data");
    let header = ["model", "steps", "perplexity", "last loss", "tokens/s", ""];
    let mut out = format!(
        "## The paper's four configurations\n\n{} parameters; text: {} ({} tokens to train on, a vocabulary of {}). So few \
         steps do not rank the configurations: they show that training works here.\n\n{}",
        thousands(parameters),
        text(&data["source"]),
        thousands(data["tokens"].as_u64().unwrap_or(0)),
        thousands(data["vocabulary"].as_u64().unwrap_or(0)),
        table(&header, rows)
    );
    if card.part("pictures").is_some_and(|part| part.state == State::Done) {
        out.push_str("\n![Entropy of every head](pictures/heatmap.png)\n\n![Losses](pictures/loss.png)\n");
    }
    Some(out)
}

/// What is missing, and why.
fn missing(card: &Card) -> Option<String> {
    let incomplete = card.parts.iter().filter(|part| part.state != State::Done);
    let rows: Vec<Vec<String>> = incomplete
        .map(|part| {
            let why = part.why.clone().unwrap_or_default();
            let after = if part.state == State::LeftOut { String::new() } else { short(part.seconds) };
            vec![part.title.clone(), part.state.word().to_owned(), why, after]
        })
        .collect();
    let header = ["part", "", "why", "after"];
    (!rows.is_empty()).then(|| format!("## What is missing\n\n{}", table(&header, rows)))
}

/// The command lines.
fn commands(card: &Card) -> String {
    let mut out = String::from(
        "## Commands\n\nEach part can be run again by hand, in the card's folder and in this order.\n\n```sh\n",
    );
    for command in card.parts.iter().flat_map(|part| &part.commands) {
        out.push_str(command);
        out.push('\n');
    }
    out.push_str("```\n");
    out
}
