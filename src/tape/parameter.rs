//! The properties of a parameter besides name and shape. A model states them once, at the declaration; initial
//! values, weight decay, weight files and readings after a step all follow from it.

use crate::observe::quantities::Quantity;
use std::ops::Range;

/// A parameter's declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    pub start: Start,
    pub decays: Decays,
    /// The block it belongs to.
    pub block: Option<usize>,
    /// The numbers that are read after each step.
    pub watched: Option<Watched>,
    /// Whether an initial weight file may lack it, because other programs train the model without it.
    pub added: bool,
    pub filed: Filed,
    /// How many matrices of one size its columns are, side by side: three of queries, keys and values.
    pub parts: usize,
    /// Whether it is a matrix that writes to the residual stream: a row of it, not a column, is a vector there.
    pub writes: bool,
    /// The matrix of which it holds singular vectors, which follow it by power iterations.
    pub singular_of: Option<String>,
    /// The matrix whose rows or columns products read times it.
    pub gains_of: Option<String>,
}

/// A parameter's initial values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// Draws from N(0, spread²).
    Normal {
        spread: f64,
    },
    Constant(f64),
    /// One number for each element.
    Listed(&'static [f64]),
}

/// Whether weight decay applies to a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decays {
    Always,
    Never,
    /// If the configuration lets slopes decay.
    AsSlopes,
}

/// Numbers of a parameter or an observation that are read after a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub quantity: &'static Quantity,
    /// Which of the tensor's elements. For a quantity of layers or steps, their sum is what counts.
    pub entries: Range<usize>,
    /// The layers they belong to.
    pub layers: Range<usize>,
    /// Whether they grow with the loss scale of mixed precision, which is then divided out.
    pub of_gradient: bool,
    /// If they are the L2 norm of so many elements and the quantity is their root mean square.
    pub norm_of: Option<usize>,
    /// If the quantity is their ratio to the first element of another observation, its name.
    pub over: Option<String>,
}

impl Watched {
    /// Plain numbers of one layer.
    pub fn of(quantity: &'static Quantity, layer: usize, entries: Range<usize>) -> Self {
        Self { quantity, entries, layers: layer..layer + 1, of_gradient: false, norm_of: None, over: None }
    }
}

/// How the weight files of its family store a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filed {
    /// Unchanged.
    Plain,
    /// Unchanged. Files from before this was declared hold it transposed, in families whose files transpose matrices.
    PlainNow,
    /// A matrix of a linear map, [in, out]. With `heads`, its columns are the q, then k, then v of those heads. The files
    /// have a bias beside it; the model `lacks_bias`, or declares one after it.
    Matrix { heads: Option<usize>, lacks_bias: bool },
    /// The bias of such a matrix, with as many `columns` in the files as the matrix has; the model may hold only the first.
    Bias { heads: Option<usize>, columns: usize },
}

impl Declaration {
    /// A parameter that decays, belongs to no block, and is stored unchanged.
    pub fn new(start: Start) -> Self {
        let filed = Filed::Plain;
        Self {
            start,
            decays: Decays::Always,
            block: None,
            watched: None,
            added: false,
            filed,
            parts: 1,
            writes: false,
            singular_of: None,
            gains_of: None,
        }
    }

    /// The same without weight decay.
    pub fn undecayed(self) -> Self {
        Self { decays: Decays::Never, ..self }
    }

    /// The same in a block.
    pub fn in_block(self, block: usize) -> Self {
        Self { block: Some(block), ..self }
    }

    /// The same with `entries`, used by `layers`, that are read after each step.
    pub fn watched(self, quantity: &'static Quantity, entries: Range<usize>, layers: Range<usize>) -> Self {
        Self { watched: Some(Watched { layers, ..Watched::of(quantity, 0, entries) }), ..self }
    }

    /// The same, but a weight file may lack it.
    pub fn added(self) -> Self {
        Self { added: true, ..self }
    }

    /// The same with this layout in weight files.
    pub fn filed(self, filed: Filed) -> Self {
        Self { filed, ..self }
    }
}
