//! The memory that a run takes, and the check that it is available, before anything is allocated.

use super::engine::{Blueprint, Demand};
use crate::config::Config;
use crate::fault::{Fault, Kind, Result};
use crate::gpu::{Description, mebibytes};
use crate::ops::Traits;
use crate::plan::{Pool, check_limits};

/// What the process takes in addition to the run: code, driver, compiled kernels and their compiler. Measured on Mesa's
/// software driver with a warm disk cache, as resident peak minus everything counted here; with it the sum is within a
/// tenth of the peak. Kernels that are not in that cache take up to 80 MiB more while all cores compile them.
const BASE: u64 = 175 << 20;
/// The same where the CPU computes: there is no driver. Measured in the same manner from 0.6 to 124 million parameters, as 9 to
/// 49 MiB; the largest model's products pack more.
const BASE_ON_CPU: u64 = 16 << 20;

fn base(device: &Traits) -> u64 {
    if device.host { BASE_ON_CPU } else { BASE }
}

/// The most bytes in transit between host and device when weights are loaded or saved.
const STAGING: u64 = 16 << 20;

/// The memory of a run, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    pub device: Demand,
    /// The peak of the process. On a software adapter the device's memory is the process's.
    pub process: u64,
}

impl Needs {
    /// Adds up what `blueprint` takes on a device; `data` is the size of the token files, which are mapped, in bytes.
    pub fn new(config: &Config, blueprint: &Blueprint, device: &Traits, data: u64) -> Self {
        let demand = blueprint.demand(device);
        let largest = blueprint.arenas.parameters().iter().map(|p| p.elements() as u64 * 4).max();
        // The largest tensor is in host memory once while it is made or saved, and once in transit.
        let host =
            base(device) + STAGING.min(demand.parameters) + data + largest.unwrap_or(0) + batch_bytes(config);
        let process = if device.software { host + demand.total() } else { host };
        Self { device: demand, process }
    }
}

/// Host memory of the micro-batches of a step: tokens, targets, their order, segments and sorting keys.
fn batch_bytes(config: &Config) -> u64 {
    let train = &config.train;
    let places = (train.batch_size * train.sequence_length) as u64;
    train.gradient_accumulation_steps as u64 * places * 24
}

/// Memory that the system could still give to this process, if it says so: only Linux does, with control groups included.
pub fn available() -> Option<u64> {
    let free = field(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")? * 1024;
    let left = left_in_group(&|name| std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok());
    Some(left.map_or(free, |left| free.min(left)))
}

/// The number after a word at the start of a line.
fn field(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.split_whitespace().next()?.parse().ok())
}

/// What the control group (version 1 or 2) leaves. Files that it holds in memory count as used, but are given back when
/// memory runs short, as the system's own count of available memory assumes.
fn left_in_group(read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    let (most, used, statistics) = match read("memory.max") {
        Some(most) => (most.trim().parse().ok(), number("memory.current"), "memory.stat"),
        None => (
            number("memory/memory.limit_in_bytes"),
            number("memory/memory.usage_in_bytes"),
            "memory/memory.stat",
        ),
    };
    let statistics = read(statistics).unwrap_or_default();
    let words = ["inactive_file ", "active_file ", "slab_reclaimable "];
    let back: u64 = words.iter().filter_map(|word| field(&statistics, word)).sum();
    Some((most? + back).saturating_sub(used?).min(most?))
}

/// Refuses a run that the device has no room for.
///
/// # Errors
/// [`Kind::Memory`] with what is needed and what is available: an arena or an intermediate is larger than the limit of a
/// buffer or binding, or, if the device's memory is this machine's, larger than what is available.
pub fn check(blueprint: &Blueprint, traits: &Traits, device: &Description) -> Result<()> {
    let smaller = "reduce train.batch_size or the size of the model, or choose another --device";
    let too_large = |what: &str, needed: u64, most: u64, remedy: &str| {
        Err(Fault::new(Kind::Memory, format!("{what} would exceed the largest buffer of this device"))
            .at(&device.name)
            .found(format!("{} needed, {} allowed", mebibytes(needed), mebibytes(most)))
            .remedy(remedy))
    };
    let demand = blueprint.demand(traits);
    if demand.parameters > device.max_buffer {
        let remedy = "use a smaller model, or choose another --device";
        return too_large("the parameters", demand.parameters, device.max_buffer, remedy);
    }
    let (pool, plans) = Pool::plan(blueprint.tapes(), traits);
    for (tape, (_, recipes)) in blueprint.tapes().into_iter().zip(&plans) {
        check_limits(tape, recipes, traits).map_err(|fault| match fault.kind {
            Kind::Device => fault.at(&device.name),
            _ => fault,
        })?;
    }
    let largest = pool.buffers.into_iter().max().unwrap_or(0);
    if largest > device.max_buffer {
        return too_large("an intermediate", largest, device.max_buffer, smaller);
    }
    if !traits.software {
        return Ok(());
    }
    fits("the model needs", demand.total(), available(), device).map_err(|fault| fault.remedy(smaller))
}

