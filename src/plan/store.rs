//! Named device memory that outlives a replay and that plans share: parameters, gradients, moments, inputs,
//! observations.

use super::memory::{ALIGNMENT, padded_bytes};
use crate::fault::Result;
use crate::gpu::Gpu;
use crate::tape::DType;
use std::collections::HashMap;
use std::rc::Rc;

/// A range of a buffer.
#[derive(Clone)]
pub(crate) struct Span {
    pub buffer: Rc<wgpu::Buffer>,
    /// Bytes from the start of the buffer; a multiple of 256.
    pub offset: u64,
    /// Bytes, padding included.
    pub bytes: u64,
}

/// Device memory by name.
#[derive(Default)]
pub struct Store {
    spans: HashMap<String, Span>,
    bytes: u64,
}

/// The usage flags of every buffer.
pub(super) fn usage() -> wgpu::BufferUsages {
    wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC
}

impl Store {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allocates a separate buffer for `elements` elements.
    ///
    /// # Errors
    /// [`Kind::Memory`](crate::fault::Kind::Memory) if the device does not have enough memory.
    pub fn allocate(&mut self, gpu: &Gpu, name: &str, elements: usize, dtype: DType) -> Result<()> {
        let bytes = padded_bytes(elements, dtype);
        let buffer = Rc::new(gpu.buffer(name, bytes, usage())?);
        self.spans.insert(name.to_owned(), Span { buffer, offset: 0, bytes });
        self.bytes += bytes;
        Ok(())
    }

    /// Allocates one buffer, named `arena`, that holds all `parts` (name, bytes) back to back. The size of each part is
    /// a multiple of 256 bytes.
    ///
    /// # Errors
    /// [`Kind::Memory`](crate::fault::Kind::Memory) if the device does not have enough memory.
    pub fn allocate_arena(&mut self, gpu: &Gpu, arena: &str, parts: &[(String, u64)]) -> Result<()> {
        let bytes: u64 = parts.iter().map(|&(_, part)| part).sum();
        let buffer = Rc::new(gpu.buffer(arena, bytes, usage())?);
        let mut offset = 0;
        for &(ref name, part) in parts {
            assert!(part.is_multiple_of(ALIGNMENT), "{part} bytes of `{name}`");
            self.spans.insert(name.clone(), Span { buffer: buffer.clone(), offset, bytes: part });
            offset += part;
        }
        self.spans.insert(arena.to_owned(), Span { buffer, offset: 0, bytes });
        self.bytes += bytes;
        Ok(())
    }

    /// Bytes of device memory allocated so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn span(&self, name: &str) -> &Span {
        self.spans.get(name).unwrap_or_else(|| panic!("the store has no memory named `{name}`"))
    }

    /// Whether memory of that name is allocated.
    pub fn contains(&self, name: &str) -> bool {
        self.spans.contains_key(name)
    }

    /// Writes values to the start of the named memory. The write completes before the next submission runs.
    pub fn write<T: bytemuck::NoUninit>(&self, gpu: &Gpu, name: &str, values: &[T]) {
        let span = self.span(name);
        let bytes: &[u8] = bytemuck::cast_slice(values);
        assert!(bytes.len() as u64 <= span.bytes, "{} bytes do not fit `{name}`", bytes.len());
        gpu.queue.write_buffer(&span.buffer, span.offset, bytes);
    }

    /// Writes values in the storage format of `dtype`: f16 rounded to nearest, u32 as the bits of each value.
    pub fn write_values(&self, gpu: &Gpu, name: &str, dtype: DType, values: &[f32]) {
        match dtype {
            DType::F32 | DType::U32 => self.write(gpu, name, values),
            DType::F16 => {
                let halves = values.iter().map(|&value| half::f16::from_f32(value).to_bits());
                let mut bits: Vec<u16> = halves.collect();
                // Writes to a device are whole words.
                bits.resize(bits.len().next_multiple_of(2), 0);
                self.write(gpu, name, &bits);
            }
        }
    }

    /// Reads the first `elements` values of the named memory, and waits for them.
    ///
    /// # Errors
    /// Those of [`Gpu::check`].
    pub fn read(&self, gpu: &Gpu, name: &str, elements: usize) -> Result<Vec<f32>> {
        let span = self.span(name);
        assert!(elements as u64 * 4 <= span.bytes, "`{name}` holds fewer than {elements} elements");
        let bytes = gpu.read(&span.buffer, span.offset, elements as u64 * 4)?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    /// Records that the named memory is set to zero.
    pub(crate) fn clear(&self, encoder: &mut wgpu::CommandEncoder, name: &str) {
        let span = self.span(name);
        encoder.clear_buffer(&span.buffer, span.offset, Some(span.bytes));
    }
}
