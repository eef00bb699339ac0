//! `normfree keys`.

use super::say;
use crate::config::keys;
use crate::fault::Result;

const AFTER_HELP: &str = "\
Prints Markdown, one table for each table of a configuration file. Keys that may
change \"on resume\" can be set with --resume --set. Runs that differ only in keys
that may change \"in a comparison\" count as one configuration.

Examples:
  normfree keys
  normfree keys | grep entropy";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {}

pub(super) fn run() -> Result<()> {
    say(keys().trim_end())
}
