//! Opening a device may crash or hang its driver. So each risky feature is tried in a separate process first, where a
//! crash costs nothing, and is not used if that process does not come back. The finding holds for one adapter, its
//! driver and one version of this program, and is kept in the cache folder.

use super::{Candidate, Gpu, OpenOptions, candidates};
use crate::cache;
use crate::fault::{Fault, Kind, Result};
use crate::process::{End, Finished, run};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The program that tries a device, and its time limit.
#[derive(Clone, Debug)]
pub struct Prober {
    /// This program, or another that answers as `normfree probe` does.
    pub program: PathBuf,
    pub limit: Duration,
    /// Where its findings are kept; `None` if there is no cache folder.
    pub folder: Option<PathBuf>,
}

impl Prober {
    /// Far longer than any known driver takes to compile a dozen kernels.
    pub const LIMIT: Duration = Duration::from_secs(60);
}

/// What is tried, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attempt {
    Opening,
    Subgroups,
    MatrixUnits,
}

impl Attempt {
    const ALL: [Self; 3] = [Self::Opening, Self::Subgroups, Self::MatrixUnits];

    /// The word with which the process reports that the driver came back from it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Opening => "opened",
            Self::Subgroups => "subgroups",
            Self::MatrixUnits => "matrix units",
        }
    }
}

/// An attempt that a driver did not come back from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stumble {
    pub at: Attempt,
    /// How the process ended, as the predicate of a sentence.
    how: String,
}

/// The first line of the process's answer. A program that does not print it is not this one, and tells nothing about a
/// driver: a system that starts programs through a loader may report the loader's file as this program.
pub const GREETING: &str = "trying";

/// Tries one device and reports each attempt that it came back from. `normfree probe` does this after its greeting.
///
/// # Errors
/// [`Kind::Device`] if the adapter of that index is not called `title`; those of opening it.
pub fn try_device(
    options: &OpenOptions,
    title: &str,
    came_back: &mut dyn FnMut(Attempt) -> Result<()>,
) -> Result<()> {
    let all = candidates(options)?;
    let candidate = super::adapters::choose(all, options.device.as_deref())?;
    if candidate.title() != title {
        return Err(Fault::new(Kind::Device, format!("this adapter is not {title}")).found(candidate.title()));
    }
    let (mut gpu, sides) = Gpu::open_untested(candidate, options)?;
    came_back(Attempt::Opening)?;
    gpu.look_at_subgroups()?;
    came_back(Attempt::Subgroups)?;
    gpu.look_at_matrix_units(&sides);
    came_back(Attempt::MatrixUnits)
}

/// What is known about a device, and how to have it tried again.
pub(super) struct Watched {
    pub stumble: Option<Stumble>,
    again: String,
}

impl Watched {
    /// Nothing has been tried, and nothing is known to be wrong.
    pub fn nothing() -> Self {
        Self { stumble: None, again: String::new() }
    }

    /// Whether the driver came back from that attempt.
    pub fn came_back(&self, from: Attempt) -> bool {
        self.stumble.as_ref().is_none_or(|stumble| from < stumble.at)
    }

    /// One sentence about what is not used.
    pub fn remark(&self) -> Option<String> {
        let Stumble { at, how } = self.stumble.as_ref()?;
        let left = match at {
            Attempt::Opening => return None,
            Attempt::Subgroups => "subgroups and matrix units are",
            Attempt::MatrixUnits => "matrix units are",
        };
        Some(format!("{left} not used: tried in a separate process, this driver {how}; {}", self.again))
    }

    /// Faults if the device cannot even be opened.
    pub fn refuse(&self, title: &str) -> Result<()> {
        match &self.stumble {
            Some(Stumble { at: Attempt::Opening, how }) => {
                Err(Fault::new(Kind::Device, format!("{title} cannot be opened"))
                    .found(format!("a driver that, tried in a separate process, {how}"))
                    .remedy("choose another one with --device; `normfree devices` lists them")
                    .also(&self.again))
            }
            _ => Ok(()),
        }
    }
}

/// The content of a cache file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    version: String,
    adapter: String,
    driver: String,
    no_matrix_units: bool,
    stumble: Option<Stumble>,
}

