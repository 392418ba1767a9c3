//! What differs between two settings, key by key, as the audit trail tells it.

use serde_json::{Map, Value, json};

/// Keys that are told; beyond, only that there are more.
const MOST: usize = 200;
/// Parts of a key's name whose value nobody may read.
const SECRET: [&str; 4] = ["password", "secret", "token", "passphrase"];

/// Every key whose value differs, with what it was and what it is. Lists whose elements have an `id` are
/// compared by it.
pub(super) fn difference(old: &Value, new: &Value) -> Value {
    let mut found = Vec::new();
    compare("", old, new, &mut found);
    let more = found.len().saturating_sub(MOST);
    found.truncate(MOST);
    let mut all: Map<_, _> = found.into_iter().collect();
    if more > 0 {
        all.insert("…".to_owned(), json!(format!("{more} more")));
    }
    all.into()
}

fn compare(key: &str, old: &Value, new: &Value, found: &mut Vec<(String, Value)>) {
    if old == new {
        return;
    }
    match (parts(old), parts(new)) {
        (Some(old), Some(new)) => {
            for (name, value) in &old {
                compare(&below(key, name), value, new.get(name).unwrap_or(&Value::Null), found);
            }
            for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                compare(&below(key, name), &Value::Null, value, found);
            }
        }
        _ if SECRET.iter().any(|secret| key.to_lowercase().contains(secret)) => {
            found.push((key.to_owned(), json!("(secret)")));
        }
        _ => found.push((key.to_owned(), json!({ "from": old, "to": new }))),
    }
}

/// What a value consists of, by name; none: it is to be compared as a whole.
fn parts(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(parts) => Some(parts.clone()),
        Value::Array(list) if !list.is_empty() => {
            list.iter().map(|part| Some((part.get("id")?.as_str()?.to_owned(), part.clone()))).collect()
        }
        _ => None,
    }
}

fn below(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_key_by_key_and_lists_by_their_ids() {
        let old = json!({"poll": "1s", "tags": [{"id": "a", "scale": 1}, {"id": "b"}], "same": [1, 2]});
        let new = json!({"poll": "2s", "tags": [{"id": "c"}, {"id": "a", "scale": 2}], "same": [1, 2]});
        let expected = json!({
            "poll": {"from": "1s", "to": "2s"},
            "tags.a.scale": {"from": 1, "to": 2},
            "tags.b": {"from": {"id": "b"}, "to": null},
            "tags.c": {"from": null, "to": {"id": "c"}},
        });
        assert_eq!(difference(&old, &new), expected);
        assert_eq!(difference(&old, &old), json!({}));
    }

    #[test]
    fn secrets_are_named_and_not_told() {
        let told = difference(&json!({"a": {"Password": "x"}}), &json!({"a": {"Password": "y"}}));
        assert_eq!(told, json!({"a.Password": "(secret)"}));
    }

    #[test]
    fn too_much_is_cut_and_said_so() {
        let old: Map<_, _> = (0..300).map(|n| (format!("{n}"), json!(0))).collect();
        let told = difference(&old.into(), &json!({}));
        assert_eq!((told.as_object().unwrap().len(), &told["…"]), (MOST + 1, &json!("100 more")));
    }
}
