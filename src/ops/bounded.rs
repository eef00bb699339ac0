//! Bounded functions in place of a norm: `y = γ∘f(u) + β` with u = α·x + s, element by element, f one of [`FUNCTIONS`].
//! DyT (arXiv 2503.10622) is tanh without s; Derf (arXiv 2512.10938) is erf with it; the others are the candidates of the
//! latter's search.
//!
//! Shapes: x [.., d]; y the same, in f32 or f16; γ, β `[d]`; α, s `[1]`, each optional (then one, and zero).
//! Adjoint, with g = dy∘γ∘f′(u): dx = α·g; dγ += Σ dy∘f(u) and dβ += Σ dy over rows; dα += Σ g∘x and ds += Σ g over all
//! elements. DyISRU (arXiv 2503.21708) learns b in place of α = 1/√b; then db = −½·α³·dα. Sums are of blocks of rows for each column, then of blocks, then of columns, in a fixed order.

mod cases;
mod functions;
mod host;
mod learned;

pub use cases::cases;
pub use functions::{Curve, FUNCTIONS, NormFunction};
pub use learned::Learned;

use super::norm_rows::{by_images, key, parameter_variants, read_as, stored};
use super::team::{RowBlocks, Team, Vectors};
use super::unroll::unroll;
use super::{Binding, Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, Tuning, element};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use std::sync::Arc;

/// The function, and which of α and s are inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    pub function: NormFunction,
    pub scaled: bool,
    /// Only beside α.
    pub shifted: bool,
    /// Whether what is given as α is b, and α = 1/√b.
    pub inverse: bool,
}

/// The op; see the module's documentation. Inputs: x, γ, β, then α and s if there are. Output: y.
#[derive(Debug)]
pub struct Bounded(pub Shape);

/// dx of [`Bounded`]. Inputs: x, γ, dy, then α and s if there are, then what is added to dx. Output: dx.
#[derive(Debug)]
pub struct BoundedBackward {
    pub shape: Shape,
    /// Whether the last input is added to dx.
    pub addend: bool,
}

/// The learned numbers' gradients. Inputs: x, γ, dy, then α and s if there are. Outputs: dγ, dβ, then dα and ds if there
/// are; it adds to all of them.
#[derive(Debug)]
pub struct BoundedParameters(pub Shape);

impl Tape {
    /// Records γ∘f(α·x + s) + β over the last extent of `x`. The result's element type is `result`.
    pub fn bounded(
        &mut self,
        x: TensorId,
        function: NormFunction,
        learned: Learned,
        result: DType,
    ) -> TensorId {
        let Learned { alpha, shift, .. } = learned;
        let (scaled, shifted) = (alpha.is_some(), shift.is_some());
        self.bounded_of(x, Shape { function, scaled, shifted, inverse: false }, learned, result)
    }

    /// Records DyISRU: γ∘x/√(b + x²) + β, which is γ∘f(x/√b) + β with the f of `isru`. `learned` has b in place of α.
    pub fn dyisru(&mut self, x: TensorId, learned: Learned, result: DType) -> TensorId {
        let shape = Shape { function: NormFunction::ISRU, scaled: true, shifted: false, inverse: true };
        self.bounded_of(x, shape, learned, result)
    }

    fn bounded_of(&mut self, x: TensorId, shape: Shape, learned: Learned, result: DType) -> TensorId {
        let dims = self.shape(x).dims().to_vec();
        let (_, width) = self.shape(x).as_matrix();
        let Learned { gamma, beta, alpha, shift } = learned;
        assert!(alpha.is_some() || shift.is_none(), "s without α");
        for (vector, width) in [(gamma, width), (beta, width)]
            .into_iter()
            .chain(alpha.map(|alpha| (alpha, 1)))
            .chain(shift.map(|shift| (shift, 1)))
        {
            let info = self.info(vector);
            assert_eq!(info.shape.dims(), [width], "bounded: {}", info.name);
        }
        let y = self.intermediate_of("norm", &dims, result);
        let inputs: Vec<_> = [x, gamma, beta].into_iter().chain(alpha).chain(shift).collect();
        self.record(Bounded(shape), &inputs, &[y]);
        y
    }
}

impl Shape {
    /// How many of α and s there are.
    fn scalars(self) -> usize {
        usize::from(self.scaled) + usize::from(self.shifted)
    }

    /// α and s, of a node with them from input 3 on; `root` is 1/√b.
    fn of<F: Copy + From<f32>>(self, inputs: &[&[F]], root: fn(F) -> F) -> [F; 2] {
        let alpha = if self.scaled { inputs[3][0] } else { F::from(1.0) };
        let alpha = if self.inverse { root(alpha) } else { alpha };
        let shift = if self.shifted { inputs[4][0] } else { F::from(0.0) };
        [alpha, shift]
    }

    /// The same of the reference.
    fn wide(self, inputs: &[&[f64]]) -> [f64; 2] {
        self.of(inputs, |b| 1.0 / b.sqrt())
    }