/// What the largest `at_once` of the runs with these demands take while one process trains them at the same time, in
/// bytes; the process itself counts once. Only the CPU trains several.
pub fn together(demands: &[u64], at_once: usize) -> u64 {
    let mut demands = demands.to_vec();
    demands.sort_unstable_by(|a, b| b.cmp(a));
    BASE_ON_CPU + demands.iter().take(at_once).sum::<u64>()
}

/// Refuses runs that this machine's memory cannot hold at the same time, although it may hold each alone.
///
/// # Errors
/// [`Kind::Memory`] with what the largest `at_once` of them need [together], and what is available.
pub fn check_together(demands: &[u64], at_once: usize, device: &Description) -> Result<()> {
    check_within(demands, at_once, available(), device)
}

/// The same with this much memory available.
fn check_within(demands: &[u64], at_once: usize, there: Option<u64>, device: &Description) -> Result<()> {
    let what = format!("the {at_once} largest models need together");
    fits(&what, together(demands, at_once), there, device)
        .map_err(|fault| fault.remedy("train fewer runs at once, or reduce train.batch_size or the models"))
}

/// Whether this machine's memory suffices, if it says what is available.
fn fits(who_needs: &str, needed: u64, there: Option<u64>, device: &Description) -> Result<()> {
    match there {
        Some(there) if needed > there => {
            Err(Fault::new(Kind::Memory, format!("{who_needs} more memory than is available"))
                .at(format!("{}, which uses this machine's memory", device.name))
                .found(format!("{} needed, {} available", mebibytes(needed), mebibytes(there))))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::host::Host;

    fn left(files: &[(&str, &str)]) -> Option<u64> {
        left_in_group(&|name| files.iter().find(|(of, _)| *of == name).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn the_largest_runs_count_together_and_the_process_once() {
        let device = Device::from(Host::open(1).unwrap());
        let check =
            |at_once, there| check_within(&[3 << 30, 1 << 30, 4 << 30], at_once, there, device.description());
        let of_two = BASE_ON_CPU + (7 << 30);
        assert_eq!(together(&[3 << 30, 1 << 30, 4 << 30], 2), of_two);
        assert_eq!(check(2, Some(of_two)), Ok(()));
        let refused = check(2, Some(of_two - 1)).unwrap_err();
        assert_eq!(refused.kind, Kind::Memory);
        let told = refused.to_string();
        assert!(
            told.starts_with("the 2 largest models need together more memory than is available"),
            "{told}"
        );
        assert!(told.contains("7184.0 MiB needed, 7184.0 MiB available; train fewer runs at once"), "{told}");
        assert!(check(3, Some(of_two)).is_err() && check(3, None).is_ok());
    }

    #[test]
    fn a_control_group_leaves_what_its_files_would_give_back() {
        let used = ("memory.current", "700\n");
        let files =
            ("memory.stat", "anon 300\nfile 400\ninactive_file 250\nactive_file 100\nslab_reclaimable 30\n");
        assert_eq!(left(&[("memory.max", "1000\n"), used, files]), Some(680));
        assert_eq!(left(&[("memory.max", "1000\n"), used]), Some(300));
        assert_eq!(left(&[("memory.max", "max\n"), used, files]), None);
        assert_eq!(left(&[]), None);
        let first = [("memory/memory.limit_in_bytes", "1000\n"), ("memory/memory.usage_in_bytes", "1200\n")];
        assert_eq!(left(&first), Some(0));
    }
}
