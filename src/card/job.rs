//! A pending part of a card, and the inputs that all parts share.

use super::record::Card;
use super::session::{Named, Outcome, Session};
use super::sizes::Sizes;
use std::path::PathBuf;

/// The inputs of a card.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub sizes: Sizes,
    pub minutes: f64,
    /// The card's folder, which exists and is empty.
    pub folder: PathBuf,
    /// A folder made by `normfree prepare`.
    pub data: Option<PathBuf>,
    /// An interpreter with PyTorch.
    pub python: Option<PathBuf>,
    /// This program.
    pub program: PathBuf,
    /// The options of every command: which device.
    pub options: Vec<String>,
    /// Paths that the card does not reveal.
    pub hidden: Vec<Named>,
}

/// A pending part.
pub(super) struct Job {
    pub key: String,
    pub title: String,
    /// Its share of the time. Later parts get what a part leaves over.
    pub weight: f64,
    pub work: Work,
}

pub(super) type Work = Box<dyn Fn(&mut Session<'_>, &Card, &Wanted) -> Outcome>;

impl Job {
    /// A part with its key, title, weight and action.
    pub fn new(
        (key, title, weight): (&str, &str, f64),
        work: impl Fn(&mut Session<'_>, &Card, &Wanted) -> Outcome + 'static,
    ) -> Self {
        Self { key: key.to_owned(), title: title.to_owned(), weight, work: Box::new(work) }
    }
}

/// The precision of a part: `f32`, or f16 with sums in f32.
pub(super) const PRECISIONS: [&str; 2] = ["f32", "mixed"];

/// The key of the whole-step part.
pub(super) fn steps_key(tokens: usize, precision: &str) -> String {
    format!("steps_{tokens}_{precision}")
}

/// The name of a precision.
pub(super) fn numbers(precision: &str) -> &str {
    if precision == "mixed" { "mixed precision" } else { precision }
}
