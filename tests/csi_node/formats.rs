//! What is on a device is never misread, and never lost.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Duration;

use csi_plugin::system::{Content, Filesystem, RepairFault, format, look, repair};
use tests::skip::skip;
use tests::tool::{output, run, tool};
use tests::wait;

use crate::loops::{Loop, block, lacking};

/// Large enough for mkfs.xfs, which wants 300 MiB.
const MIB: u64 = 320;

fn formatted(filesystem: Filesystem, words: &[&str]) -> Loop {
    let disk = Loop::new(MIB);
    let found = block(look(disk.device())).expect("the device can be read");
    assert_eq!(found, Content::Blank);
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    block(format(disk.device(), filesystem, &found, &words)).expect("it is formatted");
    disk
}

#[test]
fn a_new_filesystem_is_recognised_and_whole() {
    if let Some(what) = lacking() {
        return skip("a_new_filesystem_is_recognised_and_whole", what);
    }
    for filesystem in Filesystem::ALL {
        let disk = formatted(filesystem, &["-L", "marked"]);
        let found = block(look(disk.device())).unwrap();
        assert!(matches!(&found, Content::Whole(one, uuid) if *one == filesystem && uuid.len() == 36), "{found:?}");
        assert_eq!(run(tool("blkid").args(["-p", "-s", "LABEL", "-o", "value"]).arg(disk.device())).trim(), "marked");
        block(repair(disk.device(), filesystem)).unwrap();
    }
}

#[test]
fn features_are_those_that_older_kernels_read() {
    if let Some(what) = lacking() {
        return skip("features_are_those_that_older_kernels_read", what);
    }
    let disk = formatted(Filesystem::Ext4, &[]);
    let told = run(tool("dumpe2fs").arg("-h").arg(disk.device()));
    let features = told.lines().find(|line| line.starts_with("Filesystem features:")).unwrap();
    for wanted in ["has_journal", "extent", "64bit", "metadata_csum", "resize_inode", "flex_bg"] {
        assert!(features.contains(wanted), "{features}");
    }
    for newer in ["orphan_file", "metadata_csum_seed", "fast_commit", "casefold", "verity", "encrypt"] {
        assert!(!features.contains(newer), "{features}");
    }
    assert!(told.contains("Reserved block count:     0"), "{told}");
    let disk = formatted(Filesystem::Xfs, &[]);
    let told = run(tool("xfs_db").args(["-r", "-c", "version"]).arg(disk.device()));
    assert!(told.contains("CRC") && !told.contains("BIGTIME") && !told.contains("NREXT64"), "{told}");
}

#[test]
fn whatever_may_be_something_is_not_formatted() {
    if let Some(what) = lacking() {
        return skip("whatever_may_be_something_is_not_formatted", what);
    }
    let disk = Loop::new(64);
    let write = |bytes: &[u8], at: u64| {
        File::options().write(true).open(disk.device()).unwrap().write_all_at(bytes, at).unwrap();
    };
    let refused = |what: &str| {
        let fault = block(look(disk.device())).unwrap_err().to_string();
        assert!(fault.contains(what) && fault.contains("not formatted"), "{fault}");
        run(tool("wipefs").arg("-aq").arg(disk.device()));
        write(&[0; 1 << 20], 0);
        write(&[0; 1 << 20], (64 << 20) - (1 << 20));
        assert_eq!(block(look(disk.device())).unwrap(), Content::Blank);
    };
    write(b"data of a database", 0);
    refused("data without a signature");
    write(b"x", (1 << 20) - 1);
    refused("data without a signature");
    write(b"x", (64 << 20) - 1);
    refused("data without a signature");
    run(tool("mkswap").arg(disk.device()));
    refused("swap");
    let mut table = [0; 512];
    // One partition of Linux's kind, from sector 2048, of 4096 sectors.
    table[446..462].copy_from_slice(&[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 16, 0, 0]);
    table[510..].copy_from_slice(&[0x55, 0xaa]);
    write(&table, 0);
    refused("partition table (dos)");
    run(tool("mkfs.ext2").arg("-q").arg(disk.device()));
    refused("ext2");
}

