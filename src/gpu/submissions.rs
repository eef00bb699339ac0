//! Splits work into submissions short enough for every watchdog, based on times measured on this device.
//!
//! Systems end a submission that takes some seconds, and the device with it. The duration of work is not known in
//! advance. It is counted in floating-point operations and bytes, and converted to seconds by how long earlier
//! submissions took that were waited for. A submission sent before another is done costs the device next to nothing,
//! so splitting adds no waits.

use super::Gpu;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most seconds of one submission, unless a single command takes longer: about a tenth of the limit of the most
/// impatient watchdog known.
pub const LONGEST: f64 = 0.25;
/// These rates convert counted work to seconds until something has been measured: a slow integrated GPU reaches them.
/// A GPU five times slower still finishes its first submission in time.
const FLOPS: f64 = 50e9;
const BYTES: f64 = 5e9;
/// Shorter submissions say more about the cost of a submission than about the work in it.
const MEASURABLE: Duration = Duration::from_millis(5);
/// A wait this long was a real one, so the end of the submission is known.
const WAITED: Duration = Duration::from_micros(200);
/// The part of the slowest pace measured that is still believed after each faster one.
const FADING: f64 = 0.9;
/// Windows' watchdog waits for 2 s, others wait longer.
const IMPATIENT: f64 = 1.5;

/// Estimated seconds of work before anything has been measured.
pub(crate) fn counted_seconds(flops: u64, bytes: u64) -> f64 {
    flops as f64 / FLOPS + bytes as f64 / BYTES
}

/// A submission sent to the device.
struct Sent {
    number: u64,
    index: wgpu::SubmissionIndex,
    counted: f64,
}

/// Submissions in flight, and how long earlier ones took.
pub(super) struct Timeline {
    sent: VecDeque<Sent>,
    next: u64,
    clock: Clock,
}

impl Timeline {
    pub fn new() -> Self {
        Self { sent: VecDeque::new(), next: 0, clock: Clock::default() }
    }

    /// Submissions up to number `last` are done; `seen` if the end of that one was waited for.
    fn done(&mut self, last: u64, now: Instant, seen: bool) {
        while self.sent.front().is_some_and(|sent| sent.number <= last)
            && let Some(sent) = self.sent.pop_front()
        {
            let more = !self.sent.is_empty();
            self.clock.ends(now, sent.counted, seen && sent.number == last, more);
        }
    }
}

/// When the device began its current work, and how fast it has been so far.
#[derive(Debug, Default)]
struct Clock {
    /// When the oldest submission in flight began to run, and whether that is known or only the earliest possible time.
    since: Option<(Instant, bool)>,
    /// The slowest pace measured: seconds of work divided by its counted seconds.
    pace: Option<f64>,
}

impl Clock {
    /// A submission is sent, perhaps to an idle device.
    fn begins(&mut self, now: Instant) {
        self.since.get_or_insert((now, true));
    }

    /// The oldest submission, of `counted` work, is done. `seen`: its end was waited for; `more`: the next has begun.
    fn ends(&mut self, now: Instant, counted: f64, seen: bool, more: bool) {
        if let Some((since, true)) = self.since
            && seen
        {
            self.took(now.saturating_duration_since(since), counted);
        }
        self.since = more.then_some((now, seen));
    }

    /// `counted` work took this long.
    fn took(&mut self, took: Duration, counted: f64) {
        if took >= MEASURABLE && counted > 0.0 {
            let pace = took.as_secs_f64() / counted;
            self.pace = Some(self.pace.map_or(pace, |before| pace.max(FADING * before)));
        }
    }

    /// Seconds for which the oldest submission in flight has been running.
    fn running(&self, now: Instant) -> Option<f64> {
        self.since.map(|(since, _)| now.saturating_duration_since(since).as_secs_f64())
    }
}

fn lock(timeline: &Mutex<Timeline>) -> MutexGuard<'_, Timeline> {
    timeline.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds for which the oldest submission in flight has been running.
