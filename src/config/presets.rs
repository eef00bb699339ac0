//! The experiments of `configs/` that are inside the program.

use super::Config;
use crate::fault::{Fault, Kind, Result};

/// An experiment by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its size and its own name, as in `small/sm_r`.
    pub name: &'static str,
    /// The TOML file.
    pub text: &'static str,
}

macro_rules! of {
    ($name:literal) => {
        Preset { name: $name, text: include_str!(concat!("../../configs/", $name, ".toml")) }
    };
}

/// All of them. Of equal names, the first is meant where no size is given.
pub const PRESETS: &[Preset] = &[
    of!("small/sm_g"),
    of!("small/sm_leaky"),
    of!("small/sm_learnable_block"),
    of!("small/sm_learnable_layer"),
    of!("small/sm_learnable_shared"),
    of!("small/sm_ln_g"),
    of!("small/sm_ln_r"),
    of!("small/sm_r"),
    of!("demo/sm_g"),
    of!("demo/sm_ln_g"),
    of!("demo/sm_ln_r"),
    of!("demo/sm_r"),
    of!("paper/pythia70m_sm_g"),
    of!("paper/pythia70m_sm_ln_g"),
    of!("paper/pythia70m_sm_ln_r"),
    of!("paper/pythia70m_sm_r"),
    of!("paper/sm_g"),
    of!("paper/sm_leaky"),
    of!("paper/sm_learnable_block"),
    of!("paper/sm_learnable_layer"),
    of!("paper/sm_learnable_shared"),
    of!("paper/sm_ln_g"),
    of!("paper/sm_ln_r"),
    of!("paper/sm_r"),
    of!("ereg/ereg_sm_g"),
    of!("ereg/ereg_sm_r"),
    of!("ereg/ereg_sm_t_scfuffn"),
    of!("ereg/sm_t_scfuffn"),
    of!("mechanisms/adaptive_clipping"),
    of!("mechanisms/bhyt"),
    of!("mechanisms/bounded"),
    of!("mechanisms/crms_norm"),
    of!("mechanisms/derf"),
    of!("mechanisms/dyisru"),
    of!("mechanisms/dyt"),
    of!("mechanisms/fixup"),
    of!("mechanisms/gate"),
    of!("mechanisms/hard_tanh"),
    of!("mechanisms/layer_scale"),
    of!("mechanisms/llama"),
    of!("mechanisms/ln_scale"),
    of!("mechanisms/muon"),
    of!("mechanisms/ngpt"),
    of!("mechanisms/normuon"),
    of!("mechanisms/poly_norm"),
    of!("mechanisms/power_norm"),
    of!("mechanisms/project_weights"),
    of!("mechanisms/qk_norm"),
    of!("mechanisms/relu2"),
    of!("mechanisms/rezero"),
    of!("mechanisms/rms_norm"),
    of!("mechanisms/scaled"),
    of!("mechanisms/seed_norm"),
    of!("mechanisms/sigma_reparam"),
    of!("mechanisms/sink"),
    of!("mechanisms/skip_init"),
    of!("mechanisms/softcap"),
    of!("mechanisms/swiglu"),
    of!("mechanisms/taper_norm"),
    of!("mechanisms/unified_norm"),
];

impl Preset {
    /// Its name without the size.
    pub fn stem(&self) -> &'static str {
        self.name.rsplit('/').next().unwrap_or(self.name)
    }

    /// What it is: the sentence at the top of its file.
    pub fn about(&self) -> &'static str {
        self.text.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default()
    }

    /// The whole configuration, with the data that its file names.
    ///
    /// # Panics
    /// Never, of a preset of the program: the tests read them all.
    pub fn config(&self) -> Config {
        Config::parse(self.text, self.name, &[]).unwrap_or_else(|fault| panic!("{}: {fault}", self.name))
    }
}

/// The preset of that name, with its size or without.
///
/// # Errors
/// [`Kind::Usage`] with the nearest name if there is none.
pub fn preset(name: &str) -> Result<&'static Preset> {
    let whole = PRESETS.iter().find(|preset| preset.name == name);
    whole.or_else(|| PRESETS.iter().find(|preset| preset.stem() == name)).ok_or_else(|| {
        let names = PRESETS.iter().map(|preset| if name.contains('/') { preset.name } else { preset.stem() });
        let near = super::nearest(name, names);
        let near = near.map(|near| format!("did you mean {near}? ")).unwrap_or_default();
        Fault::new(Kind::Usage, "there is no configuration file and no preset of this name")
            .found(name)
            .remedy(format!("{near}`normfree presets` lists the presets"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_size_is_the_small_one() {
        assert_eq!(preset("sm_r").unwrap().name, "small/sm_r");
        assert_eq!(preset("paper/sm_r").unwrap().name, "paper/sm_r");
        assert_eq!(preset("pythia70m_sm_g").unwrap().name, "paper/pythia70m_sm_g");
        let fault = preset("sm_rr").unwrap_err();
        assert!(fault.kind == Kind::Usage && fault.to_string().contains("did you mean sm_r?"), "{fault}");
    }

    #[test]
    fn every_preset_says_what_it_is() {
        for preset in PRESETS {
            let about = preset.about();
            assert!(about.ends_with('.') && about.len() > 8, "{}: {about}", preset.name);
            assert!(preset.config().train.steps > 100);
        }
    }
}
