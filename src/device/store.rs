//! Named memory of a device.

use super::{Device, mixed_up};
use crate::fault::Result;
use crate::plan::padded_bytes;
use crate::tape::DType;
use crate::{host, plan};

/// Named memory that outlives a replay and is shared between plans: parameters, gradients, moments, inputs, observations.
pub enum Store {
    Gpu(plan::Store),
    Host(host::Store),
}

impl Store {
    /// An empty store of a device.
    pub fn new(device: &Device) -> Self {
        match device {
            Device::Gpu(_) => Self::Gpu(plan::Store::new()),
            Device::Host(..) => Self::Host(host::Store::default()),
        }
    }

    /// Reserves memory of its own for so many elements.
    ///
    /// # Errors
    /// [`Kind::Memory`](crate::fault::Kind::Memory) if the device has no room.
    pub fn allocate(&mut self, device: &Device, name: &str, elements: usize, dtype: DType) -> Result<()> {
        match (self, device) {
            (Self::Gpu(store), Device::Gpu(gpu)) => store.allocate(gpu, name, elements, dtype),
            (Self::Host(store), Device::Host(..)) => {
                store.allocate(name, padded_bytes(elements, dtype));
                Ok(())
            }
            _ => mixed_up(),
        }
    }

    /// Reserves one stretch of memory, named `arena`, that holds all `parts` (name, bytes) back to back, each a multiple of
    /// 256 bytes.
    ///
    /// # Errors
    /// [`Kind::Memory`](crate::fault::Kind::Memory) if the device has no room.
    pub fn allocate_arena(&mut self, device: &Device, arena: &str, parts: &[(String, u64)]) -> Result<()> {
        match (self, device) {
            (Self::Gpu(store), Device::Gpu(gpu)) => store.allocate_arena(gpu, arena, parts),
            (Self::Host(store), Device::Host(..)) => {
                store.allocate_arena(arena, parts);
                Ok(())
            }
            _ => mixed_up(),
        }
    }

    /// Bytes of device memory reserved so far.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Gpu(store) => store.bytes(),
            Self::Host(store) => store.bytes(),
        }
    }

    /// Whether memory of that name is reserved.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::Gpu(store) => store.contains(name),
            Self::Host(store) => store.contains(name),
        }
    }

    /// The first byte of the named memory in its arena, and its bytes, padding included.
    pub fn place(&self, name: &str) -> (u64, u64) {
        match self {
            Self::Gpu(store) => {
                let span = store.span(name);
                (span.offset, span.bytes)
            }
            Self::Host(store) => store.place(name),
        }
    }

    /// Writes values from the start of the named memory, before whatever is submitted next runs.
    pub fn write<T: bytemuck::NoUninit>(&self, device: &Device, name: &str, values: &[T]) {
        match (self, device) {
            (Self::Gpu(store), Device::Gpu(gpu)) => store.write(gpu, name, values),
            (Self::Host(store), Device::Host(..)) => store.write(name, bytemuck::cast_slice(values)),
            _ => mixed_up(),
        }
    }

    /// Writes values as the element type stores them: f16 rounded to the nearest, u32 by their bits.
    pub fn write_values(&self, device: &Device, name: &str, dtype: DType, values: &[f32]) {
        match (self, device) {
            (Self::Gpu(store), Device::Gpu(gpu)) => store.write_values(gpu, name, dtype, values),
            (Self::Host(store), Device::Host(..)) => store.write(name, bytemuck::cast_slice(values)),
            _ => mixed_up(),
        }
    }

    /// Reads the first `elements` of the named memory, and waits for them.
    ///
    /// # Errors
    /// Those of [`Gpu::check`](crate::gpu::Gpu::check).
    pub fn read(&self, device: &Device, name: &str, elements: usize) -> Result<Vec<f32>> {
        match (self, device) {
            (Self::Gpu(store), Device::Gpu(gpu)) => store.read(gpu, name, elements),
            (Self::Host(store), Device::Host(..)) => Ok(store.read(name, elements)),
            _ => mixed_up(),
        }
    }
}
