//! The matrix product `C = A · B`, optionally plus a bias, an addend, or the current contents of C.
//!
//! Shapes: C `[M, N]`; A `[M, K]` or `[K, M]`; B `[K, N]` or `[N, K]` (see [`Layout`]); bias `[P]` with P ≤ N, for
//! the first P columns; addend `[M, N]`. Tensors of higher rank are treated as matrices: all extents but the last
//! are rows. A and B are both f32 or both f16; C is either; bias, addend and all sums are f32.
//! Adjoint: dA = dC · Bᵀ, dB = Aᵀ · dC, in layouts that read A, B and dC as stored; dbias is dC's
//! [`ColumnSum`]; daddend = dC.

mod cases;
mod host;
mod probe;
mod product;
mod rows;
#[cfg(test)]
mod tests;
mod text;
mod tiled;
mod units;
mod variant;

pub use cases::cases;
pub use probe::{UnitProbe, unit_probes};
pub use product::{Layout, MatMul, Sizes};
pub use variant::Variant;

use super::column_sum::ColumnSum;
use super::{Binding, Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, Tuning, axis, element};
use crate::tape::{Adjoint, DType, Io, Role, Tape, TensorId};
use std::sync::Arc;

impl Tape {
    /// Records `x · w`, plus the bias on the first columns: x `[.., in]`, w `[in, out]`, bias `[≤ out]`;
    /// the result is `[.., out]` in the element type of w. With an f16 w, x is converted to f16.
    pub fn linear(&mut self, x: TensorId, w: TensorId, bias: Option<TensorId>) -> TensorId {
        let result = self.info(w).dtype;
        self.product(Layout::NN, (x, w), bias, None, result)
    }

    /// Records `addend + x · w`, plus the bias, in f32: a layer that adds to the residual stream. See
    /// [`Tape::linear`].
    ///
    /// # Panics
    /// If the addend is a parameter, whose gradient this op could not accumulate.
    pub fn linear_onto(
        &mut self,
        addend: TensorId,
        x: TensorId,
        w: TensorId,
        bias: Option<TensorId>,
    ) -> TensorId {
        assert_ne!(self.info(addend).role, Role::Parameter, "{} as an addend", self.info(addend).name);
        self.product(Layout::NN, (x, w), bias, Some(addend), DType::F32)
    }

    /// Records `x · wᵀ` in f32: x `[.., in]`, w `[out, in]`; the result is `[.., out]`.
    pub fn matmul_nt(&mut self, x: TensorId, w: TensorId) -> TensorId {
        self.product(Layout::NT, (x, w), None, None, DType::F32)
    }

    /// Records `xᵀ · y` in f32: x `[rows, m]`, y `[rows, n]`; the result is `[m, n]`.
    pub fn matmul_tn(&mut self, x: TensorId, y: TensorId) -> TensorId {
        let ((rows, m), (others, n)) = (self.shape(x).as_matrix(), self.shape(y).as_matrix());
        assert_eq!(rows, others, "product of {} and {}", self.info(x).name, self.info(y).name);
        let c = self.intermediate("product", &[m, n]);
        self.record(MatMul::new(Layout::TN), &[x, y], &[c]);
        c
    }

    /// Records that `xᵀ · x` is added to `out` in f32: x `[.., n]`, out `[n, n]`.
    pub fn add_product_tn(&mut self, x: TensorId, out: TensorId) {
        self.record(MatMul { accumulate: true, ..MatMul::new(Layout::TN) }, &[x, x], &[out]);
    }

    pub(super) fn product(
        &mut self,
        layout: Layout,
        (x, w): (TensorId, TensorId),
        bias: Option<TensorId>,
        addend: Option<TensorId>,
        result: DType,
    ) -> TensorId {
        let x = if self.info(w).dtype == DType::F16 { self.half(x) } else { x };
        let (rows, columns) = self.shape(w).as_matrix();
        let (inner, width) = if layout == Layout::NT { (columns, rows) } else { (rows, columns) };
        let mut dims = self.shape(x).dims().to_vec();
        let last = dims.last_mut().expect("a shape has at least one extent");
        assert_eq!(*last, inner, "product of {} and {}", self.info(x).name, self.info(w).name);
        *last = width;
        let c = self.intermediate_of("product", &dims, result);
        let mut inputs = vec![x, w];
        inputs.extend(bias);
        inputs.extend(addend);
        let op = MatMul { layout, bias: bias.is_some(), addend: addend.is_some(), accumulate: false };
        self.record(op, &inputs, &[c]);
        c
    }
}

