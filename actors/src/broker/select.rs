//! Which devices and tags a sink carries, and takes commands for.
//!
//! Decided once for each set of tags, so that a scan costs a bit per value.

use bifrost_model::{DeviceTags, TagClass, TagInfo};
use wildmatch::WildMatch;

use super::FilterSettings;

/// A filter, ready to be asked.
#[derive(Debug)]
pub(crate) struct Selection {
    devices: Option<Vec<WildMatch>>,
    tags: Option<Vec<WildMatch>>,
    classes: Option<Vec<TagClass>>,
    tenants: Option<Vec<WildMatch>>,
}

/// Which tags of a device pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passing {
    All,
    Nothing,
    /// One bit per tag.
    Some(Box<[u64]>),
}

impl Selection {
    /// As configured.
    pub(crate) fn new(settings: &FilterSettings) -> Self {
        let patterns = |texts: &Option<Vec<String>>| {
            texts.as_ref().map(|texts| texts.iter().map(|text| WildMatch::new(text)).collect())
        };
        Self {
            devices: patterns(&settings.devices),
            tags: patterns(&settings.tags),
            classes: settings.classes.clone(),
            tenants: patterns(&settings.tenants),
        }
    }

    /// Whether news of this device passes. One whose tenant isn't known passes only where tenants don't
    /// matter: a tenant's news must not reach another. The gateway's own (empty id) always pass.
    pub(crate) fn passes_device(&self, device_id: &str, tenant: Option<&str>) -> bool {
        let tenant =
            || self.tenants.is_none() || tenant.is_some_and(|tenant| any(self.tenants.as_ref(), tenant));
        device_id.is_empty() || (any(self.devices.as_ref(), device_id) && tenant())
    }

    /// Which tags pass.
    pub(super) fn of(&self, device: &DeviceTags) -> Passing {
        if !self.passes_device(device.device_id(), Some(device.tenant())) {
            return Passing::Nothing;
        }
        let mut bits = vec![0; device.len().div_ceil(64)].into_boxed_slice();
        let mut count = 0;
        for (index, _) in device.iter().enumerate().filter(|(_, tag)| self.passes_tag(tag)) {
            bits[index / 64] |= 1 << (index % 64);
            count += 1;
        }
        match count {
            0 => Passing::Nothing,
            _ if count == device.len() => Passing::All,
            _ => Passing::Some(bits),
        }
    }

    /// Whether this tag passes, if its device does.
    pub(crate) fn passes_tag(&self, tag: &TagInfo<'_>) -> bool {
        any(self.tags.as_ref(), tag.id)
            && self.classes.as_ref().is_none_or(|classes| classes.contains(&tag.class))
    }
}

/// Whether one of them matches, or there are none to.
fn any(patterns: Option<&Vec<WildMatch>>, text: &str) -> bool {
    patterns.is_none_or(|patterns| patterns.iter().any(|pattern| pattern.matches(text)))
}

impl Passing {
    /// Whether this tag passes.
    pub(super) fn passes(&self, tag: u32) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Some(bits) => bits.get(tag as usize / 64).is_some_and(|word| (word >> (tag % 64)) & 1 == 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use bifrost_model::DataType;

    use super::*;

    fn tag(id: &str, class: TagClass) -> TagInfo<'_> {
        let (data_type, writable) = (DataType::Uint16, false);
        TagInfo { id, name: id, address: "40001", data_type, unit: "", description: "", writable, class }
    }

    fn filter(yaml: serde_json::Value) -> Selection {
        Selection::new(&serde_json::from_value(yaml).unwrap())
    }

    /// The tags of a device that pass.
    fn passing(selection: &Selection, device: &str, tenant: &str) -> Vec<String> {
        let ids: Vec<_> = (0..70).map(|n| format!("t{n}")).collect();
        let class = |n| if n == 69 { TagClass::Critical } else { TagClass::Telemetry };
        let tags = DeviceTags::new(device, tenant, ids.iter().enumerate().map(|(n, id)| tag(id, class(n))));
        let passing = selection.of(&tags);
        (0..80)
            .filter(|n| passing.passes(*n))
            .filter_map(|n| tags.get(n))
            .map(|tag| tag.id.to_owned())
            .collect()
    }

    #[test]
    fn without_a_filter_everything_passes_and_no_bit_is_kept() {
        let tags = DeviceTags::new("press-1", "default", [tag("a", TagClass::Status)]);
        assert_eq!(filter(serde_json::json!({})).of(&tags), Passing::All);
        assert_eq!(filter(serde_json::json!({"tags": ["a", "b"]})).of(&tags), Passing::All);
        assert_eq!(filter(serde_json::json!({"tags": ["b"]})).of(&tags), Passing::Nothing);
    }

    #[test]
    fn lists_narrow_one_another_and_hold_wildcards() {
        for (settings, count) in [
            (serde_json::json!({"devices": ["press-*"]}), 70),
            (serde_json::json!({"devices": ["press-?", "x"]}), 70),
            (serde_json::json!({"devices": ["Press-1"]}), 0),
            (serde_json::json!({"devices": []}), 0),
            (serde_json::json!({"tags": ["t6?"]}), 10),
            (serde_json::json!({"tags": ["t6?", "t1"]}), 11),
            (serde_json::json!({"classes": ["critical", "status"]}), 1),
            (serde_json::json!({"classes": ["critical"], "tags": ["t0"]}), 0),
            (serde_json::json!({"tenants": ["acme*"]}), 70),
            (serde_json::json!({"tenants": ["other"]}), 0),
        ] {
            let found = passing(&filter(settings.clone()), "press-1", "acme-north");
            assert_eq!(found.len(), count, "{settings}: {found:?}");
        }
        assert_eq!(passing(&filter(serde_json::json!({"tags": ["*69"]})), "press-1", "x"), ["t69"]);
    }

    #[test]
    fn news_of_a_device_whose_tenant_nobody_knows_stays_here() {
        let selection = filter(serde_json::json!({"tenants": ["acme"], "devices": ["press-*"]}));
        for (device, tenant, passes) in [
            ("press-1", Some("acme"), true),
            ("press-1", Some("other"), false),
            ("press-1", None, false),
            ("mill-1", Some("acme"), false),
            ("", None, true),
        ] {
            assert_eq!(selection.passes_device(device, tenant), passes, "{device} {tenant:?}");
        }
        assert!(filter(serde_json::json!({})).passes_device("press-1", None));
    }
}
