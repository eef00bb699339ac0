//! Batches: the order of sequences, their targets, and their tokens sorted for the embedding gradient.

use super::permutation::Permutation;
use super::token_file::TokenFile;
use crate::config::Order;
use crate::ops::cross_entropy::IGNORED;

/// One micro-batch of `B` sequences of `T` tokens, row after row. Allocated once and refilled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// `[B × T]`
    pub tokens: Vec<u32>,
    /// `[B × T]`: the token after each position, or [`IGNORED`] if it does not count: at the last position of
    /// a sequence, and before an end-of-text token if the batches ignore those.
    pub targets: Vec<u32>,
    /// How many targets count.
    pub counted: u32,
    /// `[B × T]`: the positions of `tokens`, ordered by the token they hold, then by position.
    pub sorted: Vec<u32>,
    /// `[B × T + 1]`: segment `s` is `sorted[segments[s]..segments[s + 1]]`, all positions of one token;
    /// the entries from `distinct` on are `B × T`.
    pub segments: Vec<u32>,
    /// The number of distinct tokens, and so of segments.
    pub distinct: u32,
    sequence_length: usize,
    /// `[B × T]`: token in the high half, position in the low.
    keys: Vec<u64>,
}

impl Batch {
    /// An empty batch of `batch_size` sequences of `sequence_length` tokens.
    pub fn new(batch_size: usize, sequence_length: usize) -> Self {
        let positions = batch_size * sequence_length;
        assert!(positions > 0 && positions < u32::MAX as usize, "a batch of {positions} tokens");
        Self {
            tokens: vec![0; positions],
            targets: vec![IGNORED; positions],
            counted: 0,
            sorted: vec![0; positions],
            segments: vec![positions as u32; positions + 1],
            distinct: 0,
            sequence_length,
            keys: vec![0; positions],
        }
    }

    /// How many sequences it holds.
    pub fn size(&self) -> usize {
        self.tokens.len() / self.sequence_length
    }

    /// Sets targets, counts and the sorted view from `tokens`; only the first `rows` sequences have targets.
    pub fn derive(&mut self, rows: usize, end_of_text: Option<u32>) {
        self.targets.fill(IGNORED);
        self.counted = 0;
        let length = self.sequence_length;
        for (tokens, targets) in self.tokens.chunks(length).zip(self.targets.chunks_mut(length)).take(rows) {
            for (target, &next) in targets.iter_mut().zip(&tokens[1..]) {
                if end_of_text != Some(next) {
                    *target = next;
                    self.counted += 1;
                }
            }
        }

        for (position, (key, &token)) in self.keys.iter_mut().zip(&self.tokens).enumerate() {
            *key = u64::from(token) << 32 | position as u64;
        }
        // The position is part of the key: no two keys are equal, so an unstable sort gives the stable order.
        self.keys.sort_unstable();
        self.distinct = 0;
        let mut previous = None;
        for (place, (&key, sorted)) in self.keys.iter().zip(&mut self.sorted).enumerate() {
            let token = key >> 32;
            if previous != Some(token) {
                self.segments[self.distinct as usize] = place as u32;
                self.distinct += 1;
                previous = Some(token);
            }
            *sorted = key as u32;
        }
        self.segments[self.distinct as usize..].fill(self.tokens.len() as u32);
    }
}

/// Divides the sequences of a token file into batches. Its whole state is one number, [`Batches::cursor`].
#[derive(Debug)]
pub struct Batches {
    file: TokenFile,
    order: Order,
    seed: u64,
    end_of_text: Option<u32>,
    cursor: u64,
    /// The permutation of the epoch the last sequence came from.
    shuffle: Option<(u64, Permutation)>,
}

impl Batches {
    /// Batches over `file`, from its beginning. With `end_of_text`, targets equal to it do not count.
    pub fn new(file: TokenFile, order: Order, seed: u64, end_of_text: Option<u32>) -> Self {
        Self { file, order, seed, end_of_text, cursor: 0, shuffle: None }
    }

    /// The number of sequences returned since the start, over all epochs.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Continues as if `cursor` sequences had been returned.
    pub fn seek(&mut self, cursor: u64) {
        self.cursor = cursor;
    }

    /// Fills `batch` with the next sequences; at the end of an epoch the next one begins within the batch.
    ///
    /// Panics if the sequence length of `batch` differs from the file's.
    pub fn fill(&mut self, batch: &mut Batch) {
        self.fill_rows(batch, batch.size());
    }

    /// Fills `batch` without passing the end of the epoch, for evaluation: every sequence appears once.
    ///
    /// Returns the number of real rows; later rows hold token 0 and no target. At the end of the
    /// epoch it returns 0 on every call until [`Batches::seek`].
    pub fn fill_to_end(&mut self, batch: &mut Batch) -> usize {
        let sequences = self.file.sequences() as u64;
        let left = match self.cursor % sequences {
            0 if self.cursor > 0 => 0,
            done => sequences - done,
        };
        let rows = left.min(batch.size() as u64) as usize;
        self.fill_rows(batch, rows);
        rows
    }

    fn fill_rows(&mut self, batch: &mut Batch, rows: usize) {
        let length = batch.sequence_length;
        assert_eq!(length, self.file.sequence_length(), "the batch and the file differ in sequence length");
        for row in 0..rows {
            let index = self.sequence_at(self.cursor);
            self.file.sequence(index, &mut batch.tokens[row * length..(row + 1) * length]);
            self.cursor += 1;
        }
        batch.tokens[rows * length..].fill(0);
        batch.derive(rows, self.end_of_text);
    }

    /// The index in the file of sequence number `number`.
    fn sequence_at(&mut self, number: u64) -> usize {
        let sequences = self.file.sequences() as u64;
        let (epoch, within) = (number / sequences, number % sequences);
        let index = match self.order {
            Order::Sequential => within,
            Order::Shuffle => match &self.shuffle {
                Some((of, permutation)) if *of == epoch => permutation.apply(within),
                _ => {
                    let permutation = Permutation::new(sequences, self.seed, epoch);
                    let index = permutation.apply(within);
                    self.shuffle = Some((epoch, permutation));
                    index
                }
            },
        };
        index as usize
    }
}
