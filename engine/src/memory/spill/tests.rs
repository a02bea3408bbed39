//! Tests of `spill`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::window::Map;
use super::*;
use crate::error::{Error, Result};
use crate::memory::{Governor, GovernorOptions};

/// How the n-th call fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    Error(io::ErrorKind),
    /// Every call from then on that goes to this directory's file (by number of opening).
    FullFrom(usize),
    /// All calls do a part of what they were asked for.
    Short,
    /// Reads give back something else.
    Flip,
}

/// Counts calls and makes the n-th fail.
#[derive(Debug)]
struct Faulty {
    fault: Fault,
    at: usize,
    calls: AtomicUsize,
    first_inode: std::sync::OnceLock<u64>,
}

impl Faulty {
    fn new(fault: Fault, at: usize) -> Arc<Self> {
        Arc::new(Faulty { fault, at, calls: 0.into(), first_inode: Default::default() })
    }

    fn step(&self) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::Error(kind) if call == self.at => Err(kind.into()),
            _ => Ok(()),
        }
    }

    fn part(&self, len: usize) -> usize {
        if self.fault == Fault::Short { len.div_ceil(3) } else { len }
    }
}

impl SpillIo for Faulty {
    fn open(&self, dir: &Path) -> io::Result<File> {
        self.step()?;
        let file = SystemIo.open(dir)?;
        let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata()?);
        self.first_inode.get_or_init(|| inode);
        Ok(file)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.step()?;
        if let Fault::FullFrom(from) = self.fault {
            let inode = std::os::unix::fs::MetadataExt::ino(&file.metadata()?);
            let calls = self.calls.load(Ordering::Relaxed);
            if self.first_inode.get() == Some(&inode) && calls > from {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        SystemIo.write_at(file, &bytes[..self.part(bytes.len())], offset)
    }

    fn read_at(&self, file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.step()?;
        let part = self.part(bytes.len());
        let read = SystemIo.read_at(file, &mut bytes[..part], offset)?;
        if self.fault == Fault::Flip && self.at < read {
            bytes[self.at] ^= 4;
        }
        Ok(read)
    }

    fn map(&self, file: &File, offset: u64, len: usize) -> io::Result<Map> {
        self.step()?;
        SystemIo.map(file, offset, len)
    }
}

fn governor(dirs: &[&Path], io: Arc<dyn SpillIo>, cap: Option<u64>) -> Governor {
    Governor::new(GovernorOptions {
        temp_dirs: dirs.iter().map(PathBuf::from).collect(),
        spill_cap_bytes: cap,
        spill_io: Some(io),
        ..Default::default()
    })
}

/// Block number `n` of a test tape: lengths from nothing to a few hundred KB.
fn block(n: u32) -> Vec<u8> {
    let len = match n % 16 {
        0 => 0,
        9 => 400_000,
        k => (k * k * 37) as usize,
    };
    (0..len).map(|i| (i as u32 ^ n).wrapping_mul(31) as u8).collect()
}

fn write(governor: &Governor, blocks: u32) -> Result<(Tape, Vec<u64>)> {
    let mut writer = TapeWriter::new(governor.spill(), "a test", 16 << 10);
    let positions = (0..blocks).map(|n| writer.append(&block(n), n)).collect::<Result<_>>()?;
    let len = writer.len();
    let tape = writer.finish()?;
    assert_eq!(tape.len(), len);
    Ok((tape, positions))
}

fn read_all_back(governor: &Governor, tape: Arc<Tape>, blocks: u32, window: usize) -> Result<()> {
    let mut reader = TapeReader::new(tape, window, governor.reserve("reader", 0)?)?;
    for n in 0..blocks {
        let found = reader.next_block()?.expect("not the end");
        assert_eq!((found.tag, found.bytes), (n, &block(n)[..]));
    }
    assert_eq!(reader.next_block()?, None);
    Ok(())
}

#[test]
fn blocks_come_back_in_order_and_from_any_position() {
    let dir = tempfile::tempdir().expect("temp dir");
    for (fault, window) in [(Fault::None, 8 << 10), (Fault::Short, 1000), (Fault::None, 1 << 20)] {
        let governor = governor(&[dir.path()], Faulty::new(fault, 0), None);
        let (tape, positions) = write(&governor, 100).expect("writes");
        let tape = Arc::new(tape);
        read_all_back(&governor, tape.clone(), 100, window).expect("reads");
        let charge = governor.reserve("reader", 0).expect("no limit");
        let mut reader = TapeReader::new(tape.clone(), window, charge).expect("no limit");
        for n in (0..99u32).rev() {
            reader.seek(positions[n as usize], positions[n as usize + 1], 0);
            let found = reader.next_block().expect("reads").expect("one block");
            assert_eq!((found.tag, found.bytes), (n, &block(n)[..]));
            assert!(reader.next_block().expect("reads").is_none());
        }
        assert!(governor.reserved() >= window);
        drop(reader);
        assert_eq!(governor.reserved(), 0);
        assert!(governor.spill().usage().used >= tape.len());
        drop(tape);
        assert_eq!(governor.spill().usage().used, 0);
        assert_eq!(std::fs::read_dir(dir.path()).expect("reads").count(), 0, "no name is left");
    }
}

#[test]
fn extents_are_reused_and_an_empty_file_is_closed() {
    let dir = tempfile::tempdir().expect("temp dir");
    let governor = governor(&[dir.path()], Arc::new(SystemIo), None);
    let (kept, _) = write(&governor, 20).expect("writes");
    for _ in 0..5 {
        let (tape, _) = write(&governor, 40).expect("writes");
        drop(tape);
    }
    let peak = governor.spill().usage().peak;
    assert!(peak < 3 * kept.len() + (8 << 20), "freed extents serve again");
    read_all_back(&governor, Arc::new(kept), 20, 4096).expect("the other tape is untouched");
    assert_eq!(governor.spill().usage().used, 0);
    assert!(governor.spill().usage().written > 5 * 400_000);
    assert_eq!(governor.spill().usage().files, 0);
}

#[test]
fn several_directories_share_and_a_full_one_is_passed_over() {
    let (a, b) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
    for full_from in [0, 3, 4, 10, 30] {
        let io = Faulty::new(Fault::FullFrom(full_from), 0);
        let governor = governor(&[a.path(), b.path()], io, None);
        let (tape, _) = write(&governor, 60).expect("the second directory has room");
        read_all_back(&governor, Arc::new(tape), 60, 4096).expect("reads");
        assert_eq!(governor.spill().usage().used, 0);
    }
    let gone = a.path().join("gone");
    let governor = governor(&[&gone, b.path()], Arc::new(SystemIo), None);
    let (tape, _) = write(&governor, 20).expect("the second directory exists");
    assert_eq!(governor.spill().usage().files, 1);
    drop(tape);
}

#[test]
fn a_full_disk_the_cap_and_a_vanished_directory_are_named_with_the_knob() {
    let dir = tempfile::tempdir().expect("temp dir");
    let place = dir.path().display().to_string();
    let full = governor(&[dir.path()], Faulty::new(Fault::FullFrom(0), 0), None);
    let error = write(&full, 10).err().expect("full");
    let text = error.to_string();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{text}");
    assert!(text.contains(&place) && text.contains("--temp-dir"), "{text}");
    assert!(text.contains("a test"), "{text}");

    let capped = governor(&[dir.path()], Arc::new(SystemIo), Some(1 << 20));
    let error = write(&capped, 100).err().expect("capped");
    assert!(matches!(error, Error::OutOfMemory { .. }));
    assert!(error.to_string().contains("(spill_limit)"), "{error}");
    assert_eq!(capped.spill().usage().used, 0, "the part that was written is freed");

    let gone = dir.path().join("gone");
    let vanished = governor(&[&gone], Arc::new(SystemIo), None);
    let error = write(&vanished, 10).err().expect("vanished");
    assert!(matches!(error, Error::Io { .. }));
    assert!(error.to_string().contains("gone"), "{error}");
}

#[test]
fn every_call_failed_once_gives_an_error_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("temp dir");
    let run = |io: Arc<Faulty>| {
        let governor = governor(&[dir.path()], io, None);
        let done = write(&governor, 40)
            .and_then(|(tape, _)| read_all_back(&governor, Arc::new(tape), 40, 300_000));
        assert_eq!((governor.spill().usage().used, governor.reserved()), (0, 0));
        done
    };
    let clean = Faulty::new(Fault::None, 0);
    run(clean.clone()).expect("nothing fails");
    let calls = clean.calls.load(Ordering::Relaxed);
    assert!(calls > 15, "{calls}");
    for n in 0..calls {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
            let error = run(Faulty::new(Fault::Error(kind), n)).expect_err("call n failed");
            assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
        }
    }
    run(Faulty::new(Fault::Error(io::ErrorKind::Interrupted), 7)).expect("tried again");
}

