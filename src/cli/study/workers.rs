//! The jobs of a study at work: threads that take runs from one list, in its order.

use super::super::progress::{Display, TrainProgress};
use super::super::{Global, Kernels, stop};
use super::ended::{Ended, Outcome};
use super::jobs::Shares;
use super::session::Session;
use super::tasks::Task;
use crate::fault::{Fault, Kind, Result};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// How the runs of one job ended, each with its place in the list; the tokens and the time of all jobs until then.
type Worked = (Vec<(usize, Outcome)>, (u64, Duration));

/// Trains the runs of a study in the folder `out`, as many at a time as there are `options`, which each job opens its
/// device with. This thread is the first job.
///
/// # Errors
/// [`Kind::Device`] if the system does not start a job's thread.
pub(super) fn train(
    out: &Path,
    tasks: &[Task],
    options: &[Global],
    (kernels, display): (&Kernels, Display),
) -> Result<Ended> {
    let total = tasks.iter().map(|task| task.run.config.train.steps as f64 * task.work).sum();
    let counted = tasks.iter().map(|task| task.counted).sum();
    let title = out.display().to_string();
    let shown = (options.iter().all(|global| global.quiet), display);
    let displays = TrainProgress::side_by_side(options.len(), shown, &title, (total, counted));
    let next = AtomicUsize::new(0);
    let shares = Shares::of(options);
    let work = |progress, (job, global)| -> Worked {
        let _guard = StopOnPanic;
        let mut session = Session::new(progress, kernels, global, options.len() > 1);
        let mut ended = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(place) else { break };
            let outcome = session.train(task);
            let goes_on = !matches!(outcome, Outcome::Stopped(_) | Outcome::NotBegun(_));
            ended.push((place, outcome));
            if !goes_on {
                break;
            }
        }
        shares.leave(job);
        (ended, session.end())
    };
    let jobs = displays.into_iter().zip(options.iter().enumerate()).collect();
    let worked = at_once(jobs, &|(progress, job)| work(progress, job))?;
    let mut ended = Ended::default();
    // The last job to end has seen all tokens.
    ended.trained = worked.iter().map(|(_, trained)| *trained).max().unwrap_or_default();
    let mut outcomes: Vec<_> = worked.into_iter().flat_map(|(outcomes, _)| outcomes).collect();
    outcomes.sort_by_key(|(place, _)| *place);
    for (place, outcome) in outcomes {
        ended.add(tasks[place].run.folder.display().to_string(), outcome);
    }
    Ok(ended)
}

/// Does `work` with every item at the same time, with the first in this thread.
fn at_once<T: Send, R: Send>(items: Vec<T>, work: &(impl Fn(T) -> R + Sync)) -> Result<Vec<R>> {
    thread::scope(|scope| {
        let mut items = items.into_iter();
        let first = items.next();
        let mut others = Vec::new();
        for item in items {
            let name = format!("job {}", others.len() + 2);
            let begun = thread::Builder::new().name(name).spawn_scoped(scope, move || work(item));
            others.push(begun.map_err(|error| {
                // The jobs that have begun need not go on to the end.
                stop::flag().store(true, Ordering::Relaxed);
                Fault::new(Kind::Device, "the thread of a job did not start").found(error)
            })?);
        }
        let mut done: Vec<R> = first.map(work).into_iter().collect();
        for other in others {
            // The panic was reported where it happened.
            done.push(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        Ok(done)
    })
}

/// Has all jobs stop with checkpoints if one of them ends by a defect, which ends the process.
struct StopOnPanic;

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            stop::flag().store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::PoisonError;
    use std::time::Instant;

    #[test]
    fn jobs_end_in_the_order_of_their_items() {
        assert_eq!(at_once(vec![3, 1, 2], &|item| item * 10), Ok(vec![30, 10, 20]));
    }

    #[test]
    fn a_job_that_panics_has_the_others_stop() {
        let _alone = stop::REQUESTED_BY_TESTS.lock().unwrap_or_else(PoisonError::into_inner);
        let stopped = AtomicUsize::new(0);
        let work = |job| {
            let _guard = StopOnPanic;
            assert!(job < 2, "on purpose");
            let began = Instant::now();
            while !stop::flag().load(Ordering::Relaxed) && began.elapsed() < Duration::from_secs(20) {
                thread::yield_now();
            }
            stopped.fetch_add(usize::from(stop::flag().load(Ordering::Relaxed)), Ordering::Relaxed);
        };
        let ended = catch_unwind(AssertUnwindSafe(|| at_once(vec![0, 1, 2], &work)));
        stop::flag().store(false, Ordering::Relaxed);
        assert!(ended.is_err());
        assert_eq!(stopped.into_inner(), 2);
    }
}
