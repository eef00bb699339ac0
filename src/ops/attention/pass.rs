//! The three passes over rows and keys.

/// One of the three passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Forward { entropy: bool },
    QueryGradient { guided: bool },
    KeyGradient { guided: bool },
}

impl Pass {
    pub fn entry(self) -> &'static str {
        match self {
            Self::Forward { .. } => "forward",
            Self::QueryGradient { .. } => "query_gradient",
            Self::KeyGradient { .. } => "key_gradient",
        }
    }

    /// Rows of a head's width that a lane keeps for each row it processes: sums, and rows that it only reads.
    pub fn kept(self) -> (usize, usize) {
        match self {
            Self::Forward { .. } => (1, 1),
            Self::QueryGradient { .. } => (1, 2),
            Self::KeyGradient { .. } => (2, 2),
        }
    }

    pub fn is_key_gradient(self) -> bool {
        matches!(self, Self::KeyGradient { .. })
    }

    /// Whether there is a gradient at the entropy.
    pub fn guided(self) -> bool {
        matches!(self, Self::QueryGradient { guided: true } | Self::KeyGradient { guided: true })
    }
}
