//! ffn(x) = x·W + b: equivalent to two matrices with no activation between them (arXiv 2501.03489).

use super::Form;

pub(super) const FUSED: Form = Form {
    word: "fused",
    about: "one `n_embd` × `n_embd` matrix; requires `activation_function = \"none\"`",
    label: "Fu",
    units: false,
    inner: |width| 4 * width,
    takes: |activation| activation.is_identity(),
    declare: |_| Vec::new(),
    open: |_, _, x| x,
    close: |_, _, opened| opened,
};
