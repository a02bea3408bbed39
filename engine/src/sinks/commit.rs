//! Outputs that appear whole or not at all: written under a temporary name, renamed at commit.
//!
//! Phases: `create` makes `.{name}.{random}.gristmill-tmp` beside the target and locks it; bytes
//! are written; `commit` renames it over the target. Dropping an output that was not committed
//! removes the temporary file, so failure and cancellation leave nothing behind. Targets that are
//! no regular files (pipes, terminals, `/dev/null`) cannot be renamed over and are written
//! directly; so are `/dev/stdout` and `/dev/stderr`, wherever they lead, from where they stand.
//!
//! A killed process leaves its temporary file but not its lock: the next output in the same
//! directory removes every temporary file it can lock.
//!
//! Invariants:
//! 1. The target holds either what it held before or the whole output, never a part, whatever
//!    happens to the process. (What a machine without power forgets is up to the file system.)
//! 2. A temporary file that somebody is writing is never removed by anybody else.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What the names of temporary files and directories end with.
pub(in crate::sinks) const SUFFIX: &str = ".gristmill-tmp";

/// The file in a temporary directory that whoever writes there has locked.
pub(in crate::sinks) const LOCK_NAME: &str = ".lock";

/// What any program asks for when it makes a file; the process's umask takes away from it.
#[cfg(unix)]
const NEW_FILE_MODE: u32 = 0o666;

/// How often a temporary file is made anew when a cleaner took it before it was locked.
const ATTEMPTS: usize = 8;

/// A file under construction; see the module documentation.
#[derive(Debug)]
pub struct Output {
    /// Where the bytes go.
    file: File,
    /// The temporary name; `None` when the target is written directly.
    temporary: Option<PathBuf>,
    target: PathBuf,
}

impl Output {
    /// Begins a file that will be `target`, and removes what killed processes left beside it.
    ///
    /// # Errors
    /// `Input` when the target is a directory, `Io` when it cannot be created.
    pub fn create(target: &Path) -> Result<Output> {
        if let Some(file) = stream_of(target) {
            let file = file.map_err(|e| Error::io("open", target, e))?;
            return Ok(Output { file, temporary: None, target: target.to_path_buf() });
        }
        let target = resolve(target)?;
        match fs::metadata(&target) {
            Ok(meta) if meta.is_dir() => {
                Err(Error::input(format!("{} is a directory; name a file", target.display())))
            }
            Ok(meta) if !meta.is_file() => {
                let file = OpenOptions::new().write(true).open(&target);
                let file = file.map_err(|e| Error::io("open", &target, e))?;
                Ok(Output { file, temporary: None, target })
            }
            found => {
                let (file, temporary) = create_locked(&target)?;
                let output = Output { file, temporary: Some(temporary), target };
                if let Ok(meta) = found {
                    // A replaced file keeps its mode, as if it had been written in place.
                    let kept = output.file.set_permissions(meta.permissions());
                    kept.map_err(|e| output.error("create", e))?;
                }
                Ok(output)
            }
        }
    }

    /// The file the bytes go to.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The target's path.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// The error for an operation on this output that failed.
    pub fn error(&self, operation: &'static str, source: io::Error) -> Error {
        Error::io(operation, &self.target, source)
    }

    /// Gives the finished file its name.
    ///
    /// # Errors
    /// `Io` when it cannot be renamed; the temporary file is then removed.
    pub fn commit(mut self) -> Result<()> {
        if let Some(temporary) = self.temporary.take()
            && let Err(e) = fs::rename(&temporary, &self.target)
        {
            self.temporary = Some(temporary);
            return Err(self.error("rename", e));
        }
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Nothing is left to do when this fails: the next output in the directory cleans up.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// The stream of the process that a name stands for, which others may be writing to as well.
#[cfg(unix)]
fn stream_of(target: &Path) -> Option<io::Result<File>> {
    use std::os::fd::AsFd;
    let stream = match target.to_str()? {
        "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1" => {
            io::stdout().as_fd().try_clone_to_owned()
        }
        "/dev/stderr" | "/dev/fd/2" | "/proc/self/fd/2" => {
            io::stderr().as_fd().try_clone_to_owned()
        }
        _ => return None,
    };
    Some(stream.map(File::from))
}

#[cfg(not(unix))]
fn stream_of(_: &Path) -> Option<io::Result<File>> {
    None
}

/// Follows a symbolic link to its end, so that the rename replaces the file and not the link.
fn resolve(target: &Path) -> Result<PathBuf> {
    match fs::symlink_metadata(target) {
        Ok(meta) if meta.is_symlink() => match fs::canonicalize(target) {
            Ok(resolved) => Ok(resolved),
            Err(e) => Err(Error::io("open", target, e)),
        },
        _ => Ok(target.to_path_buf()),
    }
}

fn create_locked(target: &Path) -> Result<(File, PathBuf)> {
    let Some(name) = target.file_name().and_then(|n| n.to_str()) else {
        return Err(Error::input(format!("{} does not name a file", target.display())));
    };
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    remove_leftovers(directory);
    let prefix = format!(".{name}.");
    for _ in 0..ATTEMPTS {
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(SUFFIX);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(NEW_FILE_MODE));
        let made = builder.tempfile_in(directory).map_err(|e| Error::io("create", target, e))?;
        let (file, path) = made.keep().map_err(|e| Error::io("create", target, e.error))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            // A cleaner has it and is about to remove it, if it gets that far.
            let _ = fs::remove_file(&path);
            continue;
        }
        // Any other failure: file systems without locks have no cleaners either.
        if is_at(&file, &path) {
            return Ok((file, path));
        }
    }
    let busy = io::Error::other("the temporary file is removed as soon as it is made");
    Err(Error::io("create", target, busy))
}

