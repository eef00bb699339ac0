//! Norms beyond what their ops' cases say: other programs' numbers, training, what is reported of them.

mod pytorch;
mod trained;
