//! Values that make no sense are refused before anything is installed.

use tests::tool;

use crate::chart::{template, tools};

#[test]
fn values_that_make_no_sense_are_refused() {
    let Some(tools) = tools("values_that_make_no_sense_are_refused") else { return };
    let image = "image.repository=registry.example.net/plinth";
    let rows = [
        ("storage.enabled=true", "image.repository is missing"),
        (&*format!("{image},storage.pol.size=1GiB"), "pol"),
        (&*format!("{image},storage.pool.size=1Gi"), "/storage/pool/size"),
        (&*format!("{image},storage.pool.path=pool"), "/storage/pool/path"),
        (&*format!("{image},control.voterIds={{1,2}}"), "1, 3 or 5 voters"),
        (&*format!("{image},control.voterIds={{1,2,2}}"), "/control/voterIds"),
        (&*format!("{image},control.voterIds={{0,1,2}}"), "/control/voterIds/0"),
        (&*format!("{image},control.data.localNodes={{a}}"), "one host for each voter"),
        (&*format!("{image},storageClasses.default=gold"), "/storageClasses/default"),
        (&*format!("{image},networkPolicy.enabled=true"), "networkPolicy.hostCIDRs is missing"),
        (&*format!("{image},ipFamily=IPv5"), "/ipFamily"),
    ];
    for (values, words) in rows {
        let said = tool::fail(&mut template(tools, &["--set", values]));
        assert!(said.contains(words), "{values}: {said}");
    }
    tool::run(&mut template(tools, &["--set", image]));
}
