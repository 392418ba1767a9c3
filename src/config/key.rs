//! The path of a key, such as `devices[2].tags[3].address`.

use std::fmt;

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// To a key of a section.
    Key(String),
    /// To an element of a list, from 0.
    Index(usize),
}

/// Steps from the top of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyPath(pub(crate) Vec<Step>);

impl KeyPath {
    pub(crate) fn key(&self, key: &str) -> Self {
        self.join(&[Step::Key(key.to_owned())])
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        self.join(&[Step::Index(index)])
    }

    pub(crate) fn join(&self, steps: &[Step]) -> Self {
        Self(self.0.iter().chain(steps).cloned().collect())
    }

    /// Reads what [`fmt::Display`] writes, as it comes from parts that know no paths; a key with a dot in its
    /// name is split, which costs a line number at most.
    pub(crate) fn parse(text: &str) -> Self {
        let mut steps = Vec::new();
        for part in text.split('.').filter(|part| !part.is_empty()) {
            let (name, indices) = part.split_once('[').unwrap_or((part, ""));
            if !name.is_empty() {
                steps.push(Step::Key(name.to_owned()));
            }
            let indices = indices.split('[').filter_map(|index| index.strip_suffix(']'));
            steps.extend(indices.filter_map(|index| index.parse().ok()).map(Step::Index));
        }
        Self(steps)
    }

    /// The name of the key itself: the last step that has one.
    pub(crate) fn name(&self) -> &str {
        let named = self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        named.unwrap_or_default()
    }

    /// Whether its value may be a secret: it isn't shown then. The name of a file isn't one.
    pub(crate) fn is_secret(&self) -> bool {
        is_secret(self.name())
    }
}

/// As [`KeyPath::is_secret`], of a bare name.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let telling = ["password", "token", "secret", "key"].iter().any(|word| name.contains(word));
    telling && !name.ends_with("_file")
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if n == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_back_as_it_is_written() {
        for text in ["", "gateway", "devices[2].tags[3].address", "a.b.c", "a[0][1].b"] {
            assert_eq!(KeyPath::parse(text).to_string(), text);
        }
    }

    #[test]
    fn values_of_passwords_keys_and_tokens_are_secret_and_names_of_files_are_not() {
        for (name, secret) in [
            ("password", true),
            ("API_TOKEN", true),
            ("client_secret", true),
            ("private_key", true),
            ("key_file", false),
            ("bootstrap_password_file", false),
            ("address", false),
        ] {
            assert_eq!(KeyPath::default().key("a").key(name).is_secret(), secret, "{name}");
        }
    }
}