#[test]
fn a_flipped_bit_is_found_and_a_huge_block_is_charged() {
    let dir = tempfile::tempdir().expect("temp dir");
    for at in [0usize, 5, 9, 14, 17, 400] {
        let governor = governor(&[dir.path()], Faulty::new(Fault::Flip, at), None);
        let (tape, _) = write(&governor, 16).expect("writes");
        let error = read_all_back(&governor, Arc::new(tape), 16, 3000).expect_err("damaged");
        assert!(error.to_string().contains("damaged"), "{error}");
    }
    let options = GovernorOptions { limit_bytes: Some(1 << 20), ..Default::default() };
    let governor = Governor::new(options);
    let mut writer = TapeWriter::new(governor.spill(), "a test", 4096);
    writer.append(&vec![7; 3 << 20], 0).expect("written from where it lies");
    let tape = Arc::new(writer.finish().expect("writes"));
    let charge = governor.reserve("reader", 0).expect("fits");
    let mut reader = TapeReader::new(tape, 4096, charge).expect("fits");
    let error = reader.next_block().expect_err("3 MB do not fit");
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
}

#[test]
fn directories_can_be_changed_while_blocks_are_in_the_old_ones() {
    let [one, two] = [tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("dir")];
    let governor = Governor::new(GovernorOptions {
        temp_dirs: vec![one.path().to_path_buf()],
        ..Default::default()
    });
    let space = governor.spill();
    let tape = |bytes: &[u8]| {
        let mut writer = TapeWriter::new(space, "test", 1 << 10);
        writer.append(bytes, 7).expect("writes");
        Arc::new(writer.finish().expect("writes"))
    };
    let before = tape(b"in the first");
    space.set_directories(&[two.path().to_path_buf()]);
    let after = tape(b"in the second");
    space.set_cap(Some(1));
    let refused = TapeWriter::new(space, "test", 1).append(b"no room", 0).expect_err("capped");
    assert!(matches!(refused, Error::OutOfMemory { .. }), "{refused}");
    for (tape, bytes) in [(before, &b"in the first"[..]), (after, b"in the second")] {
        let charge = governor.reserve("test", 0).expect("fits");
        let mut reader = TapeReader::new(tape, 1 << 10, charge).expect("opens");
        assert_eq!(reader.next_block().expect("reads").expect("a block").bytes, bytes);
    }
    assert_eq!(space.usage().used, 0);
}
