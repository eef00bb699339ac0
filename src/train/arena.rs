//! The flat arenas of a run: parameters, gradients and both moments, in one order. What decays comes first,
//! so that the update needs one boundary instead of a flag for each tensor.

use super::checkpoint::{NamedTensor, Spec, TensorSource};
use super::trace::first_broken;
use crate::fault::{Fault, Kind, Result};
use crate::gpu::Gpu;
use crate::model::Parameter;
use crate::plan::{Store, padded_bytes};
use std::borrow::Cow;

/// Where each parameter lies in the arenas.
#[derive(Clone, Debug)]
pub struct Arenas {
    /// In the order of the weight file.
    parameters: Vec<Parameter>,
}

impl Arenas {
    pub const PARAMETERS: &str = "parameters";
    pub const GRADIENTS: &str = "gradients";
    pub const FIRST: &str = "first moments";
    pub const SECOND: &str = "second moments";

    pub fn new(parameters: Vec<Parameter>) -> Self {
        Self { parameters }
    }

    /// The parameters, in the order of the weight file.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Elements of one arena, padding included.
    pub fn elements(&self) -> usize {
        self.parameters.iter().map(padded).sum()
    }

    /// Elements from the start that decay.
    pub fn decayed(&self) -> usize {
        self.parameters.iter().filter(|p| p.decays).map(padded).sum()
    }

    /// The parameters in the order of the arenas, each with its offset in elements.
    pub fn places(&self) -> Vec<(&Parameter, usize)> {
        let decaying = self.parameters.iter().filter(|p| p.decays);
        let order = decaying.chain(self.parameters.iter().filter(|p| !p.decays));
        let mut offset = 0;
        order
            .map(|parameter| {
                let place = (parameter, offset);
                offset += padded(parameter);
                place
            })
            .collect()
    }

    /// Reserves the four arenas. A parameter's memory has its own name, its gradient's `grad NAME`.
    pub fn allocate(&self, gpu: &Gpu, store: &mut Store) -> Result<()> {
        let prefixes =
            [(Self::PARAMETERS, ""), (Self::GRADIENTS, "grad "), (Self::FIRST, "m "), (Self::SECOND, "v ")];
        for (arena, prefix) in prefixes {
            let places = self.places().into_iter();
            let parts: Vec<_> = places.map(|(p, _)| (format!("{prefix}{}", p.name), p.elements())).collect();
            store.allocate_arena(gpu, arena, &parts)?;
        }
        Ok(())
    }

    /// Reads one arena's tensors from the device, one at a time.
    pub fn source<'a>(&'a self, gpu: &'a Gpu, store: &'a Store, prefix: &'static str) -> ArenaSource<'a> {
        ArenaSource { arenas: self, gpu, store, prefix, finite: false }
    }

    /// Writes tensors, named as parameters, into one arena.
    pub fn write(&self, gpu: &Gpu, store: &Store, prefix: &str, tensors: &[NamedTensor]) {
        for tensor in tensors {
            store.write(gpu, &format!("{prefix}{}", tensor.name), &tensor.data);
        }
    }

    /// Names and shapes, in the order of the weight file.
    pub fn specs(&self) -> Vec<Spec> {
        self.parameters.iter().map(|p| Spec::new(p.name.clone(), p.shape.clone())).collect()
    }
}

fn padded(parameter: &Parameter) -> usize {
    padded_bytes(parameter.elements()) as usize / 4
}

/// One arena as a source of tensors; only one of them is in host memory at a time.
pub struct ArenaSource<'a> {
    arenas: &'a Arenas,
    gpu: &'a Gpu,
    store: &'a Store,
    prefix: &'static str,
    finite: bool,
}

impl ArenaSource<'_> {
    /// The same, refusing a tensor with a number that is not finite: [`Kind::NonFinite`].
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
        let values = self.store.read(self.gpu, &name, parameter.elements())?;
        if self.finite
            && let Some((index, value)) = first_broken(&values)
        {
            let what = "no checkpoint was written: the weights are not finite any more";
            return Err(
                Fault::new(Kind::NonFinite, what).found(format!("{value} at element {index} of `{name}`"))
            );
        }
        Ok(Cow::Owned(values))
    }
}
