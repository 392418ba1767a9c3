//! Reads the sources, lays them over each other, and says everything that is wrong.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use super::{
    Config, Problem, decode, devices,
    environment::{self, Layer},
    key::KeyPath,
    layers,
    source::{self, Kind, Node, Passing},
};

/// Where a configuration comes from. Holds what may be secret, so it has no `Debug`.
#[derive(Clone, Default)]
pub struct LoadOptions {
    /// The file, YAML or (by its extension) TOML; absent: defaults, environment and flags alone.
    pub file: Option<PathBuf>,
    /// The file's text; absent: it is read. `file` then only names it.
    pub text: Option<String>,
    /// Environment variables; see [`super::process_environment`].
    pub env: Vec<(String, String)>,
    /// Keys and values that win over all others, such as `("gateway.port", "8081")`.
    pub flags: Vec<(String, String)>,
    /// Whether to open no file that the configuration names, nor to ask what this version can.
    pub syntax_only: bool,
}

impl LoadOptions {
    /// A file, under the process's environment.
    pub fn file(file: impl Into<PathBuf>) -> Self {
        Self { file: Some(file.into()), env: environment::process_environment(), ..Self::default() }
    }

    /// A text, under no environment; `name` says whether it is TOML, and stands for the file in problems.
    pub fn text(name: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { file: Some(name.into()), text: Some(text.into()), ..Self::default() }
    }

    /// As [`LoadOptions::syntax_only`].
    #[must_use]
    pub fn syntax_only(mut self) -> Self {
        self.syntax_only = true;
        self
    }
}

impl Config {
    /// Reads and checks a configuration: either it can be run as it is, or every problem is told, in the
    /// order of the file.
    pub fn load(options: &LoadOptions) -> Result<Self, Vec<Problem>> {
        // Line numbers need the whole file in memory, several times its size: only when there is something
        // to tell.
        Self::read(options, devices::Early::begin()).or_else(|_| Self::read(options, devices::Early::none()))
    }

    fn read(options: &LoadOptions, mut early: devices::Early) -> Result<Self, Vec<Problem>> {
        let sources = Sources::read(options, &mut early)?;
        let mut problems = sources.problems.clone();
        let mut config = sources.sections(&mut problems);
        problems.extend(config.problems());
        let place = devices::Place {
            file: options.file.as_deref(),
            tree: &sources.file,
            syntax_only: options.syntax_only,
        };
        config.devices = devices::read(&place, early, &mut problems);
        if !options.syntax_only {
            problems.extend(config.unavailable());
            problems.extend(data_dir_problem(&config.gateway.data_dir));
        }
        if problems.is_empty() { Ok(config) } else { Err(sources.located(problems)) }
    }
}

/// What was given, before it is understood.
struct Sources<'a> {
    name: Option<&'a Path>,
    file: Node,
    environment: Layer,
    flags: Layer,
    problems: Vec<Problem>,
}

impl<'a> Sources<'a> {
    fn read(options: &'a LoadOptions, early: &mut devices::Early) -> Result<Self, Vec<Problem>> {
        let name = options.file.as_deref();
        let file = match (&options.text, name) {
            (Some(text), name) => parse(name.unwrap_or(Path::new("gateway.yaml")), text, early)?,
            (None, Some(name)) => parse(name, &read(name)?, early)?,
            (None, None) => Node::new(0, Kind::Map(Vec::new())),
        };
        let mut problems = Vec::new();
        let environment = environment::from_environment(&options.env, &file, &mut problems);
        let flags = environment::from_flags(&options.flags, &mut problems);
        Ok(Self { name, file, environment, flags, problems })
    }

    /// Every section but `devices`, each read by itself, so that one can't hide another's problems.
    fn sections(&self, problems: &mut Vec<Problem>) -> Config {
        let merged = layers::merge(&self.file, &self.environment.tree, &self.flags.tree);
        let tree = match merged {
            Ok(tree) => tree,
            Err(error) => {
                problems.push(Problem::of("", error.to_string()));
                return Config::default();
            }
        };
        problems.extend(unknown_sections(&tree));
        Config {
            gateway: section(&tree, "gateway", problems),
            devices: Vec::new(),
            supervision: section(&tree, "supervision", problems),
            limits: section(&tree, "limits", problems),
            api: section(&tree, "api", problems),
            discovery: section(&tree, "discovery", problems),
            logging: section(&tree, "logging", problems),
            security: section(&tree, "security", problems),
            messaging: section(&tree, "messaging", problems),
            industrial_security: section(&tree, "industrial_security", problems),
        }
    }

