//! The ceilings of an adapter, measured by kernels of their own.

use super::Spread;
use super::ceilings::{Arithmetic, Ceilings, Copies, RUNS, Start, repeated, sizes};
use crate::fault::Result;
use crate::gpu::{Gpu, Trial, copy_seconds};
use crate::ops::{Kernel, grid, unrolled};

/// Measures an adapter. Takes a few seconds.
///
/// # Errors
/// Errors of compiling and running on the device.
pub(super) fn ceilings(gpu: &Gpu) -> Result<Ceilings> {
    Ok(Ceilings { start: small_costs(gpu)?, arithmetic: arithmetic(gpu)?, copies: copies(gpu)? })
}

/// Multiply-adds alone: in f32, in f16 where the device has it, and on matrix units where it has them.
///
/// # Errors
/// Errors of compiling and running on the device.
pub(super) fn arithmetic(gpu: &Gpu) -> Result<Vec<Arithmetic>> {
    let mut arithmetic = vec![Arithmetic { number: "f32".to_owned(), flops: best_arithmetic(gpu, false)? }];
    if gpu.traits().f16 {
        arithmetic.push(Arithmetic { number: "f16".to_owned(), flops: best_arithmetic(gpu, true)? });
    }
    if gpu.traits().cooperative > 0 {
        let flops = best_cooperative(gpu)?;
        arithmetic.push(Arithmetic { number: "f16, summed in f32 by matrix units".to_owned(), flops });
    }
    Ok(arithmetic)
}

/// The median seconds of one dispatch, measured over many in a row.
fn seconds(trial: &Trial<'_>) -> Result<f64> {
    repeated(|repeats| trial.seconds(repeats))
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
    let mut list = Vec::new();
    for bytes in sizes(gpu.traits().max_binding) {
        // Software drivers run the copy command far faster than a shader reads a buffer.
        let mut best = repeated(|repeats| copy_seconds(gpu, bytes, repeats))?;
        for each in [1, 4] {
            let (kernel, groups) = copy_kernel(bytes as usize / 16, each);
            let trial = Trial::new(gpu, &kernel, &[("source", bytes), ("copied", bytes)], grid(groups))?;
            best = best.min(seconds(&trial)?);
        }
        list.push(Copies { bytes: 2 * bytes, rate: 2.0 * bytes as f64 / best });
    }
    Ok(list)
}

/// What a dispatch costs, a submission, and recording a dispatch.
fn small_costs(gpu: &Gpu) -> Result<Start> {
    const MANY: usize = 200;
    let (kernel, groups) = copy_kernel(64, 1);
    let trial = Trial::new(gpu, &kernel, &[("source", 1024), ("copied", 1024)], grid(groups))?;
    let dispatch = seconds(&trial)?;
    let alone = (0..20).map(|_| trial.submit(1)).collect::<Result<Vec<_>>>()?;
    let many = (0..RUNS).map(|_| trial.submit(MANY)).collect::<Result<Vec<_>>>()?;
    let submit: Vec<f64> = alone.iter().map(|submission| submission.whole).collect();
    let encode: Vec<f64> = many.iter().map(|submission| submission.encode / MANY as f64).collect();
    let [submit, encode] = [submit, encode].map(|samples| Spread::of(&samples).median);
    Ok(Start::Commands { dispatch, submit, encode })
}
