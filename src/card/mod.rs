//! What is known of a device after some minutes: whether its kernels are right, how fast they are, whether runs can be
//! stopped and go on there, and what four models make of text. A card is `card.json`, its sheet `card.md`, and pictures.
//!
//! Every part is a command of this program, or a script, in a process of its own under a limit: a driver that hangs or
//! crashes costs one part. The card is written as parts end, so that what was done stays.

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
