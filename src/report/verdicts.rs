//! Verdicts on claims, as plain data for the page; the referee makes them.

use super::table::Table;
use crate::draw::picture::Picture;

/// What was judged.
#[derive(Clone, Debug)]
pub struct Verdicts {
    pub claims: Vec<Claimed>,
    /// A row for each comparison.
    pub table: Table,
    /// Every difference with its interval, if there is one.
    pub picture: Option<Picture>,
}

/// A claim and its verdict.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The claim in a sentence, and the paper that makes it.
    pub text: String,
    pub source: String,
    /// What that paper reports.
    pub reported: String,
    /// What was found here, a sentence for each comparison.
    pub found: Vec<String>,
    pub verdict: &'static str,
}
