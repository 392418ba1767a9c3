//! Devices that were added, changed or removed at run time, kept in `data_dir/devices.json`.
//!
//! They are laid over those of the configuration file: an object replaces or adds a device, `null` removes
//! one. The file is replaced as a whole and survives a crash at any moment; one that can't be read is set
//! aside, never deleted. Doesn't check whether a device can work: see [`super::check_devices`].

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use bifrost_actors::plc::DeviceSettings;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    decode,
    key::KeyPath,
    source::{self, Kind, Node},
};

const FILE: &str = "devices.json";

/// Changes made at run time, by device id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// A device as it is now; nothing: the file's device of this id is removed.
    #[serde(default)]
    pub devices: BTreeMap<String, Option<DeviceSettings>>,
}

/// A file that couldn't be read as a whole, and where it is now.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{} could not be used ({reason}) and is kept as {}; what was changed at run time is lost from the \
     configuration in part or whole: compare the two and make the changes again",
    file.display(), kept_as.display()
)]
pub struct Damaged {
    /// Where it was.
    pub file: PathBuf,
    /// Where it is.
    pub kept_as: PathBuf,
    /// What was wrong.
    pub reason: String,
}

/// Run-time changes can't be read or kept.
#[derive(Debug, Error)]
pub enum OverlayError {
    /// The file is there but can't be opened.
    #[error("can't read {}: {source}; let the gateway's user read it", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A damaged file couldn't be renamed.
    #[error("can't set the damaged {} aside: {source}; move it away by hand", file.display())]
    SetAside {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The change isn't on disk.
    #[error(
        "can't write {}: {source}; the change isn't kept: see that gateway.data_dir exists, has space and \
         belongs to the gateway's user",
        file.display()
    )]
    Write {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Overlay {
    /// Reads what was kept in `data_dir`; nothing kept is no error. What is damaged is set aside and told,
    /// and the devices in it that can still be read are returned.
    pub fn load(data_dir: &Path) -> Result<(Self, Option<Damaged>), OverlayError> {
        let file = data_dir.join(FILE);
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Self::default(), None)),
            Err(source) => return Err(OverlayError::Read { file, source }),
        };
        let (overlay, faults) = Self::parse(&bytes);
        if faults.is_empty() {
            return Ok((overlay, None));
        }
        let damaged = set_aside(file, faults.join("; "))?;
        overlay.save(data_dir)?;
        Ok((overlay, Some(damaged)))
    }

    /// As much as can be read, and what can't.
    fn parse(bytes: &[u8]) -> (Self, Vec<String>) {
        let refused = |reason: String| (Self::default(), vec![reason]);
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => return refused(error.to_string()),
        };
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
            return refused(error.to_string());
        }
        let tree = match source::parse_value(text) {
            Ok(tree) => tree,
            Err(error) => return refused(error.reason),
        };
        let mut overlay = Self::default();
        let mut faults = Vec::new();
        let devices = tree.get("devices").map(|entry| entry.value.entries());
        if devices.is_none() || tree.entries().len() != 1 {
            faults.push("devices is not its only key".to_owned());
        }
        for entry in devices.unwrap_or_default() {
            match device(&entry.value, &entry.key) {
                Ok(device) => {
                    overlay.devices.insert(entry.key.clone(), device);
                }
                Err(fault) => faults.push(fault),
            }
        }
        (overlay, faults)
    }

    /// The file's devices with the changes: changed ones in their places, added ones behind, in order of
    /// their ids.
    pub fn merge(&self, file: Vec<DeviceSettings>) -> Vec<DeviceSettings> {
        let in_file: HashSet<String> = file.iter().map(|device| device.id.clone()).collect();
        let changed = |device: DeviceSettings| match self.devices.get(&device.id) {
            None => Some(device),
            Some(change) => change.clone(),
        };
        let mut merged: Vec<_> = file.into_iter().filter_map(changed).collect();
        let is_new = |device: &&DeviceSettings| !in_file.contains(&device.id);
        merged.extend(self.devices.values().flatten().filter(is_new).cloned());
        merged
    }

    /// Adds or replaces a device.
    pub fn put(&mut self, device: DeviceSettings) {
        self.devices.insert(device.id.clone(), Some(device));
    }

    /// Removes a device; one that the configuration file has can only be hidden.
    pub fn remove(&mut self, id: &str, in_file: bool) {
        if in_file {
            self.devices.insert(id.to_owned(), None);
        } else {
            self.devices.remove(id);
        }
    }

    /// Keeps the changes in `data_dir`; when this returns they survive a loss of power.
    pub fn save(&self, data_dir: &Path) -> Result<(), OverlayError> {
        let file = data_dir.join(FILE);
        self.write(data_dir, &file).map_err(|source| OverlayError::Write { file, source })
    }

    fn write(&self, folder: &Path, file: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let temporary = folder.join(format!("{FILE}.new"));
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let mut written = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
        written.write_all(&text)?;
        written.sync_all()?;
        fs::rename(&temporary, file)?;
        File::open(folder)?.sync_all()
    }
}

