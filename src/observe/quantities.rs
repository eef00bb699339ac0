//! The table of everything that is measured over training: a row for each quantity, and a row for each kind of record.
//!
//! The log, TensorBoard's event files, the Parquet tables, the figures, the report page and the live view iterate over
//! these rows. A new statistic needs a row in one of the files here and code that computes it: a tensor that names the row with
//! `Tape::watch`, or a value that the trainer adds to a step.

mod entropy;
mod evaluation;
mod heads;
mod kinds;
mod layers;
mod learned;
mod matrices;
mod norms;
mod residual;
mod row;
mod steps;

pub use entropy::*;
pub use evaluation::*;
pub use heads::*;
pub use kinds::*;
pub use layers::*;
pub use learned::*;
pub use matrices::*;
pub use norms::*;
pub use residual::*;
pub use row::{Axis, Cadence, Drawn, Extent, Kind, Live, Presence, Quantity, Stored};
pub use steps::*;

/// The rows in their order in a record.
const PARTS: [&[&Quantity]; 9] = [
    steps::ROWS,
    entropy::ROWS,
    learned::ROWS,
    norms::ROWS,
    residual::ROWS,
    matrices::ROWS,
    layers::ROWS,
    heads::ROWS,
    evaluation::ROWS,
];

/// How many rows there are.
const COUNT: usize = {
    let (mut count, mut part) = (0, 0);
    while part < PARTS.len() {
        count += PARTS[part].len();
        part += 1;
    }
    count
};

/// Every row, in order.
pub static ALL: [&Quantity; COUNT] = {
    let mut all = [PARTS[0][0]; COUNT];
    let (mut to, mut part) = (0, 0);
    while part < PARTS.len() {
        let mut row = 0;
        while row < PARTS[part].len() {
            all[to] = PARTS[part][row];
            (to, row) = (to + 1, row + 1);
        }
        part += 1;
    }
    all
};

impl Kind {
    /// The quantities of its records, in their order in a record.
    pub fn rows(&self) -> impl Iterator<Item = &'static Quantity> {
        ALL.iter().copied().filter(move |quantity| quantity.kind == self)
    }

    pub fn find(word: &str) -> Option<&'static Self> {
        KINDS.iter().copied().find(|kind| kind.word == word)
    }
}

impl Quantity {
    /// Its index in [`ALL`].
    pub fn index(&'static self) -> usize {
        ALL.iter().position(|&row| row == self).expect("every quantity is a row of the table")
    }
}

/// The drawn quantities whose extent satisfies `is`, in the order of their places.
pub fn drawn(is: fn(Extent) -> bool) -> Vec<(&'static Quantity, &'static Drawn)> {
    let row = |&quantity: &&'static Quantity| Some((quantity, quantity.drawn.as_ref()?));
    let mut rows: Vec<_> = ALL.iter().filter_map(row).filter(|(row, _)| is(row.extent)).collect();
    rows.sort_by_key(|(_, drawn)| drawn.place);
    rows
}

/// The drawn quantities of layers and heads.
pub fn of_layers() -> Vec<(&'static Quantity, &'static Drawn)> {
    drawn(|extent| extent != Extent::Step)
}

/// The drawn quantities of steps.
pub fn of_steps() -> Vec<(&'static Quantity, &'static Drawn)> {
    drawn(|extent| extent == Extent::Step)
}
