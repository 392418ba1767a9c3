//! Where what is published, and what arrives where: the topics of one MQTT broker, the subjects of one NATS
//! cluster.
//!
//! Templates are checked by [`template`](super::template); ids are encoded as levels by
//! [`segment`](super::segment).

use std::borrow::Cow;

use super::{CommandRoutes, Identity, pattern::Pattern, segment::Dialect, template::Purpose};

/// Templates as configured.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a> {
    /// Values.
    pub telemetry: &'a str,
    /// Where commands come from.
    pub commands: &'a str,
    /// Alarms.
    pub alarms: &'a str,
    /// Events.
    pub events: &'a str,
    /// Figures.
    pub diagnostics: &'a str,
}

/// Where what is published, and what arrives where.
///
/// The gateway itself is the device with the empty id; its level is `gateway`, and that of a device with
/// this very id `%67ateway`.
#[derive(Debug)]
pub struct Routes {
    dialect: Dialect,
    telemetry: Pattern,
    commands: Pattern,
    alarms: Pattern,
    events: Pattern,
    diagnostics: Pattern,
}

/// What can be asked for.
const VERBS: [&str; 2] = ["write", "read"];

impl Routes {
    /// From templates that were found to be without a flaw.
    pub fn new(dialect: Dialect, identity: &Identity, texts: &Texts<'_>) -> Self {
        let pattern = |purpose, text| Pattern::new(dialect, identity, purpose, text);
        Self {
            dialect,
            telemetry: pattern(Purpose::Telemetry, texts.telemetry),
            commands: pattern(Purpose::Commands, texts.commands),
            alarms: pattern(Purpose::Alarms, texts.alarms),
            events: pattern(Purpose::Events, texts.events),
            diagnostics: pattern(Purpose::Diagnostics, texts.diagnostics),
        }
    }

    /// Whether each tag has a message of its own.
    pub fn is_per_tag(&self) -> bool {
        self.telemetry.has_own()
    }

    /// Of values; the tag is left aside unless [`Self::is_per_tag`].
    pub fn telemetry(&self, device: &str, tag: &str) -> String {
        self.telemetry.fill(device, tag)
    }

    /// Of events.
    pub fn event(&self, device: &str, event_type: &str) -> String {
        self.events.fill(device, event_type)
    }

    /// Of alarms; the level is the severity.
    pub fn alarm(&self, device: &str, level: &str) -> String {
        self.alarms.fill(device, level)
    }

    /// Of figures.
    pub fn diagnostics(&self, device: &str, metric: &str) -> String {
        self.diagnostics.fill(device, metric)
    }

    /// What to subscribe to: `write` and `read`, of all devices.
    pub fn subscriptions(&self) -> Vec<String> {
        VERBS.iter().map(|verb| self.commands.subscription(verb)).collect()
    }

    /// What everything but commands and figures is published on, with wildcards.
    pub fn lasting(&self) -> Vec<String> {
        [&self.telemetry, &self.alarms, &self.events].map(Pattern::every).into()
    }

    /// The device and what is asked of it; `None` when the topic is none of commands. No device when the
    /// topic names none, or in a way in which it is never written; the empty one is the gateway.
    pub fn command(&self, topic: &str) -> Option<(Option<String>, String)> {
        let (device, verb) = self.commands.take_apart(topic)?;
        let device = device.and_then(|device| self.dialect.unescape_device(device));
        Some((device.map(Cow::into_owned), self.dialect.unescape(verb?)?.into_owned()))
    }
}

impl CommandRoutes for Routes {
    fn subscriptions(&self) -> Vec<String> {
        self.subscriptions()
    }

    fn command(&self, topic: &str) -> Option<(Option<String>, String)> {
        self.command(topic)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity() -> Identity {
        Identity { gateway_id: "gw-1".into(), site_id: "plant a/1".into(), hostname: "pc.local".into() }
    }

    const MQTT: Texts<'_> = Texts {
        telemetry: "bifrost/telemetry/{site_id}/{device_id}",
        commands: "bifrost/commands/{site_id}/{device_id}",
        alarms: "bifrost/alarms/{site_id}/{device_id}",
        events: "bifrost/events/{site_id}/{device_id}",
        diagnostics: "bifrost/diagnostics/{site_id}/{device_id}",
    };

