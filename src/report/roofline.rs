//! The roofline picture (Williams, Waterman, Patterson 2009): how fast each kernel runs, compared with what arithmetic and
//! memory allow at its ratio of operations to bytes.

use crate::draw::axes::{INK, QUIET, tick_text};
use crate::draw::colormap::{OKABE_ITO, Rgb, WHITE};
use crate::draw::picture::{Anchor, Picture, Text};
use crate::draw::text;

/// A ceiling with its name: FLOP/s for arithmetic, bytes per second for memory.
#[derive(Clone, Debug)]
pub struct Ceiling {
    pub name: String,
    pub rate: f64,
}

/// One kernel.
#[derive(Clone, Debug)]
pub struct Point {
    pub name: String,
    pub flops: f64,
    pub bytes: f64,
    pub seconds: f64,
}

const GRID: Rgb = Rgb::hex(0xe4e4e4);
const MARGIN: f64 = 18.0;
const PLOT: (f64, f64) = (760.0, 430.0);
/// Space left of, above and below the frame.
const LEFT: f64 = 74.0;
const TOP: f64 = 62.0;
const BELOW: f64 = 50.0;
/// This many kernels, slowest first, are named and have their own colour.
const NAMED: usize = OKABE_ITO.len();
const LINE: f64 = 34.0;

/// Draws `points`, slowest first, under the ceilings. The area of a disc shows the kernel's share of the time.
pub fn roofline(title: &str, arithmetic: &[Ceiling], memory: &[Ceiling], points: &[Point]) -> Picture {
    let drawn: Vec<&Point> = points.iter().filter(|p| p.flops > 0.0 && p.seconds > 0.0).collect();
    let total: f64 = points.iter().map(|point| point.seconds).sum();
    let entry = |point: &Point| {
        let rate = point.flops / point.seconds;
        let share = 100.0 * point.seconds / total;
        (point.name.clone(), format!("{} · {share:.0}% of the time", rate_text(rate, "FLOP/s")))
    };
    let key: Vec<_> = drawn.iter().take(NAMED).map(|point| entry(point)).collect();
    let widest = key.iter().flat_map(|(a, b)| [text::width(a, 13.0), text::width(b, 12.0)]);
    let right = 40.0 + widest.fold(120.0, f64::max) * 1.15;
    let width = 2.0 * MARGIN + LEFT + PLOT.0 + right;
    let mut picture = Picture::new(width, TOP + PLOT.1 + BELOW + MARGIN, title);
    let (left, top) = (MARGIN + LEFT, TOP);

    let intensities: Vec<f64> = drawn.iter().map(|point| point.flops / point.bytes).collect();
    let rates: Vec<f64> = drawn.iter().map(|point| point.flops / point.seconds).collect();
    let roof = arithmetic.iter().map(|ceiling| ceiling.rate).fold(0.0, f64::max);
    let x = decades(intensities.iter().copied().chain([0.1, 100.0]));
    let y = decades(rates.iter().copied().chain([roof * 1.3]));
    let place = |(a, b): (f64, f64)| {
        let part = |value: f64, range: (f64, f64)| (value.log10() - range.0) / (range.1 - range.0);
        (left + part(a, x) * PLOT.0, top + (1.0 - part(b, y)) * PLOT.1)
    };

    picture.text(Text::new(left, 22.0, 16.0, title).anchor(Anchor::Start).bold().color(INK));
    let note = "disc: one kind of kernel, its area about the share of the step's time; lines: what this device reached";
    picture.text(Text::new(left, 44.0, 12.5, note).anchor(Anchor::Start).color(QUIET));
    frame(&mut picture, (left, top), x, y);
    let edge = (10f64.powf(x.0), 10f64.powf(x.1));
    for (ceiling, dash) in memory.iter().zip([None, Some(6.0), Some(3.0)]) {
        // From the frame's left or lower edge up to the highest roof.
        let low = edge.0.max(10f64.powf(y.0) / ceiling.rate);
        let ends = [low, roof / ceiling.rate].map(|at| place((at, at * ceiling.rate)));
        match dash {
            Some(dash) => picture.dashed(ends.to_vec(), 1.6, QUIET, dash),
            None => picture.line(ends.to_vec(), 1.6, QUIET),
        }
    }
    for ceiling in arithmetic {
        let knee = memory.iter().map(|m| ceiling.rate / m.rate).fold(f64::INFINITY, f64::min).max(edge.0);
        let ends = [(knee, ceiling.rate), (edge.1, ceiling.rate)].map(place);
        picture.line(ends.to_vec(), 1.6, QUIET);
        let name = format!("{}: {}", ceiling.name, rate_text(ceiling.rate, "FLOP/s"));
        // The label is safe there: no disc can lie above the slope.
        let label = Text::new(ends[0].0 - 8.0, ends[0].1, 12.0, name);
        picture.text(label.anchor(Anchor::End).color(INK));
    }
    // Large discs first, so that none hides a smaller one; discs in the same place are rings around each other.
    let mut discs: Vec<Disc> = Vec::new();
    for (index, point) in drawn.iter().enumerate() {
        let at = place((point.flops / point.bytes, point.flops / point.seconds));
        let radius = (point.seconds / total * 500.0).sqrt().clamp(3.0, 18.0);
        let color = if index < NAMED { OKABE_ITO[index] } else { Rgb::hex(0x9a9a9a) };
        discs.push(Disc { at, radius, color });
    }
    for Disc { at, radius, color } in apart(discs) {
        picture.disc(at.0, at.1, radius + 1.4, WHITE);
        picture.disc(at.0, at.1, radius, color);
    }
    let x = left + PLOT.0 + 34.0;
    for (index, (name, numbers)) in key.into_iter().enumerate() {
        let y = top + 8.0 + index as f64 * LINE;
        picture.disc(x - 14.0, y, 5.0, OKABE_ITO[index]);
        picture.text(Text::new(x, y, 13.0, name).anchor(Anchor::Start).color(INK));
        picture.text(Text::new(x, y + 15.0, 12.0, numbers).anchor(Anchor::Start).color(QUIET));
    }
    let mut below = top + 8.0 + drawn.len().min(NAMED) as f64 * LINE + 6.0;
    if drawn.len() > NAMED {
        picture.disc(x - 14.0, below, 4.0, Rgb::hex(0x9a9a9a));
        let label = Text::new(x, below, 13.0, format!("{} others", drawn.len() - NAMED));
        picture.text(label.anchor(Anchor::Start).color(INK));
        below += 24.0;
    }
    for (ceiling, dash) in memory.iter().zip([None, Some(6.0), Some(3.0)]) {
        let line = vec![(x - 22.0, below), (x - 6.0, below)];
        match dash {
            Some(dash) => picture.dashed(line, 1.6, QUIET, dash),
            None => picture.line(line, 1.6, QUIET),
        }
        let name = format!("{}: {}", ceiling.name, rate_text(ceiling.rate, "B/s"));
        picture.text(Text::new(x, below, 12.0, name).anchor(Anchor::Start).color(INK));
        below += 19.0;
    }
    picture
}

