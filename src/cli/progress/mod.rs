//! Training progress: a live view for a person at a terminal, an occasional line elsewhere.
//!
//! `whole` counts for all runs together, `board` holds what is known of one, `view` draws it, `tabs` says which part of it, `colours` colours entropies,
//! and `screen` owns the terminal meanwhile.

mod board;
mod colours;
mod curves;
mod heads;
mod screen;
mod tabs;
mod view;
mod whole;

use super::terminal::{self, is_up};
use crate::config::Config;
use crate::numbers::{duration, thousands};
use crate::observe::entropy::causal_ceiling;
use crate::observe::quantities::{LOSS, LOSS_SCALE, OVERFLOW};
use crate::observe::record::nth;
use crate::train::trainer::Event;
use board::Board;
use screen::Screen;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use whole::Whole;

/// Weight of the newest loss in the smoothed loss.
const NEWEST: f64 = 0.05;
/// Speed is averaged over this many readings.
const WINDOW: usize = 50;
/// Without a view: print a line at least this often, and one for each such share of the steps.
const LINE_EVERY: Duration = Duration::from_secs(10);
const LINE_SHARE: u64 = 20;
/// The most letters of a text in a line.
const TEXT: usize = 120;

/// How a training shows itself.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Display {
    /// Print lines instead of the live view, even on a terminal
    #[arg(long)]
    plain: bool,
}

impl Display {
    /// The options that select this display.
    pub fn options(self) -> &'static str {
        if self.plain { " --plain" } else { "" }
    }
}

/// Shows one or more trainings, one after another, alone or beside others. Progress is counted in work, and each run
/// defines the work of its steps: 1 for a single run, the operations of a step for runs of several sizes.
pub(super) struct TrainProgress {
    quiet: bool,
    /// Whether a view is allowed; it is up while a run trains.
    live: bool,
    screen: Option<Screen>,
    board: Arc<Mutex<Board>>,
    /// What all runs have done, and whether other displays add to it.
    whole: Arc<Mutex<Whole>>,
    beside: bool,
    /// Whether a run has begun that has not been left.
    training: bool,
    /// The current run: its label, steps, completed steps, and work per step.
    label: String,
    steps: u64,
    step: u64,
    work: f64,
    loss: Option<f64>,
    tokens_per_step: u64,
    arrivals: VecDeque<Instant>,
    last_line: Instant,
    lines: u64,
    /// Completed twentieths of the way.
    share: u64,
}

impl TrainProgress {
    /// A display of `total` work with `done` completed, for one run or several, titled `title` in the view.
    pub fn new(shown: (bool, Display), title: &str, (total, done): (f64, f64)) -> Self {
        Self::of(shown, title, &Arc::new(Mutex::new(Whole::new((total, done)))), false)
    }

    /// Displays of `count` trainings at a time, each one after another, of `total` work together. Each prints lines that
    /// begin with the label of its run; only a display that is alone has a view.
    pub fn side_by_side(
        count: usize,
        shown: (bool, Display),
        title: &str,
        (total, done): (f64, f64),
    ) -> Vec<Self> {
        let whole = Arc::new(Mutex::new(Whole::new((total, done))));
        (0..count).map(|_| Self::of(shown, title, &whole, count > 1)).collect()
    }

