//! `y = w₁·N(x) + w₂·N(x²) + w₃·N(x³) + b` over rows, N(v) = v/√(mean v² + ε), with three learned weights and a learned shift
//! (PolyCom, arXiv 2411.03884, in whose code the weight of x³ comes first).
//!
//! Shapes: x and y `[R, n]` with n a multiple of four, in f32 or f16; w `[3]`, b `[1]`; the norms' factors r `[R, 4]`, of which
//! three are used. Adjoint, with Nᵢ = xⁱ·rᵢ: dx = Σ i·xⁱ⁻¹·wᵢ·rᵢ·(dy − Nᵢ·mean(dy∘Nᵢ)); dwᵢ += Σ dy∘Nᵢ and db += Σ dy, of
//! which each row has its part already, added up in a fixed order.

mod cases;
mod host;

pub use cases::cases;

use super::team::Team;
use super::unroll::unroll;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element, fits_image, grid};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};

/// Powers of x.
pub const TERMS: usize = 3;

/// ε of the paper's code.
const EPSILON: f64 = 1e-6;

/// The op. Inputs: x, w, b. Outputs: y, r.
#[derive(Clone, Debug)]
struct PolyNorm;

/// Its adjoint. Inputs: x, w, r, dy. Outputs: dx, and dw and db, to which it adds.
#[derive(Clone, Debug)]
struct PolyNormBackward;

impl Tape {
    /// Records the activation of the rows `x` with three `weights` and a `shift`.
    pub fn poly_norm(&mut self, x: TensorId, weights: TensorId, shift: TensorId) -> TensorId {
        let (rows, width) = self.shape(x).as_matrix();
        let parameters = [weights, shift].map(|of| self.shape(of).elements());
        assert!(parameters == [TERMS, 1] && width.is_multiple_of(4), "poly_norm: rows of {width}");
        let y = self.intermediate_of("activation", &[rows, width], self.info(x).dtype);
        let r = self.intermediate("activation.rstd", &[rows, 4]);
        self.record(PolyNorm, &[x, weights, shift], &[y, r]);
        y
    }
}

