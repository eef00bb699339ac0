//! The ceilings of the CPU, measured by loops like those of its kernels, on all threads of the device.

use super::ceilings::{Arithmetic, Ceilings, Copies, Start, repeated, sizes};
use crate::cores::{TASK, simd};
use crate::host::Host;
use rayon::prelude::*;
use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

/// Measures the CPU. Takes a few seconds, and half a gigabyte of memory.
pub(super) fn ceilings(host: &Host) -> Ceilings {
    let arithmetic = vec![Arithmetic { number: "f32".to_owned(), flops: arithmetic(host) }];
    Ceilings { arithmetic, copies: copies(host), start: Start::Tasks { tasks: tasks(host) } }
}

/// The median seconds of `work`, which the threads of the device do.
fn seconds(host: &Host, mut work: impl FnMut() + Send) -> f64 {
    let Ok(seconds) = repeated(|repeats| {
        host.install(|| {
            let start = Instant::now();
            (0..repeats).for_each(|_| work());
            Ok::<_, Infallible>(start.elapsed().as_secs_f64())
        })
    });
    seconds
}

/// Numbers of a chain: one of the widest vector registers, two or four of narrower ones.
const LANES: usize = 16;
/// Turns of a task: some tens of microseconds, against which starting it is nothing.
const TURNS: usize = 1 << 15;

/// Multiply-adds in independent chains, whose results are needed.
#[inline(always)]
fn multiply_adds<const CHAINS: usize>(factor: f32) {
    let mut chains = [[1.0_f32; LANES]; CHAINS];
    for _ in 0..TURNS {
        for chain in &mut chains {
            for x in chain {
                *x = x.mul_add(factor, 1e-3);
            }
        }
    }
    black_box(chains);
}

/// FLOP/s with so many chains.
fn rate<const CHAINS: usize>(host: &Host) -> f64 {
    let seconds = seconds(host, || {
        rayon::broadcast(|_| {
            let factor = black_box(0.999);
            simd(
                #[inline(always)]
                || multiply_adds::<CHAINS>(factor),
            );
        });
    });
    (2 * host.threads() * TURNS * CHAINS * LANES) as f64 / seconds
}

/// Too few chains wait for their own results; too many do not fit in the registers of some CPUs.
pub(super) fn arithmetic(host: &Host) -> f64 {
    let rates = [rate::<1>, rate::<2>, rate::<4>, rate::<6>, rate::<8>, rate::<12>];
    rates.into_iter().map(|rate| rate(host)).fold(0.0, f64::max)
}

/// Copies by one thread, in one piece for each thread, and in the tasks of element-wise kernels: the fastest counts.
fn copies(host: &Host) -> Vec<Copies> {
    let of = |bytes: u64| {
        let elements = bytes as usize / size_of::<f32>();
        // Both are written, so that every page is there.
        let (source, mut copied) = (vec![1.0_f32; elements], vec![2.0_f32; elements]);
        let times = [elements, elements.div_ceil(host.threads()), TASK].map(|piece| {
            seconds(host, || {
                let pieces = copied.par_chunks_mut(piece).zip(source.par_chunks(piece));
                pieces.for_each(|(to, from)| to.copy_from_slice(from));
                black_box(&mut copied);
            })
        });
        Copies {
            bytes: 2 * bytes,
            rate: 2.0 * bytes as f64 / times.into_iter().fold(f64::INFINITY, f64::min),
        }
    };
    sizes(u64::MAX).map(of).collect()
}

fn tasks(host: &Host) -> f64 {
    seconds(host, || {
        black_box(rayon::broadcast(|thread| black_box(thread.index())));
    })
}
