//! The layout of query, key and value in one row: q | k | v, each with its heads side by side.
//!
//! Attention, rotary positions, temperatures, generation's cache and the reordered matrices of weight files all use it.

use std::ops::Range;

/// Packed rows of `heads` heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed {
    pub heads: usize,
    /// Columns of one head.
    pub width: usize,
}

/// The thirds of a row, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Query,
    Key,
    Value,
}

impl Part {
    pub const ALL: [Self; 3] = [Self::Query, Self::Key, Self::Value];
}

impl Packed {
    /// Rows of `columns` columns with `heads` heads.
    ///
    /// # Panics
    /// If the columns do not divide evenly among the heads, or a head's width is not a multiple of `multiple`.
    pub fn of(columns: usize, heads: usize, multiple: usize) -> Self {
        let fits = columns.is_multiple_of(Part::ALL.len() * multiple * heads);
        assert!(
            fits,
            "{columns} columns are not q | k | v of {heads} heads of a multiple of {multiple} columns"
        );
        Self { heads, width: columns / (Part::ALL.len() * heads) }
    }

    /// Columns of a row.
    pub fn columns(self) -> usize {
        Part::ALL.len() * self.part()
    }

    /// Columns of one part, and of a row of attention's output.
    pub fn part(self) -> usize {
        self.heads * self.width
    }

    /// The columns of a head in one part.
    pub fn head(self, part: Part, head: usize) -> Range<usize> {
        let first = part as usize * self.part() + head * self.width;
        first..first + self.width
    }

    /// The columns of keys and values, which generation caches.
    pub fn kept(self) -> Range<usize> {
        self.part()..self.columns()
    }

    /// The columns of queries and keys, which rotary positions rotate.
    pub fn turned(self) -> Range<usize> {
        0..2 * self.part()
    }

    /// The head whose query has this column; `None` for keys and values.
    pub fn query_head(self, column: usize) -> Option<usize> {
        (column < self.part()).then(|| column / self.width)
    }

    /// The corresponding column of a row that stores head after head, each with its q | k | v, as in GPT-NeoX files.
    pub fn from_head_by_head(self, column: usize) -> usize {
        let (place, rest) = (column / self.width, column % self.width);
        let (head, part) = (place / Part::ALL.len(), Part::ALL[place % Part::ALL.len()]);
        self.head(part, head).start + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_of_one_head_and_part() {
        let packed = Packed::of(3 * 2 * 4, 2, 4);
        let all = Part::ALL.map(|part| [0, 1].map(|head| packed.head(part, head)));
        let columns: Vec<usize> = all.into_iter().flatten().flatten().collect();
        assert_eq!(columns, (0..24).collect::<Vec<_>>());
        assert_eq!((packed.turned(), packed.kept()), (0..16, 8..24));
        assert_eq!([0, 7, 8].map(|column| packed.query_head(column)), [Some(0), Some(1), None]);
        // The first head's key, and the second head's query.
        assert_eq!([4, 12].map(|column| packed.from_head_by_head(column)), [8, 4]);
    }
}
