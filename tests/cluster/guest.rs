//! The kernel's own NBD client, in a guest: a filesystem on a volume whose primary is killed again and again.

use std::thread;
use std::time::{Duration, Instant};

use tests::guest::{Guest, GuestKernel};
use tests::skip::skip;

use tests::writer::{primary, whole};

use crate::replicas::replicated;

/// Kills, if the emulation is fast enough for all of them in this time.
const KILLS: usize = 10;
const KILLING_MAX: Duration = Duration::from_secs(180);
/// Fewer prove too little.
const KILLS_MIN: usize = 3;
/// A guest without hardware help is slow, and slower on a busy machine.
const BOOT_MAX: Duration = Duration::from_secs(120);
const STEP_MAX: Duration = Duration::from_secs(60);

/// Writes files until it is told to stop, then reads all of them from the device again.
const SCRIPT: &str = r#"
plinth attach db --client guest --timeout 60 > /device 2> /complaint || cat /complaint
device=$(cat /device); name=${device#/dev/}
echo "GUEST attached $device"
plinth attachments
[ "$(cat /sys/block/$name/size)" = 131072 ] || echo "GUEST wrong size"
mkfs.ext4 -q $device || echo "GUEST no filesystem"
mount -t ext4 $device /mnt || echo "GUEST not mounted"
(read -r line; touch /stop) < /dev/console &
echo "GUEST writes"
number=0
while [ ! -e /stop ]; do
    file=/mnt/file$((number % 40))
    dd if=/dev/urandom of=$file.new bs=16k count=16 2> /dev/null || echo "GUEST failed to write $file"
    sum=$(sha256sum < $file.new)
    sync || echo "GUEST failed to sync"
    mv $file.new $file
    echo "$sum" > /sum$((number % 40))
    number=$((number + 1))
    echo "GUEST wrote $number"
done
# The process that keeps the device dies; the device goes on, and the next one takes it over.
agent=$(cat /run/plinth/attach/db/agent)
kill -9 $agent
dd if=/dev/urandom of=/mnt/orphan bs=16k count=4 2> /dev/null && sync && echo "GUEST wrote without an agent"
plinth attach db --client guest --timeout 60 2> /complaint || cat /complaint
[ "$(cat /run/plinth/attach/db/agent)" != "$agent" ] && echo "GUEST has another agent"
(read -r line; touch /go) < /dev/console &
echo "GUEST waits for a kill"
while [ ! -e /go ]; do sleep 1; done
dd if=/dev/urandom of=/mnt/after bs=16k count=4 2> /dev/null && sync && echo "GUEST wrote after the kill"
umount /mnt || echo "GUEST not unmounted"
echo 3 > /proc/sys/vm/drop_caches
e2fsck -f -n $device > /fsck 2>&1 || { echo "GUEST damaged filesystem"; cat /fsck; }
mount -t ext4 -o ro $device /mnt
good=0
for sum in /sum*; do
    file=/mnt/file${sum#/sum}
    if [ "$(sha256sum < $file)" = "$(cat $sum)" ]; then good=$((good + 1)); else echo "GUEST damaged $file"; fi
done
echo "GUEST verified $good of $(ls /sum* | wc -l)"
umount /mnt
plinth detach db || echo "GUEST failed to detach"
[ -e /sys/block/$name/pid ] && echo "GUEST failed to end the device"
ls -A /run/plinth/attach
dmesg | grep -iE "i/o error|ext4-fs (error|warning)|aborted|remount" | sed 's/^/GUEST failed: /'
dmesg | grep -i nbd | tail -n 40
"#;

#[test]
fn the_kernels_client_sees_no_error_while_primaries_are_killed() {
    let kernel = match GuestKernel::find() {
        Ok(kernel) => kernel,
        Err(why) => return skip("the_kernels_client_sees_no_error_while_primaries_are_killed", &why),
    };
    let begin = Instant::now();
    let mut cluster = replicated();
    let script = format!("export PLINTH_CONTROL={} PLINTH_LOG=info\n{SCRIPT}", cluster.control());
    let mut guest = Guest::start(&kernel, &script);
    guest.wait_for("GUEST up", BOOT_MAX);
    println!("the guest is up after {:.0?}", begin.elapsed());
    let device = guest.wait_for("GUEST attached", STEP_MAX);
    assert!(device.starts_with("/dev/nbd"), "{device}: {}", guest.said());
    guest.wait_for("GUEST wrote 2", STEP_MAX * 2);
    let killing = Instant::now();
    let mut kills = 0;
    let mut longest = Duration::ZERO;
    while kills < KILLS && (killing.elapsed() < KILLING_MAX || kills < KILLS_MIN) {
        let killed = primary(&cluster);
        cluster.kill_node(&killed);
        let dead = Instant::now();
        // What it said before counts for nothing.
        let _ = guest.said();
        // What was under way is finished, and one more file was written as a whole behind it.
        guest.wait_for("GUEST wrote", STEP_MAX);
        guest.wait_for("GUEST wrote", STEP_MAX);
        longest = longest.max(dead.elapsed());
        cluster.start_node(&killed);
        whole(&cluster);
        thread::sleep(Duration::from_millis(500));
        kills += 1;
    }
    guest.say("stop");
    guest.wait_for("GUEST wrote without an agent", STEP_MAX);
    guest.wait_for("GUEST has another agent", STEP_MAX);
    guest.wait_for("GUEST waits for a kill", STEP_MAX);
    let killed = primary(&cluster);
    cluster.kill_node(&killed);
    guest.say("go");
    guest.wait_for("GUEST wrote after the kill", STEP_MAX);
    let verified = guest.wait_for("GUEST verified", STEP_MAX * 2);
    guest.wait_for("GUEST end", STEP_MAX);
    let said = guest.said();
    println!("{kills} kills in {:.0?}, two files within {longest:.1?} after each", killing.elapsed());
    println!("verified {verified}; all took {:.0?}", begin.elapsed());
    for bad in ["GUEST failed", "GUEST damaged", "GUEST no", "GUEST wrong"] {
        assert!(!said.contains(bad), "{bad}:\n{said}");
    }
    let (good, all) = verified.split_once(" of ").unwrap();
    assert!(good == all && good != "0", "{said}");
    let volume = cluster.json(&["volume", "show", "db"]);
    assert_eq!(volume["attachments"].as_array().unwrap().len(), 0, "{volume}");
}