/// A kernel on the page.
#[derive(Clone, Copy)]
struct Disc {
    at: (f64, f64),
    radius: f64,
    color: Rgb,
}

/// How much of a disc another one in its place leaves to be seen.
const RIM: f64 = 3.5;

/// The discs from the largest to the smallest. One that the smaller ones on top of it would cover grows until a rim of it is
/// seen around them.
fn apart(mut discs: Vec<Disc>) -> Vec<Disc> {
    discs.sort_by(|a, b| a.radius.total_cmp(&b.radius));
    for index in 1..discs.len() {
        let (smaller, rest) = discs.split_at_mut(index);
        let own = &mut rest[0];
        for other in smaller {
            let away = (own.at.0 - other.at.0).hypot(own.at.1 - other.at.1);
            // Its far side is inside the other one, or nearly.
            if own.radius + away < other.radius + RIM {
                own.radius = other.radius + RIM - away;
            }
        }
    }
    discs.sort_by(|a, b| b.radius.total_cmp(&a.radius));
    discs
}

/// The whole powers of ten around all values.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite() && *value > 0.0)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value.log10()), high.max(value.log10()))
        });
    if low > high { (0.0, 1.0) } else { (low.floor(), high.ceil().max(low.floor() + 1.0)) }
}

fn frame(picture: &mut Picture, (left, top): (f64, f64), x: (f64, f64), y: (f64, f64)) {
    let (right, bottom) = (left + PLOT.0, top + PLOT.1);
    for power in x.0 as i32..=x.1 as i32 {
        let at = left + (f64::from(power) - x.0) / (x.1 - x.0) * PLOT.0;
        picture.line(vec![(at, top), (at, bottom)], 1.0, GRID);
        picture.text(Text::new(at, bottom + 14.0, 12.0, plain(10f64.powi(power))).color(INK));
    }
    for power in y.0 as i32..=y.1 as i32 {
        let at = bottom - (f64::from(power) - y.0) / (y.1 - y.0) * PLOT.1;
        picture.line(vec![(left, at), (right, at)], 1.0, GRID);
        let label = Text::new(left - 8.0, at, 12.0, rate_text(10f64.powi(power), "").trim_end());
        picture.text(label.anchor(Anchor::End).color(INK));
    }
    picture.line(vec![(left, top), (left, bottom), (right, bottom)], 1.2, INK);
    let label = "Operations per byte moved (FLOP/B)";
    picture.text(Text::new(left + PLOT.0 / 2.0, bottom + 37.0, 14.0, label).color(INK));
    let label = Text::new(left - 58.0, top + PLOT.1 / 2.0, 14.0, "Operations per second (FLOP/s)");
    picture.text(label.turned().color(INK));
}

