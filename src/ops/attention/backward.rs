//! The gradient of causal attention with respect to its packed rows.

use super::cap::slope;
use super::heads::{Heads, dot};
use super::host;
use super::pass::Pass;
use super::text::Variant;
use crate::ops::packed::Part;
use crate::ops::{Op, Operand, Recipe, Shapes, Traits, Tuning};
use crate::tape::Io;

/// Computes d_qkv from qkv, output, lse and d_output and, if there is a gradient g_i at the entropy H_i, from entropy and
/// d_entropy.
///
/// p_ij = e^(s_ij - lse_i), dP_ij = d_output_i . v_j, delta_i = d_output_i . output_i,
/// dS_ij = p_ij (dP_ij - delta_i); dq_i = sum_j dS_ij k_j / sqrt(width), dk_j = sum_i dS_ij q_i / sqrt(width),
/// dv_j = sum_i p_ij d_output_i (Dao et al. 2022). Two dispatches, the first over keys, the second over queries:
/// each row is written once, so no atomic additions are needed.
///
/// The derivative of H_i = -sum_j p_ij ln p_ij is -p_ij (ln p_ij + H_i), and ln p_ij = s_ij - lse_i. Therefore
/// dS_ij = p_ij (dP_ij - (delta_i + g_i H_i) - g_i (s_ij - lse_i)). Only lse and H are kept for each row.
#[derive(Clone, Debug)]
pub struct AttentionBackward {
    /// H.
    pub n_head: usize,
    /// T.
    pub sequence: usize,
    /// Whether there is a gradient at the entropy; then entropy and d_entropy are inputs too.
    pub guided: bool,
    /// The cap of the scores.
    pub cap: Option<f32>,
}

impl AttentionBackward {
    fn layout(&self, shapes: &Shapes<'_>) -> Heads {
        Heads::of(shapes, self.n_head, self.sequence).capped(self.cap)
    }
}

impl Op for AttentionBackward {
    fn stem(&self) -> &'static str {
        "attention"
    }

    fn name(&self) -> &'static str {
        if self.guided { "attention.backward.guided" } else { "attention.backward" }
    }

    fn reference(&self, io: &mut Io<'_>) {
        let layout = self.layout(&io.shapes);
        let (inputs, outputs) = io.split();
        let [qkv, output, lse, d_output, guide @ ..] = inputs else { panic!("four inputs, or six") };
        let d_qkv = &mut outputs[0];
        d_qkv.fill(0.0);
        let mut add = |place: std::ops::Range<usize>, factor: f64, row: &[f64]| {
            for (to, from) in d_qkv[place].iter_mut().zip(row) {
                *to += factor * from;
            }
        };
        for head in layout.heads() {
            for i in 0..layout.sequence {
                let d_out = &d_output[head.out(i)];
                let delta = dot(d_out, &output[head.out(i)]);
                for (j, s) in head.scores(qkv, i).into_iter().enumerate() {
                    let log_p = s - lse[head.line(i)];
                    let p = log_p.exp();
                    let mut d_p = dot(d_out, &qkv[head.packed(j, Part::Value)]) - delta;
                    if let [entropy, d_entropy] = guide {
                        d_p -= d_entropy[head.line(i)] * (log_p + entropy[head.line(i)]);
                    }
                    let bend = layout.cap.map_or(1.0, |cap| slope(s, f64::from(cap)));
                    let d_score = p * d_p * bend * layout.scale();
                    add(head.packed(i, Part::Query), d_score, &qkv[head.packed(j, Part::Key)]);
                    add(head.packed(j, Part::Key), d_score, &qkv[head.packed(i, Part::Query)]);
                    add(head.packed(j, Part::Value), p, d_out);
                }
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let layout = self.layout(&io.shapes);
        let (inputs, outputs) = io.split();
        host::backward(&layout, inputs, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let layout = self.layout(shapes);
        let mut shared = vec![
            ("qkv", Operand::Input(0)),
            ("lse", Operand::Input(2)),
            ("d_output", Operand::Input(3)),
            ("d_qkv", Operand::Output(0)),
            ("delta", Operand::Scratch(0)),
        ];
        let guided = self.guided;
        shared.extend(guided.then_some(("d_entropy", Operand::Input(5))));
        let mut with_output = shared.clone();
        with_output.push(("output", Operand::Input(1)));
        with_output.extend(guided.then_some(("entropy", Operand::Input(4))));
        let variant = Variant::chosen(&layout, device, &layout.key(self.name()));
        Recipe {
            dispatches: vec![
                variant.dispatch(Pass::QueryGradient { guided }, &layout, with_output),
                variant.dispatch(Pass::KeyGradient { guided }, &layout, shared),
            ],
            scratch: vec![shapes.input_elements(2)],
            iterations: variant.iterations(&layout),
        }
    }

    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        let layout = self.layout(shapes);
        Some(Tuning::of(layout.key(self.name()), &Variant::all(&layout, device)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        let layout = self.layout(shapes);
        // Seven products: both dispatches compute scores, dP and the terms of the entropy's gradient.
        let guide = if self.guided { 4 } else { 0 };
        layout.pairs() * (14 * layout.width as u64 + guide)
    }
}
