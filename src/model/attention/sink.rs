//! A learned logit of each head in the denominator of its softmax: see [`crate::ops::attention_sink`].

use super::guided::guiding;
use crate::model::site::Site;
use crate::tape::TensorId;

/// Declares the sinks `[n_head]` of one attention, which start at zero, if it has them.
pub(super) fn declare(site: &mut Site<'_>) -> Option<TensorId> {
    let config = site.config;
    let name = format!("{}.sinks", site.name("attention"));
    config.attention_sink.then(|| site.declare(&name, &[config.n_head], guiding(0.0)))
}
