//! Memory of the CPU as a device: whole cache lines of f32, shared by the store and the plans that use it.
//!
//! A u32 tensor is stored by its bits. A replay locks what it reads and writes, so that no node can change what another
//! reads at the same moment; the locks are never contended, because one replay runs at a time.

use crate::cores::Line;
use crate::cores::functions::LANES;
use crate::tape::DType;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// An allocation.
pub(super) struct Buffer(RwLock<Vec<Line>>);

impl Buffer {
    /// Zeros.
    pub fn new(bytes: u64) -> Self {
        let lines = (bytes as usize).div_ceil(size_of::<Line>());
        Self(RwLock::new(bytemuck::zeroed_vec(lines)))
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Vec<Line>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, Vec<Line>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the bits of `word` everywhere.
    pub fn fill(&self, word: u32) {
        self.write().fill(Line([f32::from_bits(word); LANES]));
    }
}

/// A stretch of a buffer, in words.
#[derive(Clone)]
pub(super) struct Span {
    pub buffer: Arc<Buffer>,
    pub words: Range<usize>,
}

/// Named memory that outlives a replay and is shared between plans: parameters, gradients, moments, inputs, observations.
#[derive(Default)]
pub struct Store {
    spans: HashMap<String, Span>,
    bytes: u64,
}

/// Bytes of one element of memory.
const WORD: u64 = 4;

impl Store {
    /// Reserves a buffer of its own.
    pub fn allocate(&mut self, name: &str, bytes: u64) {
        self.allocate_arena(name, &[(name.to_owned(), bytes)]);
    }

    /// Reserves one buffer, named `arena`, that holds all `parts` (name, bytes) back to back.
    pub fn allocate_arena(&mut self, arena: &str, parts: &[(String, u64)]) {
        let bytes: u64 = parts.iter().map(|&(_, part)| part).sum();
        let buffer = Arc::new(Buffer::new(bytes));
        let mut first = 0;
        for (name, part) in parts {
            let end = first + (part / WORD) as usize;
            self.spans.insert(name.clone(), Span { buffer: buffer.clone(), words: first..end });
            first = end;
        }
        self.spans.insert(arena.to_owned(), Span { buffer, words: 0..first });
        self.bytes += bytes;
    }

    /// Bytes reserved so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether memory of that name is reserved.
    pub fn contains(&self, name: &str) -> bool {
        self.spans.contains_key(name)
    }

    pub(super) fn span(&self, name: &str) -> &Span {
        self.spans.get(name).unwrap_or_else(|| panic!("the store has no memory named `{name}`"))
    }

    /// The first byte of the named memory in its buffer, and its bytes, padding included.
    pub fn place(&self, name: &str) -> (u64, u64) {
        let Range { start, end } = self.span(name).words;
        (start as u64 * WORD, (end - start) as u64 * WORD)
    }

    /// Writes the bytes of whole words from the start of the named memory.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        let Span { buffer, words } = self.span(name);
        let mut lines = buffer.write();
        let memory: &mut [u8] =
            bytemuck::cast_slice_mut(&mut bytemuck::cast_slice_mut::<_, f32>(&mut lines)[words.clone()]);
        memory[..bytes.len()].copy_from_slice(bytes);
    }

    /// The first `elements` words of the named memory.
    pub fn read(&self, name: &str, elements: usize) -> Vec<f32> {
        let Span { buffer, words } = self.span(name);
        bytemuck::cast_slice::<_, f32>(&buffer.read())[words.clone()][..elements].to_vec()
    }

    /// The named memory becomes zero.
    pub fn clear(&self, name: &str) {
        let Span { buffer, words } = self.span(name);
        bytemuck::cast_slice_mut::<_, f32>(&mut buffer.write())[words.clone()].fill(0.0);
    }
}

/// # Panics
/// For a type that is not stored in whole words: the CPU computes in f32.
pub(super) fn assert_words(dtype: DType) {
    assert!(dtype.bytes() as u64 == WORD, "{dtype:?} on the CPU");
}