/// What is known about `candidate`, which is tried now if nothing is known yet. If the program cannot be started, or is
/// another one, nothing is known to be wrong.
pub(super) fn watch(prober: &Prober, candidate: &Candidate, options: &OpenOptions) -> Watched {
    let driver = [&*candidate.info.driver, &*candidate.info.driver_info].join(" ");
    let no_matrix_units = !super::device::asks_for_matrix_units(candidate.software(), options);
    let own = |stumble| Kept {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        adapter: candidate.title(),
        driver: driver.clone(),
        no_matrix_units,
        stumble,
    };
    let path = prober.folder.as_ref().map(|folder| {
        let units = if no_matrix_units { "without-units" } else { "" };
        let name = cache::words(&[&candidate.title(), &driver, env!("CARGO_PKG_VERSION"), units].join(" "));
        folder.join(format!("probe-{name}.json"))
    });
    let again = match &path {
        Some(path) => format!("delete {} to try it again", path.display()),
        None => "the next start tries it again".to_owned(),
    };
    let read = |path: &PathBuf| serde_json::from_slice::<Kept>(&std::fs::read(path).ok()?).ok();
    if let Some(kept) = path.as_ref().and_then(read) {
        let stumble = kept.stumble.clone();
        if kept == own(stumble.clone()) {
            return Watched { stumble, again };
        }
    }
    let Ok(mut stumble) = look(prober, candidate, options, no_matrix_units) else {
        return Watched::nothing();
    };
    // Matrix units are requested when a device is opened, so they may be why it cannot be opened.
    if stumble.as_ref().is_some_and(|stumble| stumble.at == Attempt::Opening) && !no_matrix_units {
        let without = look(prober, candidate, options, true).ok().flatten();
        stumble = without.or(stumble.map(|stumble| Stumble { at: Attempt::MatrixUnits, ..stumble }));
    }
    if let (Some(path), Ok(text)) = (&path, serde_json::to_vec_pretty(&own(stumble.clone()))) {
        cache::keep(path, &text);
    }
    Watched { stumble, again }
}

/// Starts the program and waits for its answer.
fn look(
    prober: &Prober,
    candidate: &Candidate,
    options: &OpenOptions,
    no_matrix_units: bool,
) -> Result<Option<Stumble>> {
    let mut command = Command::new(&prober.program);
    command.args(["probe", "--adapter", &candidate.title(), "--device", &candidate.index.to_string()]);
    if let Some(backend) = options.backend {
        command.args(["--backend", backend.word()]);
    }
    if no_matrix_units {
        command.arg("--no-matrix-units");
    }
    let finished = run(&mut command, Instant::now() + prober.limit, &mut || false)?;
    if !finished.lines.iter().any(|line| line == GREETING) {
        return Err(Fault::new(Kind::Device, "the program that was started to try devices is not this one"));
    }
    Ok(read(&finished, prober.limit))
}

/// Interprets the lines and the end of a process that tried a device.
fn read(finished: &Finished, limit: Duration) -> Option<Stumble> {
    let mut words = Attempt::ALL.iter();
    let mut next = words.next();
    // A driver may print lines of its own.
    for line in &finished.lines {
        if next.is_some_and(|attempt| line == attempt.word()) {
            next = words.next();
        }
    }
    let &at = next?;
    let how = match finished.end {
        // A device that is refused cleanly will be refused in the same way when it is opened next.
        End::Code(code) if (Kind::Usage as i32..=Kind::Verify as i32).contains(&code) => return None,
        End::Code(0) => "gave no intelligible answer".to_owned(),
        End::Code(code) => format!("ended the process with code {code}"),
        End::Signal(signal) => format!("crashed (signal {signal})"),
        End::Late | End::Enough => format!("did not return within {} s", limit.as_secs_f64()),
    };
    Some(Stumble { at, how })
}

/// This program, for [`OpenOptions::prober`]. `None` if the system does not say which file it is.
pub fn this_program() -> Option<Prober> {
    let program = std::env::current_exe().ok().filter(|path: &PathBuf| Path::is_file(path))?;
    Some(Prober { program, limit: Prober::LIMIT, folder: cache::folder() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[&str], end: End) -> Option<(Attempt, String)> {
        let lines = lines.iter().map(|&line| line.to_owned()).collect();
        let finished = Finished { end, lines, complaint: String::new() };
        read(&finished, Duration::from_secs(60)).map(|stumble| (stumble.at, stumble.how))
    }

    #[test]
    fn a_process_that_came_back_from_everything_stumbled_nowhere() {
        assert_eq!(said(&["opened", "subgroups", "matrix units"], End::Code(0)), None);
        // Ignored: what a driver prints in between, and how the process ends after its last word.
        assert_eq!(said(&["MESA: hello", "opened", "", "subgroups", "matrix units"], End::Signal(11)), None);
        // An ordinary fault of this program.
        assert_eq!(said(&[], End::Code(Kind::Device as i32)), None);
    }

    #[test]
    fn the_first_missing_word_is_where_it_stumbled() {
        let crashed = "crashed (signal 6)".to_owned();
        assert_eq!(said(&[], End::Signal(6)), Some((Attempt::Opening, crashed.clone())));
        assert_eq!(said(&["opened"], End::Signal(6)), Some((Attempt::Subgroups, crashed.clone())));
        assert_eq!(said(&["opened", "subgroups"], End::Signal(6)), Some((Attempt::MatrixUnits, crashed)));
        // Out of order, and nonsense.
        let nonsense = "gave no intelligible answer".to_owned();
        assert_eq!(said(&["matrix units", "yes"], End::Code(0)), Some((Attempt::Opening, nonsense)));
        // A panic, such as wgpu's when a driver lists a feature that it lacks.
        let panicked = "ended the process with code 101".to_owned();
        assert_eq!(said(&["opened"], End::Code(101)), Some((Attempt::Subgroups, panicked)));
        let late = "did not return within 60 s".to_owned();
        assert_eq!(said(&["opened"], End::Late), Some((Attempt::Subgroups, late)));
    }
}
