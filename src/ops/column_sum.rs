//! `out[n] = Σ_rows x[row, n]` over the first columns: the gradient of a bias. Alternatively, the number of rows with a
//! nonzero element in each column, which shows which units of a network are active.
//!
//! Shapes: x `[R, N]`, in f32 or f16, out `[P]` with P ≤ N. Two stages, first the sums of blocks of rows, then the sum of
//! these, so that many workgroups share the rows and every run adds in the same order. No adjoint.

mod host;

use super::team::RowBlocks;
use super::unroll::unroll;
use super::{Kernel, Op, Operand, Recipe, Shapes, Traits, Tuning, element};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::ops::{Binding, Dispatch};
use crate::tape::{DType, Io, Tape, TensorId};
use std::sync::Arc;

/// The op; see the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSum {
    /// `out` is added to instead of overwritten.
    pub accumulate: bool,
    pub of: Summand,
}

/// The part of an element that the op sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summand {
    Values,
    /// 1 if it is not zero; NaN counts as not zero.
    NonZero,
}

impl ColumnSum {
    /// The sum of values; with `accumulate`, added to the current contents.
    pub fn new(accumulate: bool) -> Self {
        Self { accumulate, of: Summand::Values }
    }
}

impl Tape {
    /// Records that the sums of the columns of `x` [.., N] are added to `out` `[N]`.
    pub fn add_column_sum(&mut self, x: TensorId, out: TensorId) {
        assert_eq!(self.shape(x).as_matrix().1, self.shape(out).elements(), "{}", self.info(out).name);
        self.record(ColumnSum::new(true), &[x], &[out]);
    }

    /// Records the number of nonzero elements in each column of `x` [.., N] into `out` `[N]`.
    pub fn count_nonzero(&mut self, x: TensorId, out: TensorId) {
        assert_eq!(self.shape(x).as_matrix().1, self.shape(out).elements(), "{}", self.info(out).name);
        self.record(ColumnSum { accumulate: false, of: Summand::NonZero }, &[x], &[out]);
    }
}

/// The block sizes to try, in rows. The default gives blocks of at least 16 rows, and at most 64 blocks, over which the
/// second stage loops.
fn variants(rows: usize) -> Vec<RowBlocks> {
    RowBlocks::variants(rows.div_ceil(64).max(16), rows)
}

impl ColumnSum {
    /// The tuning key.
    fn key(&self, shapes: &Shapes<'_>) -> String {
        let (rows, width) = shapes.inputs[0].as_matrix();
        let what = if self.of == Summand::NonZero { "count_nonzero" } else { "column_sum" };
        format!("{what} {rows}x{} of {width}", shapes.output_elements(0))
    }
}

