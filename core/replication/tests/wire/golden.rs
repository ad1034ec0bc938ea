//! Every message is exactly these bytes, by a list that was made from PROTOCOL.md without this code: a change of the
//! format is seen, and needs a new version.

use replication::wire::{Signal, encode, encode_aside, encode_signal};

use crate::samples::{asides, envelope, messages};

/// Name and bytes up to the payload's blocks.
fn golden() -> Vec<(&'static str, Vec<u8>)> {
    let mut found: Vec<(&str, Vec<u8>)> = Vec::new();
    for line in include_str!("golden.txt").lines() {
        match (line.strip_prefix("  "), found.last_mut()) {
            (Some(hex), Some((_, bytes))) => bytes.extend(bytes_of(hex)),
            _ => found.push((line, Vec::new())),
        }
    }
    found
}

fn bytes_of(hex: &str) -> impl Iterator<Item = u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
}

fn encoded() -> Vec<(&'static str, Vec<u8>)> {
    let mut all: Vec<_> = messages()
        .into_iter()
        .map(|(name, message)| {
            let mut bytes = Vec::new();
            encode(&envelope(), &message, &mut bytes).unwrap();
            (name, bytes)
        })
        .collect();
    let to = block::PoolId(0x0102_0304_0506);
    for (name, signal) in [("open", Signal::Open { to }), ("opened", Signal::Opened), ("close", Signal::Close)] {
        let mut bytes = Vec::new();
        encode_signal(&envelope(), signal, &mut bytes);
        all.push((name, bytes));
    }
    for (name, aside) in asides().into_iter().filter(|(name, _)| !matches!(*name, "have" | "have of a snapshot")) {
        let mut bytes = Vec::new();
        encode_aside(&envelope(), &aside, &mut bytes);
        all.push((name, bytes));
    }
    all
}

#[test]
fn every_message_is_the_bytes_that_the_protocol_says() {
    let (golden, encoded) = (golden(), encoded());
    assert_eq!(golden.len(), encoded.len());
    for ((name, expected), (same, found)) in golden.iter().zip(&encoded) {
        assert_eq!((name, expected), (same, found), "{name}");
    }
}
