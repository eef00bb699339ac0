//! A tape made ready for the CPU: every operand of every node has its place in memory.

use super::Host;
use super::memory::{Buffer, Span, Store, assert_words};
use crate::cores::Line;
use crate::plan::{CommandTime, MemoryPlan, Pool};
use crate::tape::{DType, Io, Op, Shape, Shapes, Tape, TensorId};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

/// A tape that the CPU can replay.
pub struct Plan {
    nodes: Vec<Bound>,
    /// Every buffer that an operand lies in.
    buffers: Vec<Arc<Buffer>>,
    /// The buffers of intermediates, shared with the plans that were built together.
    pool: Arc<Vec<Arc<Buffer>>>,
    pool_bytes: u64,
    /// Intermediate → buffer of the pool.
    homes: HashMap<TensorId, usize>,
}

/// A node with its operands.
struct Bound {
    op: Arc<dyn Op>,
    inputs: Vec<Operand>,
    outputs: Vec<Operand>,
    /// Buffers that the node only reads, and those it writes.
    read: Vec<usize>,
    written: Vec<usize>,
    /// Inputs that are an output: the index of each.
    in_place: Vec<(usize, usize)>,
    observing: bool,
}

/// A tensor's place.
#[derive(Clone, Debug)]
struct Operand {
    buffer: usize,
    words: Range<usize>,
    shape: Shape,
    dtype: DType,
}

impl Plan {
    /// Plans for several tapes on one pool: they never run at the same time, and leave each other no intermediates.
    /// Parameters, gradients, inputs and observations are looked up in `store` by their tensors' names.
    ///
    /// # Panics
    /// If a tape has f16 tensors, or a node reads memory that it also writes.
    pub fn build_all<const N: usize>(host: &Host, tapes: [&Tape; N], store: &Store) -> [Self; N] {
        let (pool, planned) = Pool::plan(tapes, host.traits());
        let bytes = pool.bytes();
        let pool: Arc<Vec<_>> =
            Arc::new(pool.buffers.iter().map(|&bytes| Arc::new(Buffer::new(bytes))).collect());
        let plans = tapes.iter().zip(planned);
        let plans: Vec<Self> =
            plans.map(|(tape, (memory, _))| Self::bind(tape, store, (&pool, bytes), memory)).collect();
        plans.try_into().unwrap_or_else(|_| unreachable!("one plan for each tape"))
    }

    fn bind(
        tape: &Tape,
        store: &Store,
        (pool, pool_bytes): (&Arc<Vec<Arc<Buffer>>>, u64),
        memory: MemoryPlan,
    ) -> Self {
        let mut plan = Self {
            nodes: Vec::new(),
            buffers: Vec::new(),
            pool: pool.clone(),
            pool_bytes,
            homes: memory.homes,
        };
        for node in tape.nodes() {
            let mut place = |&tensor: &TensorId| plan.operand(tape, store, tensor);
            let inputs: Vec<Operand> = node.inputs.iter().map(&mut place).collect();
            let outputs: Vec<Operand> = node.outputs.iter().map(&mut place).collect();
            let written: BTreeSet<usize> = outputs.iter().map(|output| output.buffer).collect();
            let mut in_place = Vec::new();
            for (i, input) in inputs.iter().enumerate().filter(|(_, input)| written.contains(&input.buffer)) {
                let same = |output: &Operand| output.buffer == input.buffer && output.words == input.words;
                let output = outputs.iter().position(same);
                let name = node.op.name();
                in_place
                    .push((i, output.unwrap_or_else(|| panic!("`{name}` reads a buffer that it writes"))));
            }
            let read = inputs.iter().map(|input| input.buffer).filter(|buffer| !written.contains(buffer));
            let (read, written) = (read.collect::<BTreeSet<_>>(), written.into_iter().collect());
            plan.nodes.push(Bound {
                op: node.op.clone(),
                inputs,
                outputs,
                read: read.into_iter().collect(),
                written,
                in_place,
                observing: node.observing,
            });
        }
        plan
    }

    /// Where a tensor lies.
    fn span(&self, tape: &Tape, store: &Store, tensor: TensorId) -> Span {
        let (info, home) = (tape.info(tensor), tape.owner(tensor));
        assert_words(info.dtype);
        let (buffer, start) = match self.homes.get(&home) {
            Some(&home) => (self.pool[home].clone(), 0),
            None => {
                let Span { buffer, words } = store.span(&tape.info(home).name);
                (buffer.clone(), words.start)
            }
        };
        let first = start + info.parent.map_or(0, |(_, elements)| elements);
        Span { buffer, words: first..first + info.shape.elements() }
    }

