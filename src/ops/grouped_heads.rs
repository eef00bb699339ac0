//! Packed rows q | k | v from queries, keys and values that are apart, where several query heads share a key and a value head
//! (Ainslie et al. 2023, arXiv 2305.13245): attention then reads every head's own copy, and knows nothing of groups.
//!
//! Shapes: q [R, H·w], k and v [R, K·w] with H a multiple of K, packed [R, 3·H·w] in which head h has the key and the value of head
//! h·K/H; all of one type, f32 or f16. Adjoint: dq is its part; dk and dv are the sums over each group.

use super::element;
use super::unroll::unroll;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits};
use crate::cores::rows_per_task;
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use rayon::prelude::*;

/// The op. Inputs: q, k, v. Output: the packed rows.
#[derive(Clone, Debug)]
struct GroupedHeads {
    heads: usize,
}

/// Its adjoint. Input: the gradient of the packed rows. Outputs: dq, dk, dv.
#[derive(Clone, Debug)]
struct GroupedHeadsBackward {
    heads: usize,
}

impl Tape {
    /// Records the packed rows of `heads` query heads.
    pub fn grouped_heads(&mut self, [q, k, v]: [TensorId; 3], heads: usize) -> TensorId {
        let (rows, width) = self.shape(q).as_matrix();
        let (_, shared) = self.shape(k).as_matrix();
        let whole = self.shape(k) == self.shape(v) && width.is_multiple_of(shared);
        assert!(whole && (width / heads).is_multiple_of(4), "{width} columns of queries, {shared} of keys");
        let packed = self.intermediate_of("packed", &[rows, 3 * width], self.info(q).dtype);
        self.record(GroupedHeads { heads }, &[q, k, v], &[packed]);
        packed
    }
}

/// Extents of rows.
#[derive(Clone, Copy)]
struct Extents {
    rows: usize,
    /// Columns of q, of k, and of one head.
    queries: usize,
    keys: usize,
    head: usize,
}

impl Extents {
    fn new((rows, queries): (usize, usize), (_, keys): (usize, usize), heads: usize) -> Self {
        Self { rows, queries, keys, head: queries / heads }
    }

    /// The part of a packed column, and its column there.
    fn source(self, column: usize) -> (usize, usize) {
        let (part, place) = (column / self.queries, column % self.queries);
        let group = self.queries / self.keys;
        match part {
            0 => (0, place),
            _ => (part, place / self.head / group * self.head + place % self.head),
        }
    }

    fn kernel(self, half: bool, entry: &'static str) -> Kernel {
        let texts = [("element", element::scalar(half)), ("narrow", element::narrow(half, 4))];
        let shader = include_str!("../../shaders/grouped_heads.wgsl");
        let text = unroll(shader, &element::WALK, &[("half", half)], &texts);
        let [queries, keys, head] = [self.queries, self.keys, self.head].map(|columns| (columns / 4) as f64);
        let constants = [("ROWS", self.rows as f64), ("QUERIES", queries), ("KEYS", keys), ("COLUMNS", head)];
        Kernel::new(text, entry, &constants)
    }
}

impl GroupedHeads {
    fn extents(&self, shapes: &Shapes<'_>) -> Extents {
        Extents::new(shapes.inputs[0].as_matrix(), shapes.inputs[1].as_matrix(), self.heads)
    }
}

impl GroupedHeadsBackward {
    fn extents(&self, shapes: &Shapes<'_>) -> Extents {
        Extents::new(shapes.outputs[0].as_matrix(), shapes.outputs[1].as_matrix(), self.heads)
    }
}

