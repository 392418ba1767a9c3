//! `messaging`: brokers, and what is published where.

use std::{collections::HashSet, fmt, marker::PhantomData, path::PathBuf};

use bifrost_actors::{
    broker::TlsSettings,
    dead_letters::DeadLetterSettings,
    gateway::{BrokerKind, BrokerSettings},
    mqtt::MqttSettings,
    nats::NatsSettings,
    spool::SpoolSettings,
};
use bifrost_security::tls::{ClientError, FileError};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use super::{Flaw, below, flaw};

/// The section `messaging`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MessagingSettings {
    /// What is kept while no broker takes it; holds for each broker by itself.
    pub spool: SpoolSettings,
    /// What brokers refuse for good.
    pub dead_letters: DeadLetterSettings,
    /// MQTT brokers; in a file one may stand without a list around it.
    #[serde(deserialize_with = "one_or_many")]
    pub mqtt: Vec<MqttSettings>,
    /// NATS clusters; in a file one may stand without a list around it.
    #[serde(deserialize_with = "one_or_many")]
    pub nats: Vec<NatsSettings>,
}

impl MessagingSettings {
    /// What can't work.
    pub(crate) fn flaws(&self) -> Vec<Flaw> {
        let mut flaws: Vec<_> = below("spool", self.spool.flaws()).collect();
        flaws.extend(below("dead_letters", self.dead_letters.flaws()));
        let mut names = HashSet::new();
        let mut add = |key: String, name: String, own: Vec<Flaw>| {
            flaws.extend(below(&key, own));
            if let Err(error) = bifrost_model::check_id(&name) {
                flaws.push(flaw(format!("{key}.name"), error.to_string()));
            }
            if !names.insert(name.clone()) {
                flaws.push(flaw(
                    format!("{key}.name"),
                    format!("{name:?} is another broker's; names must differ"),
                ));
            }
        };
        for (key, name, broker) in self.mqtt() {
            add(key, name, broker.flaws());
        }
        for (key, name, cluster) in self.nats() {
            add(key, name, cluster.flaws());
        }
        flaws
    }

    /// Every broker that is used, as the gateway needs it.
    pub fn brokers(&self) -> Vec<BrokerSettings> {
        let mqtt = self.mqtt().filter(|(_, _, broker)| broker.enabled).map(|(_, name, broker)| {
            let spool = broker.spool.clone().unwrap_or_else(|| self.spool.clone());
            BrokerSettings { name, kind: BrokerKind::Mqtt(Box::new(broker.clone())), spool }
        });
        let nats = self.nats().filter(|(_, _, cluster)| cluster.enabled).map(|(_, name, cluster)| {
            let spool = cluster.spool.clone().unwrap_or_else(|| self.spool.clone());
            BrokerSettings { name, kind: BrokerKind::Nats(Box::new(cluster.clone())), spool }
        });
        mqtt.chain(nats).collect()
    }

    /// Files that sessions of brokers need and that can't be read: `check` tells them, while a gateway runs
    /// without, since a session tries again.
    pub(crate) fn unreadable_files(&self) -> Vec<Flaw> {
        let mqtt = self.mqtt().filter(|(_, _, broker)| broker.enabled).flat_map(|(key, _, broker)| {
            let own = vec![(".password_file", broker.password_file.as_ref())];
            let encrypted = broker.is_encrypted();
            let unusable = unusable(&key, &broker.tls).filter(|_| encrypted);
            unusable
                .into_iter()
                .chain(own.into_iter().filter_map(move |(name, file)| unreadable(&key, name, file)))
        });
        let nats = self.nats().filter(|(_, _, cluster)| cluster.enabled).flat_map(|(key, _, cluster)| {
            let own = vec![
                (".password_file", cluster.password_file.as_ref()),
                (".token_file", cluster.token_file.as_ref()),
                (".nkey_file", cluster.nkey_file.as_ref()),
                (".credentials_file", cluster.credentials_file.as_ref()),
            ];
            let unusable = unusable(&key, &cluster.tls);
            unusable
                .into_iter()
                .chain(own.into_iter().filter_map(move |(name, file)| unreadable(&key, name, file)))
        });
        mqtt.chain(nats).collect()
    }

    /// Each MQTT broker with its key and its name.
    pub fn mqtt(&self) -> impl Iterator<Item = (String, String, &MqttSettings)> {
        named("mqtt", &self.mqtt, |broker| broker.name.as_deref())
    }

    /// Each NATS cluster with its key and its name.
    pub fn nats(&self) -> impl Iterator<Item = (String, String, &NatsSettings)> {
        named("nats", &self.nats, |cluster| cluster.name.as_deref())
    }
}

/// The first file of TLS that can't be used; who names none needs none.
fn unusable(key: &str, tls: &TlsSettings) -> Option<Flaw> {
    match tls.client().check().err()? {
        ClientError::File(FileError { key: name, path, problem }) => {
            Some(flaw(format!("{key}.tls.{name}"), format!("{} {problem}", path.display())))
        }
        other => Some(flaw(format!("{key}.tls"), other.to_string())),
    }
}

fn unreadable(key: &str, name: &str, file: Option<&PathBuf>) -> Option<Flaw> {
    let file = file?;
    let error = std::fs::File::open(file).err()?;
    Some(flaw(format!("{key}{name}"), format!("{} can't be read: {error}", file.display())))
}

fn named<'a, T>(
    kind: &'static str,
    list: &'a [T],
    name: impl Fn(&T) -> Option<&str> + 'a,
) -> impl Iterator<Item = (String, String, &'a T)> {
    let alone = list.len() == 1;
    list.iter().enumerate().map(move |(n, item)| {
        let key = if alone { kind.to_owned() } else { format!("{kind}[{n}]") };
        let usual = if n == 0 { kind.to_owned() } else { format!("{kind}-{}", n + 1) };
        (key, name(item).map_or(usual, str::to_owned), item)
    })
}

/// A section, or a list of such.
fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct OneOrMany<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMany<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a broker or a list of brokers")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut brokers = Vec::new();
            while let Some(broker) = seq.next_element()? {
                brokers.push(broker);
            }
            Ok(brokers)
        }
    }

    deserializer.deserialize_any(OneOrMany(PhantomData))
}