/// A new directory in `parent` whose name begins with `prefix`, and its lock: while that is held no
/// cleaner takes the directory.
///
/// # Errors
/// When it cannot be made.
pub(in crate::sinks) fn create_locked_directory(
    parent: &Path,
    prefix: &str,
) -> io::Result<(PathBuf, File)> {
    remove_leftovers(parent);
    for _ in 0..ATTEMPTS {
        let made = tempfile::Builder::new().prefix(prefix).suffix(SUFFIX).tempdir_in(parent)?;
        let path = made.path().join(LOCK_NAME);
        let lock = File::create(&path)?;
        // A cleaner that has the lock is about to remove the directory, if it gets that far. Any
        // other failure: file systems without locks have no cleaners either.
        let is_taken = matches!(lock.try_lock(), Err(TryLockError::WouldBlock));
        if !is_taken && is_at(&lock, &path) {
            return Ok((made.keep(), lock));
        }
    }
    Err(io::Error::other("the temporary directory is removed as soon as it is made"))
}

/// Removes the temporary files and directories of processes that are gone. Failures are ignored:
/// the files may belong to somebody else, and the output does not depend on it.
fn remove_leftovers(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|n| n.starts_with('.') && n.ends_with(SUFFIX));
        let Some(kind) = entry.file_type().ok().filter(|_| ours) else { continue };
        let path = entry.path();
        // A directory without its lock is somebody's who has not come to lock it, or was never one.
        let lock = if kind.is_dir() { path.join(LOCK_NAME) } else { path.clone() };
        if !kind.is_dir() && !kind.is_file() {
            continue;
        }
        let Ok(file) = OpenOptions::new().write(true).open(&lock) else { continue };
        match file.try_lock() {
            Ok(()) if is_at(&file, &lock) => {
                let removed = if kind.is_dir() { fs::remove_dir_all } else { fs::remove_file };
                let _ = removed(&path);
            }
            Ok(()) | Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
        }
    }
}

/// Whether `path` still names the open `file`: a cleaner may have taken it before it was locked.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("lists");
        let mut names: Vec<_> =
            entries.map(|e| e.expect("entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_target_changes_only_at_commit() {
        let directory = tempfile::tempdir().expect("directory");
        let target = directory.path().join("out.csv");
        fs::write(&target, "old").expect("writes");
        let mut output = Output::create(&target).expect("creates");
        output.write_all(b"new").expect("writes");
        assert_eq!(fs::read_to_string(&target).expect("reads"), "old");
        assert_eq!(names(directory.path()).len(), 2);
        output.commit().expect("commits");
        assert_eq!(fs::read_to_string(&target).expect("reads"), "new");
        assert_eq!(names(directory.path()), ["out.csv"]);
    }

    #[test]
    fn dropping_leaves_nothing_and_writers_do_not_disturb_each_other() {
        let directory = tempfile::tempdir().expect("directory");
        let a = Output::create(&directory.path().join("a")).expect("creates");
        let b = Output::create(&directory.path().join("b")).expect("creates");
        assert_eq!(names(directory.path()).len(), 2, "b did not remove a's file");
        drop(a);
        b.commit().expect("commits");
        assert_eq!(names(directory.path()), ["b"]);
    }

    /// Everybody who begins a file looks for leftovers, also while others make theirs.
    #[test]
    fn many_writers_in_one_directory_keep_their_files() {
        let directory = tempfile::tempdir().expect("directory");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let path = directory.path().join(format!("{thread}.csv"));
                scope.spawn(move || {
                    for _ in 0..300 {
                        Output::create(&path).expect("creates").commit().expect("commits");
                    }
                });
            }
        });
        assert_eq!(names(directory.path()), ["0.csv", "1.csv", "2.csv", "3.csv"]);
    }

    #[test]
    fn leftovers_of_dead_writers_are_removed() {
        let directory = tempfile::tempdir().expect("directory");
        fs::write(directory.path().join(".x.abc.gristmill-tmp"), "dead").expect("writes");
        fs::write(directory.path().join(".x.abc.tmp"), "not ours").expect("writes");
        Output::create(&directory.path().join("x")).expect("creates").commit().expect("commits");
        assert_eq!(names(directory.path()), [".x.abc.tmp", "x"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_devices_written_directly_and_directories_refused() {
        let directory = tempfile::tempdir().expect("directory");
        let real = directory.path().join("real");
        let link = directory.path().join("link");
        fs::write(&real, "old").expect("writes");
        std::os::unix::fs::symlink(&real, &link).expect("links");
        let mut output = Output::create(&link).expect("creates");
        output.write_all(b"new").expect("writes");
        output.commit().expect("commits");
        assert_eq!(fs::read_to_string(&real).expect("reads"), "new");
        assert!(fs::symlink_metadata(&link).expect("meta").is_symlink());

        let mut null = Output::create(Path::new("/dev/null")).expect("opens");
        null.write_all(b"gone").expect("writes");
        null.commit().expect("commits");

        let refused = Output::create(directory.path()).expect_err("a directory");
        assert!(matches!(refused, Error::Input { .. }), "{refused}");
        let missing = directory.path().join("no/such/file");
        assert!(matches!(Output::create(&missing).expect_err("no parent"), Error::Io { .. }));
    }
}
