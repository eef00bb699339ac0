//! Learned factors of branches, and scales of the residual stream.

use super::kinds::{NORM_SCALES, RESIDUAL_SCALES};
use super::row::Extent::{Layer, Step};
use super::row::{Quantity, row, rows};

rows! { pub(super) ROWS: Quantity;
    /// The learned factor of each layer's attention, where a branch has one of its own.
    ATTENTION_SCALE = Quantity { tag: Some("attention_scale"), ..row(&RESIDUAL_SCALES, "attention", Layer) };
    /// The same of its feed-forward network.
    FFN_SCALE = Quantity { tag: Some("ffn_scale"), ..row(&RESIDUAL_SCALES, "ffn", Layer) };
    /// The learned factor that both branches of a block share.
    BLOCK_SCALE = Quantity { tag: Some("block_scale"), ..row(&RESIDUAL_SCALES, "block", Layer) };

    /// The root mean square that `model.scale_loss` holds the rows of the residual stream at.
    SCALE_TARGET = row(&NORM_SCALES, "scale_target", Step);
    /// What the embedding is multiplied by.
    EMBEDDING_SCALE = row(&NORM_SCALES, "embedding_scale", Step);
}
