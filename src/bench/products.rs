//! One matrix product at any size, in every layout and every variant a device has: each compared with the ceiling.

use super::Spread;
use super::adapter;
use super::ceilings::fastest;
use super::cpu;
use crate::cache::attempts::Attempts;
use crate::device::{Device, Plan, Store};
use crate::fault::Result;
use crate::gpu::{Description, Gpu};
use crate::host::Host;
use crate::ops::matmul::{Layout, MatMul};
use crate::plan::time_variants;
use crate::tape::{DType, Tape};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::time::Duration;

/// Extents of C = A · B: C is M×N, and K is summed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Extents {
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

/// What to time besides the device's own f32 variants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// f16 operands and results instead.
    pub half: bool,
    /// On a software device, also time the variants meant for GPUs.
    pub every_variant: bool,
}

/// All measurements of one product.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Products {
    pub version: &'static str,
    pub adapter: Description,
    pub extents: Extents,
    /// Multiply-adds in f32, in FLOP/s; for f16 operands, those of the device's fastest number type.
    pub ceiling: f64,
    #[serde(rename = "ways")]
    pub variants: Vec<Variant>,
    /// Variants skipped because the driver took too long to compile earlier ones.
    pub untried: usize,
}

/// One variant in one layout; the fastest of each layout first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Variant {
    /// `C = A · B` as in the forward pass, `A · Bᵀ` as in the gradient of A, or `Aᵀ · B` as in the gradient of B.
    pub layout: &'static str,
    #[serde(rename = "way")]
    pub variant: String,
    /// Time of one product, including copies of its operands.
    pub seconds: Spread,
    /// Operations per second at the median.
    pub flops: f64,
    /// Whether the result agrees with f64.
    pub agrees: bool,
}

/// After this time, no further variant of a layout is compiled. Mesa's software driver of 2026 takes ten seconds for
/// some, and had not compiled all f16 variants of a product after several minutes.
pub const PATIENCE: Duration = Duration::from_secs(60);

const LAYOUTS: [(Layout, &str); 3] = [(Layout::NN, "A · B"), (Layout::NT, "A · Bᵀ"), (Layout::TN, "Aᵀ · B")];

/// Measures the arithmetic ceiling, then a product in every variant that `attempts` does not skip.
///
/// # Errors
/// [`crate::fault::Kind::Memory`] if the operands do not fit; [`crate::fault::Kind::Device`] if the device has no
/// timestamp queries, or no f16 when f16 is requested.
pub fn products(
    gpu: &mut Gpu,
    rounds: usize,
    extents: Extents,
    wanted: Wanted,
    attempts: &mut Attempts,
) -> Result<Products> {
    let tape = |layout| tape(layout, extents, wanted.half);
    let (mut variants, mut untried) = (Vec::new(), 0);
    let arithmetic = adapter::arithmetic(gpu)?;
    let mut time = |gpu: &mut Gpu, known: &mut Vec<Variant>| -> Result<()> {
        for (layout, name) in LAYOUTS {
            let (timed, left_out) = time_variants(gpu, &tape(layout), rounds, PATIENCE, attempts)?;
            untried += left_out;
            for timed in timed {
                let seconds = Spread::of(&timed.seconds);
                let flops = 2.0 * (extents.m * extents.n * extents.k) as f64 / seconds.median;
                known.push(Variant {
                    layout: name,
                    variant: timed.variant,
                    seconds,
                    flops,
                    agrees: timed.agrees,
                });
            }
        }
        Ok(())
    };
    time(gpu, &mut variants)?;
    if wanted.every_variant && gpu.traits().software {
        gpu.pretend(|traits| traits.software = false);
        time(gpu, &mut variants)?;
    }
    let place = |variant: &Variant| LAYOUTS.iter().position(|(_, name)| *name == variant.layout);
    variants.sort_by(|a, b| place(a).cmp(&place(b)).then(a.seconds.median.total_cmp(&b.seconds.median)));
    Ok(Products {
        version: env!("CARGO_PKG_VERSION"),
        adapter: gpu.description().clone(),
        extents,
        ceiling: if wanted.half { fastest(&arithmetic) } else { arithmetic[0].flops },
        variants,
        untried,
    })
}

