//! `normfree probe`: what another process of this program starts before it opens a device, so that a driver which crashes
//! or hangs ends this one.

use super::{Global, output};
use crate::fault::Result;
use crate::gpu::{GREETING, OpenOptions, try_device};

const AFTER_HELP: &str = "\
One word is printed for each thing that the driver came back from.

Example:
  normfree probe --device 0 --adapter TITLE";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Name, kind and API of the adapter, as it must be called
    #[arg(long)]
    adapter: String,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let options = OpenOptions { prober: None, ..global.open_options() };
    output::say(GREETING)?;
    try_device(&options, &arguments.adapter, &mut |attempt| output::say(attempt.word()))
}
