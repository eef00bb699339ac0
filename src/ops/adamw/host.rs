//! The update on the CPU: one pass over the arenas.

use super::{AdamW, Convention};
use crate::cores::{TASK, simd};
use crate::tape::Io;
use rayon::prelude::*;

pub(super) fn update(op: &AdamW, io: &mut Io<'_, f32>) {
    let (inputs, outputs) = io.split();
    let [gradients, hyper, verdict] = inputs else { panic!("three inputs") };
    let [parameters, first, second] = outputs else { panic!("the CPU keeps no copies in f16") };
    let factors = Factors {
        clip: verdict[1],
        step: hyper[0],
        epsilon: hyper[1],
        betas: [hyper[3], hyper[4]],
        rests: [hyper[5], hyper[6]],
        convention: op.convention,
    };
    if verdict[2] == 0.0 {
        return;
    }
    let moments = first.par_chunks_mut(TASK).zip(second.par_chunks_mut(TASK));
    let tasks = parameters.par_chunks_mut(TASK).zip(moments).zip(gradients.par_chunks(TASK));
    tasks.enumerate().for_each(|(i, ((parameters, (first, second)), gradients))| {
        let decayed = op.decayed.saturating_sub(i * TASK).min(parameters.len());
        let (parameters, others) = parameters.split_at_mut(decayed);
        let (first, others_first) = first.split_at_mut(decayed);
        let (second, others_second) = second.split_at_mut(decayed);
        let (gradients, others_gradients) = gradients.split_at(decayed);
        simd(
            #[inline(always)]
            || {
                factors.apply(hyper[2], parameters, [first, second], gradients);
                factors.apply(0.0, others, [others_first, others_second], others_gradients);
            },
        );
    });
}

/// What is the same for all elements.
struct Factors {
    clip: f32,
    step: f32,
    epsilon: f32,
    betas: [f32; 2],
    rests: [f32; 2],
    convention: Convention,
}

impl Factors {
    #[inline(always)]
    fn apply(&self, decay: f32, parameters: &mut [f32], moments: [&mut [f32]; 2], gradients: &[f32]) {
        let kept = 1.0 - decay;
        // One loop for each convention, without a branch in it.
        match self.convention {
            Convention::Hf => self.each(parameters, moments, gradients, |p, step| (p - step) * kept),
            Convention::Torch => self.each(parameters, moments, gradients, |p, step| p * kept - step),
        }
    }

    #[inline(always)]
    fn each(
        &self,
        parameters: &mut [f32],
        [first, second]: [&mut [f32]; 2],
        gradients: &[f32],
        moved: impl Fn(f32, f32) -> f32,
    ) {
        let &Self { clip, step, epsilon, betas: [beta1, beta2], rests: [rest1, rest2], .. } = self;
        for (((p, m), v), g) in parameters.iter_mut().zip(first).zip(second).zip(gradients) {
            let g = g * clip;
            *m = beta1 * *m + rest1 * g;
            *v = beta2 * *v + rest2 * g * g;
            *p = moved(*p, step * *m / (v.sqrt() + epsilon));
        }
    }
}