/// The same on the CPU, which computes a product in one way, by the crate `gemm`.
///
/// # Errors
/// None so far: the CPU's memory is the process's own.
pub fn products_on_cpu(host: &Host, rounds: usize, extents: Extents) -> Result<Products> {
    let ceiling = cpu::arithmetic(host);
    let device = Device::from(host.clone());
    let mut variants = Vec::new();
    for (layout, name) in LAYOUTS {
        let tape = tape(layout, extents, false);
        let node = &tape.nodes()[0];
        let mut store = Store::new(&device);
        for &tensor in node.inputs.iter().chain(&node.outputs) {
            let info = tape.info(tensor);
            store.allocate(&device, &info.name, info.shape.elements(), info.dtype)?;
        }
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let operands = [node.inputs[0], node.inputs[1]].map(|tensor| {
            let info = tape.info(tensor);
            let values: Vec<f32> =
                (0..info.shape.elements()).map(|_| random.random_range(-0.8..1.2)).collect();
            store.write(&device, &info.name, &values);
            values
        });
        let plan = Plan::build(&device, &tape, &store)?;
        let once = || plan.profile(&device).map(|times| times.iter().map(|time| time.seconds).sum::<f64>());
        // The first product also makes the threads' packing memory.
        once()?;
        let times = (0..rounds).map(|_| once()).collect::<Result<Vec<f64>>>()?;
        let c = plan.read(&device, &tape, &store, node.outputs[0])?;
        let seconds = Spread::of(&times);
        variants.push(Variant {
            layout: name,
            variant: "gemm".to_owned(),
            seconds,
            flops: 2.0 * (extents.m * extents.n * extents.k) as f64 / seconds.median,
            agrees: agrees(layout, extents, &operands, &c),
        });
    }
    let adapter = device.description().clone();
    Ok(Products { version: env!("CARGO_PKG_VERSION"), adapter, extents, ceiling, variants, untried: 0 })
}

/// Whether some hundred elements of C, the first and the last among them, are what f64 makes them.
fn agrees(layout: Layout, Extents { m, n, k }: Extents, [a, b]: &[Vec<f32>; 2], c: &[f32]) -> bool {
    const ELEMENTS: usize = 400;
    /// As for the variants of a GPU: sums of 100,000 terms of f32 round by less.
    const BOUND: f64 = 2e-4;
    let element = |place: usize| {
        let (row, column) = (place / n, place % n);
        let a = |i: usize| a[if layout == Layout::TN { i * m + row } else { row * k + i }];
        let b = |i: usize| b[if layout == Layout::NT { column * k + i } else { i * n + column }];
        (0..k).map(|i| f64::from(a(i)) * f64::from(b(i))).sum::<f64>()
    };
    let places = (0..=ELEMENTS).map(|i| (m * n - 1) * i / ELEMENTS);
    let pairs: Vec<(f64, f64)> = places.map(|place| (element(place), f64::from(c[place]))).collect();
    let scale = pairs.iter().fold(0.0_f64, |most, (want, _)| most.max(want.abs()));
    pairs.iter().all(|(want, got)| (want - got).abs() <= BOUND * scale)
}

fn tape(layout: Layout, Extents { m, n, k }: Extents, half: bool) -> Tape {
    let dtype = if half { DType::F16 } else { DType::F32 };
    let (a, b) = match layout {
        Layout::NN => ([m, k], [k, n]),
        Layout::NT => ([m, k], [n, k]),
        Layout::TN => ([k, m], [k, n]),
    };
    let mut tape = Tape::new();
    let inputs = [tape.input("a", &a, dtype), tape.input("b", &b, dtype)];
    let c = tape.observation_of("c", &[m, n], dtype);
    tape.record(MatMul::new(layout), &inputs, &[c]);
    tape
}
