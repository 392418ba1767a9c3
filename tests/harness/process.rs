//! One process that a test started: its output as it comes, its end, and no life beyond the test.

use std::{
    io::{BufRead as _, BufReader, Read, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use super::{until, until_true};

/// Lines that were written so far.
type Lines = Arc<Mutex<Vec<String>>>;

pub(crate) struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines,
    stderr: Lines,
}

impl Process {
    /// Starts a program whose standard input stays open until this is dropped.
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|error| {
            panic!("{name}: {error}: run `make test`, which installs what the tests need")
        });
        let stdout = gather(child.stdout.take().unwrap());
        let stderr = gather(child.stderr.take().unwrap());
        Self { name, stdin: child.stdin.take(), child, stdout, stderr }
    }

    /// The binary under test, in an environment of its own.
    pub(crate) fn bifrost(args: &[&str]) -> Self {
        Self::bifrost_in(&[], args)
    }

    /// The same in this environment, and no other.
    pub(crate) fn bifrost_in(environment: &[(&str, &str)], args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bifrost"));
        Self::start(command.args(args).env_clear().envs(environment.iter().copied()))
    }

    /// A program that `make test` provides.
    pub(crate) fn test_tool(path: &Path, args: &[&str]) -> Self {
        assert!(path.exists(), "{} is missing: run `make test`, which provides it", path.display());
        Self::start(Command::new(path).args(args))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.lock().unwrap().clone()
    }

    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr.lock().unwrap().clone()
    }

    /// Types a line into the process.
    pub(crate) fn type_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).expect("the process reads");
    }

    /// The first line of standard output that passes, when it comes.
    #[track_caller]
    pub(crate) fn line(&mut self, what: &str, passes: impl Fn(&str) -> bool) -> String {
        self.await_line(what, |process| &process.stdout, passes)
    }

    /// The first line of standard error that passes, when it comes.
    #[track_caller]
    pub(crate) fn error_line(&mut self, what: &str, passes: impl Fn(&str) -> bool) -> String {
        self.await_line(what, |process| &process.stderr, passes)
    }

    #[track_caller]
    fn await_line(
        &mut self,
        what: &str,
        lines: impl Fn(&Self) -> &Lines,
        passes: impl Fn(&str) -> bool,
    ) -> String {
        let mut ended = false;
        until(&format!("{what} from {}", self.name), || {
            let found = lines(self).lock().unwrap().iter().find(|line| passes(line)).cloned();
            assert!(found.is_some() || !ended, "{} ended without {what}: {:?}", self.name, self.stderr());
            // One look more after the end: its last words may still be on their way.
            ended = found.is_none() && self.ended().is_some() && self.is_heard();
            found
        })
    }

    /// Whether all that it wrote was gathered.
    fn is_heard(&self) -> bool {
        Arc::strong_count(&self.stdout) == 1 && Arc::strong_count(&self.stderr) == 1
    }

    /// Sends a signal to this process alone.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.id().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "SIG{name} to {}", self.name);
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("its state is known")
    }

    /// Waits for its end and for all of its output.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        let status = until(&what, || self.ended());
        until_true("its last output", || self.is_heard());
        status
    }

    /// SIGKILL, which nothing can catch, and its end.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            let lines = self.stderr();
            let last = lines.get(lines.len().saturating_sub(25)..).unwrap_or_default();
            eprintln!("--- {} said last:\n{}", self.name, last.join("\n"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gather(from: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let into = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock().unwrap().push(line);
        }
    });
    lines
}
