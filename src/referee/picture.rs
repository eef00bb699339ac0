//! The picture of a ruling: every difference with its interval, in units of its margin.

use super::judge::{Judged, Ruling, Verdict};
use crate::draw::axes::{Axes, INK, QUIET};
use crate::draw::colormap::{OKABE_ITO, Rgb, WHITE};
use crate::draw::legend::{self, Entry, Swatch};
use crate::draw::picture::{Anchor, Picture, Text};
use crate::draw::text;

const MARGIN: f64 = 18.0;
const ROW: f64 = 40.0;
const WIDE: f64 = 440.0;
const SIZE: f64 = 12.5;
const BELOW: f64 = 58.0;
/// Differences of more than this many margins are drawn at the edge, as an arrow.
const FAR: f64 = 8.0;
const BAND: Rgb = Rgb::hex(0xeef2f5);

/// Draws the difference of each comparison at both readings, with its 95% interval. `None` if no comparison has one.
pub fn picture(ruling: &Ruling) -> Option<Picture> {
    let of = |ruled: &super::Ruled| ruled.judged.clone();
    let rows: Vec<Judged> =
        ruling.claims.iter().flat_map(of).filter(|judged| !ends(judged).is_empty()).collect();
    let far = rows.iter().flat_map(ends).fold(2.0, f64::max).min(FAR).ceil();
    let widest = |text: &dyn Fn(&Judged) -> String| {
        rows.iter().map(|row| text::width(&text(row), SIZE)).fold(0.0, f64::max) * text::SLACK
    };
    if rows.is_empty() {
        return None;
    }
    let names = widest(&pair).max(widest(&expectation)) + 14.0;
    let verdicts = widest(&|row: &Judged| row.verdict.words().to_owned()) + 14.0;
    let kinds = [Verdict::Held, Verdict::NotHeld, Verdict::NotDecided];
    let entries: Vec<Entry<'_>> = kinds
        .iter()
        .map(|&kind| Entry { name: kind.words(), color: color(kind), swatch: Swatch::Marker(0) })
        .collect();
    let (left, width) = (MARGIN + names, MARGIN + names + WIDE + verdicts + MARGIN);
    let legend = legend::rows(&entries, width - left);
    let top = MARGIN + legend.len() as f64 * legend::LINE + 26.0;
    let tall = rows.len() as f64 * ROW;
    let mut picture = Picture::new(width, top + tall + BELOW, "Differences that claims are decided by");
    legend::draw(&mut picture, (left, MARGIN + 8.0), &legend);
    let note = "upper mark: end; lower mark: best checkpoint; lines: 95% intervals; grey: within the margin";
    let note = Text::new(left, top - 14.0, SIZE, note).anchor(Anchor::Start).color(QUIET);
    picture.text(note);
    let axes = Axes { left, top, width: WIDE, height: tall, x: (-far, far), y: (0.0, rows.len() as f64) };
    let (from, to) = (axes.place((-1.0, 0.0)).0, axes.place((1.0, 0.0)).0);
    picture.rect(from, top, to - from, tall, BAND);
    axes.draw_x(&mut picture, "Difference, in margins");
    let zero = axes.place((0.0, 0.0)).0;
    picture.line(vec![(zero, top), (zero, top + tall)], 1.2, QUIET);
    axes.draw_frame(&mut picture);
    for (place, row) in rows.iter().enumerate() {
        let middle = top + (place as f64 + 0.5) * ROW;
        let end = left - 10.0;
        picture.text(Text::new(end, middle - 8.0, SIZE, pair(row)).anchor(Anchor::End).color(INK));
        picture.text(Text::new(end, middle + 8.0, SIZE, expectation(row)).anchor(Anchor::End).color(QUIET));
        let words = Text::new(left + WIDE + 10.0, middle, SIZE, row.verdict.words());
        picture.text(words.anchor(Anchor::Start).color(INK));
        for (outcome, side) in row.outcomes.iter().zip([-7.0, 7.0]) {
            let Some((outcome, found)) = outcome.as_ref().and_then(|of| Some((of, of.differences?))) else {
                continue;
            };
            let at = |value: f64| axes.place(((value / row.expectation.margin).clamp(-far, far), 0.0)).0;
            let (y, color) = (middle + side, color(outcome.verdict));
            picture.line(vec![(at(found.interval.0), y), (at(found.interval.1), y)], 1.8, color);
            let x = at(found.mean);
            if (found.mean / row.expectation.margin).abs() > far {
                // Inside the frame, because labels stand beside it.
                let tip = x - 2.0 * found.mean.signum();
                let back = x - 11.0 * found.mean.signum();
                picture.line(vec![(back, y - 5.0), (tip, y), (back, y + 5.0)], 2.0, color);
            } else {
                picture.disc(x, y, 4.5, color);
                if side > 0.0 {
                    picture.disc(x, y, 2.4, WHITE);
                }
            }
        }
    }
    Some(picture)
}

/// The ends of a row's intervals, in margins.
fn ends(judged: &Judged) -> Vec<f64> {
    let found = judged.outcomes.iter().flatten().filter_map(|outcome| outcome.differences);
    found
        .flat_map(|of| [of.interval.0, of.interval.1])
        .map(|end| (end / judged.expectation.margin).abs())
        .collect()
}

fn pair(judged: &Judged) -> String {
    format!("{} − {}", judged.labels[0], judged.labels[1])
}

/// "loss: less; margin 0.02".
fn expectation(judged: &Judged) -> String {
    let of = &judged.expectation;
    format!("{}: {} expected; margin {}", of.quantity.word().replace('_', " "), of.is, of.margin)
}

fn color(verdict: Verdict) -> Rgb {
    match verdict {
        Verdict::Held => OKABE_ITO[0],
        Verdict::NotHeld => OKABE_ITO[1],
        Verdict::NotDecided => Rgb::hex(0x777777),
    }
}
