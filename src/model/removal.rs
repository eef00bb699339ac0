//! The places from which a fake norm is removed, one after the other (arXiv 2507.02559): the feed-forward networks of all blocks, then
//! what queries and keys read, then what values read, then the head.

/// One of these places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Before the feed-forward network of a block.
    Network(usize),
    /// Before the queries and keys of a block.
    QueryKey(usize),
    /// Before the values of a block.
    Value(usize),
    Head,
}

impl Removal {
    /// The number of places in a model of so many blocks.
    pub fn count(blocks: usize) -> usize {
        3 * blocks + 1
    }

    /// Every place, in the order of removal.
    pub fn all(blocks: usize) -> impl Iterator<Item = Self> {
        let each = move |place: fn(usize) -> Self| (0..blocks).map(place);
        each(Self::Network).chain(each(Self::QueryKey)).chain(each(Self::Value)).chain([Self::Head])
    }

    /// Its pair in [`names::REMOVAL`](super::names::REMOVAL).
    pub fn pair(self, blocks: usize) -> usize {
        match self {
            Self::Network(layer) => layer,
            Self::QueryKey(layer) => blocks + layer,
            Self::Value(layer) => 2 * blocks + layer,
            Self::Head => 3 * blocks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_in_the_order_of_removal() {
        let pairs: Vec<usize> = Removal::all(3).map(|place| place.pair(3)).collect();
        assert_eq!(pairs, (0..Removal::count(3)).collect::<Vec<_>>());
    }
}
