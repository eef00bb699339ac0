//! What a few minutes reveal about a device: whether its kernels are correct, how fast they are, whether runs can be
//! stopped and resumed, and how well four models learn text. A card is `card.json`, its sheet `card.md`, and pictures.
//!
//! Every part is a command of this program, or a script, in its own process under a time limit: a driver that hangs or
//! crashes costs one part. The card is written after each part, so finished work survives.

mod job;
mod medians;
mod models;
mod parts;
mod peers;
mod record;
mod session;
mod sheet;
mod sizes;
mod table;

pub use job::Wanted;
pub use parts::{Event, make};
pub use record::{Card, FILE, Part, SHEET, State, System};
pub use session::Named;
pub use sizes::Sizes;
pub use table::table;