fn device(node: &Node, id: &str) -> Result<Option<DeviceSettings>, String> {
    if node.kind == Kind::Null {
        return Ok(None);
    }
    let path = KeyPath::default().key("devices").key(id);
    let device: DeviceSettings = decode::decode_strictly(node, &path).map_err(|fault| fault.to_string())?;
    if device.id == id { Ok(Some(device)) } else { Err(format!("{path}.id: is {:?}", device.id)) }
}

fn set_aside(file: PathBuf, reason: String) -> Result<Damaged, OverlayError> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let name = |n: u32| match n {
        0 => file.with_file_name(format!("{FILE}.damaged-{seconds}")),
        n => file.with_file_name(format!("{FILE}.damaged-{seconds}-{n}")),
    };
    // Two within one second must not replace each other.
    let kept_as = (0..1000).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0));
    match fs::rename(&file, &kept_as) {
        Ok(()) => Ok(Damaged { file, kept_as, reason }),
        Err(source) => Err(OverlayError::SetAside { file, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str, address: &str) -> DeviceSettings {
        let text = format!("{{id: {id}, protocol: modbus-tcp, address: \"{address}\"}}");
        let tree = source::parse_value(&text).unwrap();
        decode::decode_strictly(&tree, &KeyPath::default()).unwrap()
    }

    fn ids(devices: &[DeviceSettings]) -> Vec<&str> {
        devices.iter().map(|device| device.id.as_str()).collect()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_kept_is_nothing_changed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Overlay::load(&folder.path().join("none")).unwrap(), (Overlay::default(), None));
    }

    #[test]
    fn devices_are_added_changed_and_removed_over_the_files() {
        let file = [device("a", "10.0.0.1:502"), device("b", "10.0.0.2:502"), device("c", "10.0.0.3:502")];
        let mut overlay = Overlay::default();
        overlay.put(device("b", "10.0.0.9:502"));
        overlay.put(device("x", "10.0.0.8:502"));
        overlay.remove("a", true);
        let merged = overlay.merge(file.to_vec());
        assert_eq!(ids(&merged), ["b", "c", "x"]);
        assert_eq!(merged[0].address, "10.0.0.9:502");
        overlay.remove("x", false);
        assert_eq!(ids(&overlay.merge(file.to_vec())), ["b", "c"]);
    }

    #[test]
    fn what_is_saved_is_loaded_again_and_leaves_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut overlay = Overlay::default();
        overlay.put(device("x", "10.0.0.8:502"));
        overlay.remove("a", true);
        overlay.save(folder.path()).unwrap();
        overlay.save(folder.path()).unwrap();
        assert_eq!(Overlay::load(folder.path()).unwrap(), (overlay, None));
        assert_eq!(names(folder.path()), ["devices.json"]);
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_told() {
        for content in [&b"{\"devices\": {"[..], b"", b"\xff\xfe", b"[]", b"{\"devices\": {}, \"more\": 1}"] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(FILE), content).unwrap();
            let (overlay, damaged) = Overlay::load(folder.path()).unwrap();
            assert_eq!(overlay, Overlay::default());
            let damaged = damaged.unwrap();
            assert_eq!(fs::read(&damaged.kept_as).unwrap(), content);
            let name = damaged.kept_as.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(name.starts_with("devices.json.damaged-"), "{name}");
            assert!(damaged.to_string().contains(&name), "{damaged}");
            assert_eq!(Overlay::load(folder.path()).unwrap(), (Overlay::default(), None));
        }
    }

    #[test]
    fn one_damaged_device_costs_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"{"devices": {
            "good": {"id": "good", "protocol": "modbus-tcp", "address": "10.0.0.1:502"},
            "gone": null,
            "other": {"id": "else", "protocol": "modbus-tcp", "address": "10.0.0.1:502"},
            "bad": {"id": "bad", "protocol": "modbus-tcp", "adress": "10.0.0.1:502"}}}"#;
        fs::write(folder.path().join(FILE), text).unwrap();
        let (overlay, damaged) = Overlay::load(folder.path()).unwrap();
        assert_eq!(overlay.devices.keys().collect::<Vec<_>>(), ["gone", "good"]);
        let reason = damaged.unwrap().reason;
        assert!(reason.contains("devices.bad.adress") && reason.contains("devices.other.id"), "{reason}");
        assert_eq!(Overlay::load(folder.path()).unwrap(), (overlay, None));
        assert_eq!(names(folder.path()).len(), 2);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("file");
        fs::write(&blocked, "").unwrap();
        let error = Overlay::default().save(&blocked).unwrap_err().to_string();
        assert!(error.contains("gateway.data_dir"), "{error}");
        let error = Overlay::load(&blocked).unwrap_err().to_string();
        assert!(error.contains("devices.json"), "{error}");
    }
}
