//! `normfree presets`.

use super::{say, table, thousands};
use crate::config::{PRESETS, preset};
use crate::fault::Result;
use crate::model::parameter_count;
use crate::report::run::paper_name;
use serde_json::{Value, json};

const AFTER_HELP: &str = "\
Lists the experiments that are inside the program: what each is called in the
paper's notation, layers x heads, width, context, parameters and tokens. `train`
takes their names in place of a file; a name without a size is the small one.
With NAME, prints that experiment as a TOML file to change.

Examples:
  normfree presets
  normfree presets sm_r > my.toml
  normfree train sm_r --data ~/code";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Print this preset as TOML
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print the list as JSON
    #[arg(long, conflicts_with = "name")]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(name) = &arguments.name {
        return say(preset(name)?.text.trim_end());
    }
    let configs = PRESETS.iter().map(|preset| (preset, preset.config()));
    if arguments.json {
        let all: Value = configs
            .map(|(preset, config)| {
                json!({
                    "name": preset.name,
                    "model": paper_name(&config),
                    "about": preset.about(),
                    "parameters": parameter_count(&config.model),
                    "tokens": config.train.tokens_per_step() * config.train.steps,
                    "config": config,
                })
            })
            .collect();
        return say(all);
    }
    let header = ["preset", "model", "layers x heads", "width", "context", "parameters", "tokens"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(configs.map(|(preset, config)| {
        let model = &config.model;
        vec![
            preset.name.to_owned(),
            paper_name(&config),
            format!("{} x {}", model.n_layer, model.n_head),
            model.n_embd.to_string(),
            config.train.sequence_length.to_string(),
            thousands(parameter_count(model) as u64),
            thousands(config.train.tokens_per_step() * config.train.steps),
        ]
    }));
    say(table(&rows, &[false, false, true, true, true, true, true], 1))
}