/// 0.01, 1, 1000 without an exponent.
fn plain(value: f64) -> String {
    if value >= 1.0 { tick_text(value, 1.0) } else { tick_text(value, value) }
}

/// A rate with the prefix that leaves one to three digits before the point.
pub fn rate_text(rate: f64, unit: &str) -> String {
    const PREFIXES: [(&str, f64); 5] = [("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)];
    let (prefix, size) = PREFIXES.into_iter().find(|(_, size)| rate >= *size).unwrap_or(("", 1.0));
    let value = rate / size;
    let number =
        if value >= 99.95 || value.fract() < 1e-9 { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("{number} {prefix}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_prefixes() {
        let text = [0.5, 999.0, 1e4, 37.25e9, 6.7e13].map(|rate| rate_text(rate, "FLOP/s"));
        assert_eq!(text, ["0.5 FLOP/s", "999 FLOP/s", "10 kFLOP/s", "37.2 GFLOP/s", "67 TFLOP/s"]);
    }

    #[test]
    fn no_disc_hides_another() {
        let disc = |x: f64, radius| Disc { at: (x, 0.0), radius, color: WHITE };
        let discs =
            apart(vec![disc(0.0, 5.0), disc(0.0, 5.0), disc(1.0, 5.0), disc(100.0, 18.0), disc(0.0, 3.0)]);
        assert!(discs.windows(2).all(|pair| pair[0].radius >= pair[1].radius));
        for (index, below) in discs.iter().enumerate() {
            for above in &discs[index + 1..] {
                let away = (below.at.0 - above.at.0).abs();
                assert!(
                    below.radius + away >= above.radius + RIM - 1e-9,
                    "{} and {}",
                    below.radius,
                    above.radius
                );
            }
        }
    }

    #[test]
    fn every_kernel_with_operations_is_a_disc_inside_the_frame() {
        let ceiling = |name: &str, rate| Ceiling { name: name.to_owned(), rate };
        let point = |flops, seconds| Point { name: "k".to_owned(), flops, bytes: 1e6, seconds };
        let points: Vec<Point> =
            (0..12).map(|i| point(10f64.powi(i), 1e-3)).chain([point(0.0, 1.0)]).collect();
        let picture = roofline("t", &[ceiling("f32", 1e11)], &[ceiling("memory", 1e10)], &points);
        let discs = picture.marks.iter().filter_map(|mark| match mark {
            crate::draw::picture::Mark::Disc { x, y, radius, .. } if *radius != 5.0 && *radius != 4.0 => {
                Some((*x, *y))
            }
            _ => None,
        });
        let discs: Vec<_> = discs.collect();
        assert_eq!(discs.len(), 2 * 12, "a rim and a disc for each");
        for (x, y) in discs {
            assert!(
                (MARGIN + LEFT..=MARGIN + LEFT + PLOT.0).contains(&x) && (TOP..=TOP + PLOT.1).contains(&y)
            );
        }
    }
}
