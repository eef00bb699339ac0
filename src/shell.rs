//! Command lines that a person can paste: this process's own, and those offered in messages.

use crate::visible;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// This program, as it was called.
pub fn program() -> String {
    std::env::args_os()
        .next()
        .filter(|name| !name.is_empty())
        .map_or("normfree".to_owned(), |name| quoted(&name))
}

/// The command line of this process.
pub fn same_command() -> String {
    let arguments = std::env::args_os().skip(1).map(|argument| quoted(&argument));
    std::iter::once(program()).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// The command that resumes the run at `path`, or begins it again if it has no checkpoint yet.
pub fn resume(path: &Path) -> String {
    format!("{} train --resume {}", program(), operand(path))
}

/// A path as an argument that no program mistakes for an option.
pub fn operand(path: &Path) -> String {
    let text = path.as_os_str();
    if text.as_encoded_bytes().starts_with(b"-") {
        let mut within = OsString::from("./");
        within.push(text);
        return quoted(&within);
    }
    quoted(text)
}

/// An argument quoted for a shell: unchanged if every character is harmless, else in quotation marks.
pub fn quoted(argument: &OsStr) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    match argument.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        Some(text) if cfg!(windows) => format!("\"{}\"", text.replace('"', "\\\"")),
        Some(text) if !text.chars().any(visible::acts) => format!("'{}'", text.replace('\'', "'\\''")),
        _ => escaped(argument.as_encoded_bytes()),
    }
}

/// Control characters and non-UTF-8 bytes, in what POSIX calls dollar-single-quotes.
fn escaped(bytes: &[u8]) -> String {
    let letter = |&byte: &u8| match byte {
        b'\'' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    };
    format!("$'{}'", bytes.iter().map(letter).collect::<String>())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::process::Command;

    /// A shell restores any quoted argument.
    #[test]
    fn a_shell_reads_it_back() {
        // Every byte that an argument may contain, and human names.
        let every: Vec<u8> = (1..=255).collect();
        for argument in [
            "plain/a-b_c.toml",
            "",
            "two words",
            "it's",
            "$HOME `x` \"y\" \\",
            "größe → 1",
            "a\nb\t\x1b[1m",
            "a\u{202e}b",
        ]
        .map(|text| text.as_bytes().to_vec())
        .into_iter()
        .chain([every])
        {
            let typed = quoted(OsStr::from_bytes(&argument));
            // bash had dollar-single-quotes before POSIX.
            let output = Command::new("bash").args(["-c", &format!("printf %s {typed}")]).output().unwrap();
            assert_eq!(output.stdout, argument, "{typed}");
            assert!(!typed.chars().any(visible::acts), "{typed}");
        }
        assert_eq!(quoted(OsStr::new("runs/sm_r")), "runs/sm_r");
        assert_eq!(operand(Path::new("-x y")), "'./-x y'");
        assert_eq!(quoted(&OsString::from_vec(vec![b'a', 0xff])), "$'a\\377'");
    }
}