/// A kernel of `poly_norm.wgsl` in which a team takes a row.
fn by_rows(
    shapes: &Shapes<'_>,
    device: &Traits,
    entry: &'static str,
    operands: &[(&'static str, Operand)],
) -> Dispatch {
    let ((rows, width), half) = (shapes.inputs[0].as_matrix(), shapes.half_input(0));
    let images = device.software && fits_image(rows, width, if half { DType::F16 } else { DType::F32 });
    let team = Team::of(device);
    let constants = [
        ("ROWS", rows as f64),
        ("WIDTH", (width / 4) as f64),
        ("LANES", team.lanes as f64),
        ("TEAM", team.size as f64),
    ];
    let as_image = |&(name, operand): &(&'static str, Operand)| match operand {
        Operand::Input(i) if images && ["x", "dy"].contains(&name) => (name, Operand::InputImage(i)),
        _ => (name, operand),
    };
    Dispatch {
        kernel: Kernel::new(text(images, half, &team), entry, &constants),
        bindings: operands.iter().map(as_image).collect(),
        groups: grid(team.workgroups(rows)),
    }
}

fn text(images: bool, half: bool, team: &Team) -> std::sync::Arc<str> {
    let texts = [
        ("element", element::scalar(half)),
        ("narrow", element::narrow(half, 4)),
        ("texel", element::texel(half)),
        ("team", team.kind.to_owned()),
    ];
    let flags = [("images", images), ("half", half)];
    unroll(include_str!("../../shaders/poly_norm.wgsl"), &[], &flags, &texts)
}

/// rᵢ of a row.
fn factors(x: &[f64]) -> [f64; TERMS] {
    [1, 2, 3].map(|i| {
        let mean = x.iter().map(|x| x.powi(2 * i)).sum::<f64>() / x.len() as f64;
        1.0 / (mean + EPSILON).sqrt()
    })
}

impl Op for PolyNorm {
    fn stem(&self) -> &'static str {
        "poly_norm"
    }

    fn name(&self) -> &'static str {
        "poly_norm"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, w, b] = inputs else { unreachable!("three inputs") };
        let [y, known] = outputs else { unreachable!("two outputs") };
        let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(known.chunks_exact_mut(4));
        for ((x, y), known) in rows {
            let r = factors(x);
            known.copy_from_slice(&[r[0], r[1], r[2], 0.0]);
            for (y, x) in y.iter_mut().zip(x) {
                *y = b[0] + (0..TERMS).map(|i| w[i] * r[i] * x.powi(i as i32 + 1)).sum::<f64>();
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::forward(width, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let operands = [
            ("x", Operand::Input(0)),
            ("w", Operand::Input(1)),
            ("b", Operand::Input(2)),
            ("y", Operand::Output(0)),
            ("r", Operand::Output(1)),
        ];
        let dispatch = by_rows(shapes, device, "poly_norm", &operands);
        let iterations = shapes.inputs[0].as_matrix().1 / 2;
        Recipe { dispatches: vec![dispatch], iterations, ..Recipe::default() }
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let (x, w, r) = (adjoint.input(0), adjoint.input(1), adjoint.output(1));
        let gradients = [1, 2].map(|i| adjoint.parameter_gradient(i));
        let dx = adjoint.fresh_like(0);
        adjoint.tape.record(PolyNormBackward, &[x, w, r, dy], &[dx, gradients[0], gradients[1]]);
        if adjoint.wants(0) {
            adjoint.contribute(0, dx);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        16 * shapes.input_elements(0) as u64
    }
}

impl Op for PolyNormBackward {
    fn stem(&self) -> &'static str {
        "poly_norm"
    }

    fn name(&self) -> &'static str {
        "poly_norm.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, w, r, dy] = inputs else { unreachable!("four inputs") };
        let [dx, dw, db] = outputs else { unreachable!("three outputs") };
        for (row, (x, dy)) in x.chunks_exact(width).zip(dy.chunks_exact(width)).enumerate() {
            let r = &r[row * 4..][..TERMS];
            let dx = &mut dx[row * width..][..width];
            dx.fill(0.0);
            db[0] += dy.iter().sum::<f64>();
            for i in 0..TERMS {
                let power = i as i32 + 1;
                let along = x.iter().zip(dy).map(|(x, d)| d * x.powi(power) * r[i]).sum::<f64>();
                dw[i] += along;
                for ((dx, x), d) in dx.iter_mut().zip(x).zip(dy) {
                    let slope = f64::from(power) * x.powi(power - 1);
                    *dx += slope * w[i] * r[i] * (d - x.powi(power) * r[i] * along / width as f64);
                }
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::backward(width, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (rows, width) = shapes.inputs[0].as_matrix();
        let operands = [
            ("x", Operand::Input(0)),
            ("w", Operand::Input(1)),
            ("known_r", Operand::Input(2)),
            ("dy", Operand::Input(3)),
            ("dx", Operand::Output(0)),
            ("parts", Operand::Scratch(0)),
        ];
        let gradient = by_rows(shapes, device, "poly_norm_backward", &operands);
        let team = Team::single(device);
        let own = [("ROWS", rows as f64), ("LANES", team.lanes as f64), ("TEAM", team.size as f64)];
        let total = Dispatch {
            kernel: Kernel::new(text(false, shapes.half_input(0), &team), "poly_norm_total", &own),
            bindings: vec![
                ("parts", Operand::Scratch(0)),
                ("dw", Operand::Output(1)),
                ("db", Operand::Output(2)),
            ],
            groups: [1, 1, 1],
        };
        Recipe {
            dispatches: vec![gradient, total],
            scratch: vec![4 * rows],
            iterations: (width / 2).max(rows),
        }
    }

    fn accumulates(&self, output: usize) -> bool {
        output > 0
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        32 * shapes.input_elements(0) as u64
    }
}
