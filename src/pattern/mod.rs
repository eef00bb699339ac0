//! Attention patterns: which tokens a head reads, for each token of one text.
//!
//! A head's pattern is computed from its queries and keys, and never held longer than it takes to keep what is shown of it:
//! a byte for each weight. The page and the picture are made of these.

mod head;
mod kept;
mod page;
mod picture;

pub use head::{Head, Layer};
pub use kept::{Kept, Patterns, byte, weight};
pub use page::{SCRIPT, STYLE, data, page};
pub use picture::picture;
