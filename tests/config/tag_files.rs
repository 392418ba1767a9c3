//! Tags as a table: what spreadsheets write is read, and what is wrong is told with the table's line.

use std::{fs, path::Path};

use bifrost::config::{Config, LoadOptions};
use bifrost_model::{DataType, TagClass};
use tempfile::TempDir;

use crate::{assert_problems, load_with};

const GATEWAY: &str = "\
devices:
  - id: a
    protocol: modbus-tcp
    address: 192.0.2.1
    tags:
      - {id: inline, address: \"40001\"}
    tags_file: tags.csv
";

fn folder(table: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gateway.yaml"), GATEWAY).unwrap();
    fs::write(folder.path().join("tags.csv"), table).unwrap();
    folder
}

fn load_from(folder: &Path) -> Result<Config, Vec<String>> {
    load_with(&LoadOptions { file: Some(folder.join("gateway.yaml")), ..LoadOptions::default() })
}

fn load(table: &str) -> Result<Config, Vec<String>> {
    load_from(folder(table.as_bytes()).path())
}

fn refused(table: &str) -> Vec<String> {
    load(table).expect_err(table)
}

#[test]
fn columns_come_in_any_order_and_empty_cells_are_defaults() {
    let config = load("address,id,class,scale,data_type\n40002,x,critical,0.5,int32\n00001,y,,,\n").unwrap();
    let [inline, x, y] = config.devices[0].tags.as_slice() else { panic!("{:?}", config.devices[0].tags) };
    assert_eq!(inline.id, "inline");
    assert_eq!(
        (x.id.as_str(), x.scale, x.data_type, x.class),
        ("x", 0.5, Some(DataType::Int32), TagClass::Critical)
    );
    assert_eq!(
        (y.address.as_str(), y.scale, y.data_type, y.class),
        ("00001", 1.0, None, TagClass::Telemetry)
    );
}

#[test]
fn what_spreadsheets_write_is_read() {
    for table in [
        "id;address;description\r\nx;40002;\"Oil; behind the pump\"\r\n;;\r\n",
        "\u{feff}id,address,description\nx,40002,Oil\n\n",
        " id , address ,description\n x , 40002 ,\n",
    ] {
        let config = load(table).unwrap_or_else(|found| panic!("{table:?}: {found:?}"));
        let tag = &config.devices[0].tags[1];
        assert_eq!(
            (config.tag_count(), tag.id.as_str(), tag.address.as_str()),
            (2, "x", "40002"),
            "{table:?}"
        );
    }
}

#[test]
fn the_merged_tags_are_all_that_is_left_of_the_file() {
    assert_eq!(load("id,address\nx,40002\n").unwrap().devices[0].tags_file, None);
}

#[test]
fn every_problem_has_the_tables_line() {
    let table = "\
id,address,scale,writable,clas
a,40001,x,perhaps,
b,99999,,,
c,40001
inline,40002,,,
d,40003,,,
d,40004,,,
,40005,,,
";
    let expected = [
        "tags.csv:1: clas: is no column here; did you mean class?",
        "tags.csv:2: scale: is \"x\", but a number is needed",
        "tags.csv:2: writable: is \"perhaps\", but true or false is needed",
        "tags.csv:3: address: \"99999\" read as a Modicon number",
        "tags.csv:4: has 2 cells, but the header has 5",
        "tags.csv:5: id: \"inline\" is devices[0].tags[0] (line 6) already",
        "tags.csv:7: id: \"d\" is ",
        "tags.csv:8: id: is missing",
    ];
    let found = refused(table);
    assert_problems(&found, &expected);
    assert!(found[6].contains("tags.csv:6 already"), "{found:?}");
}

#[test]
fn lines_are_counted_over_cells_with_line_breaks() {
    let found = refused("id,address,description\nx,40002,\"two\nlines\"\ny,nowhere,\n");
    assert_problems(&found, &["tags.csv:4: address: "]);
}

#[test]
fn a_table_without_its_columns_is_refused_once() {
    let found = refused("name;address\nx;40001\ny;40002\n");
    assert_problems(&found, &["tags.csv:1: id: is missing: a tag file needs this column"]);
    assert_problems(&refused("id,address,id\nx,40001,y\n"), &["tags.csv:1: id: is there twice"]);
    assert_problems(&refused(""), &["tags.csv:1: is empty"]);
}

#[test]
fn a_file_that_is_not_there_or_not_utf_8_is_told() {
    let folder = folder(b"id,address,unit\nx,40001,C\ny,40002,\xb0C\n");
    assert_problems(&load_from(folder.path()).unwrap_err(), &["tags.csv:3: isn't UTF-8; save it as UTF-8"]);
    fs::remove_file(folder.path().join("tags.csv")).unwrap();
    let found = load_from(folder.path()).unwrap_err();
    assert_problems(&found, &["gateway.yaml:7: devices[0].tags_file: "]);
    assert!(found[0].contains("can't be read: No such file"), "{found:?}");
}

#[test]
fn syntax_only_leaves_it_closed() {
    let folder = folder(b"\xff\xff");
    let file = folder.path().join("gateway.yaml");
    let config =
        load_with(&LoadOptions { file: Some(file), ..LoadOptions::default() }.syntax_only()).unwrap();
    assert_eq!(config.tag_count(), 1);
}
