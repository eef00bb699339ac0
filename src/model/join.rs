//! The table of joins: how the output of a block's branch is added to the residual stream, and what of the branch depends
//! on that.

use super::config::ModelConfig;
use super::site::{Linear, Site};
use crate::observe::quantities::{ATTENTION_SCALE, BLOCK_SCALE, FFN_ALPHA, FFN_BETA, FFN_SCALE, Quantity};
use crate::ops::branch::Factor;
use crate::tape::{Declaration, Start, Tape, TensorId};
use crate::words::{Pick, table};

/// All the program knows about a join.
pub struct Join {
    /// Its word in `model.residual`.
    pub word: &'static str,
    /// A description in one line of Markdown.
    pub about: &'static str,
    /// Its part of a configuration's name.
    pub label: &'static str,
    pub learns: &'static [Learned],
    /// The number that `model.residual_scale` gives, where it is not set: the constant of the join, or where its learned
    /// numbers start; from the number of blocks. `None` where there is no such number.
    pub scale: Option<fn(f64) -> f64>,
    /// Whether branches start as Fixup says: the first matrix smaller, the last one zero, and a bias before each part.
    pub fixup: bool,
    /// Whether the norms before the branches of layer l, counted from 0, are divided by √(l+1).
    pub divides_norms: bool,
    /// Whether the rows of the residual stream have length one, from its start on.
    pub unit: bool,
    /// Records the residual stream after a branch.
    record: fn(&mut Tape, &Terms<'_>) -> TensorId,
}

/// What a join learns.
pub struct Learned {
    /// The suffix to the branch's name.
    pub suffix: &'static str,
    pub start: From,
    pub extent: Extent,
    /// What reports it, after attention and after the feed-forward network.
    pub quantities: Option<[&'static Quantity; 2]>,
}

/// Where a learned number starts.
#[derive(Clone, Copy)]
pub enum From {
    One,
    /// At `model.residual_scale`.
    Scale,
    /// At 1/√`n_embd`, for a vector that counts in multiples of that.
    Root,
}

/// What a learned number belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Each branch.
    Branch,
    /// Each block, whose branches share it.
    Block,
    /// Each column of a branch.
    Column,
}

/// What a join adds up.
struct Terms<'a> {
    /// The residual stream.
    x: TensorId,
    /// The branch's last matrix, and its input.
    last: &'a Linear,
    f: TensorId,
    learned: &'a [TensorId],
    /// `model.residual_scale`, or its default.
    scale: f32,
}

/// The join that a configuration selects for both branches of a block.
pub type Residual = Pick<Join>;

const BOTH: Option<[&Quantity; 2]> = Some([&ATTENTION_SCALE, &FFN_SCALE]);

const fn learned(suffix: &'static str, start: From, extent: Extent) -> Learned {
    Learned { suffix, start, extent, quantities: BOTH }
}

const PLAIN: Join = Join {
    word: "plain",
    about: "x + F(x)",
    label: "",
    learns: &[],
    scale: None,
    fixup: false,
    divides_norms: false,
    unit: false,
    record: |tape, terms| terms.last.apply_onto(tape, terms.x, terms.f),
};

/// A branch times its one learned factor.
fn times_learned(tape: &mut Tape, terms: &Terms<'_>) -> TensorId {
    let y = terms.last.apply(tape, terms.f);
    tape.branch(terms.x, y, Factor::Learned(terms.learned[0]))
}

const ALL: &[Join] = &[
    PLAIN,
    Join {
        word: "scaled",
        about: "x + λ·F(x) with a constant λ, 1/√`n_layer` unless `residual_scale` says otherwise",
        label: "ScRes",
        scale: Some(|layers| 1.0 / layers.sqrt()),
        record: |tape, terms| {
            let y = terms.last.apply(tape, terms.f);
            tape.branch(terms.x, y, Factor::Constant(terms.scale))
        },
        ..PLAIN
    },
    Join {
        word: "rezero",
        about: "x + α·F(x) with one learned α for both branches of a block, from 0 (arXiv 2003.04887)",
        label: "ReZero",
        learns: &[Learned {
            quantities: Some([&BLOCK_SCALE, &BLOCK_SCALE]),
            ..learned("alpha", From::Scale, Extent::Block)
        }],
        scale: Some(|_| 0.0),
        record: times_learned,
        ..PLAIN
    },
    Join {
        word: "skip_init",
        about: "the same with an α for each branch (arXiv 2002.10444)",
        label: "SkipInit",
        learns: &[learned("alpha", From::Scale, Extent::Branch)],
        scale: Some(|_| 0.0),
        record: times_learned,
        ..PLAIN
    },
    Join {
        word: "layer_scale",
        about: "x + a⊙F(x) with a learned a for each column, from 0.1 (arXiv 2103.17239)",
        label: "LayerScale",
        learns: &[Learned { quantities: None, ..learned("layer_scale", From::Scale, Extent::Column) }],
        scale: Some(|_| 0.1),
        record: times_learned,
        ..PLAIN
    },
    Join {
        word: "fixup",
        about: "x + m·F(x) with a learned m from 1; F's first matrix starts divided by √(2·`n_layer`), its last one at zero, and one learned number is added before each matrix and activation (arXiv 1901.09321; the head, which may be the token table, starts as ever)",
        label: "Fixup",
        learns: &[learned("multiplier", From::One, Extent::Branch)],
        fixup: true,
        record: times_learned,
        ..PLAIN
    },
    Join {
        word: "ln_scale",
        about: "x + F(norm(x)/√l) in layer l, counted from 1 (LayerNorm Scaling, arXiv 2502.05795)",
        label: "LNS",
        divides_norms: true,
        ..PLAIN
    },
    Join {
        word: "ngpt",
        about: "N(x + α⊙(N(F(x)) − x)) with N(v) = v/‖v‖ and a learned α for each column, whose sign does not count, from 0.05; the stream starts at N(x) as well, so its rows always have length one (nGPT, arXiv 2410.01131)",
        label: "nGPT",
        learns: &[Learned { quantities: None, ..learned("alpha", From::Root, Extent::Column) }],
        scale: Some(|_| 0.05),
        unit: true,
        record: |tape, terms| {
            let y = terms.last.apply(tape, terms.f);
            let (_, width) = tape.shape(y).as_matrix();
            // The vector starts at 1/√d and counts times α·√d, so that a step of the optimizer changes it by more.
            tape.sphere(terms.x, y, terms.learned[0], terms.scale * (width as f32).sqrt())
        },
        ..PLAIN
    },
];

