//! The head with its loss. It processes the vocabulary in pieces, so the logits never exist as a whole.
//!
//! For hidden rows x [N, d], a table W [V, d] (the token embeddings, if the head is tied), targets `[N]` and a weight s
//! (the reciprocal of the number of positions that count):
//!
//! logits = x·Wᵀ, lse_i = ln Σ_v exp(logits_iv), loss += s·Σ_i (lse_i − logits_i,target) over positions that count;
//! d logits_iv = s·(exp(logits_iv − lse_i) − [v = target_i]), dx = d logits·W, dW += d logitsᵀ·x.
//!
//! In the forward pass, each piece is a matmul and an `update` of a running log-sum-exp; `finish` completes it.
//! The adjoint belongs to `finish`, which therefore lists x and W among its inputs: it recomputes each piece
//! of logits and turns it into its gradient in place. Pieces that the forward pass keeps are not computed again: one
//! that covers the whole vocabulary, and as many as [`Logits::kept_bytes`] allows.
//!
//! Where rows of the table have gains, each piece of it is scaled by them first ([`super::unit_scale`]), so that no scaled table is ever
//! whole.

mod host;
mod table;

pub use table::Table;

use super::matmul::{Layout, MatMul};
use super::team::{Team, Vectors};
use super::unroll::unroll;
use super::{Kernel, Op, Operand, Recipe, Shapes, Traits, Tuning, element, grid};
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use rand::Rng;

/// The target of a position that does not count.
pub const IGNORED: u32 = u32::MAX;

/// A range of the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    first: usize,
    rows: usize,
}

/// Pieces of at most `most` entries that start at multiples of 64, so that each is a legal slice of the table
/// of any width. If the vocabulary is not a multiple of four, the last piece is read element by element and the others
/// in vectors. If there are few pieces, that last piece is a small extra one. If there are many, it has the size of the
/// others: a product of seventeen columns would leave most of a GPU idle.
fn pieces(vocabulary: usize, most: usize) -> Vec<Piece> {
    const GRAIN: usize = 64;
    /// A single piece saves the second product that several pieces need for the gradient; but a table with more rows does
    /// not fit an image.
    const WHOLE: usize = 8192;
    /// Larger pieces make no kernel faster and need more memory.
    const ENOUGH: usize = 2048;
    /// With this many pieces, one of them may be slower.
    const MANY: usize = 16;
    let in_vectors = vocabulary.is_multiple_of(4);
    let whole = in_vectors && vocabulary <= most.min(WHOLE);
    let most = (most.min(if whole { WHOLE } else { ENOUGH }) / GRAIN * GRAIN).max(GRAIN);
    let body = if in_vectors || vocabulary >= MANY * most { vocabulary } else { vocabulary / GRAIN * GRAIN };
    // Pieces of similar size, rather than full ones and a remainder.
    let each = body.div_ceil(body.div_ceil(most).max(1)).next_multiple_of(GRAIN).max(GRAIN);
    let mut list: Vec<Piece> =
        (0..body).step_by(each).map(|first| Piece { first, rows: each.min(body - first) }).collect();
    if body < vocabulary {
        list.push(Piece { first: body, rows: vocabulary - body });
    }
    list
}

/// What [`Tape::head_cross_entropy`] needs besides the model's own tensors.
#[derive(Clone, Copy, Debug)]
pub struct Targets {
    /// u32 `[N]`; [`IGNORED`] for positions that do not count.
    pub targets: TensorId,
    /// f32 `[1]`; the weight of each position that counts.
    pub scale: TensorId,
    /// f32 `[1]`; the loss is added to it.
    pub loss: TensorId,
    /// f32 `[4]`; the first number multiplies the gradient, not the loss. Present if x and the table are f16.
    pub scaling: Option<TensorId>,
}

/// How much memory the logits may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logits {
    /// No piece of logits or of the table is larger, unless 64 rows of it are.
    pub piece_bytes: u64,
    /// Bytes of the pieces that the forward pass keeps for the gradient. It computes the others again, with the same bits.
    /// A single piece is always kept.
    pub kept_bytes: u64,
}

