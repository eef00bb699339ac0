//! `normfree probe`: another process of this program starts it before opening a device, so that a driver that crashes
//! or hangs ends only the probe.

use super::{Global, output};
use crate::fault::Result;
use crate::gpu::{GREETING, OpenOptions, time_product, try_device};

const AFTER_HELP: &str = "\
One word is printed for each thing that the driver came back from;
with --product the seconds that a product takes on Mesa's software driver.

Examples:
  normfree probe --device 0 --adapter TITLE
  normfree probe --product";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Name, kind and API of the adapter, as it must be called
    #[arg(long, required_unless_present = "product")]
    adapter: Option<String>,

    /// Time a product on Mesa's software driver instead
    #[arg(long, conflicts_with = "adapter")]
    product: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let options = OpenOptions { prober: None, ..global.open_options() };
    output::say(GREETING)?;
    let Some(adapter) = &arguments.adapter else { return output::say(time_product()?) };
    try_device(&options, adapter, &mut |attempt| output::say(attempt.word()))
}
