//! Configurations that cannot be.

use storage_node::{ClusterConfig, ClusterError, StartError};

use crate::member::{Member, cluster};

fn refused(config: ClusterConfig) -> ClusterError {
    let directory = tempfile::tempdir().unwrap();
    let pool = directory.path().join("pool");
    match Member::start(directory, config) {
        Err(StartError::Cluster(error)) => {
            assert!(!pool.exists(), "no pool is made for a node that cannot start");
            error
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it started"),
    }
}

#[test]
fn a_node_that_others_could_not_reach_does_not_start() {
    let good = cluster("n1", &["127.0.0.1:1".to_owned()]);
    let anywhere = ClusterConfig { peers: ([0, 0, 0, 0], 0).into(), ..good.clone() };
    assert!(matches!(refused(anywhere), ClusterError::Unspecified { .. }));
    assert_eq!(refused(ClusterConfig { control: Vec::new(), ..good.clone() }), ClusterError::NoControl);
    assert!(matches!(refused(ClusterConfig { name: "N1".to_owned(), ..good }), ClusterError::BadName { .. }));
}

#[test]
fn a_node_that_finds_no_control_plane_runs_and_stops_all_the_same() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let member = Member::with("n1", &[gone.to_string()]);
    assert!(!member.cluster().link.connected);
}
