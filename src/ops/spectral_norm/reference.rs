//! The ops in f64.

use super::sizes::{Sizes, TINY};
use crate::tape::Io;

/// uᵀW of each matrix, side by side.
fn project(Sizes { rows, columns, parts }: Sizes, w: &[f64], u: &[f64]) -> Vec<f64> {
    let width = columns / parts;
    let sum =
        |column: usize| (0..rows).map(|row| u[column / width * rows + row] * w[row * columns + column]).sum();
    (0..columns).map(sum).collect()
}

pub(super) fn forward(sizes: Sizes, io: &mut Io<'_>) {
    let Sizes { columns, parts, .. } = sizes;
    let width = sizes.width();
    let (inputs, outputs) = io.split();
    let [w, gamma, u] = inputs else { unreachable!("three inputs") };
    let [scaled, v, numbers] = outputs else { unreachable!("three outputs") };
    let sums = project(sizes, w, u);
    for part in 0..parts {
        let own = part * width..(part + 1) * width;
        let sigma = sums[own.clone()].iter().map(|t| t * t).sum::<f64>().sqrt().max(TINY);
        v[own.clone()].iter_mut().zip(&sums[own]).for_each(|(v, t)| *v = t / sigma);
        for (at, number) in [sigma, gamma[part] / sigma, gamma[part]].into_iter().enumerate() {
            numbers[at * parts + part] = number;
        }
    }
    for (i, (scaled, w)) in scaled.iter_mut().zip(*w).enumerate() {
        *scaled = numbers[parts + i % columns / width] * w;
    }
}

pub(super) fn backward(sizes: Sizes, accumulate: bool, io: &mut Io<'_>) {
    let Sizes { rows, columns, parts } = sizes;
    let width = sizes.width();
    let (inputs, outputs) = io.split();
    let [w, gradient, u, v, numbers] = inputs else { unreachable!("five inputs") };
    let [d_gamma, dw] = outputs else { unreachable!("two outputs") };
    let mut products = vec![0.0; parts];
    for (i, (d, w)) in gradient.iter().zip(*w).enumerate() {
        products[i % columns / width] += d * w;
    }
    for (part, product) in products.iter_mut().enumerate() {
        *product /= numbers[part];
        d_gamma[part] = if accumulate { d_gamma[part] + *product } else { *product };
    }
    for (i, (dw, d)) in dw.iter_mut().zip(*gradient).enumerate() {
        let (row, column) = (i / columns, i % columns);
        let part = column / width;
        let own = numbers[parts + part] * (d - products[part] * u[part * rows + row] * v[column]);
        *dw = if accumulate { *dw + own } else { own };
    }
}

pub(super) fn iterate(sizes: Sizes, io: &mut Io<'_>) {
    let Sizes { rows, columns, parts } = sizes;
    let width = sizes.width();
    let (inputs, outputs) = io.split();
    let [w, u] = inputs else { unreachable!("two inputs") };
    let sums = project(sizes, w, u);
    for part in 0..parts {
        let own = part * width..(part + 1) * width;
        let turned = |row: usize| -> f64 {
            w[row * columns..][own.clone()].iter().zip(&sums[own.clone()]).map(|(w, t)| w * t).sum()
        };
        let next: Vec<f64> = (0..rows).map(turned).collect();
        let length = next.iter().map(|z| z * z).sum::<f64>().sqrt();
        for (row, z) in next.into_iter().enumerate() {
            let at = part * rows + row;
            outputs[0][at] = if length > 0.0 { z / length } else { u[at] };
        }
    }
}
