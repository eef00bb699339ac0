//! The progress of all runs of a command together, which one or several displays add to.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Work, tokens and time of all runs. Work is counted as each run defines it; see
/// [`TrainProgress`](super::TrainProgress).
#[derive(Debug)]
pub(super) struct Whole {
    /// The work of all runs, the work done, and the work done before this process began.
    total: f64,
    done: f64,
    done_before: f64,
    /// How many runs are training, and since when at least one is.
    training: usize,
    clock: Option<Instant>,
    /// Earlier times in which at least one run trained: in between, kernels are compiled and timed.
    counted: Duration,
    /// When the command came to its runs, and the tokens trained on since.
    begun: Instant,
    tokens: u64,
}

/// The progress, even after a thread panicked while holding it.
pub(super) fn lock(whole: &Mutex<Whole>) -> MutexGuard<'_, Whole> {
    whole.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Whole {
    /// `total` work, of which `done` is completed.
    pub fn new((total, done): (f64, f64)) -> Self {
        Self {
            total,
            done,
            done_before: done,
            training: 0,
            clock: None,
            counted: Duration::ZERO,
            begun: Instant::now(),
            tokens: 0,
        }
    }

    /// One more run trains.
    pub fn enter(&mut self) {
        self.training += 1;
        self.clock.get_or_insert_with(Instant::now);
    }

    /// One run fewer trains.
    pub fn leave(&mut self) {
        self.training -= 1;
        if self.training == 0 {
            self.counted = self.time();
            self.clock = None;
        }
    }

    /// Removes work that will not be done here after all.
    pub fn leave_out(&mut self, work: f64) {
        self.total -= work;
    }

    /// Counts a step.
    pub fn step(&mut self, work: f64, tokens: u64) {
        self.done += work;
        self.tokens += tokens;
    }

    /// From 0 to 1.
    pub fn part(&self) -> f64 {
        if self.total > 0.0 { (self.done / self.total).min(1.0) } else { 1.0 }
    }

    /// Seconds left, extrapolated from this process's speed including everything between steps.
    pub fn left(&self) -> Option<f64> {
        let here = self.done - self.done_before;
        (here > 0.0).then(|| (self.total - self.done).max(0.0) * self.time().as_secs_f64() / here)
    }

    /// The tokens trained on here, and the time since the command came to its runs, whatever happened in it.
    pub fn trained(&self) -> (u64, Duration) {
        (self.tokens, self.begun.elapsed())
    }

    /// How long this process has trained so far.
    fn time(&self) -> Duration {
        self.counted + self.clock.map_or(Duration::ZERO, |clock| clock.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_while_any_run_trains() {
        let mut whole = Whole::new((8.0, 0.0));
        let pause = Duration::from_millis(50);
        let after = |whole: &mut Whole, change: fn(&mut Whole)| {
            change(whole);
            std::thread::sleep(pause);
            whole.time()
        };
        let one = after(&mut whole, Whole::enter);
        let two = after(&mut whole, Whole::enter);
        let still_one = after(&mut whole, Whole::leave);
        let none = after(&mut whole, Whole::leave);
        assert!(two >= one + pause && still_one >= two + pause, "{one:?} {two:?} {still_one:?}");
        assert!(none < still_one + pause && whole.time() == none, "{none:?} after {still_one:?}");
        (0..4).for_each(|_| whole.step(1.0, 32));
        assert_eq!((whole.part(), whole.trained().0), (0.5, 128));
        assert!(whole.left().unwrap() < none.as_secs_f64() * 1.01);
    }
}
