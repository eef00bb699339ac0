//! Sums over the rows of columns: of squares in the forward pass, of products with the gradient in the backward pass. Two stages,
//! first over blocks of rows, then over the blocks, so that every run adds in the same order.

use super::host;
use super::text::text;
use crate::ops::team::Vectors;
use crate::ops::{Binding, Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::tape::{Io, Tape, TensorId};

/// v. Input: x. Output: the mean of x² of each column.
#[derive(Debug)]
pub(super) struct ColumnSquares;

/// The sums of dy∘x and of dy over the rows of each column, and γ beside them: a device cannot read γ where it changes the state, which
/// lies in the same buffer. Inputs: x, dy, γ. Output: `[3, d]`.
#[derive(Debug)]
pub(super) struct ColumnProducts;

impl Tape {
    /// Records the mean square of each column of `x`.
    pub(super) fn column_squares(&mut self, x: TensorId) -> TensorId {
        let (_, width) = self.shape(x).as_matrix();
        let squares = self.intermediate("norm.squares", &[width]);
        self.record(ColumnSquares, &[x], &[squares]);
        squares
    }
}

/// The two stages over `rows` rows. `parts` and `totals` are their kernels and what these read and write beside the parts.
fn stages(
    (rows, columns): (usize, usize),
    half: bool,
    (parts, read): (&'static str, &[Binding]),
    (totals, written, means): (&'static str, &[Binding], bool),
) -> Recipe {
    // Enough blocks to keep a GPU busy, but few enough for one lane to add up.
    let block_rows = rows.div_ceil(128).max(32);
    let blocks = rows.div_ceil(block_rows);
    let vectors = Vectors::of(columns);
    let (width, count) = (("WIDTH", vectors.width as f64), ("BLOCKS", blocks as f64));
    let shared: &[Binding] = &[("parts", Operand::Scratch(0))];
    let all = ("ROWS", rows as f64);
    let own = [width, count, all, ("BLOCK_ROWS", block_rows as f64)];
    let of_totals: Vec<_> = [width, count].into_iter().chain(means.then_some(all)).collect();
    Recipe {
        dispatches: vec![
            Dispatch {
                kernel: Kernel::new(text([false, half, false], &vectors), parts, &own),
                bindings: [read, shared].concat(),
                groups: element::lanes(blocks * vectors.width),
            },
            Dispatch {
                kernel: Kernel::new(text([false, half, false], &vectors), totals, &of_totals),
                bindings: [shared, written].concat(),
                groups: element::lanes(vectors.width),
            },
        ],
        // Two sums of a column at most.
        scratch: vec![2 * blocks * columns],
        iterations: block_rows.max(blocks),
    }
}

impl Op for ColumnSquares {
    fn stem(&self) -> &'static str {
        "column_norm"
    }

    fn name(&self) -> &'static str {
        "column_norm.squares"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (rows, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        for (column, square) in outputs[0].iter_mut().enumerate() {
            let own = inputs[0].iter().skip(column).step_by(width);
            *square = own.map(|x| x * x).sum::<f64>() / rows as f64;
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (rows, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let x = inputs[0];
        let [squares, _] = host::column_sums(width, [x, x]);
        outputs[0].iter_mut().zip(squares).for_each(|(to, sum)| *to = sum / rows as f32);
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let parts = ("square_parts", &[("x", Operand::Input(0))][..]);
        let totals = ("square_totals", &[("squares", Operand::Output(0))][..], true);
        stages(shapes.inputs[0].as_matrix(), false, parts, totals)
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        2 * shapes.input_elements(0) as u64
    }
}

impl Op for ColumnProducts {
    fn stem(&self) -> &'static str {
        "column_norm"
    }

    fn name(&self) -> &'static str {
        "column_norm.products"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        outputs[0][2 * width..].copy_from_slice(inputs[2]);
        let (products, sums) = outputs[0][..2 * width].split_at_mut(width);
        products.fill(0.0);
        sums.fill(0.0);
        for (i, (x, dy)) in inputs[0].iter().zip(inputs[1]).enumerate() {
            products[i % width] += x * dy;
            sums[i % width] += dy;
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let sums = host::column_sums(width, [inputs[0], inputs[1]]);
        outputs[0][2 * width..].copy_from_slice(inputs[2]);
        outputs[0].chunks_exact_mut(width).zip(sums).for_each(|(to, sums)| to.copy_from_slice(&sums));
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let parts = ("product_parts", &[("x", Operand::Input(0)), ("dy", Operand::Input(1))][..]);
        let written = [("gamma", Operand::Input(2)), ("products", Operand::Output(0))];
        let totals = ("product_totals", &written[..], false);
        stages(shapes.inputs[0].as_matrix(), shapes.half_input(1), parts, totals)
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        3 * shapes.input_elements(0) as u64
    }
}
