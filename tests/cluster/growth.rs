//! Devices that grow while they are used, and what else can be asked of a device: by FUSE on this host, and by the kernel's
//! own NBD client in a guest.

use std::fs::{File, read_to_string};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tests::device::{AttachHost, Mounted};
use tests::guest::{Guest, GuestKernel};
use tests::skip::skip;
use tests::tool::{run, tool};
use tests::wait;

use crate::attach::{fio, lacking, simple};
use crate::replicas::replicated;

const BOOT_MAX: Duration = Duration::from_secs(120);
const STEP_MAX: Duration = Duration::from_secs(60);

/// What the kernel tells of a device.
fn told(device: &Path, what: &str) -> String {
    let name = device.file_name().unwrap().to_str().unwrap();
    read_to_string(format!("/sys/block/{name}/{what}")).unwrap().trim().to_owned()
}

fn size_of(device: &Path) -> u64 {
    told(device, "size").parse::<u64>().unwrap() * 512
}

#[test]
fn a_device_by_fuse_grows_under_a_filesystem_that_is_written() {
    if let Some(what) = lacking() {
        return skip("a_device_by_fuse_grows_under_a_filesystem_that_is_written", what);
    }
    let cluster = replicated();
    let host = AttachHost::of(cluster.shell());
    let device = host.attach("db");
    assert_eq!(size_of(&device), 64 << 20);
    run(tool("mkfs.ext4").args(["-q", "-E", "lazy_itable_init=0"]).arg(&device));
    let mounted = Mounted::new(&device);
    let log = cluster.path("fio.log");
    let mut fio = fio(mounted.path(), &log, 15);
    cluster.run(&["volume", "resize", "db", "128MiB"]);
    let begin = Instant::now();
    wait::until("the device to grow", || (size_of(&device) == 128 << 20).then_some(()));
    println!("the device had grown {:.1?} after the volume", begin.elapsed());
    // Whoever does not want to wait asks for it.
    cluster.run(&["volume", "resize", "db", "192MiB"]);
    assert_eq!(host.attach("db"), device);
    assert_eq!(size_of(&device), 192 << 20);
    assert_eq!(fio.ends_within(Duration::from_secs(90)), Some(0), "{}", read_to_string(&log).unwrap());
    assert!(mounted.options().starts_with("rw"), "{}", mounted.options());
    // Not while it is mounted: that takes a right (CAP_SYS_RESOURCE) that containers lack. The guest has it.
    drop(mounted);
    run(tool("fsck.ext4").args(["-f", "-y"]).arg(&device));
    run(tool("resize2fs").arg(&device));
    let mounted = Mounted::new(&device);
    let file = mounted.path().join("large");
    File::create(&file).unwrap().write_all(&vec![7; 100 << 20]).unwrap();
    run(tool("sync").arg(&file));
    drop(mounted);
    run(tool("fsck.ext4").args(["-f", "-n"]).arg(&device));
    let refused = cluster.shell().plinth(&["volume", "resize", "db", "64MiB"]);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && words.contains("does not shrink"), "{words}");
    assert_eq!(size_of(&device), 192 << 20);
    host.run(&["detach", "db"]);
    assert_eq!(host.remains(), [""; 0]);
    cluster.verify("db", Duration::from_secs(30)).unwrap();
}

#[test]
fn a_device_by_fuse_for_reading_takes_no_writes_and_cannot_be_chosen() {
    if let Some(what) = lacking() {
        return skip("a_device_by_fuse_for_reading_takes_no_writes_and_cannot_be_chosen", what);
    }
    let cluster = simple();
    let host = AttachHost::of(cluster.shell());
    let chosen = host.plinth(&["attach", "db", "--method", "fuse", "--device", "/dev/loop9"]);
    let words = String::from_utf8(chosen.stderr).unwrap();
    assert!(chosen.status.code() == Some(2) && words.contains("the system chooses"), "{words}");
    assert_eq!(host.remains(), [""; 0]);
    let words = host.run(&["attach", "db", "--method", "fuse", "--client", "tester", "--read-only"]);
    let device = PathBuf::from(words);
    assert_eq!(told(&device, "ro"), "1");
    let written = File::options().write(true).open(&device).and_then(|mut file| file.write_all(&[1; 4096]));
    assert!(written.is_err(), "nothing is written through it");
    run(tool("cmp").args(["-n", "1048576", "/dev/zero"]).arg(&device));
    // It grows like any other.
    cluster.run(&["volume", "resize", "db", "128MiB"]);
    wait::until("the device to grow", || (size_of(&device) == 128 << 20).then_some(()));
    host.run(&["detach", "db"]);
    assert_eq!(host.remains(), [""; 0]);
}

