//! The paper's second figure: the share of heads in each quarter of 0 … M, and the evaluation loss beside it.

use super::comparison::Comparison;
use super::diverged::Divergence;
use super::heatmap::hatch;
use super::paired::Sample;
use super::spread::{Spread, spreads};
use super::stats::Reference;
use super::table::percent;
use crate::draw::axes::{Axes, INK, QUIET};
use crate::draw::colormap::{ABSENT, Colormap, Rgb, WHITE};
use crate::draw::legend::{self, Entry, Swatch};
use crate::draw::picture::{Anchor, Picture, Text, is_narrow};
use crate::draw::text;
use crate::fault::{Fault, Kind, Result};
use crate::observe::quantities::{EVAL_LOSS, HEAD_ENTROPY};

const MARGIN: f64 = 18.0;
/// The height of a row, and what a name above its bar adds to it for each line.
const ROW: f64 = 38.0;
const NAME_LINE: f64 = 18.0;
const BAR: f64 = 26.0;
const NAME: f64 = 14.0;
const SMALL: f64 = 12.5;
const BARS: f64 = 440.0;
const LOSSES: f64 = 300.0;
const GAP: f64 = 44.0;
/// The narrowest bars and losses together.
const LEAST: f64 = 220.0;
const BELOW: f64 = 50.0;
/// Narrower pieces of a bar show no number; the table has it.
const NARROWEST: f64 = 30.0;

/// The four quarters, from collapse to overload.
pub const QUARTERS: [&str; 4] = ["0 to M/4 (collapse)", "M/4 to M/2", "M/2 to 3M/4", "3M/4 to M (overload)"];

/// The colour of a quarter: the sequential scale of the heatmaps, dark for low entropy.
pub(super) fn colour(quarter: usize) -> Rgb {
    Colormap::Viridis.at([0.05, 0.37, 0.69, 0.97][quarter])
}

/// One configuration: the mean over its seeds, and their newest held-out losses, without the seeds that diverged.
struct Row<'a> {
    name: &'a str,
    spread: Option<Spread>,
    losses: Vec<f64>,
    divergence: Option<Divergence>,
}

/// Draws the shares of every configuration, averaged over its seeds, and its newest held-out loss. The picture takes the width
/// of `room`, if given.
///
/// # Errors
/// `Usage` when no run has attention records; those of [`Reference::nats`].
pub fn quarters(comparison: &Comparison, reference: Reference, room: Option<f64>) -> Result<Picture> {
    let spreads = spreads(&comparison.runs, reference)?;
    let mut rows: Vec<Row<'_>> = Vec::new();
    for group in &comparison.groups {
        let own: Vec<Spread> = group.runs.iter().filter_map(|&index| spreads[index]).collect();
        let learning = comparison.of(group).filter(|run| run.diverged_at().is_none());
        let losses = learning.filter_map(|run| run.log.numbers(&EVAL_LOSS).last()).map(|eval| eval.1);
        if comparison.of(group).any(|run| !run.log.heads(&HEAD_ENTROPY).is_empty()) {
            rows.push(Row {
                name: &group.name,
                spread: Spread::mean(&own),
                losses: losses.filter(|loss| loss.is_finite()).collect(),
                divergence: Divergence::of(comparison.of(group)),
            });
        }
    }
    if rows.is_empty() {
        return Err(Fault::new(Kind::Usage, "no run has attention records to draw"));
    }
    let spreads = || rows.iter().filter_map(|row| row.spread);
    let widest = rows.iter().map(|row| text::width(row.name, NAME) * text::SLACK).fold(0.0, f64::max);
    // In a column of text, and where they would leave too little room, names stand above their bars.
    let beside = |room: f64| room - 2.0 * MARGIN - widest - 14.0 - GAP >= LEAST;
    let over: Option<Vec<Vec<String>>> =
        room.filter(|&width| is_narrow(room) || !beside(width)).map(|room| {
            let most = text::lines_in(room - 2.0 * MARGIN - 10.0, is_narrow(Some(room)));
            rows.iter().map(|row| text::wrapped(row.name, NAME, most)).collect()
        });
    let name_lines = over.iter().flatten().map(Vec::len).max().unwrap_or(0) as f64;
    let each = ROW + NAME_LINE * name_lines;
    let left = if over.is_some() { MARGIN + 4.0 } else { MARGIN + widest + 14.0 };
    let evaluated = rows.iter().any(|row| !row.losses.is_empty());
    let (bars, losses) = match room {
        None => (BARS, LOSSES),
        Some(room) => {
            let plots = (room - left - MARGIN - if evaluated { GAP } else { 10.0 }).max(LEAST);
            if evaluated { (plots * 0.6, plots * 0.4) } else { (plots, 0.0) }
        }
    };
    let width = left + bars + MARGIN + if evaluated { GAP + losses } else { 10.0 };
    let mut entries: Vec<Entry<'_>> =
        (0..4).map(|q| Entry { name: QUARTERS[q], color: colour(q), swatch: Swatch::Area }).collect();
    if spreads().any(|spread| spread.nonfinite > 0) {
        entries.push(Entry { name: "not finite", color: ABSENT, swatch: Swatch::Area });
    }
    let legend = legend::rows(&entries, width - left - MARGIN);
    let top = MARGIN + legend.len() as f64 * legend::LINE + 34.0;
    let height = rows.len() as f64 * each;
    let title = "Share of attention heads in each quarter of the entropy range 0 to M, and evaluation loss";
    let mut picture = Picture::new(width, top + height + BELOW + 26.0 + MARGIN, title);
    legend::draw(&mut picture, (left, MARGIN + 8.0), &legend);

    let axes = |left: f64, width: f64, x: (f64, f64)| Axes { left, top, width, height, x, y: (0.0, 1.0) };
    axes(left, bars, (0.0, 100.0)).draw_x(&mut picture, "Share of heads (%)");
    let middle_of = |index: usize| top + (index as f64 + 1.0) * each - ROW / 2.0;
    for (index, row) in rows.iter().enumerate() {
        let middle = middle_of(index);
        match &over {
            None => {
                picture.text(Text::new(left - 10.0, middle, NAME, row.name).anchor(Anchor::End).color(INK))
            }
            Some(names) => {
                for (line, name) in names[index].iter().rev().enumerate() {
                    let above = middle - BAR / 2.0 - 10.0 - NAME_LINE * line as f64;
                    picture.text(Text::new(left, above, NAME, name).anchor(Anchor::Start).color(INK));
                }
            }
        }
        match (&row.spread, row.divergence) {
            (Some(spread), _) => bar(&mut picture, (left, middle - BAR / 2.0), bars, spread),
            (None, Some(divergence)) => {
                let told = Text::new(left + 8.0, middle, SMALL, divergence.to_string());
                picture.text(told.anchor(Anchor::Start).color(QUIET));
            }
            (None, None) => {}
        }
    }
    if evaluated {
        let all = || rows.iter().flat_map(|row| row.losses.iter().copied());
        let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
        let room = ((high - low) * 0.12).max(0.02);
        let axes = axes(left + bars + GAP, losses, (low - room, high + room));
        let label = "Evaluation loss (nats per token)";
        // Below a narrow plot there is room for less.
        let fits = text::width(label, NAME) * text::SLACK <= losses + GAP / 2.0;
        axes.draw_x(&mut picture, if fits { label } else { "Loss (nats)" });
        for (index, row) in rows.iter().enumerate() {
            let middle = middle_of(index);
            picture.line(vec![(axes.left, middle), (axes.left + losses, middle)], 0.8, Rgb::hex(0xe4e4e4));
            losses_of(&mut picture, &axes, middle, row);
        }
        axes.draw_frame(&mut picture);
    }
    let m = match spreads().next().map(|spread| spread.reference) {
        Some(m) if spreads().all(|spread| (spread.reference - m).abs() <= 5e-3) => {
            format!("M = {m:.2} nats, {reference}")
        }
        _ => format!("M: {reference}"),
    };
    let mut notes = vec![m];
    if rows.iter().any(|row| row.losses.len() > 1) {
        let seeds = "shares are means over seeds; losses: every seed, mean and standard deviation";
        match room {
            None => notes[0] = format!("{}; {seeds}", notes[0]),
            Some(_) => notes.push(seeds.to_owned()),
        }
    }
    if let Some(room) = room {
        let most = text::lines_in(room - 2.0 * MARGIN, is_narrow(Some(room)));
        notes = notes.iter().flat_map(|note| text::wrapped(note, SMALL, most)).collect();
    }
    let widest = notes.iter().map(|note| text::width(note, SMALL)).fold(0.0, f64::max);
    let slack = if room.is_some() { 1.0 } else { text::SLACK };
    picture.width = picture.width.max(2.0 * MARGIN + widest * slack).ceil();
    picture.height += 17.0 * (notes.len() - 1) as f64;
    for (line, note) in notes.into_iter().enumerate() {
        let middle = top + height + BELOW + 20.0 + 17.0 * line as f64;
        picture.text(Text::new(picture.width / 2.0, middle, SMALL, note).color(QUIET));
    }
    Ok(picture)
}

