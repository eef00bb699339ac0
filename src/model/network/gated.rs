//! ffn(x) = (f(x·W_g) ⊙ x·W_u)·W₂ (Shazeer 2020, arXiv 2002.05202): SwiGLU with SiLU, GeGLU with GELU, ReGLU with ReLU. W_g and W_u
//! are one matrix with the columns gate | up, or two in families whose projections are apart.

use super::Form;
use crate::model::family::Projections;
use crate::model::site::Matrix;
use crate::tape::DType;

pub(super) const GATED: Form = Form {
    word: "gated",
    about: "one half of the first matrix's columns, through the activation, times the other: SwiGLU with `silu`, GeGLU with `gelu`, ReGLU with `relu`",
    label: "Gated",
    units: true,
    inner: |width| (8 * width).div_ceil(3).next_multiple_of(8),
    takes: |activation| activation.is_by_element() && !activation.learns(),
    declare: |site| {
        let (width, inner) = (site.config.n_embd, site.config.n_inner);
        match site.config.family.projections {
            Projections::Packed => {
                vec![site.linear("mlp.expand", Matrix { parts: 2, ..Matrix::opening(width, 2 * inner) })]
            }
            Projections::Apart => ["mlp.gate", "mlp.up"]
                .into_iter()
                .map(|name| site.linear(name, Matrix::opening(width, inner)))
                .collect(),
        }
    },
    open: |tape, first, x| match first {
        [gate, up] => {
            // The gradient of rows that two products read is a sum, which is kept in f32.
            if tape.info(x).dtype == DType::F16 {
                tape.widen_gradient(x);
            }
            let (gate, up) = (gate.apply(tape, x), up.apply(tape, x));
            tape.beside(gate, up)
        }
        first => first[0].apply(tape, x),
    },
    close: |tape, activate, opened| tape.gated(opened, activate.activation, activate.fixed),
};