    fn of((quiet, display): (bool, Display), title: &str, whole: &Arc<Mutex<Whole>>, beside: bool) -> Self {
        let mut progress = Self {
            quiet,
            live: !quiet && !display.plain && !beside && Screen::is_possible(),
            screen: None,
            board: Arc::new(Mutex::new(Board { title: title.to_owned(), ..Board::default() })),
            whole: whole.clone(),
            beside,
            training: false,
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

    /// The next run starts or resumes at `step`; `work` is the work of one of its steps.
    pub fn begin(&mut self, label: &str, config: &Config, step: u64, work: f64) {
        self.label = label.to_owned();
        (self.steps, self.step, self.work) = (config.train.steps, step, work);
        self.loss = None;
        self.tokens_per_step = config.train.tokens_per_step();
        self.arrivals.clear();
        self.arrivals.push_back(Instant::now());
        if !std::mem::replace(&mut self.training, true) {
            self.whole().enter();
        }
        if self.live {
            let part = self.whole().part();
            let mut board = screen::lock(&self.board);
            board.begin(label, (step, self.steps), causal_ceiling(config.train.sequence_length));
            board.part = part;
            drop(board);
            self.screen = Screen::raise(&self.board);
            // A terminal that cannot be drawn on gets lines.
            self.live = self.screen.is_some();
        }
    }

    /// Takes the view off the terminal until the next run starts.
    pub fn leave(&mut self) {
        if is_up() && self.step > 0 {
            self.line(self.state());
        }
        if std::mem::take(&mut self.training) {
            self.whole().leave();
        }
        self.screen = None;
    }

    /// Removes work that will not be done here after all.
    pub fn leave_out(&mut self, work: f64) {
        self.whole().leave_out(work);
    }

    /// The tokens that all runs were trained on here, and the time since the first display was made.
    pub fn trained(&self) -> (u64, Duration) {
        self.whole().trained()
    }

    fn whole(&self) -> MutexGuard<'_, Whole> {
        whole::lock(&self.whole)
    }

    /// Prints one line for a person.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            terminal::say(text);
        }
    }

    /// Handles a trainer's event.
    pub fn watch(&mut self, event: &Event) {
        match event {
            Event::Step { step, values } => {
                if values.number(&OVERFLOW).is_some_and(|overflow| overflow != 0.0) {
                    let scale = values.number(&LOSS_SCALE).unwrap_or_default();
                    self.line(format!("step {}: the gradient overflowed at loss scale {scale}", nth(*step)));
                }
                self.show(|board| board.measured.update(values));
                self.step(values.number(&LOSS));
            }
            Event::Eval(eval) => {
                self.show(|board| board.held_out.push((eval.step, eval.loss, eval.ppl)));
                self.line(format!(
                    "step {}: held-out loss {:.4}, perplexity {:.3}",
                    eval.step, eval.loss, eval.ppl
                ));
            }
            Event::Nonfinite(found) => self.line(format!(
                "step {}: {} in `{}` {} ({})",
                nth(found.step),
                found.value,
                found.tensor,
                found.scope,
                found.phase
            )),
            Event::Note(note) => self.line(note.clone()),
            Event::Sample(sample) => {
                self.show(|board| board.text((*sample).clone()));
                let text: String = sample.text.chars().take(TEXT).collect();
                let more = if text.len() < sample.text.len() { "…" } else { "" };
                self.line(format!("step {}: {}▏{text}{more}", sample.step, sample.prompt).replace('\n', "⏎"));
            }
            Event::Checkpoint(_) => {}
        }
    }

    /// Updates the view, if there is one.
    fn show(&self, change: impl FnOnce(&mut Board)) {
        if self.live {
            change(&mut screen::lock(&self.board));
        }
    }

    /// Counts a step; its loss is absent if none of its targets counts.
    fn step(&mut self, loss: Option<f64>) {
        self.step += 1;
        self.whole().step(self.work, self.tokens_per_step);
        self.loss = match (self.loss, loss) {
            (Some(smooth), Some(loss)) if smooth.is_finite() && loss.is_finite() => {
                Some(smooth + NEWEST * (loss - smooth))
            }
            (smooth, loss) => loss.or(smooth),
        };
        self.arrivals.push_back(Instant::now());
        if self.arrivals.len() > WINDOW + 1 {
            self.arrivals.pop_front();
        }
        let (part, left) = {
            let whole = self.whole();
            (whole.part(), whole.left())
        };
        self.show(|board| {
            (board.step, board.part, board.left) = (self.step, part, left);
            (board.loss, board.tokens_per_s) = (self.loss, self.speed());
            board.curve.push(self.step as f64, self.loss.unwrap_or(f64::NAN));
        });
        // Print the first step, the last, each twentieth of the way, and at least one every few seconds.
        let share = self.twentieths();
        let due = self.lines == 0 || share > self.share || self.last_line.elapsed() >= LINE_EVERY;
        if due && !is_up() {
            self.line(self.state());
            self.last_line = Instant::now();
            self.lines += 1;
        }
        self.share = share;
    }

    /// The completed twentieths of all runs.
    fn twentieths(&self) -> u64 {
        (self.whole().part() * LINE_SHARE as f64) as u64
    }

    /// Tokens per second over the latest steps.
    fn speed(&self) -> Option<f64> {
        let (first, last) = (self.arrivals.front()?, self.arrivals.back()?);
        let steps = (self.arrivals.len() - 1) as f64;
        (last > first)
            .then(|| self.tokens_per_step as f64 * steps / last.duration_since(*first).as_secs_f64())
    }

    /// Steps, loss, speed and remaining time; beside others the speed of all as well.
    fn state(&self) -> String {
        let (left, (tokens, time)) = {
            let whole = self.whole();
            (whole.left(), whole.trained())
        };
        let mut parts = vec![format!("{}/{}", self.step, self.steps)];
        parts.extend(self.loss.map(|loss| format!("smoothed loss {loss:.4}")));
        parts.extend(self.speed().map(|speed| format!("{} tokens/s", thousands(speed as u64))));
        if self.beside {
            parts.push(in_all(tokens, time));
        }
        parts.extend(left.map(|left| format!("{} left", duration(left))));
        parts.join("  ")
    }

    fn line(&self, text: String) {
        self.say(&if self.label.is_empty() { text } else { format!("{}  {text}", self.label) });
    }
}

/// The speed of all runs together.
pub(super) fn in_all(tokens: u64, time: Duration) -> String {
    format!("{} tokens/s in all", thousands((tokens as f64 / time.as_secs_f64().max(f64::EPSILON)) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_between_runs_does_not_count_as_training() {
        let config = include_str!("../../../configs/demo/sm_r.toml");
        let config = Config::parse(config, "sm_r.toml", &[]).unwrap();
        let mut progress = TrainProgress::new((true, Display { plain: true }), "", (20.0, 0.0));
        for run in 0..2 {
            progress.begin("", &config, 0, 1.0);
            (0..5).for_each(|_| progress.step(Some(1.0)));
            if run == 0 {
                progress.leave();
                // Kernels are compiled and timed.
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        let left = progress.whole().left().unwrap();
        assert!(left < 0.5, "{left} s left, of ten steps that took no time");
    }
}
