//! The plan of intermediates that `train --dry-run --memory` prints, and its picture.

use super::{bytes, operations, table, thousands};
use crate::config::{Config, Recompute};
use crate::draw::picture::Picture;
use crate::ops::Traits;
use crate::plan::{Home, Life, Liveness, Pool, Purpose};
use crate::report::liveness::{Alive, Layer, liveness};
use crate::tape::{Phase, Tape};
use crate::train::engine::Blueprint;
use crate::train::memory::Needs;
use std::collections::BTreeMap;

/// How many of the largest tensors are listed.
const LARGEST: usize = 12;

/// The contents of a run's pool.
pub(super) struct Planned<'a> {
    tape: &'a Tape,
    pool: Pool,
    /// Liveness in the training pass.
    alive: Liveness,
    /// Lifetimes in all three passes.
    lives: Vec<Life>,
}

impl<'a> Planned<'a> {
    pub fn new(blueprint: &'a Blueprint, device: &Traits) -> Self {
        let tapes = blueprint.tapes();
        let (pool, plans) = Pool::plan(tapes, device);
        let [alive, update, evaluation] = [0, 1, 2].map(|i| {
            let (plan, recipes) = &plans[i];
            Liveness::new(tapes[i], &pool, plan, recipes)
        });
        let lives = [&alive, &update, &evaluation].into_iter().flat_map(|all| all.lives.clone()).collect();
        Self { tape: tapes[0], pool, alive, lives }
    }

    /// A node's number, its place in the model and its op.
    fn place(&self, node: usize) -> String {
        let recorded = &self.tape.nodes()[node];
        format!("{node} {} {}", recorded.scope, recorded.op.name())
    }

    /// The plan as text: buffers, largest tensors, the peak.
    pub fn text(&self) -> String {
        [self.buffers(), self.largest(), self.at_the_peak()].join("\n")
    }

    fn buffers(&self) -> String {
        // Maps (is an image, bytes) to the number of buffers and of tensors that live in them.
        let mut sizes: BTreeMap<(bool, u64), (usize, usize)> = BTreeMap::new();
        let images = self.pool.image_sizes();
        let all =
            self.pool.buffers.iter().map(|&bytes| (false, bytes)).chain(images.map(|bytes| (true, bytes)));
        for size in all {
            sizes.entry(size).or_default().0 += 1;
        }
        let images: Vec<u64> = self.pool.image_sizes().collect();
        for life in &self.lives {
            let size = match life.home {
                Home::Buffer(buffer) => (false, self.pool.buffers[buffer]),
                Home::Image(image) => (true, images[image]),
            };
            sizes.entry(size).or_default().1 += 1;
        }
        let row = |(&(image, each), &(count, tensors)): (&(bool, u64), &(usize, usize))| {
            vec![
                format!("  {}", if image { "image" } else { "buffer" }),
                thousands(count as u64),
                bytes(each),
                bytes(each * count as u64),
                thousands(tensors as u64),
            ]
        };
        let mut rows = vec![headings(&["  pool", "count", "each", "in all", "tensors in them over time"])];
        rows.extend(sizes.iter().rev().map(row));
        let count = self.pool.buffers.len() + self.pool.images.len();
        rows.push(vec![
            "  all".to_owned(),
            thousands(count as u64),
            String::new(),
            bytes(self.pool.bytes()),
            thousands(self.lives.len() as u64),
        ]);
        let title = "intermediates of training, update and evaluation";
        format!("{title}\n{}", table(&rows, &[false, true, true, true, true], 1))
    }

    fn largest(&self) -> String {
        let mut lives: Vec<&Life> = self.alive.lives.iter().collect();
        lives.sort_by_key(|life| std::cmp::Reverse((life.bytes, life.death - life.birth)));
        let mut rows = vec![headings(&["  tensor", "bytes", "kind", "from node", "to node"])];
        for life in lives.into_iter().take(LARGEST) {
            rows.push(vec![
                format!("  {}", life.name),
                bytes(life.bytes),
                life.purpose.label().to_owned(),
                self.place(life.birth),
                self.place(life.death),
            ]);
        }
        let title = "largest tensors of a training pass";
        format!("{title}\n{}", table(&rows, &[false, true, false, false, false], 1))
    }

