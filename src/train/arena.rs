//! The flat arenas of a run, all in the same order: parameters, gradients, optimizer states, and in mixed precision the f16
//! copies of the parameters that have one. Parameters with a copy come first, then the others that decay, so an update
//! needs two boundaries instead of a flag for each tensor.

use super::checkpoint::{NamedTensor, Spec, TensorSource};
use super::finite::first_broken;
use crate::device::{Device, Store};
use crate::fault::{Fault, Kind, Result};
use crate::model::Parameter;
use crate::optimizer::{Place, State};
use crate::plan::padded_bytes;
use crate::tape::{DType, HALF};
use std::borrow::Cow;

/// Where each parameter lies in the arenas.
#[derive(Clone, Debug)]
pub struct Arenas {
    /// In the order of the weight file.
    parameters: Vec<Parameter>,
    /// What the optimizer keeps for each parameter.
    states: &'static [State],
}

impl Arenas {
    pub const PARAMETERS: &str = "parameters";
    pub const GRADIENTS: &str = "gradients";
    pub const COPIES: &str = "f16 copies";

    pub fn new(parameters: Vec<Parameter>, states: &'static [State]) -> Self {
        Self { parameters, states }
    }

    /// The optimizer's states, one arena each.
    pub fn states(&self) -> &'static [State] {
        self.states
    }

    /// The parameters, in the order of the weight file.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Elements of one arena, padding included.
    pub fn elements(&self) -> usize {
        self.parameters.iter().map(padded).sum()
    }

    /// How many elements from the start have an f16 copy.
    pub fn copied(&self) -> usize {
        self.parameters.iter().filter(|p| p.copied).map(padded).sum()
    }

    /// The parameters in arena order, each with its place.
    pub fn places(&self) -> Vec<Place<'_>> {
        let mut order: Vec<&Parameter> = self.parameters.iter().collect();
        order.sort_by_key(|parameter| (!parameter.copied, !parameter.decays));
        assert!(order.iter().all(|p| p.decays || !p.copied), "what has a copy decays");
        let mut first = 0;
        order
            .into_iter()
            .map(|parameter| {
                let place = Place { parameter, first, padded: padded(parameter) };
                first += place.padded;
                place
            })
            .collect()
    }

    /// The stretches (offset and elements) that the parameters of block `layer` fill.
    pub fn layer(&self, layer: usize) -> Vec<(usize, usize)> {
        let mut stretches: Vec<(usize, usize)> = Vec::new();
        let own = |place: &Place<'_>| place.parameter.declared.block == Some(layer);
        for Place { first, padded, .. } in self.places().into_iter().filter(own) {
            match stretches.last_mut() {
                Some((start, elements)) if *start + *elements == first => *elements += padded,
                _ => stretches.push((first, padded)),
            }
        }
        stretches
    }

    /// Reserves the arenas. A parameter's memory has its own name, its gradient's `grad NAME`, a state's `PREFIX NAME`.
    ///
    /// # Errors
    /// Those of [`Store::allocate_arena`].
    pub fn allocate(&self, device: &Device, store: &mut Store) -> Result<()> {
        let own = [(Self::PARAMETERS, String::new()), (Self::GRADIENTS, "grad ".to_owned())];
        let states = self.states.iter().map(|state| (state.arena, format!("{} ", state.prefix)));
        for (arena, prefix) in own.into_iter().chain(states) {
            store.allocate_arena(device, arena, &self.parts(&prefix, DType::F32, |_| true))?;
        }
        if self.copied() > 0 {
            store.allocate_arena(device, Self::COPIES, &self.parts(HALF, DType::F16, |p| p.copied))?;
        }
        Ok(())
    }

    /// Names and bytes of an arena's tensors.
    fn parts(&self, prefix: &str, dtype: DType, has: impl Fn(&Parameter) -> bool) -> Vec<(String, u64)> {
        let places = self.places().into_iter().filter(|place| has(place.parameter));
        places.map(|p| (format!("{prefix}{}", p.parameter.name), (p.padded * dtype.bytes()) as u64)).collect()
    }

    /// Reads the tensors of one arena from the device, one at a time: the parameters, or one of the states.
    pub fn source<'a>(&'a self, device: &'a Device, store: &'a Store, of: Option<&State>) -> ArenaSource<'a> {
        let prefix = of.map_or(String::new(), |state| format!("{} ", state.prefix));
        ArenaSource { arenas: self, device, store, prefix, finite: false }
    }

    /// Writes tensors, named as parameters, into one arena.
    pub fn write(&self, device: &Device, store: &Store, prefix: &str, tensors: &[NamedTensor]) {
        for tensor in tensors {
            store.write(device, &format!("{prefix}{}", tensor.name), &tensor.data);
        }
    }

    /// Names and shapes, in the order of the weight file.
    pub fn specs(&self) -> Vec<Spec> {
        self.parameters.iter().map(|p| Spec::new(p.name.clone(), p.shape.clone())).collect()
    }
}

/// Elements of a parameter in an arena, padded so that even its f16 copy fills whole blocks of 256 bytes.
fn padded(parameter: &Parameter) -> usize {
    padded_bytes(parameter.elements(), DType::F16) as usize / DType::F16.bytes()
}

/// One arena as a source of tensors; only one of them is in host memory at a time.
pub struct ArenaSource<'a> {
    arenas: &'a Arenas,
    device: &'a Device,
    store: &'a Store,
    prefix: String,
    finite: bool,
}

impl ArenaSource<'_> {
    /// The same source, which refuses a tensor with a number that is not finite ([`Kind::NonFinite`]).
    pub fn finite(self) -> Self {
        Self { finite: true, ..self }
    }
}

impl TensorSource for ArenaSource<'_> {
    fn specs(&self) -> Vec<Spec> {
        self.arenas.specs()
    }

    fn read(&mut self, index: usize) -> Result<Cow<'_, [f32]>> {
        let parameter = &self.arenas.parameters[index];
        let name = format!("{}{}", self.prefix, parameter.name);
        let values = self.store.read(self.device, &name, parameter.elements())?;
        if self.finite
            && let Some((index, value)) = first_broken(&values)
        {
            let what = "no checkpoint was written: the weights are no longer finite";
            return Err(
                Fault::new(Kind::NonFinite, what).found(format!("{value} at element {index} of `{name}`"))
            );
        }
        Ok(Cow::Owned(values))
    }
}
