//! The spectra of the feed-forward networks' units over held-out text.

use super::{Attached, Engine};
use crate::data::{Batch, Batches};
use crate::device::Commands;
use crate::fault::Result;
use crate::model::names;
use crate::observe::quantities::{
    POST_ENRICHMENT, POST_ENTROPY, POST_PARTICIPATION, PRE_ENRICHMENT, PRE_ENTROPY, PRE_PARTICIPATION,
    SPECTRAL_DIVERGENCE,
};
use crate::observe::record::{Measured, Values};
use crate::observe::spectrum::{Moments, Shape, divergence};
use rayon::prelude::*;

/// Tokens per unit that a covariance is estimated from, where there are as many: with 8, sampling shifts the participation ratio
/// of white noise by an eighth.
const TOKENS_PER_UNIT: usize = 8;

/// Matrices in the host's memory at a time, of which each thread solves one.
const AT_ONCE: usize = 8;

impl Engine {
    /// Measures the spectra over the first tokens of `batches`, in whole batches, at least eight tokens for each unit if there are
    /// as many. `Some(None)` if the run does not measure them, or the text is shorter than a batch; `None` if `go_on` returns
    /// false.
    ///
    /// # Errors
    /// Those of [`Device::check`](crate::device::Device::check).
    pub fn spectra(
        &self,
        batches: &mut Batches,
        batch: &mut Batch,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Option<Measured>>> {
        let Some(Attached { plan, own: sums }) = &self.spectrum else { return Ok(Some(None)) };
        let (layers, width) = (self.blueprint.config.model.n_layer, self.blueprint.config.model.units());
        let mut commands = Commands::new(&self.device);
        sums.iter().for_each(|info| commands.clear(&self.store, &info.name));
        commands.send();
        batches.seek(0);
        let mut tokens = 0;
        while tokens < TOKENS_PER_UNIT * width {
            // Rows past the end of the text would count as tokens.
            if batches.fill_to_end(batch) < batch.size() {
                break;
            }
            if !go_on() {
                return Ok(None);
            }
            self.write_batch(batch, 0, 0, 1.0);
            plan.run(&self.device)?;
            tokens += batch.tokens.len();
        }
        if tokens == 0 {
            return Ok(Some(None));
        }
        let read = |name: String| {
            let info = sums.iter().find(|info| info.name == name).expect("every layer has moments");
            self.read(&name, info.shape.elements())
        };
        let all: Vec<(usize, &str)> =
            (0..layers).flat_map(|layer| ["before", "after"].map(|side| (layer, side))).collect();
        let mut spectra: Vec<Vec<f64>> = Vec::new();
        for few in all.chunks(AT_ONCE) {
            let moments = few.iter().map(|&(layer, side)| {
                Ok((read(names::sums(side, layer))?, read(names::moments(side, layer))?))
            });
            let moments: Vec<(Vec<f32>, Vec<f32>)> = moments.collect::<Result<_>>()?;
            let found = moments
                .par_iter()
                .map(|(sums, products)| Moments { tokens, sums, products, width }.spectrum());
            spectra.extend(found.collect::<Vec<_>>());
        }
        let (spectra, _) = spectra.as_chunks::<2>();
        let shapes: Vec<[Shape; 2]> =
            spectra.iter().map(|[before, after]| [Shape::of(before), Shape::of(after)]).collect();
        let all = |of: &dyn Fn([Shape; 2]) -> f64| {
            Values::Layers(shapes.iter().map(|&shapes| of(shapes) as f32).collect())
        };
        Ok(Some(Some(Measured::from([
            (&PRE_ENTROPY, all(&|[before, _]| before.entropy)),
            (&POST_ENTROPY, all(&|[_, after]| after.entropy)),
            (&PRE_PARTICIPATION, all(&|[before, _]| before.participation)),
            (&POST_PARTICIPATION, all(&|[_, after]| after.participation)),
            (&PRE_ENRICHMENT, all(&|[before, _]| before.enrichment)),
            (&POST_ENRICHMENT, all(&|[_, after]| after.enrichment)),
            (
                &SPECTRAL_DIVERGENCE,
                Values::Layers(
                    spectra.iter().map(|[before, after]| divergence(before, after) as f32).collect(),
                ),
            ),
        ]))))
    }
}
