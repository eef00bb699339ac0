//! `normfree completions` and `normfree man`: what a shell and `man` read.

use super::output::write_result;
use super::say;
use crate::fault::{Fault, Kind, Result};
use crate::files::write_atomic;
use clap::Command;
use clap_complete::Shell;
use std::io::{self, Write};
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
pub(super) fn run(arguments: &Arguments, command: &Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut shown(command), "normfree", &mut script);
    write_result(&String::from_utf8_lossy(&script)).map(|_| ())
}

/// The command without its hidden ones, which a script would offer.
fn shown(command: &Command) -> Command {
    let subs = command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned();
    let root = Command::new("normfree").args(command.get_arguments().cloned()).subcommands(subs);
    let about = command.get_about().cloned().unwrap_or_default();
    root.about(about).version(env!("CARGO_PKG_VERSION")).propagate_version(true)
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
    // What is built gives every command the options of all.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let subs: Vec<Command> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned().collect();
    for page in std::iter::once(command).chain(subs) {
        let name = format!("{}.1", page.get_display_name().unwrap_or(page.get_name()));
        let text = manual(page)
            .map_err(|e| Fault::new(Kind::Io, "cannot make the manual page").at(&name).found(e))?;
        let path = folder.join(name);
        write_atomic(&path, &text)?;
        say(path.display())?;
    }
    Ok(())
}

/// The headings of the parts that a command's help ends with, and those of a manual page.
const PARTS: [(&str, &str); 2] = [("Examples:", "EXAMPLES"), ("Exit codes:", "EXIT STATUS")];

/// The text of one page.
fn manual(page: Command) -> io::Result<Vec<u8>> {
    let after = page.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (has_subs, man) = (page.has_subcommands(), clap_mangen::Man::new(page));
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    let mut parts = vec![("DESCRIPTION", Vec::new())];
    for line in after.lines() {
        match PARTS.iter().find(|(heading, _)| *heading == line) {
            Some((_, heading)) => parts.push((*heading, Vec::new())),
            None => parts.last_mut().expect("there is a first").1.push(line),
        }
    }
    let mut parts = parts.into_iter();
    let (_, first) = parts.next().expect("there is a first");
    if !first.is_empty() {
        writeln!(text, ".PP\n{}", as_it_is(&first))?;
    }
    man.render_options_section(&mut text)?;
    if has_subs {
        man.render_subcommands_section(&mut text)?;
    }
    for (heading, lines) in parts {
        writeln!(text, ".SH {heading}\n{}", as_it_is(&lines))?;
    }
    man.render_version_section(&mut text)?;
    Ok(text)
}

/// Lines that keep their ends and their spaces.
fn as_it_is(lines: &[&str]) -> String {
    // To `man` these are hyphens, quotation marks and accents, which no shell reads.
    let meant = [("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("~", "\\(ti"), ("^", "\\(ha")];
    let line = |line: &&str| {
        let line = meant.iter().fold(line.to_string(), |line, (letter, escape)| line.replace(letter, escape));
        // A point at the beginning of a line makes it a request.
        if line.starts_with('.') { format!("\\&{line}") } else { line }
    };
    format!(".nf\n{}\n.fi", lines.iter().map(line).collect::<Vec<_>>().join("\n").trim_end())
}
