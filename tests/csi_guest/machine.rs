//! The guest with the node's plugin in it, the controller's plugin beside it, and the cluster of both.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tests::cluster::Cluster;
use tests::guest::{Guest, GuestKernel, Outfit};
use tests::node::program;
use tests::skip::skip;
use tests::tool::Running;
use tests::wait;

use crate::calls::{Calls, Claim, NODE};

/// Ports of the guest.
const PLUGIN: u16 = 7000;
const SHELL: u16 = 7001;
/// A guest without hardware help is slow, and slower on a busy machine.
const BOOT_MAX: Duration = Duration::from_secs(120);
/// How long a script may run.
const SCRIPT_MAX: Duration = Duration::from_secs(90);
/// How long a volume may take to have all its replicas again.
pub const WHOLE_MAX: Duration = Duration::from_secs(90);
/// How long a pod's writer may take for a few files more when nothing is wrong.
pub const WRITE_MAX: Duration = Duration::from_secs(60);

/// The guest's whole life: the door is open.
const SCRIPT: &str = r"
mkdir -p /run/csi /staging /pods /writers
door 7000 /run/csi/csi.sock 7001 < /dev/null
";

/// In the guest: writes files with checksums beside, and counts them, until it is told to stop. `writer NAME FOLDER`.
const WRITER: &str = r#"
state=/writers/$1; folder=$2; number=0
mkdir -p $state/sums
while [ ! -e $state/stop ]; do
    file=file$((number % 20))
    dd if=/dev/urandom of=$folder/$file.new bs=16k count=4 conv=fsync 2> /dev/null || { echo "$file is not written" >> $state/errors; break; }
    sum=$(sha256sum < $folder/$file.new) || echo "$file is not read" >> $state/errors
    mv $folder/$file.new $folder/$file || echo "$file is not moved" >> $state/errors
    echo "$sum" > $state/sums/$file
    number=$((number + 1))
    echo $number > $state/count.new && mv $state/count.new $state/count
done
touch $state/ended
"#;

/// All of it.
pub struct Machine {
    guest: Guest,
    /// Ends before its folder does.
    _controller: Running,
    pub cluster: Cluster,
    folder: TempDir,
    begin: Instant,
}

impl Machine {
    /// Starts it; none where that cannot be, which is said.
    pub fn start(test: &str) -> Option<Self> {
        let kernel = match GuestKernel::find() {
            Ok(kernel) => kernel,
            Err(why) => {
                skip(test, &why);
                return None;
            }
        };
        let begin = Instant::now();
        let cluster = Cluster::on_loopback();
        let programs = vec![PathBuf::from(env!("CARGO_BIN_EXE_door"))];
        let mut guest = Guest::start_with(&kernel, SCRIPT, &Outfit { programs, ports: vec![PLUGIN, SHELL] });
        let folder = tempfile::Builder::new().prefix("plinth-").tempdir().expect("a temporary folder");
        let socket = format!("unix://{}/controller.sock", folder.path().display());
        let arguments = ["csi", "--mode", "controller", "--endpoint", &socket, "--control", &cluster.control()];
        let arguments = arguments.map(str::to_owned);
        let controller = Running::start(&program(), &arguments, &folder.path().join("controller.log"));
        guest.wait_for("GUEST door open", BOOT_MAX);
        let machine = Self { guest, _controller: controller, cluster, folder, begin };
        machine.shell(&format!("cat > /bin/writer << 'END'\n#!/bin/sh\n{WRITER}\nEND\nchmod +x /bin/writer"));
        machine.start_plugin();
        machine.note("the guest is up");
        Some(machine)
    }

    /// What happened, and when.
    pub fn note(&self, what: &str) {
        println!("{:6.1} s: {what}", self.begin.elapsed().as_secs_f32());
    }

