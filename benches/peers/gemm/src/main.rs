//! Times one matrix product in f32 on all cores, in three layouts, and prints JSON: `gemm-product M N K ROUNDS`.

use gemm::{Parallelism, gemm};
use std::time::Instant;

fn main() {
    let numbers: Vec<usize> =
        std::env::args().skip(1).map(|word| word.parse().expect("a whole number")).collect();
    let &[m, n, k, rounds] = numbers.as_slice() else { panic!("M N K ROUNDS") };
    let ramp = |count: usize| (0..count).map(|i| (i * 37 % 113) as f32 / 56.0 - 1.0).collect::<Vec<_>>();
    let (a, b) = (ramp(m * k), ramp(k * n));
    let mut c = vec![0.0_f32; m * n];
    // Strides from column to column and from row to row, as the operands lie in memory: A · B, A · Bᵀ, Aᵀ · B.
    let layouts = [("A · B", (1, k), (1, n)), ("A · Bᵀ", (1, k), (k, 1)), ("Aᵀ · B", (m, 1), (1, n))];
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let mut rows = Vec::new();
    for (name, (a_column, a_row), (b_column, b_row)) in layouts {
        let mut seconds = Vec::new();
        for _ in 0..=rounds {
            let start = Instant::now();
            // The pointers are to whole matrices of the sizes and strides given.
            unsafe {
                gemm(
                    m,
                    n,
                    k,
                    c.as_mut_ptr(),
                    1,
                    n as isize,
                    false,
                    a.as_ptr(),
                    a_column as isize,
                    a_row as isize,
                    b.as_ptr(),
                    b_column as isize,
                    b_row as isize,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    Parallelism::Rayon(cores),
                );
            }
            seconds.push(start.elapsed().as_secs_f64());
            std::hint::black_box(&mut c);
        }
        // The first one starts the threads.
        let timed = &seconds[1..];
        rows.push(format!("{{\"layout\": \"{name}\", \"seconds\": {timed:?}}}"));
    }
    println!("{{\"version\": \"gemm 0.19.0\", \"threads\": {cores}, \"products\": [{}]}}", rows.join(", "));
}
