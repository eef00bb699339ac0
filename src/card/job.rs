//! What a part of a card is while it is still to come, and what all parts are made with.

use super::record::Card;
use super::session::{Named, Outcome, Session};
use super::sizes::Sizes;
use std::path::PathBuf;

/// What a card is made with.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub sizes: Sizes,
    pub minutes: f64,
    /// The card's folder, which is there and empty.
    pub folder: PathBuf,
    /// A folder made by `normfree prepare`.
    pub data: Option<PathBuf>,
    /// An interpreter with PyTorch.
    pub python: Option<PathBuf>,
    /// This program.
    pub program: PathBuf,
    /// The options of every command: which device.
    pub options: Vec<String>,
    /// Paths that the card does not tell.
    pub hidden: Vec<Named>,
}

/// A part that is still to come.
pub(super) struct Job {
    pub key: String,
    pub title: String,
    /// Its share of the time; what a part leaves over goes to those after it.
    pub weight: f64,
    pub work: Work,
}

pub(super) type Work = Box<dyn Fn(&mut Session<'_>, &Card, &Wanted) -> Outcome>;

impl Job {
    /// A part by its key, title and weight, and what it does.
    pub fn new(
        (key, title, weight): (&str, &str, f64),
        work: impl Fn(&mut Session<'_>, &Card, &Wanted) -> Outcome + 'static,
    ) -> Self {
        Self { key: key.to_owned(), title: title.to_owned(), weight, work: Box::new(work) }
    }
}

/// Numbers that a part is computed in: `f32`, or f16 with sums in f32.
pub(super) const PRECISIONS: [&str; 2] = ["f32", "mixed"];

/// The key of whole steps.
pub(super) fn steps_key(tokens: usize, precision: &str) -> String {
    format!("steps_{tokens}_{precision}")
}

/// What a precision is called.
pub(super) fn numbers(precision: &str) -> &str {
    if precision == "mixed" { "mixed precision" } else { precision }
}
