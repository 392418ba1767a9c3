//! `logging`: what is logged, and how.

use serde::{Deserialize, Serialize};

use super::{Flaw, flaw};

/// The section `logging`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoggingSettings {
    /// How a line looks.
    pub format: LogFormat,
    /// What is logged: a level, perhaps with others for parts of it, as in `info,bifrost_actors=debug`.
    pub level: String,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for LoggingSettings {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: "info".to_owned() }
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl LoggingSettings {
    /// What can't work.
    pub(crate) fn flaws(&self) -> Vec<Flaw> {
        let wrong = self.level.split(',').map(str::trim).find(|part| !is_directive(part));
        let problem = |part| {
            format!(
                "{part:?} is no level; write error, warn, info, debug, trace or off, or info,bifrost_actors=debug"
            )
        };
        wrong.map(|part| flaw("level", problem(part))).into_iter().collect()
    }
}

/// `level` or `part::of::it=level`.
fn is_directive(text: &str) -> bool {
    let (target, level) = text.split_once('=').unwrap_or(("all", text));
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    !target.is_empty()
        && target.chars().all(is_name)
        && LEVELS.iter().any(|name| name.eq_ignore_ascii_case(level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_may_be_set_for_parts() {
        for (level, works) in [
            ("info", true),
            ("WARN", true),
            ("info,bifrost_actors::plc=debug, actix_web=off", true),
            ("", false),
            ("loud", false),
            ("info,", false),
            ("bifrost=loud", false),
        ] {
            let settings = LoggingSettings { level: level.to_owned(), ..Default::default() };
            assert_eq!(settings.flaws().is_empty(), works, "{level}");
        }
    }
}