impl Tape {
    /// Records the head and its loss: `x` [N, d] times the rows of `table` [V, d]. With an f16 table, x is converted to
    /// f16; the logits are still f32, and their gradient is f16.
    pub fn head_cross_entropy(
        &mut self,
        x: TensorId,
        table: impl Into<Table>,
        targets: Targets,
        memory: Logits,
    ) {
        let table = table.into();
        let half = table.element(self) == DType::F16;
        assert_eq!(half, targets.scaling.is_some(), "a loss scale belongs to f16");
        let x = if half { self.half(x) } else { x };
        let (rows, width) = self.shape(x).as_matrix();
        let vocabulary = self.shape(table.rows).dims()[0];
        let pieces = pieces(vocabulary, (memory.piece_bytes / (rows.max(width) as u64 * 4)) as usize);
        let state = self.intermediate("softmax", &[rows, 4]);
        let lse = self.intermediate("lse", &[rows]);
        let mut kept = Vec::new();
        for (i, &piece) in pieces.iter().enumerate() {
            let slice = table.piece(self, piece.first, piece.rows);
            let logits = self.matmul_nt(x, slice);
            let first = self.first_entry(piece);
            self.record(Update { opens: i == 0 }, &[logits, targets.targets, first], &[state]);
            let bytes = (rows * (piece.first + piece.rows)) as u64 * 4;
            if pieces.len() == 1 || bytes <= memory.kept_bytes {
                kept.push(logits);
            }
        }
        let inputs = [state, targets.targets, targets.scale, x, table.rows].into_iter();
        let inputs: Vec<_> =
            inputs.chain(targets.scaling).chain(table.gains.map(|(gains, _)| gains)).collect();
        self.record(Finish { pieces, kept, table }, &inputs, &[targets.loss, lse]);
    }

    /// `[1]`: the piece's first entry. It is data rather than an override constant, so that one pipeline serves all pieces
    /// of a size. f32 holds every whole number up to 2^24, and no vocabulary has that many entries.
    fn first_entry(&mut self, piece: Piece) -> TensorId {
        assert!(piece.first < 1 << 24, "a vocabulary of more than {} entries", 1 << 24);
        self.constant(&format!("first entry {}", piece.first), &[1], vec![piece.first as f32])
    }
}

impl Tape {
    /// Records `logits` `[V]` = `table` [V, d] · `x` [1, d], the logits of one token. No piece of the table is larger than
    /// `piece_bytes`, unless 64 rows of it are.
    pub fn head_logits(&mut self, x: TensorId, table: impl Into<Table>, logits: TensorId, piece_bytes: u64) {
        let table = table.into();
        let (rows, width) = self.shape(x).as_matrix();
        let vocabulary = self.shape(table.rows).dims()[0];
        assert!(rows == 1 && self.shape(logits).dims() == [vocabulary], "{}", self.info(logits).name);
        for piece in pieces(vocabulary, (piece_bytes / (width as u64 * 4)) as usize) {
            let slice = table.piece(self, piece.first, piece.rows);
            let part = self.slice_rows(logits, piece.first, piece.rows);
            self.record(MatMul::new(Layout::NT), &[x, slice], &[part]);
        }
    }
}

/// Folds one piece of logits [N, R] into the running state [N, 4]: largest, sum, the target's logit.
#[derive(Debug)]
struct Update {
    opens: bool,
}

impl Update {
    /// The tuning key of this shape.
    fn key(&self, (rows, columns): (usize, usize)) -> String {
        format!("{} {rows}x{columns}", self.name())
    }
}

