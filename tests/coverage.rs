//! Every kernel that a run may use is compared with the reference in some case.

use crate::subjects::{configs, devices};
use normfree::ops::{CASES, Dispatch, Operand, Traits};
use normfree::tape::shapes;
use normfree::tape::{DType, Node, Tape};
use normfree::train::engine::Blueprint;
use std::collections::{BTreeMap, BTreeSet};

/// What distinguishes a kernel from others of its op, sizes aside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Form {
    op: &'static str,
    entry: &'static str,
    /// The element types of the node's inputs and outputs.
    types: String,
    /// The names of the bindings, and the kind of operand bound to each.
    operands: Vec<String>,
    /// The constants that are switches.
    switches: Vec<String>,
    /// The distinct lines of the text, without numbers: unrolled registers and tiles of different sizes count as equal, but
    /// text that a flag adds does not.
    lines: BTreeSet<String>,
}

impl Form {
    fn of(node: &Node, (inputs, outputs): (&[DType], &[DType]), dispatch: Dispatch) -> Self {
        let Dispatch { kernel, bindings, .. } = dispatch;
        let operand = |(name, operand): (&str, Operand)| {
            let operand = format!("{operand:?}");
            let kind = operand.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
            format!("{name}: {kind}")
        };
        let is_switch = |name: &str| kernel.text.contains(&format!("override {name}: bool"));
        let switches = kernel.constants.iter().filter(|(name, _)| is_switch(name));
        Self {
            op: node.op.name(),
            entry: kernel.entry,
            types: format!("{inputs:?} -> {outputs:?}"),
            operands: bindings.into_iter().map(operand).collect(),
            switches: switches.map(|(name, value)| format!("{name} = {value}")).collect(),
            lines: kernel.text.lines().map(without_numbers).collect(),
        }
    }

    /// How the text differs from that of the nearest of `covered` with the same bindings.
    fn nearest(&self, covered: &BTreeSet<Self>) -> String {
        let alike = covered.iter().filter(|other| {
            (self.op, self.entry, &self.types, &self.operands, &self.switches)
                == (other.op, other.entry, &other.types, &other.operands, &other.switches)
        });
        let differences = |other: &Self| -> Vec<String> {
            let here = self.lines.difference(&other.lines).map(|line| format!("    + {line}\n"));
            here.chain(other.lines.difference(&self.lines).map(|line| format!("    - {line}\n"))).collect()
        };
        let nearest = alike.map(differences).min_by_key(Vec::len);
        nearest.map_or_else(|| "    no case is bound so\n".to_owned(), |lines| lines.concat())
    }

    /// Adds all kernels of a tape on a device.
    fn all(tape: &Tape, device: &Traits) -> Vec<Self> {
        let of = |node: &Node| {
            let shapes = shapes(tape, node);
            let recipe = node.op.recipe(&shapes, device);
            let types = (&*shapes.input_types, &*shapes.output_types);
            recipe.dispatches.into_iter().map(|dispatch| Self::of(node, types, dispatch)).collect::<Vec<_>>()
        };
        tape.nodes().iter().flat_map(of).collect()
    }
}

/// A line with `#` for each number in it.
fn without_numbers(line: &str) -> String {
    let mut plain = String::new();
    for c in line.trim().chars() {
        match c {
            '0'..='9' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            c => plain.push(c),
        }
    }
    plain
}

#[test]
fn every_kernel_has_a_case() {
    let cases: Vec<_> = CASES.iter().flat_map(|(_, cases)| cases(1)).collect();
    let mut missing: BTreeMap<Form, BTreeSet<String>> = BTreeMap::new();
    let mut nearest: BTreeMap<Form, String> = BTreeMap::new();
    let mut forms = 0;
    for (name, device) in devices() {
        let covered: BTreeSet<Form> = cases.iter().flat_map(|case| Form::all(&case.tape, &device)).collect();
        let mut used: BTreeMap<Form, BTreeSet<String>> = BTreeMap::new();
        for config in configs() {
            let who = format!(
                "{name}: heads {} wide, {}, {}",
                config.model.head_dim(),
                config.model.norm,
                config.train.precision
            );
            for tape in Blueprint::new(&config, &device).tapes() {
                for form in Form::all(tape, &device) {
                    used.entry(form).or_default().insert(who.clone());
                }
            }
        }
        forms += used.len();
        for (form, who) in used.into_iter().filter(|(form, _)| !covered.contains(form)) {
            nearest.entry(form.clone()).or_insert_with(|| form.nearest(&covered));
            missing.entry(form).or_default().extend(who);
        }
    }
    println!("{forms} forms of kernels over all devices");
    let tell = |(form, who): (&Form, &BTreeSet<String>)| {
        let Form { op, entry, types, operands, switches, .. } = form;
        let first: Vec<&String> = who.iter().take(3).collect();
        let nearest = &nearest[form];
        format!("{entry} of {op}, {types}, {operands:?} {switches:?}: {first:?} of {}\n{nearest}", who.len())
    };
    let list: String = missing.iter().map(tell).collect();
    assert!(missing.is_empty(), "no case of src/ops covers {} kernels:\n{list}", missing.len());
}