pub(super) fn running(timeline: &Arc<Mutex<Timeline>>) -> Option<f64> {
    lock(timeline).clock.running(Instant::now())
}

/// Describes the loss of a device, with a remedy, by how many seconds its last submission had been running.
pub(super) fn loss(running: Option<f64>) -> (String, &'static str) {
    match running {
        Some(seconds) if seconds >= IMPATIENT => (
            format!(
                "the work it was lost with had been running for {seconds:.1} s: this looks like a watchdog, with which a \
                 system ends work that takes too long"
            ),
            "close other programs that use this device, lower train.batch_size, or raise the system's limit (TdrDelay \
             on Windows)",
        ),
        Some(seconds) => (
            format!(
                "the work it was lost with had been running for {seconds:.2} s: too short for a watchdog"
            ),
            "try again, or choose another --device; if it happens again, report it",
        ),
        None => ("nothing was running on it".to_owned(), "try again, or choose another --device"),
    }
}

impl Gpu {
    /// Submits commands and returns their number, to wait for. `counted` is their [`counted_seconds`], 0 if nothing was
    /// counted.
    pub(crate) fn submit(&self, commands: wgpu::CommandBuffer, counted: f64) -> u64 {
        let began = Instant::now();
        let idle = {
            let mut timeline = lock(&self.timeline);
            timeline.clock.begins(began);
            timeline.sent.is_empty()
        };
        let index = self.queue.submit([commands]);
        let mut timeline = lock(&self.timeline);
        // Some drivers do the work before they return. If other work is ahead, they may be waiting for that.
        if idle {
            timeline.clock.took(began.elapsed(), counted);
        }
        let number = timeline.next;
        timeline.next += 1;
        timeline.sent.push_back(Sent { number, index, counted });
        number
    }

    /// Number of submissions so far.
    pub fn submissions(&self) -> u64 {
        lock(&self.timeline).next
    }

    /// Limits a submission to `seconds` instead of [`LONGEST`]. For tests: splitting changes no result.
    pub fn set_longest_submission(&self, seconds: f64) {
        self.longest.set(seconds);
    }

    /// Waits for a submission and all before it, one after another, so that the end of each is seen.
    pub(super) fn wait_for_sent(&self, last: Option<u64>) -> Result<(), wgpu::PollError> {
        loop {
            let oldest = lock(&self.timeline).sent.front().map(|sent| (sent.number, sent.index.clone()));
            let Some((number, index)) = oldest.filter(|(number, _)| last.is_none_or(|last| *number <= last))
            else {
                return Ok(());
            };
            let began = Instant::now();
            let submission_index = Some(index);
            self.device.poll(wgpu::PollType::Wait { submission_index, timeout: None })?;
            let now = Instant::now();
            lock(&self.timeline).done(number, now, now - began >= WAITED);
        }
    }

    /// A submission is known to be done without a wait, and so are all before it.
    pub(super) fn is_done(&self, last: u64) {
        lock(&self.timeline).done(last, Instant::now(), false);
    }

    /// Expected seconds on this device for `counted` work.
    fn expected(&self, counted: f64) -> f64 {
        counted * lock(&self.timeline).clock.pace.unwrap_or(1.0)
    }
}

/// Commands being recorded. They are submitted, and a new submission is begun, when the next ones would make it too long.
pub(crate) struct Work<'a> {
    gpu: &'a Gpu,
    encoder: wgpu::CommandEncoder,
    counted: f64,
}

impl<'a> Work<'a> {
    /// Nothing yet.
    pub fn new(gpu: &'a Gpu) -> Self {
        Self { gpu, encoder: gpu.device.create_command_encoder(&Default::default()), counted: 0.0 }
    }

    /// The encoder, for commands that take negligible time.
    pub fn encoder(&mut self) -> &mut wgpu::CommandEncoder {
        &mut self.encoder
    }

