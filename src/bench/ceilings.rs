//! The ceilings of a device, measured on the spot.

use crate::fault::Result;
use crate::gpu::{Gpu, Trial, copy_seconds};
use crate::ops::{Kernel, grid, unrolled};
use serde::Serialize;

/// A device's limits. Rates are the best of several kernels, each the median of several runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ceilings {
    /// Multiply-adds for each number type, in FLOP/s: a multiplication and an addition count as one each.
    pub arithmetic: Vec<Arithmetic>,
    /// Copies of buffers, smallest first.
    pub copies: Vec<Copies>,
    /// Seconds of a dispatch that does next to nothing and waits for the one before it.
    pub dispatch: f64,
    /// Host seconds from submitting such a dispatch until the wait for it returns.
    pub submit: f64,
    /// Host seconds to record one dispatch.
    pub encode: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arithmetic {
    pub number: &'static str,
    pub flops: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Copies {
    /// Bytes read plus bytes written in one copy.
    pub bytes: u64,
    /// Bytes per second, reads and writes together.
    pub rate: f64,
}

impl Ceilings {
    /// Measures a device. Takes a few seconds.
    ///
    /// # Errors
    /// Errors of compiling and running on the device.
    pub fn measure(gpu: &Gpu) -> Result<Self> {
        let (dispatch, submit, encode) = small_costs(gpu)?;
        Ok(Self { arithmetic: Self::arithmetic(gpu)?, copies: copies(gpu)?, dispatch, submit, encode })
    }

    /// Multiply-adds alone: in f32, in f16 where the device has it, and on matrix units where it has them.
    ///
    /// # Errors
    /// Errors of compiling and running on the device.
    pub fn arithmetic(gpu: &Gpu) -> Result<Vec<Arithmetic>> {
        let mut arithmetic = vec![Arithmetic { number: "f32", flops: best_arithmetic(gpu, false)? }];
        if gpu.traits().f16 {
            arithmetic.push(Arithmetic { number: "f16", flops: best_arithmetic(gpu, true)? });
        }
        if gpu.traits().cooperative > 0 {
            let flops = best_cooperative(gpu)?;
            arithmetic.push(Arithmetic { number: "f16, summed in f32 by matrix units", flops });
        }
        Ok(arithmetic)
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
const RUNS: usize = 5;
/// A run is repeated until it takes this long, well beyond clock resolution and start-up cost.
const LONG: f64 = 10e-3;

/// The median seconds of one dispatch, measured over enough dispatches in a row to take [`LONG`].
fn seconds(trial: &Trial<'_>) -> Result<f64> {
    repeated(&|repeats| trial.seconds(repeats))
}

/// The same for anything that can be repeated.
fn repeated(run: &dyn Fn(usize) -> Result<f64>) -> Result<f64> {
    // The first run includes compilation.
    run(1)?;
    let repeats = ((LONG / run(1)?.max(1e-7)).ceil() as usize).clamp(1, 2_000);
    let runs = (0..RUNS).map(|_| Ok(run(repeats)? / repeats as f64)).collect::<Result<Vec<_>>>()?;
    Ok(super::Spread::of(&runs).median)
}

/// The kernel with `chains` independent chains of vec4, and the operations of one turn.
pub fn arithmetic_kernel(half: bool, chains: usize, turns: usize) -> (Kernel, usize) {
    const UNROLLED: usize = 8;
    let text = unrolled(
        include_str!("../../shaders/bench/arithmetic.wgsl"),
        &[("chains", chains), ("unrolled", UNROLLED)],
        &[("half", half)],
    );
    (Kernel::new(text, "arithmetic", &[("TURNS", turns as f64)]), 2 * 4 * chains * UNROLLED)
}

fn best_arithmetic(gpu: &Gpu, half: bool) -> Result<f64> {
    /// Far below the loop limits of software drivers.
    const TURNS: usize = 256;
    const LANES: usize = 64;
    // Enough for every lane of a large card, and not too much for two cores.
    let groups = if gpu.traits().software { 64 } else { 16_384 };
    let mut best = 0.0_f64;
    for chains in [1, 2, 4, 8] {
        let (kernel, each) = arithmetic_kernel(half, chains, TURNS);
        let lanes = LANES * groups;
        let trial = Trial::new(gpu, &kernel, &[("results", lanes as u64 * 4)], grid(groups))?;
        best = best.max((lanes * TURNS * each) as f64 / seconds(&trial)?);
    }
    Ok(best)
}

/// The kernel with `chains` independent chains of fragments, and the operations of one turn in a subgroup.
pub fn cooperative_kernel(side: usize, lanes: usize, chains: usize, turns: usize) -> (Kernel, usize) {
    let text = include_str!("../../shaders/bench/cooperative.wgsl");
    let text = unrolled(text, &[("chains", chains), ("side", side), ("lanes", lanes)], &[]);
    (Kernel::new(text, "cooperative", &[("TURNS", turns as f64)]), 2 * chains * side * side * side)
}

fn best_cooperative(gpu: &Gpu) -> Result<f64> {
    const TURNS: usize = 1024;
    const SUBGROUPS: usize = 4;
    const GROUPS: usize = 4096;
    let (side, lanes) = (gpu.traits().cooperative as usize, gpu.traits().lanes as usize);
    let mut best = 0.0_f64;
    for chains in [1, 2, 4, 8] {
        let (kernel, each) = cooperative_kernel(side, lanes, chains, TURNS);
        let results = (GROUPS * SUBGROUPS * side * side * 4) as u64;
        let trial = Trial::new(gpu, &kernel, &[("results", results)], grid(GROUPS))?;
        best = best.max((GROUPS * SUBGROUPS * TURNS * each) as f64 / seconds(&trial)?);
    }
    Ok(best)
}

/// The kernel that copies `vectors` vectors, `each` per invocation, and its workgroups.
pub fn copy_kernel(vectors: usize, each: usize) -> (Kernel, usize) {
    const LANES: usize = 64;
    let constants = [("VECTORS", vectors as f64), ("EACH", each as f64)];
    let kernel = Kernel::new(include_str!("../../shaders/bench/copy.wgsl"), "copy", &constants);
    (kernel, vectors.div_ceil(LANES * each))
}

fn copies(gpu: &Gpu) -> Result<Vec<Copies>> {
    let most = gpu.traits().max_binding.min(256 << 20);
    let sizes = [64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20];
    let mut list = Vec::new();
    for bytes in sizes.into_iter().filter(|&bytes| bytes <= most) {
        // Software drivers run the copy command far faster than a shader reads a buffer.
        let mut best = repeated(&|repeats| copy_seconds(gpu, bytes, repeats))?;
        for each in [1, 4] {
            let (kernel, groups) = copy_kernel(bytes as usize / 16, each);
            let trial = Trial::new(gpu, &kernel, &[("source", bytes), ("copied", bytes)], grid(groups))?;
            best = best.min(seconds(&trial)?);
        }
        list.push(Copies { bytes: 2 * bytes, rate: 2.0 * bytes as f64 / best });
    }
    Ok(list)
}

/// Seconds of a dispatch, of a submission, and of recording a dispatch.
fn small_costs(gpu: &Gpu) -> Result<(f64, f64, f64)> {
    const MANY: usize = 200;
    let (kernel, groups) = copy_kernel(64, 1);
    let trial = Trial::new(gpu, &kernel, &[("source", 1024), ("copied", 1024)], grid(groups))?;
    let dispatch = seconds(&trial)?;
    let alone = (0..20).map(|_| trial.submit(1)).collect::<Result<Vec<_>>>()?;
    let many = (0..RUNS).map(|_| trial.submit(MANY)).collect::<Result<Vec<_>>>()?;
    let submit: Vec<f64> = alone.iter().map(|submission| submission.whole).collect();
    let encode: Vec<f64> = many.iter().map(|submission| submission.encode / MANY as f64).collect();
    Ok((dispatch, super::Spread::of(&submit).median, super::Spread::of(&encode).median))
}

#[cfg(test)]
mod tests {
    use super::{Ceilings, Copies};

    #[test]
    fn bandwidth_lies_between_the_sizes_measured() {
        let copies = vec![Copies { bytes: 1 << 10, rate: 100.0 }, Copies { bytes: 1 << 20, rate: 50.0 }];
        let ceilings = Ceilings { arithmetic: Vec::new(), copies, dispatch: 0.0, submit: 0.0, encode: 0.0 };
        let rates = [1, 1 << 10, 1 << 15, 1 << 20, 1 << 30].map(|bytes| ceilings.bandwidth(bytes));
        assert_eq!(rates.map(f64::round), [100.0, 100.0, 75.0, 50.0, 50.0]);
    }
}
