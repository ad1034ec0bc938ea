//! nbdinfo sees volumes as they are.

use serde_json::{Value, json};
use tests::nbd::Kind;
use tests::node::{Home, Options, VOLUME, VOLUME_BYTES};
use tests::tool::{fail, run, tool};

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_volume_tells_its_size_limits_and_abilities() {
    let home = Home::default();
    let node = home.start();
    for uri in [node.uri(), node.tcp_uri()] {
        let told = parse(&run(tool("nbdinfo").args(["--json", &uri])));
        assert_eq!((&told["protocol"], &told["TLS"]), (&json!("newstyle-fixed"), &json!(false)));
        assert_eq!(told["structured"], json!(true));
        let export = &told["exports"][0];
        let fields = [
            ("export-name", json!(VOLUME)),
            ("export-size", json!(VOLUME_BYTES)),
            ("contexts", json!(["base:allocation"])),
            ("is_read_only", json!(false)),
            ("is_rotational", json!(false)),
            ("can_flush", json!(true)),
            ("can_fua", json!(true)),
            ("can_trim", json!(true)),
            ("can_zero", json!(true)),
            ("can_fast_zero", json!(true)),
            ("can_cache", json!(true)),
            ("can_df", json!(true)),
            ("block_size_minimum", json!(1)),
            ("block_size_preferred", json!(4096)),
            ("block_size_maximum", json!(32 << 20)),
        ];
        for (field, value) in fields {
            assert_eq!(export[field], value, "{field} in {export:#}");
        }
    }
}

#[test]
fn every_volume_is_listed_and_no_other_is_served() {
    let volumes = ["alpha:16MiB", "beta:32MiB", "gamma-3:48MiB"].map(str::to_owned).to_vec();
    let home = Home::new(Options { volumes, ..Options::default() });
    let node = home.start();
    let told = parse(&run(tool("nbdinfo").args(["--list", "--json", &node.uri_of("")])));
    let exports = told["exports"].as_array().expect("a list");
    let mut listed: Vec<_> = exports.iter().map(|export| (&export["export-name"], &export["export-size"])).collect();
    listed.sort_by_key(|(name, _)| name.to_string());
    let sizes = [("alpha", 16 << 20), ("beta", 32 << 20), ("gamma-3", 48 << 20)];
    let expected = sizes.map(|(name, bytes)| (json!(name), json!(bytes)));
    assert_eq!(listed, expected.iter().map(|(name, bytes)| (name, bytes)).collect::<Vec<_>>());
    fail(tool("nbdinfo").arg(node.uri_of("delta")));
}

/// The map as (offset, length, type), neighbours of one type joined.
fn map(uri: &str) -> Vec<(u64, u64, u64)> {
    let extents = parse(&run(tool("nbdinfo").args(["--map", "--json", uri])));
    let number = |extent: &Value, field: &str| extent[field].as_u64().expect("a number");
    let mut joined: Vec<(u64, u64, u64)> = Vec::new();
    for extent in extents.as_array().expect("a list") {
        let (offset, length) = (number(extent, "offset"), number(extent, "length"));
        match joined.last_mut() {
            Some(last) if last.2 == number(extent, "type") => last.1 += length,
            Some(_) | None => joined.push((offset, length, number(extent, "type"))),
        }
    }
    joined
}

#[test]
fn the_map_shows_what_was_written_and_discarded() {
    const HOLE: u64 = 3;
    const DATA: u64 = 0;
    const MIB: u64 = 1 << 20;
    let home = Home::default();
    let node = home.start();
    assert_eq!(map(&node.uri()), [(0, VOLUME_BYTES, HOLE)]);

    let mut client = node.client();
    client.write(8 * MIB, &vec![7; 4 << 20], 0).expect("a write");
    client.write(100 * MIB, &[1; 4096], 0).expect("a write");
    let hole_after = 100 * MIB + 4096;
    let written = [(0, 8 * MIB, HOLE), (8 * MIB, 4 * MIB, DATA), (12 * MIB, 88 * MIB, HOLE), (100 * MIB, 4096, DATA)];
    assert_eq!(map(&node.uri()), [&written[..], &[(hole_after, VOLUME_BYTES - hole_after, HOLE)]].concat());

    client.clear(Kind::Trim, 9 * MIB, 1 << 20).expect("a trim");
    client.clear(Kind::Zeroes, 100 * MIB, 4096).expect("zeroes");
    let trimmed = [(0, 8 * MIB, HOLE), (8 * MIB, MIB, DATA), (9 * MIB, MIB, HOLE), (10 * MIB, 2 * MIB, DATA)];
    assert_eq!(map(&node.uri()), [&trimmed[..], &[(12 * MIB, VOLUME_BYTES - 12 * MIB, HOLE)]].concat());
}
