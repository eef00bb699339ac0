//! The ceilings of a device: what they are, and which of them a transfer meets. They are measured on the spot, or
//! read from what was measured before.

use crate::fault::{self, Fault, Kind, of_json};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A device's limits. Rates are the best of several kernels, each the median of several runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ceilings {
    /// Multiply-adds for each number type, in FLOP/s: a multiplication and an addition count as one each.
    pub arithmetic: Vec<Arithmetic>,
    /// Copies of buffers, smallest first.
    pub copies: Vec<Copies>,
    #[serde(flatten)]
    pub start: Start,
}

/// What it costs to start work, however little.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Start {
    /// On an adapter.
    Commands {
        /// Seconds of a dispatch that does next to nothing and waits for the one before it.
        dispatch: f64,
        /// Host seconds from submitting such a dispatch until the wait for it returns.
        submit: f64,
        /// Host seconds to record one dispatch.
        encode: f64,
    },
    /// On the CPU.
    Tasks {
        /// Seconds to give every thread a task that does next to nothing, and to wait for all of them.
        tasks: f64,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arithmetic {
    pub number: String,
    pub flops: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Copies {
    /// Bytes read plus bytes written in one copy.
    pub bytes: u64,
    /// Bytes per second, reads and writes together.
    pub rate: f64,
}

/// The part of what `bench --json` prints that ceilings are read from.
#[derive(Deserialize)]
struct Measured {
    adapter: Adapter,
    ceilings: Ceilings,
}

#[derive(Deserialize)]
struct Adapter {
    name: String,
}

impl Ceilings {
    /// Reads ceilings that `bench --json` measured earlier on the device of this name.
    ///
    /// # Errors
    /// `Io` if the file cannot be read; `Data` if it does not contain ceilings, or those of another device.
    pub fn load(path: &Path, device: &str) -> fault::Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Fault::io("read the ceilings", path, &error))?;
        let remedy = "write them with `normfree bench --only ceilings --json`";
        let refused = |what| Fault::new(Kind::Data, what).at(path.display()).remedy(remedy);
        let Measured { adapter, ceilings } = serde_json::from_slice(&bytes)
            .map_err(|error| refused("these are not the ceilings of a device").found(of_json(&error)))?;
        if adapter.name != device {
            return Err(refused("these are the ceilings of another device")
                .found(format_args!("{}, and not {device}", adapter.name)));
        }
        let Self { arithmetic, copies, .. } = &ceilings;
        let positive = |rate: f64| rate.is_finite() && rate > 0.0;
        let mut rates = arithmetic.iter().map(|of| of.flops).chain(copies.iter().map(|of| of.rate));
        let found = if arithmetic.is_empty() || copies.is_empty() || !rates.all(positive) {
            "no rates, or rates of nothing"
        } else if !copies.is_sorted_by(|a, b| a.bytes < b.bytes) {
            "copies out of order"
        } else {
            return Ok(ceilings);
        };
        Err(refused("these are not the ceilings of a device").found(found))
    }

    /// FLOP/s in f32.
    pub fn flops(&self) -> f64 {
        self.arithmetic[0].flops
    }

    /// FLOP/s in f16 by the device's fastest means; in f32 where the device has no f16.
    pub fn half_flops(&self) -> f64 {
        fastest(&self.arithmetic)
    }

    /// Bytes per second of a kernel that moves `bytes`: small transfers stay in caches. Interpolates linearly over the
    /// logarithm of the size between measured sizes.
    pub fn bandwidth(&self, bytes: u64) -> f64 {
        let place = |copies: &Copies| (copies.bytes as f64).ln();
        let at = (bytes.max(1) as f64).ln();
        let after = self.copies.iter().position(|copies| place(copies) >= at);
        match after {
            None => self.copies[self.copies.len() - 1].rate,
            Some(0) => self.copies[0].rate,
            Some(after) => {
                let (low, high) = (&self.copies[after - 1], &self.copies[after]);
                let part = (at - place(low)) / (place(high) - place(low));
                low.rate + (high.rate - low.rate) * part
            }
        }
    }
}

/// FLOP/s of the device's fastest number type: kernels read f16 and may compute in either.
pub(super) fn fastest(arithmetic: &[Arithmetic]) -> f64 {
    arithmetic.iter().map(|arithmetic| arithmetic.flops).fold(0.0, f64::max)
}

/// Runs of each kernel; the median counts.
pub(super) const RUNS: usize = 5;
/// A run is repeated until it takes this long, well beyond clock resolution and start-up cost.
const LONG: f64 = 10e-3;

/// The median seconds of one of `repeats` executions, of which `run` does as many as it is told and returns the seconds of
/// all: enough in a row to take [`LONG`].
///
/// # Errors
/// Those of `run`.
pub(super) fn repeated<E>(mut run: impl FnMut(usize) -> Result<f64, E>) -> Result<f64, E> {
    // The first run includes compilation.
    run(1)?;
    let repeats = ((LONG / run(1)?.max(1e-7)).ceil() as usize).clamp(1, 2_000);
    let runs = (0..RUNS).map(|_| Ok(run(repeats)? / repeats as f64)).collect::<Result<Vec<_>, E>>()?;
    Ok(super::Spread::of(&runs).median)
}

/// Bytes of the buffers that copies are measured with: those that fit in `most`.
pub(super) fn sizes(most: u64) -> impl Iterator<Item = u64> {
    [64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20]
        .into_iter()
        .filter(move |&bytes| bytes <= most)
}

#[cfg(test)]
mod tests {
    use super::{Ceilings, Copies, Start};

    #[test]
    fn bandwidth_lies_between_the_sizes_measured() {
        let copies = vec![Copies { bytes: 1 << 10, rate: 100.0 }, Copies { bytes: 1 << 20, rate: 50.0 }];
        let ceilings = Ceilings { arithmetic: Vec::new(), copies, start: Start::Tasks { tasks: 0.0 } };
        let rates = [1, 1 << 10, 1 << 15, 1 << 20, 1 << 30].map(|bytes| ceilings.bandwidth(bytes));
        assert_eq!(rates.map(f64::round), [100.0, 100.0, 75.0, 50.0, 50.0]);
    }
}
