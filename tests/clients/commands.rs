//! Every command and flag of the protocol through libnbd: the cases are functions of `commands.py`.

use tests::node::Home;
use tests::tool::{PYTHON, run, tool};

fn case(name: &str) {
    let home = Home::default();
    let node = home.start();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/commands.py");
    run(tool(PYTHON).args([script, &node.uri(), name]));
}

#[test]
fn random_commands_agree_with_a_model_in_structured_replies() {
    case("model_structured");
}

#[test]
fn random_commands_agree_with_a_model_in_simple_replies() {
    case("model_simple");
}

#[test]
fn trim_spares_partial_blocks_and_zero_does_not() {
    case("trim_and_zero");
}

#[test]
fn flush_and_fua_succeed_at_every_size() {
    case("stable");
}

#[test]
fn block_status_is_exact_and_bounded() {
    case("status");
}

#[test]
fn structured_reads_tell_holes_unless_told_not_to() {
    case("fragments");
}

#[test]
fn cache_requests_are_checked_and_served() {
    case("cache");
}

#[test]
fn what_passes_a_limit_is_refused_and_the_rest_goes_on() {
    case("limits");
}

#[test]
fn unknown_flags_and_empty_requests_do_no_harm() {
    case("malformed");
}

#[test]
fn old_and_new_handshakes_reach_the_volume() {
    case("handshakes");
}

#[test]
fn requests_in_flight_are_all_answered() {
    case("pipeline");
}