    /// The problems with their places, in the order of the file.
    fn located(&self, problems: Vec<Problem>) -> Vec<Problem> {
        let mut problems: Vec<_> = problems.into_iter().map(|problem| self.locate(problem)).collect();
        problems.sort_by_key(|problem| (problem.file.is_none(), problem.file.clone(), problem.line));
        problems.dedup();
        problems
    }

    fn locate(&self, mut problem: Problem) -> Problem {
        if problem.file.is_some() {
            return problem;
        }
        let path = KeyPath::parse(&problem.key);
        let given = self.flags.given.iter().chain(self.environment.given.iter().rev());
        // Of a section that isn't in the file at all, whoever gave a key of it is meant.
        let is_absent = self.file.line_of(&path).is_none();
        let is_given = |given: &KeyPath| {
            path.0.starts_with(&given.0) || (is_absent && !path.0.is_empty() && given.0.starts_with(&path.0))
        };
        match given.into_iter().find(|(given, _)| is_given(given)) {
            Some((_, source)) => problem.reason = format!("{} (given by {source})", problem.reason),
            None if environment::is_variable(&problem.key) => {}
            None => {
                problem.file = self.name.map(Path::to_path_buf);
                problem.line = self.file.line_of(&path);
            }
        }
        problem
    }
}

fn section<T: DeserializeOwned + Default>(tree: &Node, name: &str, problems: &mut Vec<Problem>) -> T {
    let Some(entry) = tree.get(name) else { return T::default() };
    decode::decode(&entry.value, &KeyPath::default().key(name), problems).unwrap_or_default()
}

fn unknown_sections(tree: &Node) -> Vec<Problem> {
    let known = decode::known_keys::<Config>();
    let unknown = tree.entries().iter().filter(|entry| !known.contains(&entry.key.as_str()));
    let problem = |entry: &source::Entry| {
        let what = decode::What::UnknownKey(entry.key.clone(), known);
        Problem::of(&entry.key, what.reason(false))
    };
    unknown.map(problem).collect()
}

/// The text of a file, or the one problem that it can't be had.
pub(super) fn read(name: &Path) -> Result<String, Vec<Problem>> {
    let refused = |reason: String| {
        vec![Problem { file: Some(name.to_path_buf()), line: None, key: String::new(), reason }]
    };
    let bytes = fs::read(name).map_err(|error| refused(format!("can't be read: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let line = bytes_before(&error).split(|byte| *byte == b'\n').count();
        let reason = "isn't UTF-8; save it as UTF-8".to_owned();
        vec![Problem { file: Some(name.to_path_buf()), line: Some(line), key: String::new(), reason }]
    })
}

fn bytes_before(error: &std::string::FromUtf8Error) -> &[u8] {
    error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default()
}

fn parse(name: &Path, text: &str, early: &mut devices::Early) -> Result<Node, Vec<Problem>> {
    let problem = |error: source::SyntaxError| Problem {
        file: Some(name.to_path_buf()),
        line: error.line,
        key: String::new(),
        reason: error.reason,
    };
    let mut take = |n, node: &mut Node| early.take(n, node);
    let tree = source::parse(name, text, Passing { list: "devices", take: &mut take });
    let tree = tree.map_err(|errors| errors.into_iter().map(problem).collect::<Vec<_>>())?;
    match tree.kind {
        Kind::Map(_) => Ok(tree),
        Kind::Null => Ok(Node::new(1, Kind::Map(Vec::new()))),
        _ => {
            let reason = "holds no sections; it begins with a key such as gateway:".to_owned();
            Err(vec![problem(source::SyntaxError { line: Some(tree.line), reason })])
        }
    }
}

/// A folder that is one, or can become one. Whether it may be written is asked when it is used, by the user
/// that runs the gateway.
fn data_dir_problem(folder: &Path) -> Option<Problem> {
    let exists = folder.ancestors().find(|path| path.as_os_str().is_empty() || path.exists());
    let blocking = exists.filter(|path| !path.as_os_str().is_empty() && !path.is_dir())?;
    let reason = format!("needs a folder, but {} is a file; name another place", blocking.display());
    Some(Problem::of("gateway.data_dir", reason))
}