table!(Join, ALL);

impl Residual {
    pub const PLAIN: Self = Self::at(0);
}

/// β·x + F(x)/α, with learned α and β (arXiv 2501.03489), after the feed-forward network only: `model.ffn_scaling`.
pub static SCALED: Join = Join {
    label: "Sc",
    learns: &[
        Learned { quantities: Some([&FFN_ALPHA, &FFN_ALPHA]), ..learned("alpha", From::One, Extent::Branch) },
        Learned { quantities: Some([&FFN_BETA, &FFN_BETA]), ..learned("beta", From::One, Extent::Branch) },
    ],
    record: |tape, terms| {
        let y = terms.last.apply(tape, terms.f);
        tape.scaled_sum(terms.x, y, terms.learned[0], terms.learned[1])
    },
    ..PLAIN
};

/// The branches of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Branch {
    Attention,
    Network,
}

impl ModelConfig {
    /// The join after a branch.
    fn join(&self, branch: Branch) -> &'static Join {
        if branch == Branch::Network && self.ffn_scaling { &SCALED } else { self.residual.row() }
    }

    /// The constant of a join, or where its learned numbers start.
    fn residual_start(&self) -> f64 {
        let layers = self.n_layer as f64;
        self.residual_scale.unwrap_or_else(|| self.residual.scale.map_or(1.0, |scale| scale(layers)))
    }
}

/// A declared join.
pub(super) struct Joined {
    join: &'static Join,
    learned: Vec<TensorId>,
    scale: f32,
}

impl Joined {
    /// Declares what the join after a branch learns. The branches of a block are declared in their order.
    pub fn declare(site: &mut Site<'_>, branch: Branch) -> Self {
        let (config, layer) = (site.config, site.block());
        let join = config.join(branch);
        let declare = |learned: &Learned| {
            let part = match (learned.extent, branch) {
                (Extent::Block, _) => "residual",
                (_, Branch::Attention) => "attention",
                (_, Branch::Network) => "mlp",
            };
            let name = format!("{}.{}", site.name(part), learned.suffix);
            if let Some(shared) = site.tape.find(&name).filter(|_| learned.extent == Extent::Block) {
                return shared;
            }
            let start = match learned.start {
                From::One => 1.0,
                From::Scale => config.residual_start(),
                From::Root => (config.n_embd as f64).sqrt().recip(),
            };
            let mut declaration = Declaration::new(Start::Constant(start)).undecayed().added();
            if let Some(quantities) = learned.quantities {
                let quantity = quantities[usize::from(branch == Branch::Network)];
                declaration = declaration.watched(quantity, 0..1, layer..layer + 1);
            }
            let entries = if learned.extent == Extent::Column { config.n_embd } else { 1 };
            site.declare(&name, &[entries], declaration)
        };
        let learned = join.learns.iter().map(declare).collect();
        Self { join, learned, scale: config.residual_start() as f32 }
    }

    /// The residual stream after a branch with the last matrix `last`, whose input is `f`.
    pub fn apply(&self, tape: &mut Tape, x: TensorId, last: &Linear, f: TensorId) -> TensorId {
        (self.join.record)(tape, &Terms { x, last, f, learned: &self.learned, scale: self.scale })
    }
}

/// A number that is added before a part of a branch, or nothing: Fixup's biases.
pub(super) struct Bias(Option<TensorId>);

impl Bias {
    /// Declares the bias `name` of a part of the block, if the joins are Fixup's.
    pub fn declare(site: &mut Site<'_>, part: &'static str, name: &str) -> Self {
        let name = format!("{}.{name}", site.name(part));
        let bias = Declaration::new(Start::Constant(0.0)).undecayed().added();
        Self(site.config.residual.fixup.then(|| site.declare(&name, &[1], bias)))
    }

    /// `x` with the bias.
    pub fn apply(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        self.0.map_or(x, |bias| tape.shift(x, bias))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_their_rows() {
        assert_eq!(Residual::PLAIN.word, "plain");
    }
}
