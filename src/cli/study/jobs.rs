//! `--jobs`: how many runs train at the same time, and what of the CPU each of them gets.

use super::super::{Global, counted};
use crate::device::Device;
use crate::fault::{Fault, Kind, Result};
use crate::host::{self, Share};
use crate::ops::Traits;
use crate::study::Run;
use crate::train::engine::Blueprint;
use crate::train::memory;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// The jobs of a study, each of which trains one run after another.
pub(super) struct Jobs<'a> {
    count: usize,
    global: &'a Global,
    /// The CPU and its threads, if there are several jobs.
    shared: Option<(Device, usize)>,
}

impl<'a> Jobs<'a> {
    /// Opens no adapter: one run uses all of it, so several jobs are refused there, as are more jobs than threads.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub fn new(count: usize, global: &'a Global) -> Result<Self> {
        let refused = |what: &str| Fault::new(Kind::Usage, what).at(format!("--jobs {count}"));
        match count {
            0 => return Err(refused("a study without a job trains nothing").remedy("use --jobs 1 or more")),
            1 => return Ok(Self { count, global, shared: None }),
            _ => {}
        }
        let Some(cpu) = global.open_cpu()? else {
            return Err(refused("only the CPU trains several runs at once")
                .found("an adapter as the device")
                .remedy(format!("use --device {}, or omit --jobs", host::WORD)));
        };
        let threads = cpu.threads();
        if count > threads {
            return Err(refused("every job needs a thread of its own")
                .found(format!("{} and {}", counted(count as u64, "job"), counted(threads as u64, "thread")))
                .remedy(format!("use at most --jobs {threads}, or more --threads")));
        }
        Ok(Self { count, global, shared: Some((cpu.into(), threads)) })
    }

    /// The options that each job opens its device with, if `left` runs are left: the threads are divided among no more jobs
    /// than runs.
    pub fn options(&self, left: usize) -> Vec<Global> {
        let Some((_, threads)) = self.shared else { return vec![self.global.clone()] };
        let of_each = |threads| Global {
            device: Some(host::WORD.to_owned()),
            threads,
            share: Some(Share::new(threads)),
            ..self.global.clone()
        };
        divided(threads, self.at_once(left)).map(of_each).collect()
    }

    /// How many runs train at once, if `left` are left.
    pub fn at_once(&self, left: usize) -> usize {
        self.count.min(left).max(1)
    }

    /// The memory of the largest of these runs at once, the process included; `None` with one job.
    pub fn memory(&self, runs: &[&Run]) -> Option<u64> {
        let (cpu, _) = self.shared.as_ref()?;
        Some(memory::together(&demands(runs, cpu.traits()), self.at_once(runs.len())))
    }

    /// Refuses several jobs if memory does not suffice for the largest of these runs at once.
    ///
    /// # Errors
    /// Those of [`memory::check_together`].
    pub fn check_memory(&self, runs: &[&Run]) -> Result<()> {
        let Some((cpu, _)) = &self.shared else { return Ok(()) };
        memory::check_together(&demands(runs, cpu.traits()), self.at_once(runs.len()), cpu.description())
    }
}

/// How many of `threads` threads each of `jobs` jobs gets.
fn divided(threads: usize, jobs: usize) -> impl Iterator<Item = usize> {
    (0..jobs).map(move |job| threads / jobs + usize::from(job < threads % jobs))
}

/// The threads of jobs that work at the same time. Those of a job that has no run left go to the others, which changes no
/// bit.
pub(super) struct Shares(Mutex<Vec<Option<Share>>>);

impl Shares {
    /// Those of the options that [`Jobs::options`] made.
    pub fn of(options: &[Global]) -> Self {
        Self(Mutex::new(options.iter().map(|global| global.share.clone()).collect()))
    }

    /// The job has no run left.
    pub fn leave(&self, job: usize) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all[job].take().map_or(0, |share| share.threads());
        for _ in 0..left {
            // Those with the fewest first.
            let next = all.iter().flatten().min_by_key(|share| share.threads());
            next.inspect(|share| share.add(1));
        }
    }
}

/// The memory that each run takes on the device, in bytes.
fn demands(runs: &[&Run], traits: &Traits) -> Vec<u64> {
    let mut known = BTreeMap::new();
    let demand = |run: &&Run| {
        let new = || Blueprint::new(&run.config, traits).demand(traits).total();
        *known.entry(run.configuration.clone()).or_insert_with(new)
    };
    runs.iter().map(demand).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_divided_as_evenly_as_they_can_be() {
        let of = |threads, jobs| divided(threads, jobs).collect::<Vec<_>>();
        assert_eq!(of(7, 3), [3, 2, 2]);
        assert_eq!(of(8, 3), [3, 3, 2]);
        assert_eq!((of(6, 3), of(2, 2), of(5, 1)), (vec![2; 3], vec![1; 2], vec![5]));
    }

    #[test]
    fn threads_of_a_job_that_has_ended_go_to_the_others() {
        let each = [3, 2, 2].map(Share::new);
        let shares = Shares(Mutex::new(each.iter().cloned().map(Some).collect()));
        let now = || each.each_ref().map(Share::threads);
        shares.leave(0);
        assert_eq!(now()[1..], [4, 3]);
        shares.leave(2);
        assert_eq!(now()[1], 7);
        shares.leave(1);
        assert_eq!(now()[1], 7);
    }
}
