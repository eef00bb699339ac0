//! What a parameter is beside its name and its shape. A model says it once, where it declares the parameter; first
//! values, weight decay, weight files and readings after a step all follow from it.

use crate::observe::quantities::Quantity;
use std::ops::Range;

/// A parameter's declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    pub start: Start,
    pub decays: Decays,
    /// The block that it belongs to.
    pub block: Option<usize>,
    /// What is read of it after each step.
    pub watched: Option<Watched>,
    /// A weight file to start from may lack it: the model without it is one that others train.
    pub added: bool,
    pub filed: Filed,
}

/// A parameter's first values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// Draws from N(0, spread²).
    Normal {
        spread: f64,
    },
    Constant(f64),
}

/// Whether weight decay pulls at a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decays {
    Always,
    Never,
    /// Where the configuration lets slopes decay.
    AsSlopes,
}

/// Numbers of a parameter or an observation that are read after a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub quantity: &'static Quantity,
    /// Which of the tensor's elements. Of a quantity of layers or steps the sum is what counts.
    pub entries: Range<usize>,
    /// The layers that they are of.
    pub layers: Range<usize>,
    /// They grow with the loss scale of mixed precision, which is taken out of them.
    pub of_gradient: bool,
}

/// How a parameter lies in the weight files of its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filed {
    /// As it is.
    Plain,
    /// A matrix of a linear map, [in, out]. With `heads` its columns are those heads' q, then k, then v. The files have a
    /// bias beside it; the model `lacks_bias`, or declares one after it.
    Matrix { heads: Option<usize>, lacks_bias: bool },
    /// Such a matrix's bias, of as many `columns` in the files as the matrix has: the model may hold the first of them.
    Bias { heads: Option<usize>, columns: usize },
}

impl Declaration {
    /// A parameter that decays, in no block, filed as it is.
    pub fn new(start: Start) -> Self {
        Self { start, decays: Decays::Always, block: None, watched: None, added: false, filed: Filed::Plain }
    }

    /// One that weight decay leaves alone.
    pub fn undecayed(self) -> Self {
        Self { decays: Decays::Never, ..self }
    }

    /// One of a block.
    pub fn in_block(self, block: usize) -> Self {
        Self { block: Some(block), ..self }
    }

    /// One whose `entries`, which `layers` use, are read after each step.
    pub fn watched(self, quantity: &'static Quantity, entries: Range<usize>, layers: Range<usize>) -> Self {
        Self { watched: Some(Watched { quantity, entries, layers, of_gradient: false }), ..self }
    }

    /// One that a weight file may lack.
    pub fn added(self) -> Self {
        Self { added: true, ..self }
    }

    /// One that lies so in weight files.
    pub fn filed(self, filed: Filed) -> Self {
        Self { filed, ..self }
    }
}
