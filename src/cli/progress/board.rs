//! What the live view shows: the training writes it, the drawing thread reads it.

use std::collections::VecDeque;

use crate::observe::record::{Measured, Sample};

/// How many notes the view keeps.
const NOTES: usize = 64;

/// How many texts the view keeps: those of more evaluations than any terminal shows.
const TEXTS: usize = 32;

/// How many points a curve keeps: more than any terminal has columns of dots.
const POINTS: usize = 1024;

/// The progress of all runs, and everything known about the current one.
#[derive(Clone, Debug, Default)]
pub(super) struct Board {
    /// The title of the run, or of all runs.
    pub title: String,
    /// The current run, if there are several.
    pub label: String,
    /// The progress of all runs, from 0 to 1.
    pub part: f64,
    pub step: u64,
    pub steps: u64,
    /// Seconds left for all runs.
    pub left: Option<f64>,
    pub tokens_per_s: Option<f64>,
    /// Smoothed; in nats per token.
    pub loss: Option<f64>,
    pub curve: Curve,
    /// Step, loss and perplexity on held-out text.
    pub held_out: Vec<(u64, f64, f64)>,
    /// What the newest step measured.
    pub measured: Measured,
    /// The entropy in nats at the upper end of the colours.
    pub top: f64,
    /// The texts of the latest evaluations, newest last.
    pub texts: VecDeque<Sample>,
    /// The latest notes, newest last.
    pub notes: VecDeque<String>,
    /// Notes not yet in the scrollback.
    pub pending: Vec<String>,
}

impl Board {
    /// Adds a note for a person.
    pub fn note(&mut self, text: String) {
        if self.notes.len() == NOTES {
            self.notes.pop_front();
        }
        self.notes.push_back(text.clone());
        self.pending.push(text);
    }

    /// Adds the text of an evaluation.
    pub fn text(&mut self, sample: Sample) {
        if self.texts.len() == TEXTS {
            self.texts.pop_front();
        }
        self.texts.push_back(sample);
    }

    /// Starts a run: clears everything about the previous one except the notes.
    pub fn begin(&mut self, label: &str, (step, steps): (u64, u64), top: f64) {
        let Self { title, notes, pending, .. } = std::mem::take(self);
        *self = Self { title, label: label.to_owned(), step, steps, top, notes, pending, ..Self::default() };
    }
}

/// A curve that keeps its shape in a bounded number of points: when there are too many, neighbours merge.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    points: Vec<(f64, f64)>,
    /// Readings per point.
    stride: usize,
    /// Sums and number of the readings that do not form a point yet.
    sums: (f64, f64),
    count: usize,
}

impl Default for Curve {
    fn default() -> Self {
        Self { points: Vec::new(), stride: 1, sums: (0.0, 0.0), count: 0 }
    }
}

impl Curve {
    /// Adds a reading; non-finite readings are not drawn.
    pub fn push(&mut self, x: f64, y: f64) {
        if !y.is_finite() {
            return;
        }
        self.sums = (self.sums.0 + x, self.sums.1 + y);
        self.count += 1;
        if self.count < self.stride {
            return;
        }
        let of = self.count as f64;
        self.points.push((self.sums.0 / of, self.sums.1 / of));
        (self.sums, self.count) = ((0.0, 0.0), 0);
        if self.points.len() == POINTS {
            let middle = |pair: &[(f64, f64)]| ((pair[0].0 + pair[1].0) / 2.0, (pair[0].1 + pair[1].1) / 2.0);
            self.points = self.points.chunks_exact(2).map(middle).collect();
            self.stride *= 2;
        }
    }

    /// Points in order of x.
    pub fn points(&self) -> &[(f64, f64)] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_keeps_its_shape() {
        let mut curve = Curve::default();
        for i in 0..100_000 {
            curve.push(f64::from(i), 3.0 * f64::from(i) + 1.0);
            curve.push(f64::from(i), f64::NAN);
        }
        let points = curve.points();
        assert!(points.len() < POINTS && points.len() >= POINTS / 4, "{}", points.len());
        assert!(points.iter().all(|&(x, y)| (y - 3.0 * x - 1.0).abs() < 1e-6));
        assert!(points[0].0 < 200.0 && points[points.len() - 1].0 > 99_000.0);
    }

    #[test]
    fn notes_outlive_a_run() {
        let mut board = Board::default();
        (0..100).for_each(|i| board.note(i.to_string()));
        board.begin("next", (3, 7), 1.0);
        assert_eq!((board.notes.len(), board.notes.back().unwrap().as_str()), (NOTES, "99"));
        assert_eq!((board.pending.len(), board.step, board.steps), (100, 3, 7));
    }
}
