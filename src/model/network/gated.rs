//! ffn(x) = (f(x·W_g) ⊙ x·W_u)·W₂ (Shazeer 2020, arXiv 2002.05202): SwiGLU with SiLU, GeGLU with GELU, ReGLU with ReLU. W_g and W_u
//! are one matrix with the columns gate | up.

use super::Form;
use crate::model::site::Matrix;

pub(super) const GATED: Form = Form {
    word: "gated",
    about: "one half of the first matrix's columns, through the activation, times the other: SwiGLU with `silu`, GeGLU with `gelu`, ReGLU with `relu`",
    label: "Gated",
    units: true,
    inner: |width| (8 * width).div_ceil(3).next_multiple_of(8),
    takes: |activation| activation.is_by_element() && !activation.learns(),
    declare: |site| {
        let (width, inner) = (site.config.n_embd, site.config.n_inner);
        vec![site.linear("mlp.expand", Matrix { parts: 2, ..Matrix::first(width, 2 * inner) })]
    },
    open: |tape, first, x| first[0].apply(tape, x),
    close: |tape, activate, opened| tape.gated(opened, activate.activation, activate.fixed),
};
