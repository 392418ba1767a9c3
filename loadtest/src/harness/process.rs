//! Programs as child processes that never outlive their measurement.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::error::LoadError;

/// A program that runs until this is dropped. It is killed then, by its id: nothing that is measured here
/// keeps anything worth draining.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it says goes into `log`.
    pub(super) fn start(name: &str, command: &mut Command, log: PathBuf) -> Result<Self, LoadError> {
        let io = |file: &Path| LoadError::at(file.display().to_string());
        let out = File::create(&log).map_err(io(&log))?;
        let err = out.try_clone().map_err(io(&log))?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.map_err(LoadError::at(name))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error that names what became of it and quotes its last words.
    pub(super) fn failed(&mut self, what: &str) -> LoadError {
        let what = match self.child.try_wait() {
            Ok(Some(status)) => format!("{what}: it ended with {status}"),
            _ => what.to_owned(),
        };
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        LoadError::Program { program: self.name.clone(), what, said: last_lines(&said) }
    }

    /// Fails when it has ended.
    pub(super) fn check(&mut self) -> Result<(), LoadError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(self.failed("has ended")),
        }
    }

    pub(super) fn has_said(&self, text: &str) -> bool {
        fs::read_to_string(&self.log).is_ok_and(|said| said.contains(text))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program on one core, if there is one to bind it to.
pub(crate) fn pinned(program: &Path, core: Option<usize>) -> Command {
    let Some(core) = core else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.arg("-c").arg(core.to_string()).arg(program);
    command
}

/// Runs a program to its end and takes what it printed.
pub(crate) fn finish(command: &mut Command) -> Result<String, LoadError> {
    let name = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(LoadError::at(&name))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = last_lines(&String::from_utf8_lossy(&output.stderr));
    Err(LoadError::Program { program: name, what: format!("ended with {}", output.status), said })
}

fn last_lines(said: &str) -> String {
    let lines: Vec<_> = said.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}
