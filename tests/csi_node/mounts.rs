//! Mounts, copies of them, clones beside their source, and growth in use.

use std::path::Path;

use csi_plugin::system::{
    Content, Filesystem, MountTable, Wish, bind, format, grow, look, mount, refuse_twin, unmount, usage,
};
use tests::skip::skip;
use tests::tool::{run, tool};

use crate::loops::{Loop, block, lacking, may_resize_ext4};

const MIB: u64 = 320;

fn formatted(filesystem: Filesystem) -> Loop {
    let disk = Loop::new(MIB);
    block(format(disk.device(), filesystem, &Content::Blank, &[])).expect("it is formatted");
    disk
}

fn wish(filesystem: Filesystem, read_only: bool) -> Wish<'static> {
    Wish { filesystem, read_only, flags: &[] }
}

#[test]
fn mounts_are_found_by_what_they_show() {
    if let Some(what) = lacking() {
        return skip("mounts_are_found_by_what_they_show", what);
    }
    for filesystem in Filesystem::ALL {
        let disk = formatted(filesystem);
        let (staged, pod, reader) = (disk.place("staged"), disk.place("a pod"), disk.place("reader"));
        block(mount(disk.device(), &staged, wish(filesystem, false))).unwrap();
        block(bind(&staged, &pod, false)).unwrap();
        block(bind(&staged, &reader, true)).unwrap();
        std::fs::write(pod.join("file"), "seen by all").unwrap();
        assert_eq!(std::fs::read_to_string(reader.join("file")).unwrap(), "seen by all");
        assert!(std::fs::write(reader.join("file"), "no").is_err());
        let table = MountTable::read().unwrap();
        let origin = table.origin(&staged).unwrap();
        assert_eq!(table.showing(&origin).count(), 3);
        assert_eq!(table.of_device(disk.device()).count(), 3);
        assert!(table.at(&reader).unwrap().read_only && !table.at(&pod).unwrap().read_only);
        for place in [&pod, &reader, &staged, &staged] {
            block(unmount(place)).unwrap();
        }
        assert_eq!(MountTable::read().unwrap().of_device(disk.device()).count(), 0);
    }
}

#[test]
fn a_device_file_is_shown_at_another_place() {
    if let Some(what) = lacking() {
        return skip("a_device_file_is_shown_at_another_place", what);
    }
    let disk = Loop::new(8);
    let place = disk.place("x").join("device");
    std::fs::write(&place, "").unwrap();
    block(bind(disk.device(), &place, false)).unwrap();
    let table = MountTable::read().unwrap();
    let origin = table.origin(disk.device()).unwrap();
    assert_eq!(table.showing(&origin).map(|mount| mount.point.as_path()).collect::<Vec<_>>(), [place.as_path()]);
    assert_eq!(table.origin(&place).unwrap(), origin, "a copy of the copy shows the same");
    std::fs::write(&place, "to the device").unwrap();
    assert!(std::fs::read(disk.device()).unwrap().starts_with(b"to the device"));
    block(unmount(&place)).unwrap();
}

#[test]
fn two_mounts_at_one_place_are_both_taken_away() {
    if let Some(what) = lacking() {
        return skip("two_mounts_at_one_place_are_both_taken_away", what);
    }
    let disk = formatted(Filesystem::Ext4);
    let place = disk.place("m");
    block(mount(disk.device(), &place, wish(Filesystem::Ext4, false))).unwrap();
    assert!(block(mount(disk.device(), &place, wish(Filesystem::Ext4, false))).is_err(), "mount sees that it is there");
    block(bind(&place, &place, false)).unwrap();
    block(unmount(&place)).unwrap();
    assert!(MountTable::read().unwrap().at(&place).is_none());
}

#[test]
fn what_is_in_use_stays_mounted() {
    if let Some(what) = lacking() {
        return skip("what_is_in_use_stays_mounted", what);
    }
    let disk = formatted(Filesystem::Ext4);
    let place = disk.place("m");
    block(mount(disk.device(), &place, wish(Filesystem::Ext4, false))).unwrap();
    let file = std::fs::File::create(place.join("open")).unwrap();
    let fault = block(unmount(&place)).unwrap_err().to_string();
    assert!(fault.contains("busy"), "{fault}");
    drop(file);
    block(unmount(&place)).unwrap();
}

#[test]
fn a_clone_is_mounted_beside_its_source() {
    if let Some(what) = lacking() {
        return skip("a_clone_is_mounted_beside_its_source", what);
    }
    for filesystem in Filesystem::ALL {
        let disk = formatted(filesystem);
        let staged = disk.place("staged");
        block(mount(disk.device(), &staged, wish(filesystem, false))).unwrap();
        std::fs::write(staged.join("file"), "the source's").unwrap();
        run(tool("sync").arg("-f").arg(&staged));
        let clone = Loop::copy_of(&disk);
        let Content::Whole(found, uuid) = block(look(clone.device())).unwrap() else { panic!("no filesystem") };
        assert_eq!(found, filesystem);
        if let Err(fault) = refuse_twin(clone.device(), found, &uuid) {
            println!("{fault}");
            continue;
        }
        let place = clone.place("m");
        block(mount(clone.device(), &place, wish(filesystem, false))).unwrap();
        std::fs::write(place.join("file"), "the clone's").unwrap();
        assert_eq!(std::fs::read_to_string(staged.join("file")).unwrap(), "the source's");
        assert_eq!(MountTable::read().unwrap().at(&place).unwrap().source, clone.device());
    }
}

#[test]
fn a_filesystem_grows_while_it_is_used() {
    if let Some(what) = lacking() {
        return skip("a_filesystem_grows_while_it_is_used", what);
    }
    for filesystem in Filesystem::ALL {
        if filesystem == Filesystem::Ext4 && !may_resize_ext4() {
            println!("ext4 is left out: growing it in use needs CAP_SYS_RESOURCE, which is taken from this process");
            continue;
        }
        let disk = formatted(filesystem);
        let place = disk.place("m");
        block(mount(disk.device(), &place, wish(filesystem, false))).unwrap();
        let open = std::fs::File::create(place.join("open")).unwrap();
        let before = block(usage(&place)).unwrap();
        disk.grow(2 * MIB);
        for _ in 0..2 {
            block(grow(disk.device(), &place, filesystem)).unwrap();
        }
        let after = block(usage(&place)).unwrap();
        assert!(after.total_bytes > before.total_bytes + (MIB << 20) / 2, "{filesystem}: {before:?} {after:?}");
        drop(open);
    }
}

#[test]
fn a_journal_that_cannot_be_replayed_is_not_ignored() {
    if let Some(what) = lacking() {
        return skip("a_journal_that_cannot_be_replayed_is_not_ignored", what);
    }
    for filesystem in [Filesystem::Ext4, Filesystem::Xfs] {
        let disk = formatted(filesystem);
        let place = disk.place("m");
        block(mount(disk.device(), &place, wish(filesystem, false))).unwrap();
        std::fs::write(place.join("file"), "in the journal").unwrap();
        run(tool("sync").arg("-f").arg(&place));
        let frozen = Loop::copy_of(&disk).read_only();
        let refused = block(mount(frozen.device(), &frozen.place("r"), wish(filesystem, true)));
        assert!(refused.is_err(), "{filesystem}: it was mounted as it is");
        assert!(MountTable::read().unwrap().below(Path::new(&frozen.place("r"))).next().is_none());
    }
}
