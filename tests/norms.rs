//! Norms beyond what their ops' cases say: other programs' numbers, training, what is reported of them, and what their papers
//! say of them.

mod columns;
mod proofs;
mod pytorch;
mod trained;