const SCRIPT: &str = r#"
plinth attach db --client guest --timeout 60 > /device 2> /complaint || cat /complaint
device=$(cat /device); name=${device#/dev/}
echo "GUEST attached $device"
mkfs.ext4 -q $device || echo "GUEST no filesystem"
mount -t ext4 $device /mnt || echo "GUEST not mounted"
(read -r line; touch /stop) < /dev/console &
(
    number=0
    while [ ! -e /stop ]; do
        dd if=/dev/urandom of=/new bs=16k count=16 2> /dev/null
        sum=$(sha256sum < /new)
        cp /new /mnt/file$((number % 20)) && sync || echo "GUEST failed to write"
        echo "$sum" > /sum$((number % 20))
        number=$((number + 1))
        echo "GUEST wrote $number"
    done
    touch /stopped
) &
while [ "$(cat /sys/block/$name/size)" != 262144 ]; do sleep 1; done
echo "GUEST has a larger device"
resize2fs $device || echo "GUEST failed to resize"
size=$(df -k /mnt | tail -n 1 | while read -r dev all rest; do echo $all; done)
echo "GUEST has a filesystem of $size KiB"
while [ ! -e /stopped ]; do sleep 1; done
dd if=/dev/urandom of=/mnt/large bs=64k count=1280 2> /dev/null && sync || echo "GUEST failed to fill it"
umount /mnt || echo "GUEST not unmounted"
echo 3 > /proc/sys/vm/drop_caches
e2fsck -f -n $device > /fsck 2>&1 || { echo "GUEST damaged filesystem"; cat /fsck; }
plinth detach db || echo "GUEST failed to detach"
plinth attach db --client guest --read-only --device /dev/nbd5 > /device 2> /complaint || cat /complaint
echo "GUEST reads $(cat /device) with ro $(cat /sys/block/nbd5/ro)"
dd if=/dev/zero of=/dev/nbd5 bs=4k count=1 oflag=direct 2> /dev/null && echo "GUEST wrong: it takes writes"
mount -t ext4 -o ro,noload /dev/nbd5 /mnt || echo "GUEST not mounted"
good=0
for sum in /sum*; do
    file=/mnt/file${sum#/sum}
    if [ "$(sha256sum < $file)" = "$(cat $sum)" ]; then good=$((good + 1)); else echo "GUEST damaged $file"; fi
done
umount /mnt
plinth detach db || echo "GUEST failed to detach"
echo "GUEST verified $good of $(ls /sum* | wc -l)"
dmesg | grep -iE "i/o error|ext4-fs (error|warning)|aborted|remount" | sed 's/^/GUEST failed: /'
"#;

#[test]
fn the_kernels_device_grows_under_a_filesystem_that_is_written() {
    let kernel = match GuestKernel::find() {
        Ok(kernel) => kernel,
        Err(why) => return skip("the_kernels_device_grows_under_a_filesystem_that_is_written", &why),
    };
    let begin = Instant::now();
    let cluster = replicated();
    let script = format!("export PLINTH_CONTROL={} PLINTH_LOG=info\n{SCRIPT}", cluster.control());
    let mut guest = Guest::start(&kernel, &script);
    guest.wait_for("GUEST up", BOOT_MAX);
    guest.wait_for("GUEST attached", STEP_MAX);
    guest.wait_for("GUEST wrote 2", STEP_MAX);
    cluster.run(&["volume", "resize", "db", "128MiB"]);
    guest.wait_for("GUEST has a larger device", STEP_MAX);
    let size = guest.wait_for("GUEST has a filesystem of", STEP_MAX);
    guest.wait_for("GUEST wrote", STEP_MAX);
    guest.say("stop");
    let read_only = guest.wait_for("GUEST reads", STEP_MAX * 4);
    let verified = guest.wait_for("GUEST verified", STEP_MAX * 2);
    guest.wait_for("GUEST end", STEP_MAX);
    let said = guest.said();
    println!("a filesystem of {size} in the end, {verified} files good; all took {:.0?}", begin.elapsed());
    for bad in ["GUEST failed", "GUEST damaged", "GUEST no", "GUEST wrong"] {
        assert!(!said.contains(bad), "{bad}:\n{said}");
    }
    assert!(size.strip_suffix(" KiB").unwrap().parse::<u64>().unwrap() > 100_000, "{said}");
    assert_eq!(read_only, "/dev/nbd5 with ro 1", "{said}");
    let (good, all) = verified.split_once(" of ").unwrap();
    assert!(good == all && good != "0", "{said}");
    cluster.verify("db", Duration::from_secs(30)).unwrap();
}