    const NATS: Texts<'_> = Texts {
        telemetry: "bifrost.telemetry.{site_id}.{device_id}.{tag_name}",
        commands: "bifrost.commands.{site_id}.{device_id}",
        alarms: "bifrost.alarms.{site_id}.{device_id}",
        events: "bifrost.events.{site_id}.{device_id}",
        diagnostics: "bifrost.diagnostics.{site_id}.{device_id}",
    };

    fn mqtt() -> Routes {
        Routes::new(Dialect::Mqtt, &identity(), &MQTT)
    }

    fn nats() -> Routes {
        Routes::new(Dialect::Nats, &identity(), &NATS)
    }

    #[test]
    fn what_lasts_is_covered_by_wildcards() {
        let telemetry = "bifrost.telemetry.plant%20a/1.*.*";
        let expected = [telemetry, "bifrost.alarms.plant%20a/1.*.*", "bifrost.events.plant%20a/1.*.*"];
        assert_eq!(nats().lasting(), expected);
    }

    #[test]
    fn what_the_default_templates_leave_out_stands_last() {
        let routes = mqtt();
        assert!(!routes.is_per_tag());
        assert_eq!(routes.telemetry("press-1", "t"), "bifrost/telemetry/plant a%2F1/press-1");
        assert_eq!(
            routes.event("press-1", "command_result"),
            "bifrost/events/plant a%2F1/press-1/command_result"
        );
        assert_eq!(routes.alarm("a/b", "critical"), "bifrost/alarms/plant a%2F1/a%2Fb/critical");
        assert_eq!(routes.diagnostics("", "scans"), "bifrost/diagnostics/plant a%2F1/gateway/scans");
        assert_eq!(routes.event("gateway", "x"), "bifrost/events/plant a%2F1/%67ateway/x");
        let wildcards = ["bifrost/commands/plant a%2F1/+/write", "bifrost/commands/plant a%2F1/+/read"];
        assert_eq!(routes.subscriptions(), wildcards);
    }

    #[test]
    fn subjects_follow_the_rules_of_nats() {
        let routes = nats();
        assert!(routes.is_per_tag());
        assert_eq!(routes.telemetry("x.y", "Länge 1"), "bifrost.telemetry.plant%20a/1.x%2Ey.L%C3%A4nge%201");
        let wildcards = ["bifrost.commands.plant%20a/1.*.write", "bifrost.commands.plant%20a/1.*.read"];
        assert_eq!(routes.subscriptions(), wildcards);
        let given = routes.command("bifrost.commands.plant%20a/1.x%2Ey.read");
        assert_eq!(given, Some((Some("x.y".to_owned()), "read".to_owned())));
    }

    #[test]
    fn every_placeholder_is_filled_in_wherever_it_stands() {
        let texts = Texts {
            telemetry: "{hostname}/{gateway_id}/d-{device_id}-x/{tag_name}",
            commands: "do/{command_type}/{site_id}/dev-{device_id}!/{gateway_id}",
            alarms: "{alarm_level}/{device_id}",
            events: "events/",
            diagnostics: "plain",
        };
        let routes = Routes::new(Dialect::Mqtt, &identity(), &texts);
        assert_eq!(routes.telemetry("a", "b"), "pc.local/gw-1/d-a-x/b");
        assert_eq!(routes.alarm("a", "info"), "info/a");
        assert_eq!(routes.event("a", "t"), "events/t");
        assert_eq!(routes.diagnostics("a", "m"), "plain/m");
        assert_eq!(routes.subscriptions()[0], "do/write/plant a%2F1/+/gw-1");
        let given = routes.command("do/write/plant a%2F1/dev-a%2Fb!/gw-1");
        assert_eq!(given, Some((Some("a/b".to_owned()), "write".to_owned())));
        assert_eq!(routes.command("do/write/plant a%2F1/a/gw-1"), None);
    }

    #[test]
    fn a_topic_of_something_else_is_no_command() {
        let routes = mqtt();
        for topic in [
            "",
            "bifrost/commands/plant a%2F1/press-1",
            "bifrost/commands/plant a%2F1/press-1/write/more",
            "bifrost/commands/plant-b/press-1/write",
            "bifrost/events/plant a%2F1/press-1/write",
            "bifrost/commands/plant a%2F1/press-1/%zz",
        ] {
            assert_eq!(routes.command(topic), None, "{topic}");
        }
    }

    #[test]
    fn a_device_that_can_not_be_decoded_is_none_and_the_verb_is_known_all_the_same() {
        let given = |device: &str| mqtt().command(&format!("bifrost/commands/plant a%2F1/{device}/stop"));
        assert_eq!(given("%7"), Some((None, "stop".to_owned())));
        assert_eq!(given("%70ress-1"), Some((None, "stop".to_owned())));
        assert_eq!(given(""), Some((None, "stop".to_owned())));
        assert_eq!(given("gateway"), Some((Some(String::new()), "stop".to_owned())));
    }

    #[test]
    fn a_topic_without_a_device_names_none() {
        let texts = Texts { commands: "commands", ..MQTT };
        let routes = Routes::new(Dialect::Mqtt, &identity(), &texts);
        assert_eq!(routes.subscriptions(), ["commands/write", "commands/read"]);
        assert_eq!(routes.command("commands/read"), Some((None, "read".to_owned())));
    }

    #[test]
    fn the_longest_ids_give_topics_that_mqtt_can_carry() {
        let id = "\u{FFFF}".repeat(128 / 3);
        assert!(mqtt().event(&id, &id).len() < 1_000);
    }

    proptest! {
        #[test]
        fn no_two_devices_or_tags_share_a_topic(a in "[ab/.%+ä]{1,4}", b in "[ab/.%+ä]{1,4}", c in "[ab/.]{1,3}", d in "[ab/.]{1,3}") {
            let texts = Texts { telemetry: "t/{device_id}/{tag_name}", ..MQTT };
            for routes in [Routes::new(Dialect::Mqtt, &identity(), &texts), nats()] {
                prop_assert_eq!(routes.telemetry(&a, &c) == routes.telemetry(&b, &d), (&a, &c) == (&b, &d));
                prop_assert_eq!(routes.event(&a, &c) == routes.event(&b, &d), (&a, &c) == (&b, &d));
            }
        }

        #[test]
        fn every_device_is_found_in_its_topic(id in "\\PC{1,20}", mqtt_first in any::<bool>()) {
            let (routes, sep) = if mqtt_first { (mqtt(), '/') } else { (nats(), '.') };
            let topic = routes.event(&id, "write").replace(&format!("{sep}events{sep}"), &format!("{sep}commands{sep}"));
            prop_assert_eq!(routes.command(&topic), Some((Some(id), "write".to_owned())));
        }
    }
}