impl MatMul {
    /// The index of the addend among the inputs, if there is one.
    fn addend_input(&self) -> usize {
        2 + usize::from(self.bias)
    }

    /// The extents of this product.
    ///
    /// # Panics
    /// If the operands' shapes do not match.
    pub fn sizes(&self, shapes: &Shapes<'_>) -> Sizes {
        let (a_rows, a_columns) = shapes.inputs[0].as_matrix();
        let (b_rows, b_columns) = shapes.inputs[1].as_matrix();
        let (m, k) = if self.layout == Layout::TN { (a_columns, a_rows) } else { (a_rows, a_columns) };
        let (n, depth) = if self.layout == Layout::NT { (b_rows, b_columns) } else { (b_columns, b_rows) };
        let c = shapes.outputs[0];
        assert!(k == depth && c.as_matrix() == (m, n), "{self:?} of {shapes:?}");
        let [operands, also] = [0, 1].map(|i| shapes.input_types[i]);
        assert_eq!(operands, also, "{self:?} of {shapes:?}");
        let more: Vec<usize> = (2..shapes.inputs.len()).collect();
        shapes.assert_f32(self.name(), &more);
        let bias_columns = if self.bias { shapes.input_elements(2) } else { 0 };
        assert!(bias_columns <= n, "a bias of {bias_columns} for {n} columns");
        if self.addend {
            assert_eq!(shapes.input_elements(self.addend_input()), m * n, "{self:?} of {shapes:?}");
        }
        let result = shapes.output_types[0];
        Sizes { m, n, k, a_rows, a_columns, b_rows, b_columns, bias_columns, operands, result }
    }

    /// The tuning key of this layout at these sizes; bias, addend and accumulation do not matter.
    fn key(&self, sizes: &Sizes) -> String {
        let half = if sizes.operands == DType::F16 { " in f16" } else { "" };
        format!("{} {}x{}x{}{half}", self.name(), sizes.m, sizes.n, sizes.k)
    }

    /// The variants that a device has for these sizes; the first is the default.
    pub fn variants(&self, sizes: &Sizes, device: &Traits) -> Vec<Variant> {
        let candidates = text::candidates(self.layout, sizes, device);
        let groups = |variant: Variant| {
            let (rows, columns) = variant.tile();
            sizes.m.div_ceil(rows as usize) * sizes.n.div_ceil(columns as usize)
        };
        // The largest tile of the first candidates that still leaves work for every core.
        let enough = if device.software { 8 } else { 128 };
        let ladder = &candidates[..candidates.len().min(variant::LADDER)];
        let first = ladder.iter().position(|&v| groups(v) >= enough).unwrap_or(ladder.len() - 1);
        let mut variants = candidates;
        variants[..=first].rotate_right(1);
        variants
    }

    /// The variant that a device uses for these sizes.
    pub fn variant(&self, sizes: &Sizes, device: &Traits) -> Variant {
        Tuning::chosen(&self.key(sizes), &self.variants(sizes, device), device)
    }

