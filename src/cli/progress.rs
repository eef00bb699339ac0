//! How far training has come: a bar on a terminal, a line now and then elsewhere.

use super::{duration, thousands};
use crate::train::trainer::Event;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Weight of the newest loss in the smoothed one.
const NEWEST: f64 = 0.05;
/// Speed is that of the last so many readings.
const WINDOW: usize = 50;
/// Where there is no terminal: a line at least this often, and one for each such share of the steps.
const LINE_EVERY: Duration = Duration::from_secs(10);
const LINE_SHARE: u64 = 20;

/// A style from a template of this program's own.
pub(super) fn bar_style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("━╸ ")
}

/// Shows one or more trainings, one after another.
pub(super) struct TrainProgress {
    bar: ProgressBar,
    quiet: bool,
    /// All steps of all runs, and those done.
    total: u64,
    done: u64,
    /// The run under way, for the start of a line.
    label: String,
    loss: Option<f64>,
    tokens_per_step: u64,
    arrivals: VecDeque<Instant>,
    last_line: Instant,
    lines: u64,
    /// Twentieths of the way.
    share: u64,
}

impl TrainProgress {
    /// A display of `total` steps, of which `done` are past.
    pub fn new(quiet: bool, total: u64, done: u64) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(total) };
        bar.set_style(bar_style("{prefix} {bar:24} {pos}/{len}  {msg}"));
        bar.set_position(done);
        Self {
            bar,
            quiet,
            total,
            done,
            label: String::new(),
            loss: None,
            tokens_per_step: 0,
            arrivals: VecDeque::new(),
            last_line: Instant::now(),
            lines: 0,
            share: done * LINE_SHARE / total.max(1),
        }
    }

    /// The next run begins.
    pub fn begin(&mut self, label: &str, tokens_per_step: u64) {
        self.label = label.to_owned();
        self.bar.set_prefix(label.to_owned());
        self.loss = None;
        self.tokens_per_step = tokens_per_step;
        self.arrivals.clear();
        self.arrivals.push_back(Instant::now());
    }

    /// What a trainer tells.
    pub fn watch(&mut self, event: &Event) {
        match event {
            Event::Step(step) => {
                if step.overflow {
                    let scale = step.loss_scale.unwrap_or_default();
                    self.line(format!("step {}: the gradient overflowed at loss scale {scale}", step.step));
                }
                self.step(step.loss);
            }
            Event::Eval(eval) => {
                self.line(format!(
                    "step {}: held-out loss {:.4}, perplexity {:.3}",
                    eval.step, eval.loss, eval.ppl
                ));
            }
            Event::Nonfinite(found) => self.line(format!(
                "step {}: {} in `{}` {} ({})",
                found.step, found.value, found.tensor, found.scope, found.phase
            )),
            Event::Note(note) => self.line(note.clone()),
            Event::Checkpoint(_) => {}
        }
    }

    /// The bar goes; what was printed stays.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn step(&mut self, loss: f64) {
        self.done += 1;
        self.loss = Some(match self.loss {
            Some(smooth) if smooth.is_finite() && loss.is_finite() => smooth + NEWEST * (loss - smooth),
            _ => loss,
        });
        self.arrivals.push_back(Instant::now());
        if self.arrivals.len() > WINDOW + 1 {
            self.arrivals.pop_front();
        }
        self.bar.set_message(self.state());
        self.bar.set_position(self.done);
        // The first step, the last, each twentieth of the way, and at least one every few seconds.
        let share = self.done * LINE_SHARE / self.total.max(1);
        let due = self.lines == 0 || share > self.share || self.last_line.elapsed() >= LINE_EVERY;
        if self.bar.is_hidden() && due {
            self.line(format!("{}/{}  {}", self.done, self.total, self.state()));
            self.last_line = Instant::now();
            self.lines += 1;
        }
        self.share = share;
    }

    fn state(&self) -> String {
        let loss = self.loss.map_or(String::new(), |loss| format!("loss {loss:.4}"));
        let seconds = match (self.arrivals.front(), self.arrivals.back()) {
            (Some(first), Some(last)) => last.duration_since(*first).as_secs_f64(),
            _ => 0.0,
        };
        let steps = self.arrivals.len().saturating_sub(1) as f64;
        if seconds <= 0.0 || steps == 0.0 {
            return loss;
        }
        let speed = (self.tokens_per_step as f64 * steps / seconds) as u64;
        let left = duration((self.total - self.done.min(self.total)) as f64 * seconds / steps);
        format!("{loss}  {} tokens/s  {left} left", thousands(speed))
    }

    fn line(&self, text: String) {
        let text = if self.label.is_empty() { text } else { format!("{}  {text}", self.label) };
        if self.quiet {
            return;
        }
        if self.bar.is_hidden() { eprintln!("{text}") } else { self.bar.println(text) }
    }
}
