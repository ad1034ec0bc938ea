//! What is installed on Kubernetes: the chart renders, Kubernetes would take what it renders, nothing in it may do more
//! than it must, and every command line in it is one that the program understands.
//!
//! No cluster is needed: objects are held against the schemas of several versions of Kubernetes. Rules are functions from
//! objects to complaints, and each is shown a planted mistake that it must find.

mod boot;
mod chart;
mod commands;
mod containers;
mod dashboard;
mod documents;
mod image;
mod objects;
mod plain;
mod rights;
mod selectors;
mod values;

/// Fails with every complaint, if there is one.
fn assert_none(rule: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{rule}:\n  {}", complaints.join("\n  "));
}

/// Fails unless the planted mistake is told of in these words.
fn assert_found(complaints: &[String], words: &str) {
    assert!(complaints.iter().any(|complaint| complaint.contains(words)), "{words:?} is not in {complaints:#?}");
}