    /// Whether `counted` more is too much for one submission. If so, call [`Self::cut`] with no pass open.
    pub fn is_full_with(&self, counted: f64) -> bool {
        self.counted > 0.0 && self.gpu.expected(self.counted + counted) > self.gpu.longest.get()
    }

    /// Submits what was recorded.
    pub fn cut(&mut self) {
        let next = self.gpu.device.create_command_encoder(&Default::default());
        let full = std::mem::replace(&mut self.encoder, next);
        self.gpu.submit(full.finish(), std::mem::take(&mut self.counted));
    }

    /// Counts work that is recorded next.
    pub fn count(&mut self, counted: f64) {
        self.counted += counted;
    }

    /// Submits the rest and returns the number of that submission. When it is done, all the work is.
    pub fn send(self) -> u64 {
        self.gpu.submit(self.encoder.finish(), self.counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn awaited_submissions_give_the_pace() {
        let (start, mut clock) = (Instant::now(), Clock::default());
        let at = |seconds| after(start, seconds);
        clock.begins(at(0.0));
        clock.begins(at(0.1));
        clock.ends(at(1.0), 0.5, true, true);
        assert_eq!(clock.pace, Some(2.0));
        // The second began when the first ended, not when it was sent; a faster one is believed bit by bit.
        clock.ends(at(1.5), 0.5, true, false);
        assert_eq!(clock.pace, Some(FADING * 2.0));
        // A slower one is believed at once; an idle device begins what is sent to it at once.
        clock.begins(at(9.0));
        clock.ends(at(10.0), 0.1, true, false);
        assert!((clock.pace.unwrap() - 10.0).abs() < 1e-6);
    }

    #[test]
    fn unseen_or_short_submissions_give_no_pace() {
        let (start, mut clock) = (Instant::now(), Clock::default());
        let at = |seconds| after(start, seconds);
        clock.begins(at(0.0));
        clock.begins(at(0.0));
        clock.begins(at(0.0));
        clock.ends(at(1.0), 0.1, false, true);
        // Its beginning is not known.
        clock.ends(at(2.0), 0.1, true, true);
        assert_eq!(clock.pace, None);
        clock.ends(at(2.001), 0.1, true, false);
        assert_eq!(clock.pace, None, "too short");
        clock.begins(at(3.0));
        clock.ends(at(4.0), 0.0, true, false);
        assert_eq!(clock.pace, None, "nothing was counted");
        // A driver that does the work before it returns.
        clock.took(Duration::from_millis(4), 0.1);
        assert_eq!(clock.pace, None, "too short");
        clock.took(Duration::from_secs(1), 0.1);
        assert_eq!(clock.pace, Some(10.0));
    }

    #[test]
    fn a_loss_says_whether_it_looks_like_a_watchdog() {
        let (start, mut clock) = (Instant::now(), Clock::default());
        let at = |seconds| after(start, seconds);
        assert_eq!(clock.running(at(1.0)), None);
        clock.begins(at(0.0));
        clock.ends(at(5.0), 0.1, true, true);
        let running = clock.running(at(7.1));
        let (found, remedy) = loss(running);
        assert!(found.contains("for 2.1 s: this looks like a watchdog"), "{found}");
        assert!(remedy.contains("TdrDelay"), "{remedy}");
        let (found, _) = loss(clock.running(at(5.1)));
        assert!(found.contains("for 0.10 s: too short for a watchdog"), "{found}");
        assert!(loss(None).0.contains("nothing was running"));
    }

    #[test]
    fn the_first_submissions_suit_a_slow_gpu() {
        // GPT-2's micro-batch of 8 sequences at T = 1,024: 6 TFLOP.
        let cuts = counted_seconds(6_000_000_000_000, 0) / LONGEST;
        assert!((400.0..600.0).contains(&cuts), "{cuts}");
        // The tests' small step fits in one submission.
        assert!(counted_seconds(1_000_000_000, 100_000_000) < LONGEST);
    }
}