impl Op for GroupedHeads {
    fn stem(&self) -> &'static str {
        "grouped_heads"
    }

    fn name(&self) -> &'static str {
        "grouped_heads"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let extents = self.extents(&io.shapes);
        let (inputs, outputs) = io.split();
        for (i, to) in outputs[0].iter_mut().enumerate() {
            let (row, column) = (i / (3 * extents.queries), i % (3 * extents.queries));
            let (part, place) = extents.source(column);
            let width = if part == 0 { extents.queries } else { extents.keys };
            *to = inputs[part][row * width + place];
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let extents = self.extents(&io.shapes);
        let Extents { queries, keys, head, .. } = extents;
        let group = queries / keys;
        let (inputs, outputs) = io.split();
        let rows = rows_per_task(3 * queries);
        outputs[0].par_chunks_mut(rows * 3 * queries).enumerate().for_each(|(block, packed)| {
            for (i, packed) in packed.chunks_exact_mut(3 * queries).enumerate() {
                let row = block * rows + i;
                let (q, rest) = packed.split_at_mut(queries);
                q.copy_from_slice(&inputs[0][row * queries..][..queries]);
                for (part, to) in rest.chunks_exact_mut(queries).enumerate() {
                    let from = &inputs[1 + part][row * keys..][..keys];
                    for (of_group, from) in to.chunks_exact_mut(group * head).zip(from.chunks_exact(head)) {
                        of_group.chunks_exact_mut(head).for_each(|to| to.copy_from_slice(from));
                    }
                }
            }
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let extents = self.extents(shapes);
        let bindings = [
            ("q", Operand::Input(0)),
            ("k", Operand::Input(1)),
            ("v", Operand::Input(2)),
            ("packed", Operand::Output(0)),
        ];
        let kernel = extents.kernel(shapes.half_input(0), "grouped_heads");
        Recipe::one(kernel, &bindings, element::walk(extents.rows * 3 * extents.queries / 4))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(d_packed) = adjoint.gradient(0) else { return };
        let gradients = [0, 1, 2].map(|i| adjoint.fresh_like(i));
        adjoint.tape.record(GroupedHeadsBackward { heads: self.heads }, &[d_packed], &gradients);
        for (i, gradient) in gradients.into_iter().enumerate() {
            if adjoint.wants(i) {
                adjoint.contribute(i, gradient);
            }
        }
    }
}

impl Op for GroupedHeadsBackward {
    fn stem(&self) -> &'static str {
        "grouped_heads"
    }

    fn name(&self) -> &'static str {
        "grouped_heads.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let extents = self.extents(&io.shapes);
        let (inputs, outputs) = io.split();
        outputs.iter_mut().for_each(|output| output.fill(0.0));
        for (i, d) in inputs[0].iter().enumerate() {
            let (row, column) = (i / (3 * extents.queries), i % (3 * extents.queries));
            let (part, place) = extents.source(column);
            let width = if part == 0 { extents.queries } else { extents.keys };
            outputs[part][row * width + place] += d;
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let Extents { queries, keys, head, .. } = self.extents(&io.shapes);
        let group = queries / keys;
        let (inputs, outputs) = io.split();
        let ([d_packed], [dq, dk, dv]) = (inputs, outputs) else { unreachable!("one input, three outputs") };
        let rows = rows_per_task(3 * queries);
        let blocks = dq.par_chunks_mut(rows * queries).zip(d_packed.par_chunks(rows * 3 * queries));
        let blocks = blocks.zip(dk.par_chunks_mut(rows * keys).zip(dv.par_chunks_mut(rows * keys)));
        blocks.for_each(|((dq, d_packed), (dk, dv))| {
            let rows = d_packed.chunks_exact(3 * queries).zip(dq.chunks_exact_mut(queries));
            let rows = rows.zip(dk.chunks_exact_mut(keys).zip(dv.chunks_exact_mut(keys)));
            for ((d_packed, dq), (dk, dv)) in rows {
                dq.copy_from_slice(&d_packed[..queries]);
                for (to, from) in [dk, dv].into_iter().zip(d_packed[queries..].chunks_exact(queries)) {
                    for (to, of_group) in to.chunks_exact_mut(head).zip(from.chunks_exact(group * head)) {
                        to.fill(0.0);
                        for from in of_group.chunks_exact(head) {
                            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                        }
                    }
                }
            }
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let extents = self.extents(shapes);
        let half = shapes.half_input(0);
        let queries = Dispatch {
            kernel: extents.kernel(half, "query_part"),
            bindings: vec![("known", Operand::Input(0)), ("dq", Operand::Output(0))],
            groups: element::walk(extents.rows * extents.queries / 4),
        };
        let keys = Dispatch {
            kernel: extents.kernel(half, "group_sums"),
            bindings: vec![
                ("known", Operand::Input(0)),
                ("dk", Operand::Output(1)),
                ("dv", Operand::Output(2)),
            ],
            groups: element::walk(extents.rows * extents.keys / 4),
        };
        let iterations = 2 * extents.queries / extents.keys;
        Recipe { dispatches: vec![queries, keys], iterations, ..Recipe::default() }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        2 * shapes.input_elements(0) as u64 / 3
    }
}

/// No groups, groups of two and of all; one row and many.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::F16] {
        for (rows, heads, shared, width) in
            [(1, 1, 1, 4), (7, 3, 3, 20), (33, 4, 2, 16), (40, 9, 3, 8), (65, 8, 1, 4)]
        {
            let label = format!("{rows} rows, {heads} heads of {width} on {shared}, {dtype:?}");
            let mut case = CaseBuilder::new("grouped_heads", label, seed);
            let q = case.input_of("q", &[rows, heads * width], dtype, Fill::Normal(1.0));
            let [k, v] =
                ["k", "v"].map(|name| case.input_of(name, &[rows, shared * width], dtype, Fill::Normal(1.0)));
            let packed = case.tape.grouped_heads([q, k, v], heads);
            // Copies, and sums of up to eight.
            cases.push(case.finish(&[packed], &[], if dtype == DType::F16 { HALF_BOUND } else { 1e-6 }));
        }
    }
    cases
}
