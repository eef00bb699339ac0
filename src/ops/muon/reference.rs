//! The parts of Muon in f64.

use super::terms::{Parts, QUINTIC, TINY, TINY_ROOT};
use crate::tape::Io;

impl Parts {
    /// The matrix of an element of the parameter, and its place there.
    pub(super) fn place(self, element: usize) -> (usize, usize) {
        let width = self.columns * self.count;
        let (row, column) = (element / width, element % width);
        (column / self.columns, row * self.columns + column % self.columns)
    }
}

pub(super) fn momentum(parts: Parts, momentum: f32, io: &mut Io<'_>) {
    let (inputs, outputs) = io.split();
    let [gradient, verdict] = inputs else { unreachable!("two inputs") };
    let [moment, u] = outputs else { unreachable!("two outputs") };
    let (clip, open, momentum) = (verdict[1], verdict[2] != 0.0, f64::from(momentum));
    u.fill(0.0);
    for (i, (m, g)) in moment.iter_mut().zip(*gradient).enumerate().filter(|_| open) {
        *m = momentum * *m + clip * g;
        let (part, place) = parts.place(i);
        u[part * parts.padded() + place] = clip * g + momentum * *m;
    }
}

pub(super) fn unit(parts: Parts, io: &mut Io<'_>) {
    let (inputs, outputs) = io.split();
    let all = inputs[0].chunks_exact(parts.padded()).zip(outputs[0].chunks_exact_mut(parts.padded()));
    for (u, x) in all {
        x.fill(0.0);
        let u = &u[..parts.elements()];
        let norm = u.iter().map(|u| u * u).sum::<f64>().sqrt() + TINY;
        x.iter_mut().zip(u).for_each(|(x, u)| *x = u / norm);
    }
}

pub(super) fn mix(io: &mut Io<'_>) {
    let side = io.input_shape(0).as_matrix().0;
    let [i, a, square] = QUINTIC;
    let (inputs, outputs) = io.split();
    for (at, p) in outputs[0].iter_mut().enumerate() {
        let identity = if at / side == at % side { i } else { 0.0 };
        *p = identity + a * inputs[0][at] + square * inputs[1][at];
    }
}

pub(super) fn neurons(part: usize, beta2: f32, io: &mut Io<'_>) {
    let (rows, columns) = io.input_shape(0).as_matrix();
    let (inputs, outputs) = io.split();
    let [x, verdict] = inputs else { unreachable!("two inputs") };
    let [second, scaled] = outputs else { unreachable!("two outputs") };
    let second = &mut second[part * columns..][..columns];
    let (beta2, open) = (f64::from(beta2), verdict[2] != 0.0);
    let (mut before, mut after) = (0.0, 0.0);
    let mut scales = vec![0.0; columns];
    for (c, scale) in scales.iter_mut().enumerate() {
        let mean = (0..rows).map(|row| x[row * columns + c].powi(2)).sum::<f64>() / rows as f64;
        let moved = beta2 * second[c] + (1.0 - beta2) * mean;
        if open {
            second[c] = moved;
        }
        *scale = 1.0 / (moved.sqrt() + TINY_ROOT);
        before += mean;
        after += mean * *scale * *scale;
    }
    let ratio = before.sqrt() / (after.sqrt() + TINY_ROOT);
    for (i, (to, x)) in scaled.iter_mut().zip(*x).enumerate() {
        *to = x * scales[i % columns] * ratio;
    }
}

pub(super) fn apply(parts: Parts, [factor, decay]: [f32; 2], io: &mut Io<'_>) {
    let (inputs, outputs) = io.split();
    let (x, [hyper, verdict]) = inputs.split_at(parts.count) else { unreachable!("two inputs behind X") };
    if verdict[2] == 0.0 {
        return;
    }
    let (w, copies) = outputs.split_first_mut().expect("the parameter");
    let (decay, rate) = (f64::from(decay) * hyper[2], f64::from(factor) * hyper[7]);
    for (i, w) in w.iter_mut().enumerate() {
        let (part, place) = parts.place(i);
        *w = *w - decay * *w - rate * x[part][place];
    }
    for copy in copies {
        copy.copy_from_slice(w);
    }
}
