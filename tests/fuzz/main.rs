//! Input that a user may give to the program, damaged at random: every input ends in a result or in one clear sentence, never
//! in a panic, a hang or unbounded memory. Needs no device.
//!
//! Each target takes inputs from `corpus/` (or makes its own), edits them, and runs for `NORMFREE_FUZZ_SECONDS`, by default
//! two. proptest shrinks what fails; the input is then in `target/fuzz`, to be added to the corpus. Seeds are printed;
//! `NORMFREE_SEED` repeats one.

mod checkpoints;
mod configurations;
mod documents;
mod edits;
#[path = "../layouts.rs"]
mod layouts;
mod logs;
mod runner;
mod tokenizers;
