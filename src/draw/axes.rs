//! The frame of a curve plot: ranges, ticks, grid, labels.

use super::colormap::Rgb;
use super::picture::{Anchor, Picture, Text};
use super::text;

/// The colour of axes, ticks and labels.
pub const INK: Rgb = Rgb::hex(0x222222);
/// The colour of notes beside them.
pub const QUIET: Rgb = Rgb::hex(0x555555);
const GRID: Rgb = Rgb::hex(0xe4e4e4);
/// The label of an axis of steps, which has only whole numbers.
pub const STEPS: &str = "Steps done";
const TICK: f64 = 12.0;
const LABEL: f64 = 14.0;

/// Round numbers within `low` … `high`, about `count` of them, and the step between them.
pub fn nice_ticks(low: f64, high: f64, count: usize) -> (Vec<f64>, f64) {
    let count = count.max(2);
    let rough = (high - low) / count as f64;
    // A subnormal number has no power of ten that could be its step.
    if !(rough.is_finite() && rough > f64::MIN_POSITIVE * 10.0) {
        return (vec![low], 1.0);
    }
    let magnitude = 10f64.powf(rough.log10().floor());
    let steps = [0.2, 0.5, 1.0, 2.0, 5.0, 10.0].map(|m| m * magnitude);
    let ends = |step: f64| ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    let wanted = steps.iter().position(|&step| step >= rough * 0.999).unwrap_or(steps.len() - 1);
    // A single tick says nothing of the scale, so there are more of them where a short range has but one.
    let scaled = |step: &&f64| ends(**step).0 < ends(**step).1;
    let step = *steps[..=wanted].iter().rev().find(scaled).unwrap_or(&steps[wanted]);
    let (first, last) = ends(step);
    ((first..=last).take(2 * count + 2).map(|k| k as f64 * step).collect(), step)
}

