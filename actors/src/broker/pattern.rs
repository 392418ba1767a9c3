//! A template, ready to be filled in and to be recognised in what arrives.

use super::{Identity, segment::Dialect, template::Purpose};

/// A piece of a level.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Device,
    /// What only templates of this purpose hold: the tag, the type of event, …
    Own,
}

/// A template, ready to be filled in.
#[derive(Debug)]
pub(super) struct Pattern {
    dialect: Dialect,
    levels: Vec<Vec<Part>>,
}

impl Pattern {
    /// What is told of anything but values ends with the purpose's own placeholder, if it isn't elsewhere.
    pub(super) fn new(dialect: Dialect, identity: &Identity, purpose: Purpose, text: &str) -> Self {
        let parts = |level| parts(dialect, identity, purpose, level);
        let levels = text.split(dialect.separator()).map(parts).collect();
        let mut this = Self { dialect, levels };
        if purpose != Purpose::Telemetry && !this.has_own() {
            match this.levels.last_mut() {
                Some(last) if last.is_empty() => last.push(Part::Own),
                _ => this.levels.push(vec![Part::Own]),
            }
        }
        this
    }

    /// Whether the purpose's own placeholder is in it.
    pub(super) fn has_own(&self) -> bool {
        self.levels.iter().flatten().any(|part| *part == Part::Own)
    }

    /// With these ids; the empty device is the gateway.
    pub(super) fn fill(&self, device: &str, own: &str) -> String {
        let (device, own) = (self.dialect.escape_device(device), self.dialect.escape(own));
        self.join(|level, text| text.extend(level.iter().map(|part| part.text(&device, &own))))
    }

    /// For all devices: a wildcard takes the place of a whole level.
    pub(super) fn subscription(&self, own: &str) -> String {
        let own = self.dialect.escape(own);
        self.join(|level, text| {
            if level.contains(&Part::Device) {
                text.push_str(self.dialect.any());
            } else {
                text.extend(level.iter().map(|part| part.text("", &own)));
            }
        })
    }

    /// For all devices and everything else: what a stream has to take.
    pub(super) fn every(&self) -> String {
        self.join(|level, text| {
            if level.iter().all(|part| matches!(part, Part::Text(_))) {
                text.extend(level.iter().map(|part| part.text("", "")));
            } else {
                text.push_str(self.dialect.any());
            }
        })
    }

    fn join(&self, mut write: impl FnMut(&[Part], &mut String)) -> String {
        let mut text = String::new();
        for (place, level) in self.levels.iter().enumerate() {
            if place > 0 {
                text.push(self.dialect.separator());
            }
            write(level, &mut text);
        }
        text
    }

    /// Device and own text, still encoded, as a topic holds them; `None` when it is of another pattern.
    pub(super) fn take_apart<'a>(&self, topic: &'a str) -> Option<(Option<&'a str>, Option<&'a str>)> {
        let mut found = (None, None);
        let mut given = topic.split(self.dialect.separator());
        for level in &self.levels {
            let given = given.next()?;
            let Some(place) = level.iter().position(|part| !matches!(part, Part::Text(_))) else {
                (given == text_of(level)).then_some(())?;
                continue;
            };
            let (before, from) = level.split_at(place);
            let (slot, after) = from.split_first()?;
            let value = given.strip_prefix(&*text_of(before))?.strip_suffix(&*text_of(after))?;
            let earlier = if *slot == Part::Device { &mut found.0 } else { &mut found.1 };
            if earlier.replace(value).is_some_and(|earlier| earlier != value) {
                return None;
            }
        }
        given.next().is_none().then_some(found)
    }
}

impl Part {
    fn text<'a>(&'a self, device: &'a str, own: &'a str) -> &'a str {
        match self {
            Self::Text(text) => text,
            Self::Device => device,
            Self::Own => own,
        }
    }
}

/// The fixed text of parts.
fn text_of(parts: &[Part]) -> String {
    parts.iter().map(|part| part.text("", "")).collect()
}

/// Takes a level of a template apart; what is the same for all messages is filled in.
fn parts(dialect: Dialect, identity: &Identity, purpose: Purpose, level: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = level;
    while let Some((before, (name, after))) =
        rest.split_once('{').and_then(|(before, from)| Some((before, from.split_once('}')?)))
    {
        parts.push(Part::Text(before.to_owned()));
        parts.push(match name {
            "device_id" => Part::Device,
            "site_id" => Part::Text(dialect.escape(&identity.site_id)),
            "gateway_id" => Part::Text(dialect.escape(&identity.gateway_id)),
            "hostname" => Part::Text(dialect.escape(&identity.hostname)),
            name if name == purpose.own() => Part::Own,
            name => Part::Text(format!("{{{name}}}")),
        });
        rest = after;
    }
    parts.push(Part::Text(rest.to_owned()));
    parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
    parts
}
