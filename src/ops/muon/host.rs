//! The parts of Muon on the CPU, in f32: threads share rows.

use super::terms::{Parts, QUINTIC, TINY, TINY_ROOT};
use super::{Apply, Momentum, Neurons};
use crate::cores::{TASK, fill, rows_per_task, simd, squares};
use crate::tape::Io;
use rayon::prelude::*;

pub(super) fn momentum(op: &Momentum, io: &mut Io<'_, f32>) {
    let (inputs, outputs) = io.split();
    let ([gradient, verdict], [moment, u]) = (inputs, outputs) else { unreachable!("two of each") };
    let (clip, momentum, parts) = (verdict[1], op.momentum, op.parts);
    if verdict[2] == 0.0 {
        return u.fill(0.0);
    }
    moment.par_chunks_mut(TASK).zip(gradient.par_chunks(TASK)).for_each(|(moment, gradient)| {
        simd(
            #[inline(always)]
            || moment.iter_mut().zip(gradient).for_each(|(m, g)| *m = momentum * *m + clip * g),
        );
    });
    let (width, moment) = (parts.columns * parts.count, &**moment);
    let rows = rows_per_task(parts.columns);
    for (part, u) in u.chunks_exact_mut(parts.padded()).enumerate() {
        let (u, padding) = u.split_at_mut(parts.elements());
        padding.fill(0.0);
        u.par_chunks_mut(rows * parts.columns).enumerate().for_each(|(block, u)| {
            simd(
                #[inline(always)]
                || {
                    for (i, u) in u.chunks_exact_mut(parts.columns).enumerate() {
                        let first = (block * rows + i) * width + part * parts.columns;
                        let [m, g] = [moment, gradient].map(|of| &of[first..][..parts.columns]);
                        u.iter_mut()
                            .zip(m.iter().zip(g))
                            .for_each(|(u, (m, g))| *u = clip * g + momentum * m);
                    }
                },
            );
        });
    }
}

pub(super) fn unit(parts: Parts, io: &mut Io<'_, f32>) {
    let (inputs, outputs) = io.split();
    let all = inputs[0].chunks_exact(parts.padded()).zip(outputs[0].chunks_exact_mut(parts.padded()));
    for (u, x) in all {
        let (x, padding) = x.split_at_mut(parts.elements());
        padding.fill(0.0);
        let u = &u[..parts.elements()];
        let factor = (1.0 / (squares(u).sqrt() + TINY)) as f32;
        fill(x, |first, x| {
            let u = &u[first..][..x.len()];
            simd(
                #[inline(always)]
                || x.iter_mut().zip(u).for_each(|(x, u)| *x = u * factor),
            );
        });
    }
}

pub(super) fn mix(io: &mut Io<'_, f32>) {
    let side = io.input_shape(0).as_matrix().0;
    let [i, a, square] = QUINTIC.map(|factor| factor as f32);
    let (inputs, outputs) = io.split();
    fill(outputs[0], |first, p| {
        let [one, two] = [inputs[0], inputs[1]].map(|of| &of[first..][..p.len()]);
        simd(
            #[inline(always)]
            || p.iter_mut().zip(one.iter().zip(two)).for_each(|(p, (one, two))| *p = a * one + square * two),
        );
        // The diagonal, side + 1 apart.
        let at = first.next_multiple_of(side + 1) - first;
        p.iter_mut().skip(at).step_by(side + 1).for_each(|p| *p += i);
    });
}

pub(super) fn neurons(op: &Neurons, io: &mut Io<'_, f32>) {
    let (rows, columns) = io.input_shape(0).as_matrix();
    let (inputs, outputs) = io.split();
    let ([x, verdict], [second, scaled]) = (inputs, outputs) else { unreachable!("two of each") };
    let second = &mut second[op.part * columns..][..columns];
    let each = rows_per_task(columns);
    let sums = x.par_chunks(each * columns).map(|x| {
        let mut sums = vec![0.0_f64; columns];
        for row in x.chunks_exact(columns) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x) * f64::from(*x));
        }
        sums
    });
    let mut means = vec![0.0_f64; columns];
    for sums in sums.collect::<Vec<_>>() {
        means.iter_mut().zip(sums).for_each(|(mean, sum)| *mean += sum / rows as f64);
    }
    let beta2 = f64::from(op.beta2);
    let (mut before, mut after) = (0.0, 0.0);
    let scales = means.iter().zip(second).map(|(mean, second)| {
        let moved = beta2 * f64::from(*second) + (1.0 - beta2) * mean;
        if verdict[2] != 0.0 {
            *second = moved as f32;
        }
        let scale = 1.0 / (moved.sqrt() + TINY_ROOT);
        before += mean;
        after += mean * scale * scale;
        scale
    });
    let scales: Vec<f64> = scales.collect();
    let ratio = before.sqrt() / (after.sqrt() + TINY_ROOT);
    let scales: Vec<f32> = scales.iter().map(|scale| (scale * ratio) as f32).collect();
    let blocks = scaled.par_chunks_mut(each * columns).zip(x.par_chunks(each * columns));
    blocks.for_each(|(scaled, x)| {
        for (to, x) in scaled.chunks_exact_mut(columns).zip(x.chunks_exact(columns)) {
            to.iter_mut().zip(x.iter().zip(&scales)).for_each(|(to, (x, scale))| *to = x * scale);
        }
    });
}

pub(super) fn apply(op: &Apply, io: &mut Io<'_, f32>) {
    let (inputs, outputs) = io.split();
    let (x, [hyper, verdict]) = inputs.split_at(op.parts.count) else { unreachable!("two inputs behind X") };
    let [w] = outputs else { panic!("the CPU keeps no copies in f16") };
    if verdict[2] == 0.0 {
        return;
    }
    let (decay, rate) = (op.decay * hyper[2], op.factor * hyper[7]);
    let (columns, width) = (op.parts.columns, op.parts.columns * op.parts.count);
    let rows = rows_per_task(width);
    w.par_chunks_mut(rows * width).enumerate().for_each(|(block, w)| {
        simd(
            #[inline(always)]
            || {
                for (i, w) in w.chunks_exact_mut(width).enumerate() {
                    for (w, x) in w.chunks_exact_mut(columns).zip(x) {
                        let x = &x[(block * rows + i) * columns..][..columns];
                        w.iter_mut().zip(x).for_each(|(w, x)| *w = *w - decay * *w - rate * x);
                    }
                }
            },
        );
    });
}
