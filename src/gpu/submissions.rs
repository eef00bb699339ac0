//! Work sent off in submissions that end before any watchdog ends them, by what was measured on this device.
//!
//! Systems end a submission that takes some seconds, and the device with it. How long work takes is not known before: it is
//! counted in floating-point operations and bytes, and turned into seconds by how long submissions took that were waited
//! for. A submission that begins before another is done costs the device next to nothing, and nothing is waited for.

use super::Gpu;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Seconds that one submission takes at most, if one of its commands does not take longer by itself: a tenth of what is
/// known of the most impatient watchdog.
pub const LONGEST: f64 = 0.25;
/// Counted work becomes seconds by these until something was measured: what a slow integrated GPU reaches. One that is
/// five times slower still ends its first submission in time.
const FLOPS: f64 = 50e9;
const BYTES: f64 = 5e9;
/// Submissions that take less say more of what a submission costs than of the work in it.
const MEASURABLE: Duration = Duration::from_millis(5);
/// A wait so long was one: the end of what was waited for is known.
const WAITED: Duration = Duration::from_micros(200);
/// Of the slowest work that was measured, so much is still believed after each faster one.
const FADING: f64 = 0.9;
/// Windows' watchdog waits for 2 s, others for longer.
const IMPATIENT: f64 = 1.5;

/// Seconds of work before anything was measured.
pub(crate) fn counted_seconds(flops: u64, bytes: u64) -> f64 {
    flops as f64 / FLOPS + bytes as f64 / BYTES
}

/// A submission that was sent off.
struct Sent {
    number: u64,
    index: wgpu::SubmissionIndex,
    counted: f64,
}

/// What is on its way to the device, and how long such things took.
pub(super) struct Timeline {
    sent: VecDeque<Sent>,
    next: u64,
    clock: Clock,
}

impl Timeline {
    pub fn new() -> Self {
        Self { sent: VecDeque::new(), next: 0, clock: Clock::default() }
    }

    /// What was sent off is done up to a number; `seen` where its end was waited for.
    fn done(&mut self, last: u64, now: Instant, seen: bool) {
        while self.sent.front().is_some_and(|sent| sent.number <= last)
            && let Some(sent) = self.sent.pop_front()
        {
            let more = !self.sent.is_empty();
            self.clock.ends(now, sent.counted, seen && sent.number == last, more);
        }
    }
}

/// When the device began what it is doing, and how fast it was so far.
#[derive(Debug, Default)]
struct Clock {
    /// When the oldest submission under way began to run, and whether that is known or only the earliest it can have been.
    since: Option<(Instant, bool)>,
    /// Seconds of the slowest work measured, over what was counted of it.
    pace: Option<f64>,
}

impl Clock {
    /// Something is sent off; nothing may be under way.
    fn begins(&mut self, now: Instant) {
        self.since.get_or_insert((now, true));
    }

    /// The oldest is done, of so much counted work; `seen` where its end was waited for. With `more` the next has begun.
    fn ends(&mut self, now: Instant, counted: f64, seen: bool, more: bool) {
        if let Some((since, true)) = self.since
            && seen
        {
            self.took(now.saturating_duration_since(since), counted);
        }
        self.since = more.then_some((now, seen));
    }

    /// So much counted work took so long.
    fn took(&mut self, took: Duration, counted: f64) {
        if took >= MEASURABLE && counted > 0.0 {
            let pace = took.as_secs_f64() / counted;
            self.pace = Some(self.pace.map_or(pace, |before| pace.max(FADING * before)));
        }
    }

    /// Seconds for which the oldest submission under way has been running.
    fn running(&self, now: Instant) -> Option<f64> {
        self.since.map(|(since, _)| now.saturating_duration_since(since).as_secs_f64())
    }
}

fn lock(timeline: &Mutex<Timeline>) -> MutexGuard<'_, Timeline> {
    timeline.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds for which the oldest submission under way has been running.
pub(super) fn running(timeline: &Arc<Mutex<Timeline>>) -> Option<f64> {
    lock(timeline).clock.running(Instant::now())
}

/// What the end of a device says of itself, by the seconds for which the submission it was lost with had been running.
pub(super) fn loss(running: Option<f64>) -> (String, &'static str) {
    match running {
        Some(seconds) if seconds >= IMPATIENT => (
            format!(
                "the work it was lost with had been running for {seconds:.1} s: this looks like a watchdog, by which a \
                 system ends what takes too long"
            ),
            "close other programs that use this device, lower train.batch_size, or raise the system's limit (TdrDelay \
             on Windows)",
        ),
        Some(seconds) => (
            format!("the work it was lost with had been running for {seconds:.2} s: no watchdog is so early"),
            "try again, or another --device; if it comes back, report it",
        ),
        None => ("nothing was running on it".to_owned(), "try again, or another --device"),
    }
}