#[test]
fn two_signatures_are_ambivalent() {
    if let Some(what) = lacking() {
        return skip("two_signatures_are_ambivalent", what);
    }
    let disk = formatted(Filesystem::Ext4, &[]);
    let file = File::options().write(true).open(disk.device()).unwrap();
    // The signature of btrfs, where that has it.
    file.write_all_at(b"_BHRfS_M", 65536 + 64).unwrap();
    // And that of xfs, in the sector that ext4 leaves alone.
    let whole = formatted(Filesystem::Xfs, &[]);
    let mut sector = [0; 512];
    File::open(whole.device()).unwrap().read_exact_at(&mut sector, 0).unwrap();
    file.write_all_at(&sector, 0).unwrap();
    drop(file);
    let fault = block(look(disk.device())).unwrap_err().to_string();
    assert!(fault.contains("several kinds"), "{fault}");
}

#[test]
fn a_device_that_cannot_be_read_is_not_blank() {
    if let Some(what) = lacking() {
        return skip("a_device_that_cannot_be_read_is_not_blank", what);
    }
    let fault = block(look(std::path::Path::new("/dev/plinth-none"))).unwrap_err().to_string();
    assert!(fault.contains("cannot read"), "{fault}");
}

/// A formatter that dies leaves what the next one takes for nothing, whatever it had done.
#[test]
fn an_interrupted_format_is_done_again() {
    if let Some(what) = lacking() {
        return skip("an_interrupted_format_is_done_again", what);
    }
    let (mut whole, mut unfinished) = (0, 0);
    for filesystem in Filesystem::ALL {
        for step in 0..14_u64 {
            let disk = Loop::new(MIB);
            let limit = Duration::from_millis(step * step);
            let ended = block(async {
                tokio::time::timeout(limit, format(disk.device(), filesystem, &Content::Blank, &[])).await.is_ok()
            });
            // Whoever was killed has the device for a moment longer.
            let found = wait::until("the formatter to be gone", || block(look(disk.device())).ok());
            match &found {
                Content::Whole(..) => whole += 1,
                Content::Blank | Content::Unfinished => {
                    assert!(!ended, "{filesystem} is there, and {found:?} was found");
                    unfinished += u32::from(found == Content::Unfinished);
                    let again = || block(format(disk.device(), filesystem, &found, &[])).ok();
                    wait::until("the second formatter", again);
                }
            }
            block(repair(disk.device(), filesystem)).unwrap_or_else(|fault| panic!("{filesystem} {step}: {fault}"));
            let place = disk.place("m");
            run(tool("mount").arg(disk.device()).arg(&place));
            run(tool("umount").arg(&place));
        }
    }
    println!("{whole} were made in time, {unfinished} left unfinished");
    assert!(whole > 0 && unfinished > 0);
}

#[test]
fn a_dirty_journal_is_replayed_and_damage_is_refused() {
    if let Some(what) = lacking() {
        return skip("a_dirty_journal_is_replayed_and_damage_is_refused", what);
    }
    let disk = formatted(Filesystem::Ext4, &[]);
    let place = disk.place("m");
    run(tool("mount").arg(disk.device()).arg(&place));
    std::fs::write(place.join("file"), "kept").unwrap();
    run(tool("sync").arg("-f").arg(&place));
    // What a crash leaves: the bytes of a mounted filesystem.
    let copy = Loop::copy_of(&disk);
    let told = run(tool("dumpe2fs").arg("-h").arg(copy.device()));
    assert!(told.contains("needs_recovery"), "{told}");
    block(repair(copy.device(), Filesystem::Ext4)).unwrap();
    assert!(!run(tool("dumpe2fs").arg("-h").arg(copy.device())).contains("needs_recovery"));
    assert!(block(repair(disk.device(), Filesystem::Ext4)).is_err(), "never what is mounted");
    run(tool("umount").arg(&place));
    // An inode table full of what is no inode.
    let told = run(tool("dumpe2fs").arg(copy.device()));
    let table = told.lines().find_map(|line| line.split("Inode table at ").nth(1)).unwrap();
    let first: u64 = table.split('-').next().unwrap().parse().unwrap();
    let block_bytes = told.lines().find_map(|line| line.strip_prefix("Block size:")).unwrap().trim();
    let block_bytes: u64 = block_bytes.parse().unwrap();
    let file = File::options().write(true).open(copy.device()).unwrap();
    file.write_all_at(&[0xa5; 16384], first * block_bytes).unwrap();
    drop(file);
    let marked = output(Command::new("debugfs").args(["-w", "-R", "ssv state 2"]).arg(copy.device()));
    assert!(marked.status.success());
    let fault = block(repair(copy.device(), Filesystem::Ext4)).unwrap_err();
    assert!(matches!(fault, RepairFault::Damaged { .. }), "{fault}");
}