    fn operand(&mut self, tape: &Tape, store: &Store, tensor: TensorId) -> Operand {
        let (info, Span { buffer, words }) = (tape.info(tensor), self.span(tape, store, tensor));
        let known = self.buffers.iter().position(|known| Arc::ptr_eq(known, &buffer));
        let buffer = known.unwrap_or_else(|| {
            self.buffers.push(buffer);
            self.buffers.len() - 1
        });
        Operand { buffer, words, shape: info.shape.clone(), dtype: info.dtype }
    }

    /// Bytes of the pool, which is shared with the plans it was built with.
    pub fn pool_bytes(&self) -> u64 {
        self.pool_bytes
    }

    /// Runs every node, or every node except observers.
    pub fn replay(&self, host: &Host, observing: bool) {
        host.install(|| {
            for node in self.nodes.iter().filter(|node| observing || !node.observing) {
                node.run(&self.buffers);
            }
        });
    }

    /// Replays once without the observers, and returns the time of every node, in order.
    pub fn profile(&self, host: &Host) -> Vec<CommandTime> {
        self.timed(host, false)
    }

    /// Replays the observers alone, and returns the time of each, in order.
    pub fn profile_observing(&self, host: &Host) -> Vec<CommandTime> {
        self.timed(host, true)
    }

    fn timed(&self, host: &Host, observing: bool) -> Vec<CommandTime> {
        let wanted = self.nodes.iter().enumerate().filter(|(_, bound)| bound.observing == observing);
        host.install(|| {
            let times = wanted.map(|(node, bound)| {
                let start = Instant::now();
                bound.run(&self.buffers);
                let seconds = start.elapsed().as_secs_f64();
                CommandTime { node, entry: Some(bound.op.name()), seconds, copied: 0 }
            });
            times.collect()
        })
    }

    /// Runs one node alone.
    pub fn run_node(&self, host: &Host, node: usize) {
        host.install(|| self.nodes[node].run(&self.buffers));
    }

    /// Fills the pool with a word; see [`crate::plan::Plan::poison`].
    pub fn poison(&self, word: u32) {
        self.pool.iter().for_each(|buffer| buffer.fill(word));
    }

    /// A tensor as it is in memory now. An intermediate may have lost its place to another by the end of a replay; read it
    /// after [`Plan::run_node`] of the node that made it.
    pub fn read(&self, tape: &Tape, store: &Store, tensor: TensorId) -> Vec<f32> {
        let Span { buffer, words } = self.span(tape, store, tensor);
        bytemuck::cast_slice::<_, f32>(&buffer.read())[words].to_vec()
    }
}

impl Bound {
    fn run(&self, buffers: &[Arc<Buffer>]) {
        let read: Vec<(usize, RwLockReadGuard<'_, Vec<Line>>)> =
            self.read.iter().map(|&buffer| (buffer, buffers[buffer].read())).collect();
        let mut written: Vec<(usize, RwLockWriteGuard<'_, Vec<Line>>)> =
            self.written.iter().map(|&buffer| (buffer, buffers[buffer].write())).collect();
        let inputs = self.inputs.iter().map(|operand| {
            let lines = read.iter().find(|(buffer, _)| *buffer == operand.buffer);
            lines.map_or(&[][..], |(_, lines)| &bytemuck::cast_slice::<_, f32>(lines)[operand.words.clone()])
        });
        let inputs = inputs.collect();
        let mut outputs: Vec<Option<&mut [f32]>> = self.outputs.iter().map(|_| None).collect();
        for (buffer, lines) in &mut written {
            let mut own: Vec<usize> =
                (0..self.outputs.len()).filter(|&i| self.outputs[i].buffer == *buffer).collect();
            own.sort_by_key(|&i| self.outputs[i].words.start);
            let (mut rest, mut at) = (bytemuck::cast_slice_mut::<_, f32>(lines), 0);
            for i in own {
                let words = self.outputs[i].words.clone();
                let (_, from) = std::mem::take(&mut rest).split_at_mut(words.start - at);
                let (output, after) = from.split_at_mut(words.len());
                (outputs[i], rest, at) = (Some(output), after, words.end);
            }
        }
        let outputs = outputs.into_iter().map(|output| output.expect("every output was split off")).collect();
        self.op.host(&mut Io::new(self.shapes(), inputs, outputs).in_place(&self.in_place));
    }

    fn shapes(&self) -> Shapes<'_> {
        let shapes = |operands: &'_ [Operand]| -> Vec<DType> { operands.iter().map(|o| o.dtype).collect() };
        Shapes {
            inputs: self.inputs.iter().map(|operand| &operand.shape).collect(),
            outputs: self.outputs.iter().map(|operand| &operand.shape).collect(),
            input_types: shapes(&self.inputs),
            output_types: shapes(&self.outputs),
        }
    }
}