impl Gpu {
    /// Sends commands off; returns their number, to wait for. `counted` is what [`counted_seconds`] says of them, 0 where
    /// nothing was counted.
    pub(crate) fn submit(&self, commands: wgpu::CommandBuffer, counted: f64) -> u64 {
        let began = Instant::now();
        let idle = {
            let mut timeline = lock(&self.timeline);
            timeline.clock.begins(began);
            timeline.sent.is_empty()
        };
        let index = self.queue.submit([commands]);
        let mut timeline = lock(&self.timeline);
        // Some drivers do the work before they return. Behind other work it may be that they wait for.
        if idle {
            timeline.clock.took(began.elapsed(), counted);
        }
        let number = timeline.next;
        timeline.next += 1;
        timeline.sent.push_back(Sent { number, index, counted });
        number
    }

    /// Submissions so far.
    pub fn submissions(&self) -> u64 {
        lock(&self.timeline).next
    }

    /// Lets one submission take so many seconds at most, instead of [`LONGEST`]. For tests: cutting changes no result.
    pub fn set_longest_submission(&self, seconds: f64) {
        self.longest.set(seconds);
    }

    /// Waits for a submission and all before it, one after the other: so the end of each is seen.
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

    /// A submission is known to be done, and so are all before it, without a wait.
    pub(super) fn is_done(&self, last: u64) {
        lock(&self.timeline).done(last, Instant::now(), false);
    }

    /// Seconds of work on this device of which so much was counted.
    fn expected(&self, counted: f64) -> f64 {
        counted * lock(&self.timeline).clock.pace.unwrap_or(1.0)
    }
}

/// Commands on their way: sent off, and begun anew, wherever one submission would take too long with what comes next.
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

    /// Where commands are recorded that take no time to speak of.
    pub fn encoder(&mut self) -> &mut wgpu::CommandEncoder {
        &mut self.encoder
    }

    /// Whether so much more is too much for one submission. [`Self::cut`] then, with no pass open.
    pub fn is_full_with(&self, counted: f64) -> bool {
        self.counted > 0.0 && self.gpu.expected(self.counted + counted) > self.gpu.longest.get()
    }

    /// Sends off what was recorded.
    pub fn cut(&mut self) {
        let next = self.gpu.device.create_command_encoder(&Default::default());
        let full = std::mem::replace(&mut self.encoder, next);
        self.gpu.submit(full.finish(), std::mem::take(&mut self.counted));
    }

    /// So much is recorded next.
    pub fn count(&mut self, counted: f64) {
        self.counted += counted;
    }

    /// Sends off the rest, and returns the number of the submission, with which all of it is done.
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
    fn what_is_waited_for_gives_the_pace() {
        let (start, mut clock) = (Instant::now(), Clock::default());
        let at = |seconds| after(start, seconds);
        clock.begins(at(0.0));
        clock.begins(at(0.1));
        clock.ends(at(1.0), 0.5, true, true);
        assert_eq!(clock.pace, Some(2.0));
        // The second began as the first ended, not as it was sent off; a faster one is believed bit by bit.
        clock.ends(at(1.5), 0.5, true, false);
        assert_eq!(clock.pace, Some(FADING * 2.0));
        // A slower one at once; an idle device begins with what is sent off.
        clock.begins(at(9.0));
        clock.ends(at(10.0), 0.1, true, false);
        assert!((clock.pace.unwrap() - 10.0).abs() < 1e-6);
    }

    #[test]
    fn what_was_not_seen_or_is_too_short_gives_none() {
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
        // A driver that does the work before it takes the next.
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
        assert!(found.contains("for 0.10 s: no watchdog is so early"), "{found}");
        assert!(loss(None).0.contains("nothing was running"));
    }

    #[test]
    fn the_first_submissions_suit_a_slow_gpu() {
        // GPT-2's micro-batch of 8 sequences at T = 1,024: 6 TFLOP.
        let cuts = counted_seconds(6_000_000_000_000, 0) / LONGEST;
        assert!((400.0..600.0).contains(&cuts), "{cuts}");
        // The small step of the tests is one.
        assert!(counted_seconds(1_000_000_000, 100_000_000) < LONGEST);
    }
}
