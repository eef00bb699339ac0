//! Where parameters are declared: the context of every declaration in a block, and a matrix with its bias.

use super::config::{Bias, ModelConfig, WeightNorm};
use super::gains::{self, Gains};
use super::pass::Precision;
use super::weight_norm::Scaling;
use crate::tape::{DType, Declaration, Filed, Start, Tape, TensorId};

/// A block of a model, or the part outside the blocks, while its parameters are declared.
pub(super) struct Site<'a> {
    pub tape: &'a mut Tape,
    pub config: &'a ModelConfig,
    pub precision: Precision,
    /// `None` outside the blocks.
    pub layer: Option<usize>,
}

/// The matrix of a linear map [from, to].
pub(super) struct Matrix {
    pub from: usize,
    pub to: usize,
    /// The number of heads, if its columns are queries, keys and values.
    pub heads: Option<usize>,
    /// Whether it makes queries or keys alone.
    pub keyed: bool,
    /// Whether it writes to the residual stream.
    pub ends: bool,
    /// Whether it is the first one of a branch.
    pub begins: bool,
    /// Whether it is the first one of a feed-forward network.
    pub opens: bool,
    /// How many matrices of one size its columns are, side by side.
    pub parts: usize,
    /// Whether a weight file may lack it, because other programs train the model without it.
    pub added: bool,
}

/// A matrix with its bias, if it has one.
pub(super) struct Linear {
    weight: TensorId,
    bias: Option<TensorId>,
    /// What it is divided and multiplied by first, if the model does so.
    scaling: Option<Scaling>,
    /// The gains of its columns, if it has them.
    gains: Option<Gains>,
}

impl Precision {
    /// The element type of the products' inputs: matrices, and the results of norms.
    pub(super) fn operands(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Mixed => DType::F16,
        }
    }
}

impl Site<'_> {
    /// The block of this site.
    pub fn block(&self) -> usize {
        self.layer.expect("only parts of a block ask for it")
    }

    /// The family's name of a part of the block.
    pub fn name(&self, part: &'static str) -> String {
        self.config.family.naming.in_block(self.block(), part)
    }

    /// Declares a parameter of the site.
    pub fn declare(&mut self, name: &str, dims: &[usize], declaration: Declaration) -> TensorId {
        self.tape.declare_parameter(name, dims, Declaration { block: self.layer, ..declaration })
    }

    /// Declares a table with a row for each token or position.
    pub fn table(&mut self, name: &str, rows: usize) -> TensorId {
        let start = Start::Normal { spread: self.config.initializer_range };
        self.declare(name, &[rows, self.config.n_embd], Declaration::new(start))
    }

    /// What products read for a matrix: the matrix, or its f16 copy.
    pub fn operand(&mut self, matrix: TensorId) -> TensorId {
        match self.precision {
            Precision::F32 => matrix,
            Precision::Mixed => self.tape.half_copy(matrix),
        }
    }

    /// Declares the matrix of a part of the block, and the bias that `model.bias` gives it.
    pub fn linear(&mut self, part: &'static str, matrix: Matrix) -> Linear {
        let Matrix { from, to, heads, keyed, ends, begins, opens, parts, added } = matrix;
        let (name, config) = (self.name(part), self.config);
        let biased = match config.bias {
            Bias::All => to,
            Bias::QueryKey if heads.is_some() => 2 * config.n_embd,
            Bias::QueryKey if keyed => to,
            Bias::QueryKey | Bias::None => 0,
        };
        let scaled = ends && config.scale_residual_projections;
        let scale = if scaled { (2.0 * config.n_layer as f64).sqrt() } else { 1.0 };
        // Fixup's first matrix is divided by √L for L branches of two matrices, and its last one is zero.
        let fixup = config.residual.fixup;
        let scale = if fixup && begins { scale * (2.0 * config.n_layer as f64).sqrt() } else { scale };
        let start = match fixup && ends {
            true => Start::Constant(0.0),
            false => Start::Normal { spread: config.initializer_range / scale },
        };
        let weight = Declaration::new(start)
            .filed(Filed::Matrix { heads, lacks_bias: biased == 0 && !added && config.family.files.biases });
        let weight = Declaration { added, parts, writes: ends, ..weight };
        let weight = self.declare(&format!("{name}.weight"), &[from, to], weight);
        let bias = (biased > 0).then(|| {
            let bias = Declaration::new(Start::Constant(0.0)).undecayed();
            let bias = Declaration { added, ..bias.filed(Filed::Bias { heads, columns: to }) };
            self.declare(&format!("{name}.bias"), &[biased], bias)
        });
        let scaling = (config.weight_norm != WeightNorm::None).then(|| {
            let place = (self.block(), self.precision.operands());
            let declare = |name: &str, dims: &[usize], of| self.declare(name, dims, of);
            Scaling::declare(config.gamma_init, place, (part, &name), (from, parts), declare)
        });
        let gains = (opens && config.ffn_gains).then(|| {
            let declare = |name: &str, dims: &[usize], of| self.declare(name, dims, of);
            let vector = gains::declare(&format!("{name}.weight"), (to, 1.0), declare);
            Gains::of_columns(vector, config.n_embd, self.precision.operands())
        });
        // Of a scaled matrix, products read the result.
        let weight = if scaling.is_some() || gains.is_some() { weight } else { self.operand(weight) };
        Linear { weight, bias, scaling, gains }
    }
}

impl Matrix {
    /// A matrix that neither makes queries, keys and values nor writes to the residual stream.
    pub fn new(from: usize, to: usize) -> Self {
        Self {
            from,
            to,
            heads: None,
            keyed: false,
            ends: false,
            begins: false,
            opens: false,
            parts: 1,
            added: false,
        }
    }

    /// The first matrix of a branch.
    pub fn first(from: usize, to: usize) -> Self {
        Self { begins: true, ..Self::new(from, to) }
    }

    /// The first matrix of a feed-forward network.
    pub fn opening(from: usize, to: usize) -> Self {
        Self { opens: true, ..Self::first(from, to) }
    }

    /// A matrix that writes to the residual stream.
    pub fn ending(from: usize, to: usize) -> Self {
        Self { ends: true, ..Self::new(from, to) }
    }
}

impl Linear {
    /// The matrix in f32, if products read it as it is.
    pub fn matrix(&self, tape: &Tape) -> Option<TensorId> {
        let plain = self.scaling.is_none() && self.gains.is_none();
        plain.then(|| tape.info(self.weight).copy_of.unwrap_or(self.weight))
    }

    /// What products read.
    fn factor(&self, tape: &mut Tape) -> TensorId {
        match (&self.scaling, &self.gains) {
            (Some(scaling), _) => scaling.apply(tape, self.weight),
            (None, Some(gains)) => gains.apply(tape, self.weight),
            (None, None) => self.weight,
        }
    }

    /// `x · W + b`.
    pub fn apply(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        let weight = self.factor(tape);
        tape.linear(x, weight, self.bias)
    }

    /// `residual + x · W + b`.
    pub fn apply_onto(&self, tape: &mut Tape, residual: TensorId, x: TensorId) -> TensorId {
        let weight = self.factor(tape);
        tape.linear_onto(residual, x, weight, self.bias)
    }

    /// Records what is observed of its scaling, if it has one and has been applied.
    pub fn observe(&self, tape: &mut Tape) {
        self.scaling.iter().for_each(|scaling| scaling.observe(tape));
    }
}
