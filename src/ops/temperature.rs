//! The learned temperature of attention: softmax(q·k / (t_{h,i}·√width)), one t for each head and query position
//! (arXiv 2501.03489, appendix A). It divides the queries before attention reads them.
//!
//! Shapes: x and y [B·T, 3·d] with columns q | k | v, in f32 or f16; temperature [H, P] with P ≥ T, where only the first T
//! positions are used. y = x except for the queries, each divided by the temperature of its head and position. Adjoint:
//! dx likewise from dy; dt_{h,i} = −(1/t) Σ over the batch of y_q·dy_q, which equals −(1/t) Σ_j dS_ij·s_ij, summed in a
//! fixed order.
//!
//! This is a separate op rather than a factor in attention's kernels, whose text stays the same. It reads and writes the
//! packed rows once forward and once backward: 3.4% of a step's kernel time on two cores with 4 layers, width 128 and
//! 8 sequences of 128, compared with 12% for attention.

use super::element::Elements;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::cores::functions::sum;
use crate::cores::rows_per_block;
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::ops::packed::{Packed, Part};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use rayon::prelude::*;

/// The op. Inputs: x, temperature. Output: y.
#[derive(Clone, Debug)]
pub struct Temperature {
    /// T; rows are whole sequences.
    pub sequence: usize,
}

/// Its adjoint. Inputs: y, temperature, dy. Outputs: dx and the temperature's gradient; with `accumulate`, it adds to the
/// latter.
#[derive(Clone, Debug)]
pub struct TemperatureBackward {
    pub sequence: usize,
    pub accumulate: bool,
}

impl Tape {
    /// Records the division of the queries in `qkv` [B·T, 3·d] by `temperature` [H, P] over sequences of `sequence` rows.
    pub fn temperature(&mut self, qkv: TensorId, temperature: TensorId, sequence: usize) -> TensorId {
        let (rows, columns) = self.shape(qkv).as_matrix();
        Extents::new((rows, columns), self.shape(temperature).as_matrix(), sequence);
        let y = self.intermediate_of("temperature", &[rows, columns], self.info(qkv).dtype);
        self.record(Temperature { sequence }, &[qkv, temperature], &[y]);
        y
    }
}

/// The layout of heads in packed rows and of temperatures in their table.
#[derive(Clone, Copy)]
struct Extents {
    batch: usize,
    sequence: usize,
    packed: Packed,
    positions: usize,
}

impl Extents {
    fn new((rows, columns): (usize, usize), (heads, positions): (usize, usize), sequence: usize) -> Self {
        assert!(rows.is_multiple_of(sequence), "{rows} rows are not whole sequences of {sequence}");
        assert!(sequence <= positions, "temperature: {sequence} positions of {positions}");
        Self { batch: rows / sequence, sequence, packed: Packed::of(columns, heads, 4), positions }
    }

    fn of(shapes: &Shapes<'_>, sequence: usize) -> Self {
        Self::new(shapes.inputs[0].as_matrix(), shapes.inputs[1].as_matrix(), sequence)
    }

    /// The table index of the temperature for element `i` of the packed rows; `None` for keys and values.
    fn place(&self, i: usize) -> Option<usize> {
        let columns = self.packed.columns();
        let (row, column) = (i / columns, i % columns);
        self.packed.query_head(column).map(|head| head * self.positions + row % self.sequence)
    }

    /// A kernel of `temperature.wgsl`, with its constants.
    fn kernel(&self, elements: &Elements, entry: &'static str, own: &[(&'static str, f64)]) -> Kernel {
        let text = elements.text(include_str!("../../shaders/temperature.wgsl"), &[], &[]);
        let mut constants = vec![
            ("SEQUENCE", self.sequence as f64),
            ("HEADS", self.packed.heads as f64),
            ("COLUMNS", (self.packed.width / 4) as f64),
            ("POSITIONS", self.positions as f64),
        ];
        constants.extend(own);
        Kernel::new(text, entry, &constants)
    }

    /// Divides the queries by their temperatures, on the CPU.
    fn divide_on_host(&self, x: &[f32], temperature: &[f32], y: &mut [f32]) {
        let Self { sequence, packed, positions, .. } = *self;
        let rows = rows_per_block(packed.columns());
        let blocks = y.par_chunks_mut(rows * packed.columns()).zip(x.par_chunks(rows * packed.columns()));
        blocks.enumerate().for_each(|(block, (y, x))| {
            y.copy_from_slice(x);
            for (i, y) in y.chunks_exact_mut(packed.columns()).enumerate() {
                let t = (block * rows + i) % sequence;
                for (head, query) in y[..packed.part()].chunks_exact_mut(packed.width).enumerate() {
                    let temperature = temperature[head * positions + t];
                    query.iter_mut().for_each(|y| *y /= temperature);
                }
            }
        });
    }

    /// The dispatch that divides the queries of input `x`.
    fn divide(&self, elements: &Elements, x: usize) -> Dispatch {
        Dispatch {
            kernel: self.kernel(elements, "divide_queries", &[("VECTORS", elements.vectors as f64)]),
            bindings: vec![
                ("x", elements.read(x)),
                ("temperature", Operand::Input(1)),
                ("y", Operand::Output(0)),
            ],
            groups: element::walk(elements.vectors),
        }
    }
}