    /// Runs a script in the guest; how it ended, and what it said.
    fn try_shell(&self, script: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.guest.address(SHELL)).expect("the guest runs");
        stream.set_read_timeout(Some(SCRIPT_MAX)).expect("a socket");
        let text = format!("(\n{script}\n) < /dev/null\necho \"CODE $?\"; exit\n");
        stream.write_all(text.as_bytes()).expect("the guest's shell reads");
        let mut said = Vec::new();
        stream.read_to_end(&mut said).unwrap_or_else(|error| panic!("{script}: {error}"));
        let said = String::from_utf8_lossy(&said).into_owned();
        let (said, code) = said.rsplit_once("CODE ").unwrap_or_else(|| panic!("{script}: {said}"));
        (code.trim().to_owned(), said.trim().to_owned())
    }

    /// Runs a script in the guest that must succeed; answers what it said.
    pub fn shell(&self, script: &str) -> String {
        let (code, said) = self.try_shell(script);
        assert!(code == "0", "{script}: {code}\n{said}\n{}", self.log());
        said
    }

    /// Whether a script succeeds in the guest.
    pub fn holds(&self, script: &str) -> bool {
        self.try_shell(script).0 == "0"
    }

    pub fn calls(&self) -> Calls {
        Calls::new(&self.folder.path().join("controller.sock"), self.guest.address(PLUGIN))
    }

    /// Starts the node's plugin, which chooses the attacher itself.
    pub fn start_plugin(&self) {
        let control = self.cluster.control();
        self.shell(&format!(
            "export PATH=/usr/bin:/usr/sbin:/bin:/sbin PLINTH_LOG=info\n\
             plinth csi --mode node --endpoint unix:///run/csi/csi.sock --control {control} --node-id {NODE} \
             --folder /run/attach < /dev/null >> /run/csi/log 2>&1 &\n\
             echo $! > /run/csi/id"
        ));
        let calls = self.calls();
        wait::until("the plugin to answer", || calls.is_there().then_some(()));
    }

    /// Kills the node's plugin outright.
    pub fn kill_plugin(&self) {
        self.shell("kill -9 $(cat /run/csi/id); while [ -d /proc/$(cat /run/csi/id) ]; do sleep 0.02; done");
    }

    /// What the plugin and the kernel said.
    pub fn log(&self) -> String {
        self.try_shell("cat /run/csi/log /run/attach/*/agent.log; dmesg | tail -n 30").1
    }

    /// A claim's device, which is one of the kernel's NBD client.
    pub fn device(&self, claim: &Claim) -> String {
        let record = self.shell(&format!("cat /run/attach/{}/record.json", claim.id));
        let record: Value = serde_json::from_str(&record).expect("JSON");
        assert_eq!(record["method"], "nbd", "the best method of this host is chosen");
        record["device"].as_str().expect("it is there").to_owned()
    }

    /// The process that keeps a claim's device, if it lives.
    pub fn agent(&self, claim: &Claim) -> Option<u32> {
        let script =
            format!("id=$(cat /run/attach/{}/agent) && grep -q attach /proc/$id/cmdline && echo $id", claim.id);
        let (code, said) = self.try_shell(&script);
        if code == "0" { said.parse().ok() } else { None }
    }

    /// Kills it outright.
    pub fn kill_agent(&self, claim: &Claim) -> u32 {
        let agent = self.agent(claim).expect("somebody keeps the device");
        self.shell(&format!("kill -9 {agent}"));
        wait::until("the agent to be dead", || (self.agent(claim) != Some(agent)).then_some(()));
        agent
    }

    /// Starts to write at a pod's path.
    pub fn write(&self, claim: &Claim) {
        let (id, target) = (&claim.id, claim.target());
        self.shell(&format!("mkdir -p /writers/{id}; writer {id} {target} < /dev/null > /writers/{id}/said 2>&1 &"));
        self.goes_on(claim);
    }

    /// How many files were written.
    pub fn written(&self, claim: &Claim) -> u64 {
        let (_, said) = self.try_shell(&format!("cat /writers/{}/count", claim.id));
        said.parse().unwrap_or_default()
    }

    /// Waits until what was under way has ended and one more file was written as a whole; how long that took.
    pub fn goes_on(&self, claim: &Claim) -> Duration {
        let (begin, before) = (Instant::now(), self.written(claim));
        let went_on = wait::within(WRITE_MAX, || (self.written(claim) > before + 1).then_some(()));
        assert!(went_on.is_some(), "{} does not go on writing\n{}", claim.id, self.log());
        begin.elapsed()
    }

    /// Stops writing; all that was written can be read from the device again, and nobody saw an error.
    pub fn check(&self, claim: &Claim) {
        let (id, target) = (&claim.id, claim.target());
        self.shell(&format!("touch /writers/{id}/stop"));
        wait::until("the writer to end", || self.holds(&format!("[ -e /writers/{id}/ended ]")).then_some(()));
        self.holds_what_was_written(id, &target);
        assert_eq!(self.shell(&format!("cat /writers/{id}/errors 2> /dev/null; true")), "");
        self.shell(&format!("rm -r /writers/{id}"));
        self.kernel_saw_no_error();
    }

    /// The files of a claim's writer are at a place, with their checksums.
    pub fn holds_what_was_written(&self, id: &str, place: &str) {
        let script = format!(
            "sync; echo 3 > /proc/sys/vm/drop_caches; cd /writers/{id}/sums; for file in *; do \
             [ \"$(sha256sum < {place}/$file)\" = \"$(cat $file)\" ] || echo $file; done"
        );
        assert_eq!(self.shell(&script), "", "damaged files at {place}");
    }

    pub fn kernel_saw_no_error(&self) {
        let words = "i/o error|ext4-fs (error|warning)|xfs.*(error|shutdown|corrupt)|aborted|remount";
        let said = self.shell(&format!("dmesg | grep -iE '{words}' || true"));
        assert_eq!(said, "");
    }

    /// Kills the primary of a claim, waits until every writer has gone on, and has the node again.
    pub fn fail_over(&mut self, claim: &Claim, writing: &[&Claim]) {
        let killed = self.cluster.primary(&claim.id);
        self.cluster.kill_node(&killed);
        let longest = writing.iter().map(|claim| self.goes_on(claim)).max().unwrap_or_default();
        self.note(&format!("{killed} was killed, all went on after {longest:.1?}"));
        self.cluster.start_node(&killed);
        writing.iter().for_each(|claim| drop(self.cluster.whole(&claim.id, WHOLE_MAX)));
    }

    /// Nothing is left of volumes in the guest.
    pub fn is_clean(&self) {
        let script = "ls /sys/block/nbd*/pid 2> /dev/null; grep -E '/staging|/pods|/dev/nbd' /proc/self/mountinfo; \
                      ls -A /run/attach /pods 2> /dev/null | grep -v : ; \
                      for id in /proc/[0-9]*; do tr '\\0' ' ' < $id/cmdline 2> /dev/null | grep 'plinth attach'; done; true";
        let left = || Some(self.shell(script)).filter(|left| !left.is_empty());
        let clean = wait::within(Duration::from_secs(10), || left().is_none().then_some(()));
        assert!(clean.is_some(), "{:?}\n{}", left(), self.log());
    }

    /// Nor in the cluster.
    pub fn cluster_is_empty(&self) {
        self.cluster.settle();
        assert_eq!(self.cluster.json(&["volume", "list"]).as_array().expect("a list").len(), 0);
        let pools = || self.cluster.json(&["pool", "list"]);
        let is_empty = |pool: &Value| pool["replicas"] == 0 && pool["used_bytes"] == 0;
        let empty = wait::within(wait::PATIENCE, || {
            pools().as_array().is_some_and(|pools| pools.iter().all(is_empty)).then_some(())
        });
        assert!(empty.is_some(), "{}", pools());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("controller.log")).unwrap_or_default();
            println!("{log}\n{}\n{}", self.cluster.last_words(), self.guest.said());
        }
    }
}
