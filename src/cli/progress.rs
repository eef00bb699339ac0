//! How far training has come: a bar on a terminal, a line now and then elsewhere.

use super::{duration, thousands};
use crate::config::Config;
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

/// What the bar is divided into.
const PARTS: u64 = 1000;

/// Shows one or more trainings, one after another. How far they are is counted in work, of which a step is as much as
/// its run says: for one run a step, for runs of several sizes the operations of a step.
pub(super) struct TrainProgress {
    bar: ProgressBar,
    quiet: bool,
    /// Work of all runs, what of it is done, and what was when the clock began.
    total: f64,
    done: f64,
    done_before: f64,
    clock: Option<Instant>,
    /// The run under way, for the start of a line; its steps, those done, and the work of one.
    label: String,
    steps: u64,
    step: u64,
    work: f64,
    loss: Option<f64>,
    tokens_per_step: u64,
    arrivals: VecDeque<Instant>,
    last_line: Instant,
    lines: u64,
    /// Twentieths of the way.
    share: u64,
}

impl TrainProgress {
    /// A display of `total` work, of which `done` is past.
    pub fn new(quiet: bool, total: f64, done: f64) -> Self {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(PARTS) };
        bar.set_style(bar_style("{prefix}{bar:16} {percent:>3}%  {wide_msg}"));
        let mut progress = Self {
            bar,
            quiet,
            total,
            done,
            done_before: done,
            clock: None,
            label: String::new(),
            steps: 0,
            step: 0,
            work: 1.0,
            loss: None,
            tokens_per_step: 0,
            arrivals: VecDeque::new(),
            last_line: Instant::now(),
            lines: 0,
            share: 0,
        };
        progress.share = progress.twentieths();
        progress
    }

    /// The next run begins, or goes on, at `step`; `work` is that of one of its steps.
    pub fn begin(&mut self, label: &str, config: &Config, step: u64, work: f64) {
        self.label = label.to_owned();
        self.bar.set_prefix(if label.is_empty() { String::new() } else { format!("{label} ") });
        self.bar.set_position((self.part() * PARTS as f64) as u64);
        (self.steps, self.step, self.work) = (config.train.steps, step, work);
        self.loss = None;
        self.tokens_per_step = config.train.tokens_per_step();
        self.arrivals.clear();
        self.arrivals.push_back(Instant::now());
        self.clock.get_or_insert_with(Instant::now);
    }

    /// The bar, to be suspended while others print.
    pub fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// So much work will not be done here after all.
    pub fn leave_out(&mut self, work: f64) {
        self.total -= work;
    }

    /// One line for a person, above the bar.
    pub fn say(&self, text: &str) {
        if self.quiet {
            return;
        }
        if self.bar.is_hidden() { eprintln!("{text}") } else { self.bar.println(text) }
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
        self.step += 1;
        self.done += self.work;
        self.loss = Some(match self.loss {
            Some(smooth) if smooth.is_finite() && loss.is_finite() => smooth + NEWEST * (loss - smooth),
            _ => loss,
        });
        self.arrivals.push_back(Instant::now());
        if self.arrivals.len() > WINDOW + 1 {
            self.arrivals.pop_front();
        }
        self.bar.set_message(self.state());
        self.bar.set_position((self.part() * PARTS as f64) as u64);
        // The first step, the last, each twentieth of the way, and at least one every few seconds.
        let share = self.twentieths();
        let due = self.lines == 0 || share > self.share || self.last_line.elapsed() >= LINE_EVERY;
        if self.bar.is_hidden() && due {
            self.line(self.state());
            self.last_line = Instant::now();
            self.lines += 1;
        }
        self.share = share;
    }

    /// How far all runs are, from 0 to 1.
    fn part(&self) -> f64 {
        if self.total > 0.0 { (self.done / self.total).min(1.0) } else { 1.0 }
    }

    fn twentieths(&self) -> u64 {
        (self.part() * LINE_SHARE as f64) as u64
    }

    /// Steps, loss, speed of the last steps, and the time that is left for all runs: by what this process did so far,
    /// with everything between steps.
    fn state(&self) -> String {
        let mut parts = vec![format!("{}/{}", self.step, self.steps)];
        if let Some(loss) = self.loss {
            parts.push(format!("loss {loss:.4}"));
        }
        if let (Some(first), Some(last)) = (self.arrivals.front(), self.arrivals.back())
            && last > first
        {
            let steps = (self.arrivals.len() - 1) as f64;
            let speed = self.tokens_per_step as f64 * steps / last.duration_since(*first).as_secs_f64();
            parts.push(format!("{} tokens/s", thousands(speed as u64)));
        }
        let here = self.done - self.done_before;
        if let Some(clock) = self.clock
            && here > 0.0
        {
            let left = (self.total - self.done).max(0.0) * clock.elapsed().as_secs_f64() / here;
            parts.push(format!("{} left", duration(left)));
        }
        parts.join("  ")
    }

    fn line(&self, text: String) {
        self.say(&if self.label.is_empty() { text } else { format!("{}  {text}", self.label) });
    }
}