impl Op for Update {
    fn stem(&self) -> &'static str {
        "cross_entropy"
    }

    fn name(&self) -> &'static str {
        "cross_entropy.update"
    }

    fn accumulates(&self, _output: usize) -> bool {
        !self.opens
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, columns) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        for ((row, logits), state) in inputs[0].chunks(columns).enumerate().zip(outputs[0].chunks_mut(4)) {
            if self.opens {
                state.copy_from_slice(&[f64::NEG_INFINITY, 0.0, 0.0, 0.0]);
            }
            let top = logits.iter().fold(state[0], |m, &v| if v.is_nan() { f64::NAN } else { m.max(v) });
            let sum: f64 = logits.iter().map(|v| (v - top).exp()).sum();
            state[1] = state[1] * (state[0] - top).exp() + sum;
            state[0] = top;
            let (target, first) = (inputs[1][row] as usize, inputs[2][0] as usize);
            if (first..first + columns).contains(&target) {
                state[2] = logits[target - first];
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, columns) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::update(self.opens, columns, inputs, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (rows, columns) = shapes.inputs[0].as_matrix();
        let team = Team::chosen(&self.key((rows, columns)), device);
        let image = device.software && shapes.fits_image(0);
        let sizes = [("ROWS", rows), ("COLUMNS", columns)];
        let kernel = kernel("update", columns, &team, (image, false), &sizes);
        let logits = if image { Operand::InputImage(0) } else { Operand::Input(0) };
        let bindings = [
            ("logits", logits),
            ("targets", Operand::Input(1)),
            ("first", Operand::Input(2)),
            ("state", Operand::Output(0)),
        ];
        Recipe::one(kernel, &bindings, grid(team.workgroups(rows)))
    }

    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        Some(Tuning::of(self.key(shapes.inputs[0].as_matrix()), &Team::variants(device)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        3 * shapes.input_elements(0) as u64
    }
}

/// Completes the loss; owns the adjoint of the whole head.
#[derive(Debug)]
struct Finish {
    pieces: Vec<Piece>,
    /// The logits of the first pieces.
    kept: Vec<TensorId>,
    table: Table,
}

impl Op for Finish {
    fn stem(&self) -> &'static str {
        "cross_entropy"
    }

    fn name(&self) -> &'static str {
        "cross_entropy.finish"
    }

    fn accumulates(&self, output: usize) -> bool {
        output == 0
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let mut sum = 0.0;
        for (row, state) in inputs[0].chunks(4).enumerate() {
            let lse = state[0] + state[1].ln();
            outputs[1][row] = lse;
            if inputs[1][row] as u32 != IGNORED {
                sum += lse - state[2];
            }
        }
        outputs[0][0] += sum * inputs[2][0];
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        host::finish(inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let rows = shapes.output_elements(1);
        let team = Team::single(device);
        let kernel = kernel("finish", rows, &team, (false, false), &[("ROWS", rows)]);
        let bindings = [
            ("states", Operand::Input(0)),
            ("targets", Operand::Input(1)),
            ("scale", Operand::Input(2)),
            ("loss", Operand::Output(0)),
            ("lse_out", Operand::Output(1)),
        ];
        Recipe::one(kernel, &bindings, [1, 1, 1]).with_iterations(rows.div_ceil(team.size))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let [targets, scale, x] = [1, 2, 3].map(|i| adjoint.input(i));
        let table = self.table;
        let scaling = (adjoint.inputs() > 5 + usize::from(table.gains.is_some())).then(|| adjoint.input(5));
        let lse = adjoint.output(1);
        let mut total = None;
        for (i, &piece) in self.pieces.iter().enumerate() {
            let tape = &mut *adjoint.tape;
            let slice = table.piece(tape, piece.first, piece.rows);
            let logits = self.kept.get(i).copied().unwrap_or_else(|| tape.matmul_nt(x, slice));
            let gradient = match scaling {
                Some(_) => {
                    tape.intermediate_of("d logits", &[tape.shape(x).as_matrix().0, piece.rows], DType::F16)
                }
                None => logits,
            };
            let first = tape.first_entry(piece);
            let inputs: Vec<_> = [targets, scale, lse, logits, first].into_iter().chain(scaling).collect();
            tape.record(Gradient, &inputs, &[gradient]);
            // dx is summed over the pieces in f32; only the last piece stores it in its final type.
            let last = i + 1 == self.pieces.len();
            let result = if last { tape.info(x).gradient } else { DType::F32 };
            total = Some(tape.product(Layout::NN, (gradient, slice), None, total, result));
            if table.gains.is_some() {
                let dslice = adjoint.tape.matmul_tn(gradient, x);
                table.add_gradients(adjoint, (piece.first, piece.rows), dslice);
                continue;
            }
            let (dtable, accumulate) = adjoint.begin(slice);
            let onto = MatMul { accumulate, ..MatMul::new(Layout::TN) };
            adjoint.tape.record(onto, &[gradient, x], &[dtable]);
        }
        if let Some(dx) = total {
            adjoint.contribute(3, dx);
        }
    }
}

/// Turns one piece of logits [N, R] into its gradient: in place, or into f16 and times the loss scale.
#[derive(Debug)]
struct Gradient;