/// A tick with the decimals its step needs and separated thousands.
pub fn tick_text(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::from(if value < 0.0 { "−" } else { "" });
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A tick of an axis, which has no room for many digits.
fn axis_text(value: f64, step: f64) -> String {
    if value.abs() >= 1e7 || (value != 0.0 && step < 1e-6) {
        exponential(value)
    } else {
        tick_text(value, step)
    }
}

/// 2e43 with one or three digits before the exponent.
fn exponential(value: f64) -> String {
    let text = format!("{value:.2e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    format!("{digits}e{power}").replace('-', "−")
}

/// A plot area on the page and the ranges it shows.
#[derive(Clone, Copy, Debug)]
pub struct Axes {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    pub x: (f64, f64),
    pub y: (f64, f64),
}

impl Axes {
    /// The position of a value on the page.
    pub fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let part = |value: f64, range: (f64, f64)| (value - range.0) / (range.1 - range.0);
        (self.left + part(x, self.x) * self.width, self.top + (1.0 - part(y, self.y)) * self.height)
    }

    /// Grid, ticks and axis labels.
    pub fn draw(&self, picture: &mut Picture, x_label: &str, y_label: &str) {
        self.draw_x(picture, x_label);
        self.draw_y(picture, y_label);
        self.draw_frame(picture);
    }

    /// Grid, ticks and label of the vertical axis alone.
    pub fn draw_y(&self, picture: &mut Picture, label: &str) {
        let right = self.left + self.width;
        let (ticks, step) = nice_ticks(self.y.0, self.y.1, (self.height / 45.0) as usize);
        let mut widest = 0f64;
        for tick in ticks {
            let at = self.place((self.x.0, tick)).1;
            picture.line(vec![(self.left, at), (right, at)], 1.0, GRID);
            let text = axis_text(tick, step);
            widest = widest.max(text::width(&text, TICK));
            picture.text(Text::new(self.left - 8.0, at, TICK, text).anchor(Anchor::End).color(INK));
        }
        let away = (widest * text::SLACK + 18.0).max(48.0);
        let label = Text::new(self.left - away, self.top + self.height / 2.0, LABEL, label);
        picture.text(label.turned().color(INK));
    }

    /// Grid, ticks and label of a vertical axis of common logarithms: the labels show the numbers themselves.
    pub fn draw_y_decades(&self, picture: &mut Picture, label: &str) {
        let right = self.left + self.width;
        let decades = self.y.1 - self.y.0;
        let digits: &[f64] = if decades < 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let every = (decades / (self.height / 24.0)).ceil().max(1.0) as usize;
        for power in (self.y.0.floor() as i32..=self.y.1.ceil() as i32).step_by(every) {
            for value in digits.iter().map(|digit| digit * 10f64.powi(power)) {
                if !(self.y.0..=self.y.1).contains(&value.log10()) {
                    continue;
                }
                let at = self.place((self.x.0, value.log10())).1;
                picture.line(vec![(self.left, at), (right, at)], 1.0, GRID);
                let text =
                    if power.abs() > 4 { exponential(value) } else { tick_text(value, value.min(1.0)) };
                let text = Text::new(self.left - 8.0, at, TICK, text);
                picture.text(text.anchor(Anchor::End).color(INK));
            }
        }
        let label = Text::new(self.left - 54.0, self.top + self.height / 2.0, LABEL, label);
        picture.text(label.turned().color(INK));
    }

    /// Grid, ticks and label of the horizontal axis alone.
    pub fn draw_x(&self, picture: &mut Picture, label: &str) {
        let bottom = self.top + self.height;
        let (ticks, step) = nice_ticks(self.x.0, self.x.1, (self.width / 75.0) as usize);
        for tick in ticks.into_iter().filter(|tick| label != STEPS || tick.fract() == 0.0) {
            let at = self.place((tick, self.y.0)).0;
            picture.line(vec![(at, self.top), (at, bottom)], 1.0, GRID);
            picture.text(Text::new(at, bottom + 14.0, TICK, axis_text(tick, step)).color(INK));
        }
        picture.text(Text::new(self.left + self.width / 2.0, bottom + 37.0, LABEL, label).color(INK));
    }

    /// The two axes' lines.
    pub fn draw_frame(&self, picture: &mut Picture) {
        let (right, bottom) = (self.left + self.width, self.top + self.height);
        picture.line(vec![(self.left, self.top), (self.left, bottom), (right, bottom)], 1.2, INK);
    }

    /// A second axis on the right, labelled with e^y.
    pub fn draw_exponential(&self, picture: &mut Picture, label: &str) {
        let right = self.left + self.width;
        picture.line(vec![(right, self.top), (right, self.top + self.height)], 1.2, INK);
        let (low, high) = (self.y.0.max(0.0) / std::f64::consts::LN_10, self.y.1 / std::f64::consts::LN_10);
        // No more decades than labels have room for: a loss of 12,000 is a perplexity of 5,212 digits.
        let every = ((high - low) / (self.height / 22.0)).ceil().max(1.0) as usize;
        let digits: &[f64] = if every == 1 { &[1.0, 2.0, 3.0, 4.0, 5.0, 7.0] } else { &[1.0] };
        let mut last = f64::INFINITY;
        for power in (low.floor() as i32..=high.floor() as i32).step_by(every) {
            for digit in digits {
                let loss = f64::from(power) * std::f64::consts::LN_10 + digit.ln();
                let at = self.place((self.x.1, loss)).1;
                let inside = (self.top - 0.5..=self.top + self.height + 0.5).contains(&at);
                if inside && last - at >= 22.0 {
                    picture.line(vec![(right, at), (right + 4.0, at)], 1.2, INK);
                    let text = match power {
                        ..7 => tick_text(digit * 10f64.powi(power), 1.0),
                        _ => format!("{digit}e{power}"),
                    };
                    picture.text(Text::new(right + 8.0, at, TICK, text).anchor(Anchor::Start).color(INK));
                    last = at;
                }
            }
        }
        let label = Text::new(right + 52.0, self.top + self.height / 2.0, LABEL, label);
        picture.text(label.turned().color(INK));
    }

    /// A curve through `points`, cut at the frame and broken where a value is not finite.
    pub fn curve(
        &self,
        picture: &mut Picture,
        points: &[(f64, f64)],
        width: f64,
        color: Rgb,
        dash: Option<f64>,
    ) {
        let mut piece: Vec<(f64, f64)> = Vec::new();
        let mut finish = |piece: &mut Vec<(f64, f64)>| {
            let points: Vec<_> = piece.drain(..).map(|point| self.place(point)).collect();
            match (points.len(), dash) {
                (0, _) => {}
                (1, _) => picture.disc(points[0].0, points[0].1, width, color),
                (_, Some(dash)) => picture.dashed(points, width, color, dash),
                (_, None) => picture.line(points, width, color),
            }
        };
        let mut previous: Option<(f64, f64)> = None;
        let inside = |y: f64| (self.y.0..=self.y.1).contains(&y);
        for &point in points {
            if !point.1.is_finite() {
                finish(&mut piece);
                previous = None;
                continue;
            }
            if let Some(before) = previous
                && inside(before.1) != inside(point.1)
            {
                let (outside, within) = if inside(point.1) { (before, point) } else { (point, before) };
                let edge = outside.1.clamp(self.y.0, self.y.1);
                let part = (edge - within.1) / (outside.1 - within.1);
                piece.push((within.0 + (outside.0 - within.0) * part, edge));
            }
            if inside(point.1) {
                piece.push(point);
            } else {
                finish(&mut piece);
            }
            previous = Some(point);
        }
        finish(&mut piece);
    }

    /// A triangle at the upper or lower edge where a curve leaves the frame for values that are `far`, to show that it
    /// continues out of sight.
    pub fn mark_leaving(
        &self,
        picture: &mut Picture,
        points: &[(f64, f64)],
        far: impl Fn(f64) -> bool,
        color: Rgb,
    ) {
        let (mut outside, mut last) = (false, f64::NEG_INFINITY);
        for &(x, y) in points {
            let leaves = y.is_finite() && !self.shows((x, y)) && far(y);
            let at = self.place((x, self.y.0)).0;
            // Neighbouring spikes share one triangle.
            if leaves && !outside && at - last > 9.0 {
                let (edge, side) =
                    if y > self.y.1 { (self.top, 1.0) } else { (self.top + self.height, -1.0) };
                let base = edge + 7.0 * side;
                picture.line(
                    vec![(at - 4.0, base), (at + 4.0, base), (at, edge), (at - 4.0, base)],
                    2.0,
                    color,
                );
                last = at;
            }
            outside = leaves;
        }
    }

    /// Whether a point lies inside the frame.
    pub fn shows(&self, (_, y): (f64, f64)) -> bool {
        y.is_finite() && (self.y.0..=self.y.1).contains(&y)
    }

    /// A cross at the last finite value before a curve stops being finite.
    pub fn cross(&self, picture: &mut Picture, (x, y): (f64, f64), color: Rgb) {
        let (x, y) = self.place((x, y.clamp(self.y.0, self.y.1)));
        let arm = 5.0;
        picture.line(vec![(x - arm, y - arm), (x + arm, y + arm)], 2.0, color);
        picture.line(vec![(x - arm, y + arm), (x + arm, y - arm)], 2.0, color);
    }
}

/// The last finite point before the first non-finite one, if both exist.
pub fn last_finite(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let broken = points.iter().position(|point| !point.1.is_finite())?;
    points[..broken].last().copied()
}
