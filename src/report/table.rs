//! The runs in a table: Markdown for files, aligned text for the terminal.

use super::run::{RunData, distinct_names};
use super::stats::{Reference, bins, observed_max};
use crate::fault::Result;

/// Rows of text under a header; numbers stand to the right.
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    /// What the columns mean and which reference M the shares have.
    pub notes: Vec<String>,
}

/// What the newest attention record of one run shows, against its reference M.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// M in nats.
    pub reference: f64,
    /// Shares of heads in the four quarters of 0 … M.
    pub bins: [f64; 4],
    pub heads: usize,
    /// Heads without a finite entropy; they lie in no bin.
    pub nonfinite: usize,
}

impl Spread {
    /// Share of heads in [3M/4, M].
    pub fn overload(&self) -> f64 {
        self.bins[3]
    }

    /// Share of heads in [0, M/4).
    pub fn collapse(&self) -> f64 {
        self.bins[0]
    }
}

/// The spread of every run's head entropies; none for a run without attention records.
///
/// # Errors
/// Those of [`Reference::nats`].
pub fn spreads(runs: &[RunData], reference: Reference) -> Result<Vec<Option<Spread>>> {
    let grids: Vec<_> = runs.iter().map(RunData::entropies).collect();
    let observed = observed_max(grids.iter().flatten().map(Vec::as_slice));
    let spread = |(run, grid): (&RunData, &Option<Vec<Vec<f64>>>)| {
        let Some(grid) = grid else { return Ok(None) };
        let nats = reference.nats(observed, run.context)?;
        let heads = grid.iter().flatten();
        Ok(Some(Spread {
            reference: nats,
            bins: bins(grid, nats),
            heads: heads.clone().count(),
            nonfinite: heads.filter(|entropy| !entropy.is_finite()).count(),
        }))
    };
    runs.iter().zip(&grids).map(spread).collect()
}

/// Compares the runs: newest held-out loss and perplexity, its change against SM+LN+G (or else the first run),
/// and the shares of heads that are overloaded and collapsed.
///
/// # Errors
/// Those of [`Reference::nats`].
pub fn comparison(runs: &[RunData], reference: Reference) -> Result<Table> {
    let names = distinct_names(runs);
    let spreads = spreads(runs, reference)?;
    let baseline = runs.iter().position(|run| run.name == "SM+LN+G").unwrap_or(0);
    let perplexity = |run: &RunData| run.evals.last().map(|eval| eval.ppl);
    let against = runs.get(baseline).and_then(perplexity);
    let versus = names.get(baseline).map_or(String::new(), |name| format!("vs {name}"));
    let header =
        ["configuration", "parameters", "step", "eval loss", "perplexity", versus.as_str(), "overload"];
    let header = header.into_iter().chain(["collapse", "M (nats)"]).map(String::from).collect();

    let absent = || "–".to_string();
    let row = |(index, run): (usize, &RunData)| {
        let eval = run.evals.last();
        let change = match (perplexity(run), against) {
            _ if index == baseline => absent(),
            (Some(own), Some(base)) if own.is_finite() && base.is_finite() && base > 0.0 => {
                let percent = (own / base - 1.0) * 100.0;
                // The typographic minus, and no sign on what rounds to nothing.
                let text = format!("{:.1}%", percent.abs());
                match text.as_str() {
                    "0.0%" => text,
                    _ if percent < 0.0 => format!("−{text}"),
                    _ => format!("+{text}"),
                }
            }
            _ => absent(),
        };
        let spread = spreads[index];
        let share = |part: fn(&Spread) -> f64| spread.map_or_else(absent, |s| percent(part(&s)));
        vec![
            names[index].clone(),
            run.parameters.map_or_else(absent, |count| super::axes::tick_text(count as f64, 1.0)),
            eval.map_or_else(absent, |eval| super::axes::tick_text(eval.step as f64, 1.0)),
            eval.map_or_else(absent, |eval| decimal(eval.loss, 4)),
            eval.map_or_else(absent, |eval| decimal(eval.ppl, 3)),
            change,
            share(Spread::overload),
            share(Spread::collapse),
            spread.map_or_else(absent, |s| format!("{:.2}", s.reference)),
        ]
    };
    let mut notes = vec![format!(
        "Overload: share of heads with a mean entropy of at least 3M/4; collapse: below M/4. M: {reference}."
    )];
    for (name, spread) in names.iter().zip(&spreads) {
        if let Some(spread) = spread.filter(|spread| spread.nonfinite > 0) {
            let (lost, heads) = (spread.nonfinite, spread.heads);
            notes.push(format!(
                "{name}: {lost} of {heads} heads have no finite entropy and count as neither."
            ));
        }
    }
    Ok(Table { header, rows: runs.iter().enumerate().map(row).collect(), notes })
}

/// A share as a percentage; whole heads are few, so no decimals.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// A number, or what it is instead of one.
pub(super) fn decimal(value: f64, places: usize) -> String {
    if value.is_nan() {
        "NaN".to_string()
    } else if value.is_infinite() {
        if value > 0.0 { "∞".to_string() } else { "−∞".to_string() }
    } else if value.abs() >= 1e6 {
        format!("{value:.2e}")
    } else {
        format!("{value:.places$}")
    }
}

impl Table {
    /// A Markdown table and its notes.
    pub fn markdown(&self) -> String {
        let clean = |cell: &String| cell.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ");
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(clean).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let mut out = line(&self.header);
        out.push_str("| --- |");
        out.push_str(&" ---: |".repeat(self.header.len().saturating_sub(1)));
        out.push('\n');
        out.extend(self.rows.iter().map(|row| line(row)));
        for note in &self.notes {
            out.push_str(&format!("\n{note}\n"));
        }
        out
    }

    /// Columns aligned by spaces, and the notes.
    pub fn plain(&self) -> String {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let wide = |cell: &String| cell.chars().count();
        let widths: Vec<usize> = (0..self.header.len())
            .map(|column| lines().map(|line| wide(&line[column])).max().unwrap_or(0))
            .collect();
        let mut out = String::new();
        for line in lines() {
            for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
                let fill = " ".repeat(width - wide(cell));
                let text = if column == 0 { format!("{cell}{fill}") } else { format!("  {fill}{cell}") };
                out.push_str(&text);
            }
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        }
        for note in &self.notes {
            out.push_str(note);
            out.push('\n');
        }
        out
    }
}