impl Op for ColumnSum {
    fn stem(&self) -> &'static str {
        "column_sum"
    }

    fn name(&self) -> &'static str {
        "column_sum"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let width = io.input_shape(0).as_matrix().1;
        let (inputs, outputs) = io.split();
        for (column, out) in outputs[0].iter_mut().enumerate() {
            let term = |value: f64| match self.of {
                Summand::Values => value,
                Summand::NonZero => f64::from(u8::from(value != 0.0)),
            };
            let sum: f64 = inputs[0].chunks_exact(width).map(|row| term(row[column])).sum();
            *out = if self.accumulate { *out + sum } else { sum };
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let width = io.input_shape(0).as_matrix().1;
        let (inputs, outputs) = io.split();
        host::sum(self, inputs[0], width, outputs[0]);
    }

    /// # Panics
    /// If `out` is longer than the rows.
    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (rows, width) = shapes.inputs[0].as_matrix();
        let columns = shapes.output_elements(0);
        assert!(columns <= width, "sums of {columns} columns of {width}");
        let RowBlocks(rows_each) = Tuning::chosen(&self.key(shapes), &variants(rows), device);
        let blocks = rows.div_ceil(rows_each);
        let whole = width.is_multiple_of(4);
        // Software drivers read images many times faster than buffers.
        let (image, half) = (device.software && shapes.fits_image(0), shapes.half_input(0));
        let texts = [("element", element::scalar(half)), ("texel", element::texel(half))];
        let flags = [("images", image), ("half", half), ("nonzero", self.of == Summand::NonZero)];
        let text: Arc<str> = unroll(
            include_str!("../../shaders/column_sum.wgsl"),
            &[("lanes", element::LANES)],
            &flags,
            &texts,
        );
        let operand = if image { Operand::InputImage(0) } else { Operand::Input(0) };
        let numbers = [
            ("ROWS", rows as f64),
            ("WIDTH", width as f64),
            ("COLUMNS", columns as f64),
            ("ROWS_EACH", rows_each as f64),
            ("BLOCKS", blocks as f64),
            ("ACCUMULATE", f64::from(u8::from(self.accumulate))),
        ];
        let only =
            |names: &[&str]| numbers.iter().copied().filter(|(n, _)| names.contains(n)).collect::<Vec<_>>();
        let partial_names = ["ROWS", "WIDTH", "COLUMNS", "ROWS_EACH"];
        let (entry, x, each) = if whole { ("partial_whole", "x4", 4) } else { ("partial", "x", 1) };
        let partial = Kernel::new(text.clone(), entry, &only(&partial_names));
        let total = Kernel::new(text, "total", &only(&["COLUMNS", "BLOCKS", "ACCUMULATE"]));
        let groups = |each: usize| columns.div_ceil(element::LANES * each) as u32;
        let dispatch = |kernel: Kernel, bindings: &[Binding], groups| Dispatch {
            kernel,
            bindings: bindings.to_vec(),
            groups,
        };
        let sums = if whole { "sums4" } else { "sums" };
        Recipe {
            dispatches: vec![
                dispatch(
                    partial,
                    &[(x, operand), (sums, Operand::Scratch(0))],
                    [groups(each), blocks as u32, 1],
                ),
                dispatch(
                    total,
                    &[("partials", Operand::Scratch(0)), ("out", Operand::Output(0))],
                    [groups(1), 1, 1],
                ),
            ],
            scratch: vec![blocks * columns.next_multiple_of(4)],
            iterations: rows_each.max(blocks),
        }
    }

    fn accumulates(&self, _output: usize) -> bool {
        self.accumulate
    }

    fn tuning(&self, shapes: &Shapes<'_>, _device: &Traits) -> Option<Tuning> {
        let (rows, _) = shapes.inputs[0].as_matrix();
        Some(Tuning::of(self.key(shapes), &variants(rows)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (shapes.inputs[0].as_matrix().0 * shapes.output_elements(0)) as u64
    }
}

/// One row, prime sizes, more rows than the first stage has blocks; sums of all columns and of only the first.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, width, columns, accumulate, dtype) in [
        (1, 1, 1, true, DType::F32),
        (1, 7, 7, false, DType::F32),
        (5, 12, 8, true, DType::F32),
        (67, 131, 129, true, DType::F32),
        (2500, 96, 64, true, DType::F32),
        (5, 12, 8, true, DType::F16),
        (67, 131, 129, true, DType::F16),
        (2500, 128, 64, true, DType::F16),
        (40, 36, 36, false, DType::F32),
        (40, 20, 20, true, DType::F16),
        (40, 36, 36, false, DType::F16),
    ] {
        let label = format!("{columns} of {rows}x{width} {dtype:?}, accumulate {accumulate}");
        let mut case = CaseBuilder::new("column_sum", label, seed);
        let x = case.input_of("x", &[rows, width], dtype, Fill::Normal(1.0));
        let out = case.observation("out", &[columns], 0.5);
        case.tape.record(ColumnSum::new(accumulate), &[x], &[out]);
        // Sequential sums of at most rows/64 + 64 terms, in f32 whatever the storage type of the terms.
        cases.push(case.finish(&[], &[], 2e-6));
    }
    for (rows, width, dtype) in [
        (5, 12, DType::F32),
        (67, 131, DType::F32),
        (2500, 64, DType::F32),
        (67, 131, DType::F16),
        (40, 20, DType::F16),
        (300, 128, DType::F16),
    ] {
        let label = format!("not zero of {rows}x{width} {dtype:?}");
        let mut case = CaseBuilder::new("column_sum", label, seed);
        let x = case.input_of("x", &[rows, width], dtype, Fill::Normal(1.0));
        let value = |(i, &value): (usize, &f32)| match (i / width + 3 * i) % 5 {
            0 => 0.0,
            1 => -0.0,
            2 if i % 7 == 0 => f32::NAN,
            _ => value,
        };
        let values = case.values(x).iter().enumerate().map(value).collect();
        case.set(x, values);
        let out = case.observation("out", &[width], 0.5);
        case.tape.count_nonzero(x, out);
        // Counts are whole numbers far below 2²⁴.
        cases.push(case.finish(&[], &[], 0.0));
    }
    cases
}
