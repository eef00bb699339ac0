//! What a device is told to do in one go, and what it brings back. The CPU does each command at once; a GPU does all of them
//! after they are sent.

use super::{Device, Plan, Store, mixed_up};
use crate::fault::Result;
use crate::gpu::{Readback, ReadbackRing, Work};
use crate::host::Host;
use std::collections::VecDeque;

/// Commands for a device, in order.
pub(crate) enum Commands<'a> {
    Gpu(Work<'a>),
    Host(&'a Host),
}

impl<'a> Commands<'a> {
    /// No commands yet.
    pub fn new(device: &'a Device) -> Self {
        match device {
            Device::Gpu(gpu) => Self::Gpu(Work::new(gpu)),
            Device::Host(host, _) => Self::Host(host),
        }
    }

    /// The named memory becomes zero.
    pub fn clear(&mut self, store: &Store, name: &str) {
        match (self, store) {
            (Self::Gpu(work), Store::Gpu(store)) => store.clear(work.encoder(), name),
            (Self::Host(_), Store::Host(store)) => store.clear(name),
            _ => mixed_up(),
        }
    }

    /// Runs a plan, with or without its observers.
    pub fn replay(&mut self, plan: &Plan, observing: bool) {
        match (self, plan) {
            (Self::Gpu(work), Plan::Gpu(plan)) => plan.record(work, observing),
            (Self::Host(host), Plan::Host(plan)) => plan.replay(host, observing),
            _ => mixed_up(),
        }
    }

    /// Copies the named memory, each name's whole stretch or `bytes` of it, into a free slot of `ring`, as the reading `tag`.
    /// The slot is [sent](Ring::sent) after the commands.
    pub fn read_back<'n>(
        &mut self,
        ring: &mut Ring,
        tag: u64,
        store: &Store,
        names: impl Iterator<Item = (&'n str, Option<u64>)>,
    ) {
        match (self, ring, store) {
            (Self::Gpu(work), Ring::Gpu(ring), Store::Gpu(store)) => {
                let spans = names.map(|(name, bytes)| (store.span(name), bytes));
                let sources: Vec<_> = spans
                    .map(|(span, bytes)| (&*span.buffer, span.offset, bytes.unwrap_or(span.bytes)))
                    .collect();
                ring.record(work.encoder(), tag, &sources);
            }
            (Self::Host(_), Ring::Host { taken, .. }, Store::Host(store)) => {
                let mut bytes = Vec::new();
                for (name, wanted) in names {
                    let wanted = wanted.unwrap_or_else(|| store.place(name).1);
                    bytes.extend_from_slice(bytemuck::cast_slice(&store.read(name, wanted as usize / 4)));
                }
                taken.push_back(Readback { tag, bytes });
            }
            _ => mixed_up(),
        }
    }

    /// Sends them, and returns at once. Returns the number of the submission.
    pub fn send(self) -> u64 {
        match self {
            Self::Gpu(work) => work.send(),
            Self::Host(_) => 0,
        }
    }
}

/// Readings under way, in the order of their steps.
pub enum Ring {
    Gpu(ReadbackRing),
    Host { slots: usize, bytes: u64, taken: VecDeque<Readback> },
}

impl Ring {
    /// A ring of `slots` readings of `bytes` each.
    ///
    /// # Errors
    /// [`Kind::Memory`](crate::fault::Kind::Memory) if the device has no room.
    pub fn new(device: &Device, slots: usize, bytes: u64) -> Result<Self> {
        Ok(match device {
            Device::Gpu(gpu) => Self::Gpu(ReadbackRing::new(gpu, slots, bytes)?),
            Device::Host(..) => Self::Host { slots, bytes, taken: VecDeque::new() },
        })
    }

    /// Bytes of all slots.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Gpu(ring) => ring.bytes(),
            Self::Host { slots, bytes, .. } => *slots as u64 * bytes,
        }
    }

    /// Number of readings in flight.
    pub fn in_flight(&self) -> usize {
        match self {
            Self::Gpu(ring) => ring.in_flight(),
            Self::Host { taken, .. } => taken.len(),
        }
    }

    /// Whether every slot is in use, so that a reading must be taken first.
    pub fn full(&self) -> bool {
        match self {
            Self::Gpu(ring) => ring.full(),
            Self::Host { slots, taken, .. } => taken.len() == *slots,
        }
    }

    /// The newest reading is part of this submission.
    pub fn sent(&mut self, submission: u64) {
        if let Self::Gpu(ring) = self {
            ring.submitted(submission);
        }
    }

    /// The oldest reading if it has arrived; with `wait`, waits for it. `None` if nothing is in flight (or, without `wait`,
    /// nothing has arrived).
    ///
    /// # Errors
    /// Those of [`ReadbackRing::take_oldest`].
    pub fn take_oldest(&mut self, device: &Device, wait: bool) -> Result<Option<Readback>> {
        match (self, device) {
            (Self::Gpu(ring), Device::Gpu(gpu)) => ring.take_oldest(gpu, wait),
            (Self::Host { taken, .. }, Device::Host(..)) => Ok(taken.pop_front()),
            _ => mixed_up(),
        }
    }
}