    /// The same on the CPU.
    fn narrow(self, inputs: &[&[f32]]) -> [f32; 2] {
        self.of(inputs, |b| 1.0 / b.sqrt())
    }

    /// What α's gradient is multiplied by, to be that of the number that is given.
    fn by_given(self, alpha: f64) -> f64 {
        if self.inverse { -0.5 * alpha.powi(3) } else { 1.0 }
    }

    /// Binds α and s.
    fn bind(self, bindings: &mut Vec<Binding>) {
        bindings.extend(self.scaled.then_some(("alpha", Operand::Input(3))));
        bindings.extend(self.shifted.then_some(("shift", Operand::Input(4))));
    }

    /// The shader's text.
    fn text(self, [images, addend, half]: [bool; 3], vectors: &Vectors, team: &str) -> Arc<str> {
        let [lanes, each] = element::WALK;
        let [own, narrow, texel] = stored(half, vectors);
        let function = ("function", self.function.wgsl.to_owned());
        let texts = [("team", team.to_owned()), function, own, narrow, texel];
        let flags = [
            ("images", images),
            ("addend", addend),
            ("half", half),
            ("scaled", self.scaled),
            ("shifted", self.shifted),
            ("inverse", self.inverse),
        ];
        let numbers = [lanes, each, ("vector", vectors.size)];
        unroll(include_str!("../../shaders/bounded.wgsl"), &numbers, &flags, &texts)
    }

    /// An element-wise kernel on rows of that shape, whose y or dy is f16 or not.
    fn element_wise(
        self,
        entry: &'static str,
        (rows, columns): (usize, usize),
        half: bool,
        device: &Traits,
        bindings: &[Binding],
    ) -> Recipe {
        let vectors = Vectors::of(columns);
        let images = by_images((rows, columns), half, device);
        let addend = bindings.iter().any(|(name, _)| *name == "addend");
        let text = self.text([images, addend, half], &vectors, Team::ALONE);
        let kernel = Kernel::new(text, entry, &[("ROWS", rows as f64), ("WIDTH", vectors.width as f64)]);
        Recipe::one(kernel, &read_as(images, bindings), element::walk(rows * vectors.width))
    }
}

impl Op for Bounded {
    fn stem(&self) -> &'static str {
        "bounded"
    }

    fn name(&self) -> &'static str {
        "bounded"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [alpha, shift] = self.0.wide(inputs);
        for (i, (y, x)) in outputs[0].iter_mut().zip(inputs[0]).enumerate() {
            let f = (self.0.function.value)(alpha * x + shift);
            *y = inputs[1][i % width] * f + inputs[2][i % width];
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let scalars = self.0.narrow(inputs);
        self.0.function.loops.forward(width, outputs[0], [inputs[0], inputs[1], inputs[2]], scalars);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let mut bindings = vec![
            ("x", Operand::Input(0)),
            ("gamma", Operand::Input(1)),
            ("beta", Operand::Input(2)),
            ("y", Operand::Output(0)),
        ];
        self.0.bind(&mut bindings);
        let (size, half) = (shapes.inputs[0].as_matrix(), shapes.half_output(0));
        self.0.element_wise("bounded", size, half, device, &bindings)
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let [x, gamma] = [0, 1].map(|i| adjoint.input(i));
        let scalars: Vec<_> = (3..3 + self.0.scalars()).map(|i| adjoint.input(i)).collect();
        let inputs = [&[x, gamma, dy], &scalars[..]].concat();
        if (1..adjoint.inputs()).any(|i| adjoint.wants(i)) {
            let gradients: Vec<_> = (1..adjoint.inputs()).map(|i| adjoint.parameter_gradient(i)).collect();
            adjoint.tape.record(BoundedParameters(self.0), &inputs, &gradients);
        }
        if adjoint.wants(0) {
            let dx = adjoint.fresh_like(0);
            adjoint.tape.record(BoundedBackward { shape: self.0, addend: false }, &inputs, &[dx]);
            adjoint.contribute(0, dx);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (self.0.function.flops + 4) * shapes.input_elements(0) as u64
    }
}

impl Op for BoundedBackward {
    fn stem(&self) -> &'static str {
        "bounded"
    }

    fn name(&self) -> &'static str {
        "bounded.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [alpha, shift] = self.shape.wide(inputs);
        let addend = self.addend.then(|| inputs[inputs.len() - 1]);
        for (i, (dx, x)) in outputs[0].iter_mut().zip(inputs[0]).enumerate() {
            let slope = (self.shape.function.derivative)(alpha * x + shift);
            let past = addend.map_or(0.0, |addend| addend[i]);
            *dx = past + alpha * slope * inputs[1][i % width] * inputs[2][i];
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let scalars = self.shape.narrow(inputs);
        let addend = self.addend.then(|| inputs[inputs.len() - 1]);
        let rows = [inputs[0], inputs[1], inputs[2]];
        self.shape.function.loops.backward(width, outputs[0], rows, scalars, addend);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let mut bindings = vec![
            ("x", Operand::Input(0)),
            ("gamma", Operand::Input(1)),
            ("dy", Operand::Input(2)),
            ("dx", Operand::Output(0)),
        ];
        self.shape.bind(&mut bindings);
        if self.addend {
            bindings.push(("addend", Operand::Input(3 + self.shape.scalars())));
        }
        let (size, half) = (shapes.inputs[0].as_matrix(), shapes.half_input(2));
        self.shape.element_wise("bounded_backward", size, half, device, &bindings)
    }

    fn with_addend(&self) -> Option<Arc<dyn Op>> {
        (!self.addend).then(|| Arc::new(Self { shape: self.shape, addend: true }) as Arc<dyn Op>)
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (self.shape.function.flops + 5) * shapes.input_elements(0) as u64
    }
}

