//! A learned attention temperature for each head and position (arXiv 2501.03489).

use super::guided::guiding;
use crate::model::names;
use crate::model::rows::Rows;
use crate::model::site::Site;
use crate::tape::{DType, Filed, Tape, TensorId};

/// The temperature `[n_head, n_positions]`, or nothing.
pub(super) struct Temperature(Option<TensorId>);

impl Temperature {
    /// Declares the temperature if one is learned.
    pub fn declare(site: &mut Site<'_>) -> Self {
        let config = site.config;
        let name = format!("{}.temperature", site.name("attention"));
        Self(config.learnable_temperature.then(|| {
            let temperature = guiding(config.temperature_init).filed(Filed::PlainNow);
            site.declare(&name, &[config.n_head, config.n_positions], temperature)
        }))
    }

    /// The packed rows as attention reads them. Without a temperature this records nothing.
    pub fn apply(&self, tape: &mut Tape, qkv: TensorId, rows: &Rows<'_>) -> TensorId {
        let Some(temperature) = self.0 else { return qkv };
        match rows {
            Rows::Sequences(pass) => tape.temperature(qkv, temperature, pass.sequence),
            Rows::Cached(cached) => {
                let (heads, _) = tape.shape(temperature).as_matrix();
                let count = tape.shape(cached.positions).elements();
                let known = tape.find(names::TEMPERATURES);
                let places =
                    known.unwrap_or_else(|| tape.input(names::TEMPERATURES, &[heads, count], DType::U32));
                let own = tape.gather_elements(places, temperature);
                tape.temperature(qkv, own, count)
            }
        }
    }
}