    /// The recipe of a given variant.
    pub fn recipe_of(&self, sizes: &Sizes, variant: Variant) -> Recipe {
        let mut constants = vec![
            ("M", sizes.m as f64),
            ("N", sizes.n as f64),
            ("K", sizes.k as f64),
            ("A_ROWS", sizes.a_rows as f64),
            ("A_COLUMNS", sizes.a_columns as f64),
            ("B_ROWS", sizes.b_rows as f64),
            ("B_COLUMNS", sizes.b_columns as f64),
        ];
        if self.bias {
            constants.push(("BIAS_COLUMNS", sizes.bias_columns as f64));
        }
        if let Variant::Rows { lanes, .. } = variant {
            constants.push(("LANES", f64::from(lanes)));
        }
        let (a_image, b_image) = text::images(sizes, variant);
        let operand = |image: bool, i| if image { Operand::InputImage(i) } else { Operand::Input(i) };
        let mut bindings: Vec<Binding> =
            vec![("a", operand(a_image, 0)), ("b", operand(b_image, 1)), ("c", Operand::Output(0))];
        if self.bias {
            bindings.push(("bias", Operand::Input(2)));
        }
        if self.addend {
            let image = text::addend_image(sizes, variant);
            bindings.push(("addend", operand(image, self.addend_input())));
        }
        let text: Arc<str> = text::text(self, sizes, variant);
        let kernel = |entry, constants| Kernel { text: text.clone(), entry, constants };
        let (rows, columns) = variant.tile();
        let groups = [sizes.m.div_ceil(rows as usize), sizes.n.div_ceil(columns as usize)];
        let split = variant.split();
        // Four steps of K per iteration, and the remainder one by one.
        let iterations = sizes.k / 4 + 4;
        // Rows along x: neighbouring workgroups share a panel of B, which stays in the cache.
        let groups = [groups[0], groups[1], split].map(axis);
        if split == 1 {
            return Recipe::one(kernel("matmul", constants), &bindings, groups).with_iterations(iterations);
        }
        // Each part of K is summed on its own; then the parts are added up, always in the same order.
        let width = sizes.n.div_ceil(4);
        let shared = [("M", sizes.m as f64), ("N", sizes.n as f64), ("WIDTH", width as f64)];
        constants.retain(|(name, _)| !["N", "BIAS_COLUMNS"].contains(name));
        constants.extend([("N", sizes.n as f64), ("WIDTH", width as f64)]);
        constants.push(("PART", variant.part(sizes.k) as f64));
        let mut total = shared.to_vec();
        total.push(("SPLIT", split as f64));
        if self.bias {
            total.push(("BIAS_COLUMNS", sizes.bias_columns as f64));
        }
        let is_operand = |(name, _): &Binding| ["a", "b"].contains(name);
        let (mut operands, mut finish): (Vec<Binding>, Vec<Binding>) =
            bindings.into_iter().partition(is_operand);
        operands.push(("parts", Operand::Scratch(0)));
        finish.push(("parts", Operand::Scratch(0)));
        let products = Dispatch { kernel: kernel("matmul", constants), bindings: operands, groups };
        let lanes = element::lanes(sizes.m * width);
        let total = Dispatch { kernel: kernel("total", total), bindings: finish, groups: lanes };
        Recipe { dispatches: vec![products, total], scratch: vec![split * sizes.m * width * 4], iterations }
    }
}