    fn at_the_peak(&self) -> String {
        let (node, most) = self.alive.peak();
        let phase = match self.tape.nodes()[node].phase {
            Phase::Forward => "forward",
            Phase::Backward => "backward",
        };
        let share = 100.0 * most as f64 / self.pool.bytes().max(1) as f64;
        let mut rows = vec![headings(&["  kind", "bytes", "tensors", "the largest"])];
        for purpose in Purpose::ALL {
            let there = |life: &&Life| life.purpose == purpose && (life.birth..=life.death).contains(&node);
            let lives: Vec<&Life> = self.alive.lives.iter().filter(there).collect();
            if let Some(largest) = lives.iter().max_by_key(|life| life.bytes) {
                rows.push(vec![
                    format!("  {}", purpose.label()),
                    bytes(lives.iter().map(|life| life.bytes).sum()),
                    thousands(lives.len() as u64),
                    format!("{}, {}", largest.name, bytes(largest.bytes)),
                ]);
            }
        }
        format!(
            "peak of a training pass: {} ({share:.0}% of the pool) at node {} of {}, {phase}\n{}",
            bytes(most),
            self.place(node),
            self.tape.nodes().len(),
            table(&rows, &[false, true, true, false], 1)
        )
    }

    /// Memory over nodes.
    pub fn picture(&self, title: &str) -> Picture {
        let nodes = self.tape.nodes();
        let (node, _) = self.alive.peak();
        let peak = format!("{} {}", nodes[node].scope, nodes[node].op.name());
        let mut places: Vec<(usize, String)> = Vec::new();
        for (i, node) in nodes.iter().enumerate() {
            let name = short(&node.scope);
            if places.last().is_none_or(|(_, last)| last != name) {
                places.push((i, name.to_owned()));
            }
        }
        let backward = nodes.iter().position(|node| node.phase == Phase::Backward).unwrap_or(nodes.len());
        let layer = |purpose: Purpose| Layer { name: purpose.label(), bytes: self.alive.of(purpose) };
        liveness(&Alive {
            title,
            layers: Purpose::ALL.map(layer).to_vec(),
            pool: self.pool.bytes(),
            peak: (node, &peak),
            places,
            backward,
        })
    }
}

/// A short name for the picture: the block's number, or the scope's own name.
fn short(scope: &str) -> &str {
    let mut parts = scope.split('.');
    match (parts.next(), parts.next()) {
        (Some("h"), Some(number)) => number,
        (first, _) => first.unwrap_or_default(),
    }
}

fn headings(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// What each kind of recomputation would take, planned in place of the configured one.
pub(super) fn choices(config: &Config, device: &Traits, data: u64) -> String {
    let mut rows =
        vec![headings(&["  recompute", "intermediates", "device memory", "process", "work a step", ""])];
    let mut base = None;
    for recompute in [Recompute::None, Recompute::Ffn, Recompute::Block] {
        let mut config = config.clone();
        config.train.recompute = recompute;
        let blueprint = Blueprint::new(&config, device);
        let needs = Needs::new(&config, &blueprint, device, data);
        let work = blueprint.flops() as f64;
        let more = 100.0 * (work / *base.get_or_insert(work) - 1.0);
        rows.push(vec![
            format!("  {recompute}"),
            bytes(needs.device.intermediates),
            bytes(needs.device.total()),
            bytes(needs.process),
            operations(work),
            if recompute == Recompute::None { String::new() } else { format!("+{more:.1}%") },
        ]);
    }
    format!("with train.recompute\n{}", table(&rows, &[false, true, true, true, true, true], 1))
}