impl Op for BoundedParameters {
    fn stem(&self) -> &'static str {
        "bounded"
    }

    fn name(&self) -> &'static str {
        "bounded.parameters"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [alpha, shift] = self.0.wide(inputs);
        for (i, (x, dy)) in inputs[0].iter().zip(inputs[2]).enumerate() {
            let u = alpha * x + shift;
            let g = dy * inputs[1][i % width] * (self.0.function.derivative)(u);
            outputs[0][i % width] += dy * (self.0.function.value)(u);
            outputs[1][i % width] += dy;
            for (output, term) in outputs[2..].iter_mut().zip([g * x * self.0.by_given(alpha), g]) {
                output[0] += term;
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let scalars = self.0.narrow(inputs);
        let by_given = self.0.by_given(f64::from(scalars[0]));
        let rows = [inputs[0], inputs[1], inputs[2]];
        self.0.function.loops.parameters(width, outputs, rows, scalars, by_given);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (rows, columns) = shapes.inputs[0].as_matrix();
        let vectors = Vectors::of(columns);
        let half = shapes.half_input(2);
        let images = by_images((rows, columns), half, device);
        let variants = parameter_variants(rows);
        let RowBlocks(block_rows) =
            Tuning::chosen(&key("bounded_parameters", (rows, columns)), &variants, device);
        let blocks = rows.div_ceil(block_rows);
        let text = self.0.text([images, false, half], &vectors, Team::ALONE);
        let (width, blocks_f) = (("WIDTH", vectors.width as f64), ("BLOCKS", blocks as f64));
        let mut bindings = vec![
            ("x", Operand::Input(0)),
            ("gamma", Operand::Input(1)),
            ("dy", Operand::Input(2)),
            ("parts", Operand::Scratch(0)),
        ];
        self.0.bind(&mut bindings);
        // γ is read only to weigh the sums of α and s.
        bindings.retain(|(name, _)| *name != "gamma" || self.0.scaled);
        let own = [width, blocks_f, ("ROWS", rows as f64), ("BLOCK_ROWS", block_rows as f64)];
        let parts = Dispatch {
            kernel: Kernel::new(text.clone(), "bounded_parts", &own),
            bindings: read_as(images, &bindings),
            groups: element::lanes(blocks * vectors.width),
        };
        let mut bindings = vec![
            ("parts", Operand::Scratch(0)),
            ("dgamma", Operand::Output(0)),
            ("dbeta", Operand::Output(1)),
        ];
        bindings.extend(self.0.scaled.then_some(("columns", Operand::Scratch(1))));
        let totals = Dispatch {
            kernel: Kernel::new(text, "bounded_totals", &[width, blocks_f]),
            bindings,
            groups: element::lanes(vectors.width),
        };
        let mut recipe = Recipe {
            dispatches: vec![parts, totals],
            scratch: vec![(2 + self.0.scalars()) * blocks * columns],
            iterations: block_rows.max(blocks),
        };
        if self.0.scaled {
            let team = Team::single(device);
            let text = self.0.text([images, false, half], &vectors, team.kind);
            let own = [width, ("TEAM_LANES", team.lanes as f64), ("TEAM", team.size as f64)];
            let mut bindings = vec![("columns", Operand::Scratch(1)), ("d_alpha", Operand::Output(2))];
            bindings.extend(self.0.inverse.then_some(("alpha", Operand::Input(3))));
            bindings.extend(self.0.shifted.then_some(("d_shift", Operand::Output(3))));
            recipe.dispatches.push(Dispatch {
                kernel: Kernel::new(text, "bounded_scalars", &own),
                bindings,
                groups: [1, 1, 1],
            });
            recipe.scratch.push(2 * columns);
            recipe.iterations = recipe.iterations.max(vectors.width.div_ceil(team.size));
        }
        recipe
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn tuning(&self, shapes: &Shapes<'_>, _device: &Traits) -> Option<Tuning> {
        let extents = shapes.inputs[0].as_matrix();
        Some(Tuning::of(key("bounded_parameters", extents), &parameter_variants(extents.0)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (2 * self.0.function.flops + 8) * shapes.input_elements(0) as u64
    }
}