impl Op for Gradient {
    fn stem(&self) -> &'static str {
        "cross_entropy"
    }

    fn name(&self) -> &'static str {
        "cross_entropy.gradient"
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, columns) = io.output_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let first = inputs[4][0] as usize;
        let loss_scale = inputs.get(5).map_or(1.0, |scaling| scaling[0]);
        for (row, gradients) in outputs[0].chunks_mut(columns).enumerate() {
            let target = inputs[0][row] as u32;
            let weight = if target == IGNORED { 0.0 } else { inputs[1][0] * loss_scale };
            for (column, value) in gradients.iter_mut().enumerate() {
                let hit = if target as usize == first + column { 1.0 } else { 0.0 };
                *value = ((inputs[3][row * columns + column] - inputs[2][row]).exp() - hit) * weight;
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, columns) = io.output_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::gradient(columns, inputs, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (rows, columns) = shapes.outputs[0].as_matrix();
        let team = Team::of(device);
        let (image, half) = (device.software && shapes.fits_image(3), shapes.half_output(0));
        let sizes = [("ROWS", rows), ("COLUMNS", columns)];
        let kernel = kernel("gradient", columns, &team, (image, half), &sizes);
        let mut bindings = vec![
            ("targets", Operand::Input(0)),
            ("scale", Operand::Input(1)),
            ("lse", Operand::Input(2)),
            ("first", Operand::Input(4)),
            ("gradients", Operand::Output(0)),
        ];
        if image {
            bindings.push(("logits", Operand::InputImage(3)));
        } else if half {
            bindings.push(("logits", Operand::Input(3)));
        }
        if half {
            bindings.push(("scaling", Operand::Input(5)));
        }
        Recipe::one(kernel, &bindings, grid(team.workgroups(rows)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        3 * shapes.output_elements(0) as u64
    }
}

/// One entry point for rows of `width` elements, shared by teams. With `image` the logits are read as an image; with
/// `half` their gradient is f16.
fn kernel(
    entry: &'static str,
    width: usize,
    team: &Team,
    (image, half): (bool, bool),
    sizes: &[(&'static str, usize)],
) -> Kernel {
    let vectors = Vectors::of(width);
    let entries = ["update", "finish", "gradient"].map(|known| (known, known == entry));
    let flags = [&entries[..], &[("images", image), ("half", half)]].concat();
    let texts = [
        ("team", team.kind.to_owned()),
        ("stored", element::vector(half, vectors.size)),
        ("narrow", element::narrow(half, vectors.size)),
    ];
    let numbers = [("vector", vectors.size)];
    let text = unroll(include_str!("../../shaders/cross_entropy.wgsl"), &numbers, &flags, &texts);
    let mut constants = vec![("TEAM", team.size as f64), ("LANES", team.lanes as f64)];
    constants.extend(sizes.iter().map(|&(name, size)| (name, size as f64)));
    Kernel::new(text, entry, &constants)
}

/// One piece, several pieces, a vocabulary that is not a multiple of four, ignored targets, large logits; in f32 and f16,
/// with a loss scale of one.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, width, vocabulary, piece_bytes, spread, half, kept_bytes) in [
        (1, 4, 1, 1 << 20, 1.0, false, 0),
        (5, 8, 67, 1 << 20, 1.0, false, 0),
        (7, 16, 200, 7 * 64 * 4, 1.0, false, 0),
        (33, 64, 515, 33 * 128 * 4, 1.0, false, 0),
        (16, 32, 2048, 1 << 20, 8.0, false, 0),
        (5, 8, 67, 1 << 20, 1.0, true, 0),
        (7, 16, 200, 7 * 64 * 4, 1.0, true, 0),
        (33, 64, 515, 33 * 128 * 4, 1.0, true, 0),
        (40, 36, 300, 1 << 20, 1.0, false, 0),
        (40, 20, 97, 1 << 20, 1.0, false, 0),
        (40, 64, 300, 1 << 20, 1.0, false, 0),
        (40, 64, 300, 1 << 20, 1.0, true, 0),
        (40, 128, 300, 1 << 20, 1.0, true, 0),
        (64, 64, 515, 64 * 128 * 4, 1.0, false, 0),
        (64, 128, 515, 64 * 128 * 4, 1.0, true, 0),
        (16, 128, 2048, 1 << 20, 1.0, true, 0),
        // Many pieces, the last of which is read element by element.
        (9, 8, 1_109, 9 * 64 * 4, 1.0, false, 0),
        (9, 8, 1_109, 9 * 64 * 4, 1.0, true, 0),
        // The first pieces are kept, and all.
        (33, 64, 515, 33 * 128 * 4, 1.0, false, 33 * 256 * 4),
        (64, 64, 515, 64 * 128 * 4, 1.0, false, 1 << 20),
        (64, 128, 515, 64 * 128 * 4, 1.0, true, 64 * 256 * 4),
    ] {
        let stored = if half { DType::F16 } else { DType::F32 };
        let kept = if kept_bytes > 0 { format!(" kept={kept_bytes}") } else { String::new() };
        let label = format!("N={rows} d={width} V={vocabulary} piece={piece_bytes}{kept} {stored:?}");
        let mut case = CaseBuilder::new("cross_entropy", label, seed);
        // Gradients overwrite, as in a step of one micro-batch.
        if rows >= 40 {
            case.tape.overwrite_gradients();
        }
        let x = case.input_of("x", &[rows, width], stored, Fill::Normal(spread));
        let table = case.matrix("table", &[vocabulary, width], half, Fill::Normal(1.0));
        let picks: Vec<u32> = (0..rows)
            .map(|i| if i % 5 == 4 { IGNORED } else { case.random.random_range(0..vocabulary as u32) })
            .collect();
        let targets = case.indices("targets", &[rows], &picks);
        let scale = case.constant("scale", &[1], DType::F32, vec![1.0 / rows as f32]);
        let loss = case.observation("loss", &[1], 0.5);
        let scaling = half.then(|| case.constant("scaling", &[4], DType::F32, vec![1.0, 0.0, 1.0, 0.0]));
        let targets = Targets { targets, scale, loss, scaling };
        case.tape.head_cross_entropy(x, table, targets, Logits { piece_bytes, kept_bytes });
        // Logits of magnitude `spread`·√d have a rounding error of that times 6e-8·√d, which the exponential turns
        // into a relative error of the probabilities.
        let bound = if half { HALF_BOUND } else { 2e-6 * spread * (width as f64).sqrt().max(2.0) };
        cases.push(case.finish_loss(loss, bound));
    }
    cases.extend(
        [(33, false), (40, false), (33, true), (40, true)].map(|(rows, half)| gained(rows, half, seed)),
    );
    cases
}

/// A table in pieces, whose rows have gains.
fn gained(rows: usize, half: bool, seed: u64) -> Case {
    let stored = if half { DType::F16 } else { DType::F32 };
    let mut case = CaseBuilder::new("cross_entropy", format!("N={rows} d=64 V=515 {stored:?}, gains"), seed);
    if rows >= 40 {
        case.tape.overwrite_gradients();
    }
    let x = case.input_of("x", &[rows, 64], stored, Fill::Normal(1.0));
    let table = case.parameter("table", &[515, 64], Fill::Normal(1.0));
    let gains = case.parameter("gains", &[515], Fill::Around(0.5, 0.1));
    let picks: Vec<u32> = (0..rows).map(|_| case.random.random_range(0..515)).collect();
    let targets = case.indices("targets", &[rows], &picks);
    let scale = case.constant("scale", &[1], DType::F32, vec![1.0 / rows as f32]);
    let loss = case.observation("loss", &[1], 0.5);
    let scaling = half.then(|| case.constant("scaling", &[4], DType::F32, vec![1.0, 0.0, 1.0, 0.0]));
    let table = Table { rows: table, gains: Some((gains, 1.5)), result: stored };
    let memory = Logits { piece_bytes: (rows.max(64) * 128 * 4) as u64, kept_bytes: 0 };
    case.tape.head_cross_entropy(x, table, Targets { targets, scale, loss, scaling }, memory);
    // As above; the gradient of a gain is a sum of 64 products of sums over the rows.
    let bound = if half { HALF_BOUND } else { 4e-5 };
    case.finish_loss(loss, bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_vocabulary_once() {
        for vocabulary in [1, 3, 4, 63, 64, 65, 2048, 50_000, 50_257] {
            for most in [1, 64, 100, 2048, 1 << 20] {
                let list = pieces(vocabulary, most);
                let mut next = 0;
                for piece in &list {
                    assert_eq!(piece.first, next);
                    assert!(piece.first % 64 == 0 && piece.rows > 0 && piece.rows <= most.max(64));
                    next += piece.rows;
                }
                assert_eq!(next, vocabulary);
                if vocabulary >= 16 * 2048 && most >= 2048 {
                    assert!(
                        list.last().is_some_and(|last| 4 * last.rows > list[0].rows),
                        "{vocabulary} {most}"
                    );
                }
                assert!(list[..list.len() - 1].iter().all(|p| p.rows % 4 == 0));
            }
        }
    }
}
