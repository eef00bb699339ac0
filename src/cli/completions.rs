//! `normfree completions` and `normfree man`: what a shell and `man` read.

use super::output::write_result;
use super::say;
use crate::fault::{Fault, Kind, Result};
use crate::files::write_atomic;
use clap::Command;
use clap_complete::Shell;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Prints the script that lets a shell complete commands and options.

Examples:
  normfree completions bash > /etc/bash_completion.d/normfree
  normfree completions zsh > ~/.zfunc/_normfree
  normfree completions fish > ~/.config/fish/completions/normfree.fish";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script for a shell.
pub(super) fn run(arguments: &Arguments, mut command: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "normfree", &mut script);
    write_result(&String::from_utf8_lossy(&script)).map(|_| ())
}

const AFTER_HELP_OF_MAN: &str = "\
Writes a manual page for the program and one for each command.

Examples:
  normfree man ~/.local/share/man/man1
  man normfree-train";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP_OF_MAN)]
pub(super) struct Man {
    /// Folder for the pages; made if it is missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes the manual pages.
pub(super) fn man(arguments: &Man, command: Command) -> Result<()> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).map_err(|e| Fault::io("make the folder", folder, &e))?;
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    let subs: Vec<Command> = shown
        .map(|sub| {
            let name = format!("normfree-{}", sub.get_name());
            sub.clone().name(name.clone()).bin_name(name.replacen('-', " ", 1)).display_name(name)
        })
        .collect();
    for page in std::iter::once(command).chain(subs) {
        let name = format!("{}.1", page.get_name());
        let mut text = Vec::new();
        clap_mangen::Man::new(page)
            .render(&mut text)
            .map_err(|e| Fault::new(Kind::Io, "cannot make the manual page").at(&name).found(e))?;
        let path = folder.join(name);
        write_atomic(&path, &text)?;
        say(path.display())?;
    }
    Ok(())
}
