//! No text whatsoever makes the loader panic, or hang.

use std::fs;

use bifrost::config::{Config, LoadOptions, Problem};
use proptest::prelude::*;

fn load(name: &str, text: &str) -> Result<Config, Vec<Problem>> {
    Config::load(&LoadOptions::text(name, text))
}

/// Pieces that configurations are made of, in any order: more of them parse than of arbitrary text.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "(gateway|devices|tags|tags_file|supervision|messaging|mqtt|id|address|scale|<<): ?",
        "[ ]{0,4}(- )?",
        "(&a|\\*a|!!str|!x|~|null|true|\\{|\\}|\\[|\\]|,|#|---|\\||>|\\?|\")",
        "[a-z0-9.:/{}-]{0,6}",
        "(40001|holding:1|1e400|0x1F|.nan|250ms|-1|99999999999999999999)",
        Just("\n".to_owned()),
        Just(" ".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_is_refused_with_problems(text in any::<String>()) {
        for name in ["a.yaml", "a.toml"] {
            if let Err(problems) = load(name, &text) {
                prop_assert!(!problems.is_empty());
            }
        }
    }

    #[test]
    fn anything_made_of_its_pieces_is_too(text in pieces()) {
        for name in ["a.yaml", "a.toml"] {
            if let Err(problems) = load(name, &text) {
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    prop_assert!(!problem.to_string().contains(['\n', '\u{1b}']), "{problem:?}");
                }
            }
        }
    }

    #[test]
    fn any_bytes_in_a_tag_file_are_tags_or_problems(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("t.csv"), [b"id,address\n".as_slice(), &bytes].concat()).unwrap();
        let text = "devices: [{id: a, protocol: modbus-tcp, address: 192.0.2.1, tags_file: t.csv}]";
        if let Err(problems) = load(folder.path().join("a.yaml").to_str().unwrap(), text) {
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn any_environment_is_settings_or_problems(name in "(GATEWAY|DEVICES|MESSAGING|[A-Z]{0,3})(__?[A-Z0-9]{0,4}){0,3}", value in any::<String>()) {
        let env = vec![(format!("BIFROST_{name}"), value)];
        if let Err(problems) = Config::load(&LoadOptions { env, ..LoadOptions::default() }) {
            prop_assert!(!problems.is_empty());
        }
    }
}
