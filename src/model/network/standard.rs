//! ffn(x) = f(x·W₁ + b₁)·W₂ + b₂.

use super::Form;
use crate::model::site::Matrix;

pub(super) const STANDARD: Form = Form {
    word: "standard",
    about: "two matrices with the activation between them",
    label: "",
    units: true,
    inner: |width| 4 * width,
    takes: |_| true,
    declare: |site| {
        let (width, inner) = (site.config.n_embd, site.config.n_inner);
        vec![site.linear("mlp.expand", Matrix::opening(width, inner))]
    },
    open: |tape, first, x| first[0].apply(tape, x),
    close: |tape, activate, opened| activate.apply(tape, opened),
};
