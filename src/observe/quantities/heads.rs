//! What heads look at: their logits, where their attention lies, and its entropy along the context.

use super::kinds::LAYERS;
use super::row::Extent::Head;
use super::row::{Axis, Quantity, figure, row, rows};

rows! { pub(super) ROWS: Quantity;
    /// Largest attention logit of each head.
    LARGEST_LOGIT = Quantity {
        tag: Some("largest_logit"),
        drawn: figure(
            10, "largest_logit", Axis::Linear, "Largest logit",
            "Largest attention logit, mean of each layer's heads, over training",
        ),
        ..row(&LAYERS, "largest_logit", Head)
    };
    /// Variance of a query's logits over the keys that it sees, mean over the queries.
    LOGIT_VARIANCE = Quantity {
        tag: Some("logit_variance"),
        drawn: figure(
            11, "logit_variance", Axis::Logarithmic, "Variance of the logits",
            "Variance of attention logits, mean of each layer's heads, over training",
        ),
        ..row(&LAYERS, "logit_variance", Head)
    };
    /// Attention on the first position, mean over the queries.
    SINK_MASS = Quantity {
        tag: Some("sink_mass"),
        drawn: figure(
            12, "sink_mass", Axis::Share, "Attention on the first position",
            "Attention on the first position, mean of each layer's heads, over training",
        ),
        ..row(&LAYERS, "sink_mass", Head)
    };
    /// Attention on the 16 latest positions, the query's own included, mean over the queries.
    RECENCY = Quantity {
        tag: Some("recency"),
        drawn: figure(
            13, "recency", Axis::Share, "Attention on the 16 latest positions",
            "Attention on the 16 latest positions, mean of each layer's heads, over training",
        ),
        ..row(&LAYERS, "recency", Head)
    };

    /// Entropy of a query's attention as a share of ln(number of keys that it sees), mean over the queries in the first quarter
    /// of the context.
    NORMALIZED_ENTROPY_1 = row(&LAYERS, "normalized_entropy_1", Head);
    /// The same in the second quarter.
    NORMALIZED_ENTROPY_2 = row(&LAYERS, "normalized_entropy_2", Head);
    /// The same in the third quarter.
    NORMALIZED_ENTROPY_3 = row(&LAYERS, "normalized_entropy_3", Head);
    /// The same in the last quarter.
    NORMALIZED_ENTROPY_4 = Quantity {
        drawn: figure(
            14, "normalized_entropy", Axis::Share, "Entropy / ln(keys), last quarter",
            "Entropy as a share of its ceiling, last quarter of the context, mean of each layer's heads, over training",
        ),
        ..row(&LAYERS, "normalized_entropy_4", Head)
    };
}

/// For each quarter of the context.
pub static NORMALIZED_ENTROPY: [&Quantity; 4] =
    [&NORMALIZED_ENTROPY_1, &NORMALIZED_ENTROPY_2, &NORMALIZED_ENTROPY_3, &NORMALIZED_ENTROPY_4];
