//! Many cards in one table of devices.

use super::job::{numbers, steps_key};
use super::medians::{step_seconds, torch_seconds};
use super::{Card, FILE, State, peers};
use crate::fault::{Fault, Kind, Result};
use crate::numbers::thousands;
use crate::report::roofline::rate_text;
use crate::report::table::Table;
use std::path::{Path, PathBuf};

/// The sequence lengths of the GPT-2-size steps.
const LENGTHS: [usize; 2] = [128, 1024];

/// One row for each card in the folders inside `folder`.
///
/// # Errors
/// `Io` if the folder cannot be read; `Data` if it holds no card or an invalid one.
pub fn table(folder: &Path) -> Result<Table> {
    let entries = std::fs::read_dir(folder).map_err(|error| Fault::io("read the folder", folder, &error))?;
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.retain(|path| path.join(FILE).is_file());
    folders.sort();
    if folders.is_empty() {
        return Err(Fault::new(Kind::Data, "there is no card")
            .at(folder.display())
            .remedy("give a folder that holds folders written by `normfree card`"));
    }
    let rows =
        folders.iter().map(|folder| Card::load(folder).map(|card| row(&card))).collect::<Result<_>>()?;
    let mut header: Vec<String> =
        ["device", "driver", "system", "day", "kernels", "resumed", "f32 FLOP/s"].map(str::to_owned).to_vec();
    for length in LENGTHS {
        for precision in ["f32", "mixed"] {
            header.push(format!("tokens/s, T = {length}, {}", numbers(precision)));
        }
    }
    header.push("of PyTorch's fastest".to_owned());
    Ok(Table { header, rows, notes: Vec::new() })
}

fn row(card: &Card) -> Vec<String> {
    let none = || "–".to_owned();
    let text = |key: &str| card.adapter[key].as_str().map_or_else(none, str::to_owned);
    let verify = card.results("verify");
    let failed = verify["failed"].as_array().map_or(0, Vec::len) as u64;
    let kernels = verify["cases"].as_u64().map_or_else(none, |cases| {
        let cut = if card.part("verify").is_some_and(|part| part.state == State::Cut) { ", cut" } else { "" };
        format!("{} of {}{cut}", thousands(cases - failed), thousands(cases))
    });
    let resumed = card.part("resume").map_or_else(none, |part| match part.state {
        State::Done => "equal bytes".to_owned(),
        state => state.word().to_owned(),
    });
    let flops = card.results("ceilings")["arithmetic"][0]["flops"].as_f64();
    let mut row = vec![
        format!("{} ({})", card.name(), text("api")),
        text("driver"),
        format!("{} {}", card.system.os, card.system.architecture),
        card.day.clone(),
        kernels,
        resumed,
        flops.map_or_else(none, |flops| rate_text(flops, "")),
    ];
    // Speeds of tiny models say nothing.
    let seconds = |length: usize, precision: &str| {
        let results = card.results(&steps_key(length, precision));
        let batch = results["config"]["train"]["batch_size"].as_u64().filter(|_| !card.quick)?;
        Some((batch as usize * length, step_seconds(results, true)?))
    };
    let mut ratios = Vec::new();
    for length in LENGTHS {
        let mut best: Option<f64> = None;
        for precision in ["f32", "mixed"] {
            let timed = seconds(length, precision);
            row.push(
                timed.map_or_else(none, |(tokens, seconds)| {
                    thousands((tokens as f64 / seconds).round() as u64)
                }),
            );
            best = [best, timed.map(|(_, seconds)| seconds / timed.map_or(1, |(tokens, _)| tokens) as f64)]
                .into_iter()
                .flatten()
                .reduce(f64::min);
        }
        let torch = peers::MODES.iter().filter_map(|(mode, _, precision, _)| {
            let tokens = seconds(length, precision)?.0 as f64;
            Some(torch_seconds(card.results(&peers::key(length, mode)))? / tokens)
        });
        if let (Some(ours), Some(theirs)) = (best, torch.reduce(f64::min)) {
            ratios.push(format!("{:.2} at T = {length}", theirs / ours));
        }
    }
    row.push(if ratios.is_empty() { none() } else { ratios.join(", ") });
    row
}
