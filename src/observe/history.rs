//! A log in the form that its readers need: the numbers of each quantity, in step order.

use super::quantities::{ALL, Kind, Presence, Quantity};
use super::record::{Measured, Values};
use std::collections::BTreeSet;

/// The numbers of every quantity, each with its step.
#[derive(Clone, Debug)]
pub struct History(Vec<Column>);

/// The numbers of one quantity: the list of its extent is filled, the others are empty.
#[derive(Clone, Debug, Default)]
struct Column {
    numbers: Vec<(u64, f64)>,
    layers: Vec<(u64, Vec<f32>)>,
    counts: Vec<(u64, Vec<u64>)>,
    heads: Vec<(u64, Vec<Vec<f32>>)>,
}

impl Default for History {
    fn default() -> Self {
        Self(vec![Column::default(); ALL.len()])
    }
}

impl History {
    /// Adds a record of `kind`. It replaces the records of its own and later steps, which a resumed run writes again.
    pub fn push(&mut self, kind: &'static Kind, step: u64, values: &Measured) {
        self.cut(kind, step);
        for row in kind.rows() {
            let column = &mut self.0[row.index()];
            match values.get(row).cloned() {
                None => {}
                Some(Values::Step(number)) => column.numbers.push((step, number)),
                Some(Values::Layers(layers)) => column.layers.push((step, layers)),
                Some(Values::Counts(counts)) => column.counts.push((step, counts)),
                Some(Values::Heads(heads)) => column.heads.push((step, heads)),
            }
        }
    }

    /// Drops the records of `kind` from `step` on.
    pub fn cut(&mut self, kind: &'static Kind, step: u64) {
        fn cut<T>(list: &mut Vec<(u64, T)>, step: u64) {
            while list.last().is_some_and(|last| last.0 >= step) {
                list.pop();
            }
        }
        for row in kind.rows() {
            let column = &mut self.0[row.index()];
            cut(&mut column.numbers, step);
            cut(&mut column.layers, step);
            cut(&mut column.counts, step);
            cut(&mut column.heads, step);
        }
    }

    /// The numbers of a quantity that has one per step, each with its step.
    pub fn numbers(&self, quantity: &'static Quantity) -> &[(u64, f64)] {
        &self.0[quantity.index()].numbers
    }

    /// The same for a quantity that has one per layer.
    pub fn layers(&self, quantity: &'static Quantity) -> &[(u64, Vec<f32>)] {
        &self.0[quantity.index()].layers
    }

    /// The same for a quantity that is a count per layer.
    pub fn counts(&self, quantity: &'static Quantity) -> &[(u64, Vec<u64>)] {
        &self.0[quantity.index()].counts
    }

    /// The same for a quantity that has one per head.
    pub fn heads(&self, quantity: &'static Quantity) -> &[(u64, Vec<Vec<f32>>)] {
        &self.0[quantity.index()].heads
    }

    /// The steps that have a record of `kind`.
    pub fn steps(&self, kind: &'static Kind) -> Vec<u64> {
        // A quantity that is always there has them all; the rows of some kinds are each only in some records.
        let steady = kind.rows().find(|row| row.presence == Presence::Always);
        let rows = kind.rows().filter(|&row| steady.is_none_or(|steady| row == steady));
        let mut steps = BTreeSet::new();
        for row in rows {
            let Column { numbers, layers, counts, heads } = &self.0[row.index()];
            steps.extend(numbers.iter().map(|of| of.0).chain(layers.iter().map(|of| of.0)));
            steps.extend(counts.iter().map(|of| of.0).chain(heads.iter().map(|of| of.0)));
        }
        steps.into_iter().collect()
    }

    /// The numbers of a quantity at one step, each with its layer and head, or 0 if it has none; empty if there is no
    /// record.
    pub fn at(&self, quantity: &'static Quantity, step: u64) -> Vec<(usize, usize, f64)> {
        fn find<T>(list: &[(u64, T)], step: u64) -> Option<&T> {
            list.binary_search_by_key(&step, |of| of.0).ok().map(|at| &list[at].1)
        }
        let column = &self.0[quantity.index()];
        if let Some(&number) = find(&column.numbers, step) {
            return vec![(0, 0, number)];
        }
        if let Some(layers) = find(&column.layers, step) {
            return layers.iter().enumerate().map(|(layer, &number)| (layer, 0, number.into())).collect();
        }
        if let Some(counts) = find(&column.counts, step) {
            return counts.iter().enumerate().map(|(layer, &count)| (layer, 0, count as f64)).collect();
        }
        let of_layer = |(layer, heads): (usize, &Vec<f32>)| {
            let heads = heads.iter().enumerate();
            heads.map(|(head, &number)| (layer, head, f64::from(number))).collect::<Vec<_>>()
        };
        find(&column.heads, step).into_iter().flatten().enumerate().flat_map(of_layer).collect()
    }
}
