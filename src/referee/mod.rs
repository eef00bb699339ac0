//! Claims of papers, judged by runs on the same seeds: held, not held, or not decided.
//!
//! `study::Claim` says what is expected of which configurations; `reading` takes the values from the runs' logs, at their end
//! and at their best checkpoint; `statistics` compares them, seed by seed; `judge` makes the verdicts; `table` and `picture`
//! show them.

mod judge;
mod picture;
mod reading;
mod statistics;
mod table;

pub use judge::{Judged, Outcome, Ruled, Ruling, Verdict, judge};
pub use picture::picture;
pub use reading::Reading;
pub use table::{json, markdown, table, verdicts};
