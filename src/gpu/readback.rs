//! A ring of readback buffers: the host reads a step's results some steps later, and the device never waits.

use super::Gpu;
use crate::fault::{Fault, Kind, Result};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const PENDING: u8 = 0;
const READY: u8 = 1;
const FAILED: u8 = 2;

/// What was copied back under one tag: bytes in the order of the sources.
#[derive(Debug)]
pub struct Readback {
    pub tag: u64,
    pub bytes: Vec<u8>,
}

/// A fixed number of mappable buffers, used in turn.
pub struct ReadbackRing {
    free: Vec<wgpu::Buffer>,
    flying: VecDeque<Flight>,
    /// Bytes of one slot.
    bytes: u64,
}

struct Flight {
    tag: u64,
    buffer: wgpu::Buffer,
    state: Arc<AtomicU8>,
    submission: Option<u64>,
}

impl ReadbackRing {
    /// Makes `slots` buffers of `bytes` each.
    ///
    /// # Errors
    /// [`Kind::Memory`] if the device has no room.
    pub fn new(gpu: &Gpu, slots: usize, bytes: u64) -> Result<Self> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let free = (0..slots).map(|_| gpu.buffer("readback", bytes, usage)).collect::<Result<_>>()?;
        Ok(Self { free, flying: VecDeque::new(), bytes })
    }

    /// Bytes of all slots.
    pub fn bytes(&self) -> u64 {
        (self.free.len() + self.flying.len()) as u64 * self.bytes
    }

    /// Number of readings in flight.
    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }

    /// Records copies of `sources` (buffer, offset, bytes) into a free slot. If none is free, call
    /// [`Self::take_oldest`] first.
    pub(crate) fn record(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        tag: u64,
        sources: &[(&wgpu::Buffer, u64, u64)],
    ) {
        let buffer = self.free.pop().expect("a slot of the readback ring is free");
        let mut at = 0;
        for &(source, offset, bytes) in sources {
            encoder.copy_buffer_to_buffer(source, offset, &buffer, at, Some(bytes));
            at += bytes;
        }
        assert!(at <= self.bytes, "the readback slot is too small");
        self.flying.push_back(Flight {
            tag,
            buffer,
            state: Arc::new(AtomicU8::new(PENDING)),
            submission: None,
        });
    }

    /// Requests the mapping of the newest recording. Call it after its submission, with that number.
    pub(crate) fn submitted(&mut self, submission: u64) {
        let flight = self.flying.back_mut().expect("something was recorded");
        flight.submission = Some(submission);
        let state = flight.state.clone();
        flight.buffer.map_async(wgpu::MapMode::Read, .., move |result| {
            state.store(if result.is_ok() { READY } else { FAILED }, Ordering::Release);
        });
    }

    /// Whether every slot is in use, so the next step must take a reading first.
    pub fn full(&self) -> bool {
        self.free.is_empty()
    }

    /// The oldest reading if it has arrived; with `wait`, waits for it. `None` if nothing is in flight (or, without
    /// `wait`, nothing has arrived).
    ///
    /// # Errors
    /// Those of [`Gpu::check`]; [`Kind::Device`] if a result cannot be read back.
    pub fn take_oldest(&mut self, gpu: &Gpu, wait: bool) -> Result<Option<Readback>> {
        let Some(flight) = self.flying.front() else { return Ok(None) };
        if flight.state.load(Ordering::Acquire) == PENDING {
            if wait { gpu.wait_for(flight.submission)? } else { gpu.poll()? }
        }
        match flight.state.load(Ordering::Acquire) {
            PENDING => return Ok(None),
            READY => {}
            _ => return Err(Fault::new(Kind::Device, "a result could not be read back from the device")),
        }
        let flight = self.flying.pop_front().expect("the front was just seen");
        if let Some(submission) = flight.submission {
            gpu.is_done(submission);
        }
        let view = flight.buffer.get_mapped_range(..).map_err(|error| {
            Fault::new(Kind::Device, "a result could not be read back from the device").found(error)
        })?;
        let bytes = view.to_vec();
        drop(view);
        flight.buffer.unmap();
        self.free.push(flight.buffer);
        Ok(Some(Readback { tag: flight.tag, bytes }))
    }
}
