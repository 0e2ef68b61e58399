//! Passwords and cookies: from files, descriptors and terminals, never from the command line, which all can see.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use vixdisklib::Secret;
use zeroize::Zeroizing;

use super::Result;

/// Longer lines are no passwords.
const LONGEST: usize = 4096;

/// Asks for a password at the terminal; `option` wanted that.
pub(crate) fn ask(option: &str) -> Result<Secret> {
    let line = prompt("Password: ").map_err(|error| {
        format!("{option}: {error}; without a terminal, use --password-file or --password-fd")
    })?;
    Ok(Secret::new(line)?)
}

/// What the first of these options gives that is there: a file or a descriptor.
pub(crate) fn read(
    file: (&str, Option<&Path>),
    descriptor: (&str, Option<u32>),
) -> Result<Option<Secret>> {
    let (option, path) = match (file, descriptor) {
        ((option, Some(path)), _) => (option, path.to_owned()),
        (_, (option, Some(number))) => (option, format!("/dev/fd/{number}").into()),
        _ => return Ok(None),
    };
    let line = File::open(&path)
        .map_err(Into::into)
        .and_then(|file| first_line(file, None));
    let line = line.map_err(|error| format!("{option} {}: {error}", path.display()))?;
    Ok(Some(Secret::new(line)?))
}

/// Asks at the terminal, which shows nothing of the answer. Ctrl-C ends the question, and the terminal is as it was.
fn prompt(question: &str) -> Result<String> {
    let terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let silence = Silence::of(&terminal)?;
    (&terminal).write_all(question.as_bytes())?;
    let line = first_line(&terminal, silence.interrupt());
    (&terminal).write_all(b"\n")?;
    line
}

/// The first line, without its end; spaces belong to it. The byte `interrupt` is no part of any.
fn first_line(source: impl Read, interrupt: Option<u8>) -> Result<String> {
    // Large enough never to be moved, so that it is wiped as a whole.
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST + 2));
    // Nobody waits for more than the line.
    for byte in BufReader::with_capacity(1, source).bytes() {
        match byte? {
            b'\n' => break,
            byte if Some(byte) == interrupt => return Err("interrupted".into()),
            byte => line.push(byte),
        }
        if line.len() > LONGEST + 1 {
            break;
        }
    }
    let line = line.strip_suffix(b"\r").unwrap_or(&line);
    if line.len() > LONGEST {
        return Err(format!("the first line is longer than {LONGEST} bytes").into());
    }
    if line.is_empty() {
        return Err("the first line is empty".into());
    }
    let text = std::str::from_utf8(line).map_err(|_| "the first line is no UTF-8")?;
    Ok(text.to_owned())
}

/// A terminal that shows nothing of what is typed, until this is dropped. Meanwhile its keys are no signals, which could
/// end the process and leave the terminal silent: the one for interrupts ends the line instead.
struct Silence<'terminal> {
    terminal: &'terminal File,
    before: Termios,
}

impl<'terminal> Silence<'terminal> {
    fn of(terminal: &'terminal File) -> Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VEOL] =
            before.special_codes[SpecialCodeIndex::VINTR];
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }

    /// What the key for interrupts sends, if there is one.
    fn interrupt(&self) -> Option<u8> {
        let code = self.before.special_codes[SpecialCodeIndex::VINTR];
        (code != 0).then_some(code)
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(self.terminal, OptionalActions::Now, &self.before) {
            tracing::warn!(%error, "the terminal stays silent; stty echo helps");
        }
    }
}