impl Op for Temperature {
    fn stem(&self) -> &'static str {
        "temperature"
    }

    fn name(&self) -> &'static str {
        "temperature"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let extents = Extents::of(&io.shapes, self.sequence);
        let (inputs, outputs) = io.split();
        for (i, (y, x)) in outputs[0].iter_mut().zip(inputs[0]).enumerate() {
            *y = extents.place(i).map_or(*x, |place| x / inputs[1][place]);
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let extents = Extents::of(&io.shapes, self.sequence);
        let (inputs, outputs) = io.split();
        extents.divide_on_host(inputs[0], inputs[1], outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let extents = Extents::of(shapes, self.sequence);
        let divide = extents.divide(&Elements::of(shapes, device, &[0]), 0);
        Recipe { dispatches: vec![divide], ..Recipe::default() }
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        // y, not x: attention's adjoint, which came before, has needed it anyway.
        let (y, temperature) = (adjoint.output(0), adjoint.input(1));
        let dx = adjoint.fresh_like(0);
        let (d_temperature, accumulate) = adjoint.begin_gradient(1);
        let op = TemperatureBackward { sequence: self.sequence, accumulate };
        adjoint.tape.record(op, &[y, temperature, dy], &[dx, d_temperature]);
        if adjoint.wants(0) {
            adjoint.contribute(0, dx);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.input_elements(0) as u64 / 3
    }
}

impl Op for TemperatureBackward {
    fn stem(&self) -> &'static str {
        "temperature"
    }

    fn name(&self) -> &'static str {
        "temperature.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let extents = Extents::of(&io.shapes, self.sequence);
        let (inputs, outputs) = io.split();
        if !self.accumulate {
            outputs[1].fill(0.0);
        }
        for (i, (y, dy)) in inputs[0].iter().zip(inputs[2]).enumerate() {
            outputs[0][i] = *dy;
            if let Some(place) = extents.place(i) {
                let t = inputs[1][place];
                outputs[0][i] = dy / t;
                outputs[1][place] -= y * dy / t;
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let extents = Extents::of(&io.shapes, self.sequence);
        let Extents { batch, sequence, packed, positions } = extents;
        let (inputs, outputs) = io.split();
        let [y, temperature, dy] = inputs else { unreachable!("three inputs") };
        let [dx, d_temperature] = outputs else { unreachable!("two outputs") };
        extents.divide_on_host(dy, temperature, dx);
        if !self.accumulate {
            d_temperature.fill(0.0);
        }
        // A thread for each head: the batch is added up in its order.
        let heads = d_temperature.par_chunks_mut(positions).zip(temperature.par_chunks(positions));
        heads.enumerate().for_each(|(head, (d_temperature, temperature))| {
            for (t, (to, temperature)) in d_temperature.iter_mut().zip(temperature).enumerate().take(sequence)
            {
                let own = packed.head(Part::Query, head);
                let of = |b: usize| (b * sequence + t) * packed.columns() + own.start;
                let along = |b: usize| {
                    sum([&y[of(b)..][..packed.width], &dy[of(b)..][..packed.width]], |[y, d]| y * d)
                };
                *to -= (0..batch).map(along).sum::<f32>() / temperature;
            }
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let extents = Extents::of(shapes, self.sequence);
        let elements = Elements::of(shapes, device, &[0]);
        let own = [("BATCH", extents.batch as f64), ("ACCUMULATE", f64::from(u8::from(self.accumulate)))];
        let gradient = Dispatch {
            kernel: extents.kernel(&elements, "temperature_gradient", &own),
            bindings: vec![
                ("x", elements.read(0)),
                ("temperature", Operand::Input(1)),
                ("dy", elements.read(2)),
                ("d_temperature", Operand::Output(1)),
            ],
            groups: element::lanes(extents.packed.heads * extents.positions),
        };
        Recipe {
            dispatches: vec![extents.divide(&elements, 2), gradient],
            iterations: extents.batch * (1 + extents.packed.width / 4),
            ..Recipe::default()
        }
    }

    fn accumulates(&self, output: usize) -> bool {
        output == 1 && self.accumulate
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.input_elements(0) as u64
    }
}

/// One row, prime sizes, rows that fit an image; tables longer than the sequence; with and without gradients that are
/// overwritten.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (batch, heads, sequence, width, positions, dtype, overwrites) in [
        (1, 1, 1, 4, 1, DType::F32, false),
        (2, 3, 7, 20, 9, DType::F32, false),
        (3, 2, 33, 32, 40, DType::F32, true),
        (2, 4, 65, 16, 65, DType::F32, true),
        (2, 3, 7, 20, 9, DType::F16, false),
        (3, 2, 33, 64, 40, DType::F16, true),
    ] {
        let label = format!("B={batch} H={heads} T={sequence} of {positions} d={width} {dtype:?}");
        let mut case = CaseBuilder::new("temperature", format!("{label}, overwrites {overwrites}"), seed);
        if overwrites {
            case.tape.overwrite_gradients();
        }
        let shape = [batch * sequence, 3 * heads * width];
        let qkv = case.input_of("qkv", &shape, dtype, Fill::Normal(1.0));
        let temperature = case.parameter("temperature", &[heads, positions], Fill::Around(1.0, 0.2));
        // Around one, with some small ones, as at the paper's initial value of 1e-2.
        let bounded = |(i, &t): (usize, &f32)| t.clamp(0.5, 1.5) * if i % 7 == 3 { 0.01 } else { 1.0 };
        let values = case.values(temperature).iter().enumerate().map(bounded).collect();
        case.set(temperature, values);
        let y = case.tape.temperature(qkv, temperature, sequence);
        // A division, which a WGSL driver may round by 2.5 units (1.5e-7); then sums of B·width terms and another division.
        let bound = if dtype == DType::F16 { HALF_BOUND } else { 2e-6 };
        let mut case = case.finish(&[y], &[], bound);
        if overwrites {
            // The gradient overwrites the earlier value instead of adding to it.
            case.leaves.clear();
        }
        cases.push(case);
    }
    cases
}
