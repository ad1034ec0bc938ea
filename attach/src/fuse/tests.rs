//! The file system against calls as the kernel makes them.

use block::{ByteRange, Request};
use rustix::io::Errno;

use super::file::{Due, Heard, VolumeFile};
use super::wire::{Call, FILE, FOLDER, Operation, WRITE_BYTES_MAX};

const MIB: u64 = 1 << 20;

/// A call as it comes: a header, and what belongs to the operation.
fn bytes(operation: u32, node: u64, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let len = u32::try_from(40 + body.len()).unwrap();
    let mut call = [len.to_ne_bytes(), operation.to_ne_bytes()].concat();
    call.extend(7_u64.to_ne_bytes());
    call.extend(node.to_ne_bytes());
    call.extend([0; 16]);
    call.extend(body);
    call
}

fn hear(file: &mut VolumeFile, operation: u32, body: &[&[u8]]) -> Heard {
    let bytes = bytes(operation, FILE, body);
    let call = Call::parse(&bytes).expect("the kernel makes sense");
    assert_eq!((call.unique, call.node), (7, FILE));
    file.hear(&call)
}

fn transfer(offset: u64, len_bytes: u32) -> Vec<u8> {
    let mut body = vec![0; 8];
    body.extend(offset.to_ne_bytes());
    body.extend(len_bytes.to_ne_bytes());
    body.extend([0; 20]);
    body
}

fn size_of_file(file: &mut VolumeFile) -> u64 {
    let Heard::Answer(Ok(told)) = hear(file, 3, &[&[0; 16]]) else { panic!("attributes are told") };
    u64::from_ne_bytes(told[24..32].try_into().unwrap())
}

fn set_size(file: &mut VolumeFile, size_bytes: u64) -> Heard {
    hear(file, 4, &[&8_u32.to_ne_bytes(), &[0; 12], &size_bytes.to_ne_bytes(), &[0; 64]])
}

#[test]
fn the_file_grows_and_never_shrinks() {
    let mut file = VolumeFile::new(MIB);
    assert_eq!(size_of_file(&mut file), MIB);
    assert!(matches!(set_size(&mut file, 2 * MIB), Heard::Answer(Ok(_))));
    assert_eq!(size_of_file(&mut file), 2 * MIB);
    assert_eq!(set_size(&mut file, MIB), Heard::Answer(Err(Errno::INVAL)));
    assert_eq!(size_of_file(&mut file), 2 * MIB);
}

#[test]
fn reads_and_writes_become_the_volumes_and_nothing_is_read_behind_the_end() {
    let mut file = VolumeFile::new(MIB);
    let read = |offset, len_bytes| Request::Read { range: ByteRange::new(offset, len_bytes) };
    assert_eq!(hear(&mut file, 15, &[&transfer(4096, 512)]), Heard::Ask(read(4096, 512), vec![], Due::Data(512)));
    let end = hear(&mut file, 15, &[&transfer(MIB - 512, 4096)]);
    assert_eq!(end, Heard::Ask(read(MIB - 512, 512), vec![], Due::Data(512)));
    assert_eq!(hear(&mut file, 15, &[&transfer(MIB, 4096)]), Heard::Answer(Ok(vec![])));
    let write = Request::Write { range: ByteRange::new(512, 3), fua: false };
    assert_eq!(hear(&mut file, 16, &[&transfer(512, 3), b"abc"]), Heard::Ask(write, b"abc".to_vec(), Due::Count(3)));
    assert_eq!(hear(&mut file, 20, &[&[0; 16]]), Heard::Ask(Request::Flush, vec![], Due::Nothing));
}

#[test]
fn a_hole_reads_as_zeroes_to_the_byte() {
    let mut file = VolumeFile::new(MIB);
    let fallocate = |mode: u32, len: u64| {
        [
            vec![0; 8],
            512_u64.to_ne_bytes().to_vec(),
            len.to_ne_bytes().to_vec(),
            mode.to_ne_bytes().to_vec(),
            vec![0; 4],
        ]
        .concat()
    };
    let zeroes = |keep_allocated| {
        let range = ByteRange::new(512, 1024);
        Heard::Ask(Request::WriteZeroes { range, fua: false, fast_only: false, keep_allocated }, vec![], Due::Nothing)
    };
    assert_eq!(hear(&mut file, 43, &[&fallocate(0x03, 1024)]), zeroes(false), "punch a hole");
    assert_eq!(hear(&mut file, 43, &[&fallocate(0x10, 1024)]), zeroes(true), "zero a range");
    assert_eq!(hear(&mut file, 43, &[&fallocate(0x11, 1024)]), zeroes(true));
    assert_eq!(
        hear(&mut file, 43, &[&fallocate(0, 1024)]),
        Heard::Answer(Err(Errno::NOSYS)),
        "it is allocated already"
    );
    assert_eq!(hear(&mut file, 43, &[&fallocate(0x03, 1 << 32)]), Heard::Answer(Err(Errno::INVAL)));
}

#[test]
fn only_the_file_is_found_and_what_is_unknown_is_refused() {
    let mut file = VolumeFile::new(MIB);
    assert!(matches!(hear(&mut file, 1, &[b"disk\0"]), Heard::Answer(Ok(found)) if found.len() == 128));
    assert_eq!(hear(&mut file, 1, &[b"other\0"]), Heard::Answer(Err(Errno::NOENT)));
    assert_eq!(hear(&mut file, 9, &[b"folder\0"]), Heard::Answer(Err(Errno::NOSYS)));
    assert_eq!(hear(&mut file, 2, &[&[0; 8]]), Heard::Silence);
}

#[test]
fn an_old_kernel_is_refused_in_words_and_a_new_one_may_send_a_mebibyte() {
    let mut file = VolumeFile::new(MIB);
    let init = |minor: u32| [7_u32, minor, 131_072, u32::MAX].map(u32::to_ne_bytes).concat();
    let Heard::Answer(Ok(agreed)) = hear(&mut file, 26, &[&init(45)]) else { panic!("it is agreed") };
    assert_eq!(agreed.len(), 64);
    assert_eq!(agreed[20..24], WRITE_BYTES_MAX.to_ne_bytes());
    assert_eq!(hear(&mut file, 26, &[&init(27)]), Heard::Answer(Err(Errno::PROTO)));
}

#[test]
fn what_makes_no_sense_is_no_call() {
    let write = bytes(16, FILE, &[&transfer(0, 4), b"abc"]);
    assert_eq!(Call::parse(&write), None, "a byte is missing");
    assert_eq!(Call::parse(&write[..39]), None);
    let look = bytes(1, FOLDER, &[b"disk\0"]);
    assert_eq!(Call::parse(&look).unwrap().operation, Operation::Lookup(b"disk"));
}
