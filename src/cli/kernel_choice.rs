//! The options that select a command's kernels, and the search they request.

use super::global::Global;
use super::stop;
use crate::cache;
use crate::config::Config;
use crate::device::Device;
use crate::fault::Result;
use crate::numbers::duration;
use crate::ops::Choices;
use crate::plan::Searched;
use crate::train::kernel_choice::{self, Prepared};
use std::time::Instant;

/// Which kernels a command computes with.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Kernels {
    /// Use the default kernels: neither search for faster ones nor use those found before
    #[arg(long, conflicts_with = "retune")]
    pub no_tune: bool,
    /// Search for the fastest kernels again, even where the search takes longer than the run could gain, and
    /// even among those that round differently: results may then differ in their last bits
    #[arg(long)]
    pub retune: bool,
}

impl Kernels {
    /// Makes the device use the fastest kernels known or found, and reports a search.
    pub fn prepare(&self, device: &mut Device, config: &Config, global: &Global) -> Result<()> {
        let Some(gpu) = device.gpu_mut() else {
            if self.retune {
                global.note("--retune has nothing to search: only an adapter's kernels have variants");
            }
            return Ok(());
        };
        if self.no_tune {
            // The device may have served another run before.
            gpu.set_choices(Choices::default());
            return Ok(());
        }
        let start = Instant::now();
        let waiting = global.wait("timing kernels");
        let mut progress = |searched| {
            waiting.text().set(search_state(searched, start.elapsed().as_secs_f64()));
        };
        let Prepared { findings, skipped, again } =
            kernel_choice::prepare(gpu, config, self.retune, &mut progress, |fault| stop::give_up(&fault))?;
        drop(waiting);
        global.note_skipped(&skipped, again.as_deref());
        for finding in &findings {
            for variant in &finding.wrong {
                global.note(format!(
                    "this driver computes `{}` wrongly with {variant}, which is therefore not used",
                    finding.key
                ));
            }
        }
        if !findings.is_empty() {
            let faster = findings.iter().filter(|finding| finding.seconds < finding.default_seconds).count();
            global.note(format!(
                "timed the kernels of {} shapes in {}, {faster} of them now run faster{}",
                findings.len(),
                duration(start.elapsed().as_secs_f64()),
                if cache::folder().is_some() && cache::failure().is_none() {
                    "; kept for later runs"
                } else {
                    ""
                },
            ));
        }
        Ok(())
    }
}

/// The progress of a kernel search after `seconds`.
fn search_state(Searched { key, keys, share }: Searched, seconds: f64) -> String {
    // Too little progress predicts nothing.
    let known = share > 0.02 && seconds > 1.0;
    let left = known.then(|| format!(", about {} left", duration(seconds * (1.0 - share) / share)));
    format!("timing kernels: shape {} of {keys}{}", key + 1, left.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_tells_what_is_left() {
        let at = |key, share, seconds| search_state(Searched { key, keys: 40, share }, seconds);
        assert_eq!(at(0, 0.001, 0.5), "timing kernels: shape 1 of 40");
        assert_eq!(at(9, 0.25, 20.0), "timing kernels: shape 10 of 40, about 1 min 00 s left");
    }
}