/// The four pieces of one bar, and the share of heads in none of them.
fn bar(picture: &mut Picture, (left, top): (f64, f64), bars: f64, spread: &Spread) {
    let mut x = left;
    for (quarter, &share) in spread.bins.iter().enumerate() {
        let (width, fill) = (share * bars, colour(quarter));
        if width <= 0.0 {
            continue;
        }
        // A white line separates pieces that would have the same grey in print.
        picture.rect(x, top, (width - 1.0).max(0.5), BAR, fill);
        if width >= NARROWEST {
            let label = Text::new(x + width / 2.0, top + BAR / 2.0, SMALL, percent(share));
            picture.text(label.color(fill.ink()));
        }
        x += width;
    }
    let rest = left + bars - x;
    if spread.nonfinite > 0 && rest > 0.5 {
        picture.rect(x, top, rest, BAR, ABSENT);
        hatch(picture, (x, top), (rest, BAR));
    }
}

/// One seed's loss is a disc; with several seeds each loss is a small ring, and their mean is drawn with its standard
/// deviation.
fn losses_of(picture: &mut Picture, axes: &Axes, middle: f64, row: &Row<'_>) {
    let losses = &row.losses;
    let x = |loss: f64| axes.place((loss, 0.0)).0;
    let Some(sample) = Sample::of(losses) else {
        // If all runs diverged, the text in place of the bar says so.
        if row.divergence.is_some_and(Divergence::whole) {
            return;
        }
        let at = Text::new(axes.left + 8.0, middle, SMALL, "not finite, or not evaluated");
        picture.text(at.anchor(Anchor::Start).color(QUIET));
        return;
    };
    if let Some(deviation) = sample.deviation {
        let ends = [sample.mean - deviation, sample.mean + deviation].map(x);
        picture.line(vec![(ends[0], middle), (ends[1], middle)], 1.6, INK);
        for end in ends {
            picture.line(vec![(end, middle - 5.0), (end, middle + 5.0)], 1.6, INK);
        }
        for &loss in losses {
            picture.disc(x(loss), middle, 3.6, QUIET);
            picture.disc(x(loss), middle, 2.4, WHITE);
        }
    }
    picture.disc(x(sample.mean), middle, 4.6, INK);
}
