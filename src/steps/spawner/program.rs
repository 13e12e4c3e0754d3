//! From what was asked for to a command that can be started; and what is wrong where it cannot.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;

use super::protocol::{Report, Spec};

/// Where programs are looked for when the environment has no `PATH` (the default of `execvp(3)`).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The command that was asked for.
///
/// # Errors
/// What is wrong with it, in words.
pub fn command(spec: &Spec, stdout: OwnedFd, stderr: OwnedFd) -> Result<Command, Report> {
    let directory = spec.directory.as_path();
    check_texts(spec)?;
    check_directory(directory)?;
    let (name, arguments) = spec.argv.split_first().ok_or_else(|| refused("the command is empty: name a program"))?;
    let mut command = Command::new(find(name, spec)?);
    command.arg0(name).args(arguments).current_dir(directory).process_group(0);
    command.env_clear().envs(spec.env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    Ok(command)
}

/// What became of a start that failed, in words.
pub fn refusal(error: &io::Error, spec: &Spec) -> Report {
    let name = spec.argv.first().map_or("", String::as_str);
    let text = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => format!(
            "`{name}` cannot be run: the interpreter in its first line (`#!`), or its loader, does not exist on this \
             machine"
        ),
        Some(Errno::EACCES) => format!("`{name}` may not be run: make it executable, and its file system not `noexec`"),
        Some(Errno::ENOEXEC) => {
            format!("`{name}` is no program for this machine; a script needs a first line such as `#!/bin/sh`")
        }
        Some(Errno::E2BIG) => {
            format!("the arguments and the environment of `{name}` are too long for this system: pass them in a file")
        }
        Some(Errno::ETXTBSY) => format!("`{name}` is open for writing just now: wait until it is written"),
        errno => {
            let resources = errno.is_some_and(is_resources);
            return Report::Refused { resources, text: format!("`{name}` cannot be started: {error}") };
        }
    };
    refused(text)
}

/// Whether this error says that the machine, or a limit of it, has no room now.
pub fn is_resources(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ETOOMANYREFS
    )
}

fn refused(text: impl Into<String>) -> Report {
    Report::Refused { resources: false, text: text.into() }
}

/// NUL ends a text for the kernel, and `=` a variable's name: neither can be passed on.
fn check_texts(spec: &Spec) -> Result<(), Report> {
    if let Some(argument) = spec.argv.iter().find(|argument| argument.contains('\0')) {
        return Err(refused(format!("an argument cannot hold a NUL character: {argument:?}")));
    }
    let bad = |(name, value): &&(String, String)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0');
    match spec.env.iter().find(bad) {
        Some((name, _)) => Err(refused(format!(
            "the environment variable {name:?} cannot be passed on: its name must not be empty or hold `=`, and \
             neither name nor value may hold a NUL character"
        ))),
        None => Ok(()),
    }
}

fn check_directory(directory: &Path) -> Result<(), Report> {
    let shown = directory.display();
    match fs::metadata(directory) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(refused(format!("the working directory `{shown}` is not a directory"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(refused(format!("the working directory `{shown}` does not exist: create it, or name another")))
        }
        Err(error) => Err(refused(format!("the working directory `{shown}` cannot be used: {error}"))),
    }
}

/// The file of a program, as `execvp(3)` finds it: a name with `/` is a path that starts at the working directory, any
/// other is looked for in the `PATH` of the command's own environment.
fn find(name: &str, spec: &Spec) -> Result<PathBuf, Report> {
    let directory = spec.directory.as_path();
    if name.contains('/') {
        return check_file(name, directory.join(name));
    }
    if name.is_empty() {
        return Err(refused("the name of the program is empty"));
    }
    let path = spec.env.iter().rev().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
    let mut not_executable = None;
    for place in path.split(':') {
        let file = directory.join(place).join(name);
        match fs::metadata(&file) {
            Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => return Ok(file),
            Ok(found) if found.is_file() => not_executable = not_executable.or(Some(file)),
            Ok(_) | Err(_) => {}
        }
    }
    Err(refused(match not_executable {
        Some(file) => format!("`{}` may not be run: make it executable (`chmod +x`)", file.display()),
        None => format!("there is no program `{name}` in PATH ({path}): install it, or give its path"),
    }))
}

fn check_file(name: &str, file: PathBuf) -> Result<PathBuf, Report> {
    match fs::metadata(&file) {
        Ok(found) if found.is_dir() => Err(refused(format!("`{name}` is a directory, not a program"))),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            Err(refused(format!("`{name}` may not be run: make it executable (`chmod +x`)")))
        }
        Ok(_) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(refused(format!("there is no program `{}`: check the path", file.display())))
        }
        Err(error) => Err(refused(format!("`{}` cannot be used: {error}", file.display()))),
    }
}
