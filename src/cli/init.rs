//! `normfree init`.

use super::output::write_result;
use super::{Global, say};
use crate::config::{init, preset};
use crate::fault::{Fault, Kind, Result};
use crate::files::write_atomic;
use crate::shell;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Writes a configuration with every key behind a comment on what it does. Only
data.path is set; every other key has a default, which the file shows. `-` is
standard output.

Examples:
  normfree init
  normfree init experiment.toml --data data/code
  normfree train experiment.toml";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// File to write, or `-` to print it; an existing file is left as it is
    #[arg(value_name = "FILE.toml", default_value = "normfree.toml")]
    file: PathBuf,
    /// The value of data.path: a folder made by `normfree prepare`
    #[arg(long, value_name = "DIR", default_value = "data/small")]
    data: String,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let file = &arguments.file;
    if file.as_os_str() == "-" {
        return write_result(&init(&arguments.data)).map(|_| ());
    }
    if file.extension().is_none_or(|ending| ending != "toml") {
        let name = file.display();
        let preset = preset(&name.to_string()).ok().map(|preset| preset.name);
        let fault = Fault::new(Kind::Usage, "a configuration is a file that ends in .toml").at(&name).found(
            match preset {
                Some(_) => "the name of a preset",
                None => "another name",
            },
        );
        return Err(match preset {
            // A file of that name would hide the preset from `train`.
            Some(preset) => fault.remedy(format!(
                "`normfree presets {preset} > {name}.toml` writes that experiment to a file"
            )),
            None => fault.remedy(format!("name it {name}.toml")),
        });
    }
    if file.exists() {
        return Err(Fault::new(Kind::Usage, "there is a file of this name already")
            .at(file.display())
            .remedy("give another name"));
    }
    write_atomic(file, init(&arguments.data).as_bytes())?;
    say(file.display())?;
    global.note(format!(
        "train it with `normfree train {}`; `--data TEXT` prepares text on the way",
        shell::quoted(file.as_os_str())
    ));
    Ok(())
}
