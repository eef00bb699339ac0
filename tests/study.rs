//! Studies: the grid of a file, and the program that trains it.

mod files;
mod grid;
mod jobs;
mod kill;
mod runs;
#[cfg(unix)]
mod slurm;

use crate::cli::Place;

/// A tiny study: seconds on any device.
pub const STUDY: &str = "\
[study]
name = \"tiny\"
baseline = \"ln_g\"
seeds = [1, 2]

[model]
n_layer = 1
n_head = 2
n_embd = 16
n_positions = 16
vocab_size = 300
norm = \"none\"
activation_function = \"relu\"

[data]
path = \"data\"

[train]
steps = 12
batch_size = 2
learning_rate = 1e-3
checkpoint_every = 5
eval_every = 6
eval_chunks = 4

[[configuration]]
name = \"ln_g\"
seeds = [3]
model.norm = \"layer_norm\"
model.activation_function = \"gelu\"

[[configuration]]
name = \"r\"

[[configuration]]
name = \"free\"
label = \"learned, free\"
model.activation_function = \"learnable_lrelu\"
train.decay_slopes = false
";

/// The runs of [`STUDY`], in order.
pub const FOLDERS: [&str; 5] = ["ln_g-seed3", "r-seed1", "r-seed2", "free-seed1", "free-seed2"];

/// A folder with data and the study `tiny.toml` (which replaces the configuration with that name).
pub fn place() -> Place {
    let place = Place::with_data();
    std::fs::write(place.path("tiny.toml"), STUDY).unwrap();
    place
}