impl Op for MatMul {
    fn stem(&self) -> &'static str {
        "matmul"
    }

    fn name(&self) -> &'static str {
        match self.layout {
            Layout::NN => "matmul",
            Layout::NT => "matmul.nt",
            Layout::TN => "matmul.tn",
        }
    }

    fn reference(&self, io: &mut Io<'_>) {
        let Sizes { m, n, k, a_columns, b_columns, bias_columns, .. } = self.sizes(&io.shapes);
        let (inputs, outputs) = io.split();
        let a = |row: usize, at: usize| match self.layout {
            Layout::TN => inputs[0][at * a_columns + row],
            _ => inputs[0][row * a_columns + at],
        };
        // Rows of B, so that sums walk along memory.
        let turned: Vec<f64>;
        let b = if self.layout == Layout::NT {
            turned = (0..k * n).map(|i| inputs[1][i % n * b_columns + i / n]).collect();
            &turned
        } else {
            inputs[1]
        };
        let c = &mut outputs[0];
        let mut sums = vec![0.0; n];
        for row in 0..m {
            sums.fill(0.0);
            for at in 0..k {
                let a = a(row, at);
                for (sum, b) in sums.iter_mut().zip(&b[at * n..]) {
                    *sum += a * b;
                }
            }
            for (column, sum) in sums.iter_mut().enumerate() {
                if column < bias_columns {
                    *sum += inputs[2][column];
                }
                if self.addend {
                    *sum += inputs[self.addend_input()][row * n + column];
                }
                let c = &mut c[row * n + column];
                *c = if self.accumulate { *c + *sum } else { *sum };
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        self.on_host(io);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let sizes = self.sizes(shapes);
        self.recipe_of(&sizes, self.variant(&sizes, device))
    }

    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        let sizes = self.sizes(shapes);
        Some(Tuning::of(self.key(&sizes), &self.variants(&sizes, device)))
    }

    fn element(&self, shapes: &Shapes<'_>, inputs: &[Vec<f64>], element: usize) -> Option<f64> {
        let Sizes { n, k, a_columns, b_columns, bias_columns, .. } = self.sizes(shapes);
        let (row, column) = (element / n, element % n);
        let product = |at: usize| {
            let a = if self.layout == Layout::TN { at * a_columns + row } else { row * a_columns + at };
            let b = if self.layout == Layout::NT { column * b_columns + at } else { at * b_columns + column };
            inputs[0][a] * inputs[1][b]
        };
        let bias = if column < bias_columns { inputs[2][column] } else { 0.0 };
        let addend = if self.addend { inputs[self.addend_input()][element] } else { 0.0 };
        Some((0..k).map(product).sum::<f64>() + bias + addend)
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(whole) = adjoint.gradient(0) else { return };
        let (a, b) = (adjoint.input(0), adjoint.input(1));
        // Both operands of a product have one type: the residual stream's gradient becomes f16 once, for both products.
        let dc = if adjoint.tape.info(b).dtype == DType::F16 { adjoint.tape.half(whole) } else { whole };
        let (for_a, for_b) = match self.layout {
            Layout::NN => ((Layout::NT, [dc, b]), (Layout::TN, [a, dc])),
            Layout::NT => ((Layout::NN, [dc, b]), (Layout::TN, [dc, a])),
            Layout::TN => ((Layout::NT, [b, dc]), (Layout::NN, [a, dc])),
        };
        // B first: if it is a weight, its gradient is the last to read A, whose memory can then hold dA.
        for (i, (layout, operands)) in [for_a, for_b].into_iter().enumerate().rev() {
            into_gradient(adjoint, i, &operands, |accumulate| MatMul { accumulate, ..Self::new(layout) });
        }
        if self.bias {
            into_gradient(adjoint, 2, &[whole], ColumnSum::new);
        }
        let addend = self.addend_input();
        if self.addend && adjoint.wants(addend) {
            adjoint.contribute(addend, whole);
        }
    }

    fn accumulates(&self, _output: usize) -> bool {
        self.accumulate
    }

    fn with_addend(&self) -> Option<Arc<dyn Op>> {
        let free = !self.addend && !self.accumulate;
        free.then(|| Arc::new(Self { addend: true, ..self.clone() }) as Arc<dyn Op>)
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        let sizes = self.sizes(shapes);
        2 * (sizes.m * sizes.n * sizes.k) as u64
    }

    /// M×N×K.
    fn extents(&self, shapes: &Shapes<'_>) -> String {
        let Sizes { m, n, k, .. } = self.sizes(shapes);
        format!("{m}×{n}×{k}")
    }
}

/// Records the gradient of input `i`, if it is wanted: added to a parameter's gradient, or as a new tensor.
fn into_gradient<O: Op + 'static>(
    adjoint: &mut Adjoint<'_>,
    i: usize,
    operands: &[TensorId],
    op: impl FnOnce(bool) -> O,
) {
    if !adjoint.wants(i) {
        return;
    }
    if adjoint.is_parameter(i) {
        let (gradient, adds) = adjoint.begin_gradient(i);
        adjoint.tape.record(op(adds), operands, &[gradient]);
    } else {
        let gradient = adjoint.fresh_like(i);
        adjoint.tape.record(op(false), operands, &[gradient]);
        adjoint.contribute(i, gradient);
    }
}
