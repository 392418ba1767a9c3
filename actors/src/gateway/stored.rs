//! A device's settings while nobody asks for them: small, since a gateway holds a hundred thousand tags.

use std::io::{Read as _, Write as _};

use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};

use crate::plc::DeviceSettings;

/// Settings as deflated JSON without what is default: some ten bytes per tag instead of three hundred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSettings(Box<[u8]>);

impl StoredSettings {
    /// Puts settings away. Equal settings give equal bytes.
    pub fn new(settings: &DeviceSettings) -> Self {
        let mut deflated = DeflateEncoder::new(Vec::new(), Compression::fast());
        let text = serde_json::to_vec(settings).unwrap_or_default();
        // Writing into memory doesn't fail.
        let _ = deflated.write_all(&text);
        Self(deflated.finish().unwrap_or_default().into())
    }

    /// Takes them out again; `None` only if they could never be written.
    pub fn load(&self) -> Option<DeviceSettings> {
        serde_json::from_slice(&self.text()).ok()
    }

    /// By key, to compare.
    pub(super) fn keys(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_slice(&self.text()).unwrap_or_default()
    }

    fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let _ = DeflateDecoder::new(&*self.0).read_to_end(&mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_out_as_they_went_in_and_small() {
        let text = r#"{"id":"press-1","protocol":"modbus-tcp","address":"192.0.2.1","tags":[
            {"id":"t1","address":"40001"},
            {"id":"t2","address":"40002.3","writable":true,"class":"critical"},
            {"id":"t3","address":40003,"data_type":"float32","byte_order":"CDAB","scale":0.1,"offset":-40,
             "deadband":0.5,"poll_interval":"100ms","min":0,"max":100,"unit":"degC","name":"T","description":"d"}]}"#;
        let settings: DeviceSettings = serde_json::from_str(text).unwrap();
        let stored = StoredSettings::new(&settings);
        assert_eq!(stored.load().as_ref(), Some(&settings));
        assert_eq!(stored, StoredSettings::new(&settings.clone()));
        let bare = DeviceSettings { tags: vec![settings.tags[0].clone(); 100], ..settings };
        assert!(StoredSettings::new(&bare).0.len() < 100 * 20);
    }
}
