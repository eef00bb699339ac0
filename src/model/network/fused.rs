//! ffn(x) = x·W + b: equivalent to two matrices with no activation between them (arXiv 2501.03489).

use super::Form;

pub(super) const FUSED: Form = Form {
    word: "fused",
    about: "one matrix `n_embd` × `n_embd`, where `activation_function` is `\"none\"`",
    label: "Fu",
    units: false,
    takes: |activation| activation.is_identity(),
    declare: |_| Vec::new(),
    open: |_, _, x| x,
    close: |_, _, opened| opened,
};
