//! A directory under construction: made beside its target under a temporary name, locked, and
//! moved to where it belongs when it is complete.
//!
//! Invariant 1: the target changes only at commit. A directory that was not there, was empty, or is
//! replaced, changes at once; where files are added to others, they appear one after the other.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Existing;
use super::files::file_path;
use crate::error::{Error, Result};
use crate::sinks::commit::{LOCK_NAME, SUFFIX, create_locked_directory};

/// See the module documentation. Dropping it removes what was not committed.
#[derive(Debug)]
pub(super) struct Staging {
    directory: PathBuf,
    /// Held while somebody writes here; see `commit`.
    lock: Option<File>,
    target: PathBuf,
    existing: Existing,
    /// In the names of files, where they must be unique.
    prefix: String,
}

impl Staging {
    /// Begins a directory that will be, or will be added to, `target`.
    ///
    /// # Errors
    /// `Input` when there is a file of that name, or files that would be in the way; `Io` when the
    /// directory cannot be made.
    pub(super) fn begin(target: &Path, existing: Existing) -> Result<Staging> {
        let target = match fs::canonicalize(target) {
            Ok(resolved) => resolved,
            Err(_) => target.to_path_buf(),
        };
        check(&target, existing)?;
        let Some(name) = target.file_name().and_then(|name| name.to_str()) else {
            let path = target.display();
            return Err(Error::input(format!("{path} does not name a directory to write")));
        };
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        let made = create_locked_directory(parent, &format!(".{name}."));
        let (directory, lock) = made.map_err(|e| Error::io("create", &target, e))?;
        let prefix = match existing {
            Existing::Kept => unique_part(&directory),
            _ => String::new(),
        };
        Ok(Staging { directory, lock: Some(lock), target, existing, prefix })
    }

    /// A path for a partition's file, in a directory that is made.
    ///
    /// # Errors
    /// `Io` when the directory cannot be made.
    pub(super) fn file(&self, partition: &str, number: usize, ending: &str) -> Result<PathBuf> {
        let mut directory = self.directory.clone();
        for part in Path::new(partition).components() {
            directory.push(part);
            // Not with those above: when ours has been taken away, its files are lost.
            match fs::create_dir(&directory) {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => {
                    return Err(Error::io("create", self.target.join(partition), e));
                }
                _ => {}
            }
        }
        Ok(file_path(&directory, &self.prefix, number, ending))
    }

    /// Puts everything where it belongs.
    ///
    /// # Errors
    /// `Io` when that fails; `Input` when files have come to be in the way meanwhile.
    pub(super) fn commit(mut self) -> Result<()> {
        check(&self.target, self.existing)?;
        let failed = |e| Error::io("rename", &self.target, e);
        let lock_file = self.directory.join(LOCK_NAME);
        match self.existing {
            Existing::Overwritten | Existing::Kept if self.target.exists() => {
                fs::remove_file(&lock_file).map_err(failed)?;
                move_files(&self.directory, &self.target)?;
            }
            Existing::Replaced if self.target.exists() => {
                let old = self.directory.with_extension(format!("old{SUFFIX}"));
                fs::rename(&self.target, &old).map_err(failed)?;
                fs::remove_file(&lock_file).map_err(failed)?;
                if let Err(e) = fs::rename(&self.directory, &self.target) {
                    // What was there is better than nothing.
                    let _ = fs::rename(&old, &self.target);
                    return Err(failed(e));
                }
                if let Err(error) = fs::remove_dir_all(&old) {
                    // The new one is in its place all the same.
                    tracing::warn!(path = %old.display(), %error, "the old directory stays");
                }
            }
            _ => {
                fs::remove_file(&lock_file).map_err(failed)?;
                fs::rename(&self.directory, &self.target).map_err(failed)?;
            }
        }
        self.lock = None;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Nothing is left to do when this fails: the next writer here cleans up.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// What `tempfile` put between prefix and suffix, and behind it an underscore.
fn unique_part(directory: &Path) -> String {
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.strip_suffix(SUFFIX).unwrap_or(name);
    format!("{}_", name.rsplit('.').next().unwrap_or(name))
}

/// `Ok` when the target may be written.
fn check(target: &Path, existing: Existing) -> Result<()> {
    let path = target.display();
    match fs::metadata(target) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("open", target, e)),
        Ok(meta) if !meta.is_dir() => {
            return Err(Error::input(format!("{path} is a file; name a directory")));
        }
        Ok(_) => {}
    }
    let mut entries = fs::read_dir(target).map_err(|e| Error::io("list", target, e))?;
    if existing == Existing::Refused && entries.next().is_some() {
        return Err(Error::input(format!(
            "the directory {path} is not empty; add one of the options overwrite (replaces the \
             directory), overwrite_or_ignore (replaces files of the same names) and append"
        )));
    }
    let here = std::env::current_dir().and_then(fs::canonicalize);
    let is_around = here.is_ok_and(|here| here.starts_with(target));
    if existing == Existing::Replaced && is_around {
        return Err(Error::input(format!(
            "{path} cannot be replaced: the current directory is in it"
        )));
    }
    Ok(())
}

/// Moves all files below `from` to the same places below `to`.
fn move_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(|e| Error::io("create", to, e))?;
    let entries = fs::read_dir(from).map_err(|e| Error::io("list", from, e))?;
    let mut entries = entries.collect::<std::io::Result<Vec<_>>>();
    let entries = entries.as_mut().map_err(|e| Error::io("list", from, e.kind().into()))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            move_files(&from, &to)?;
        } else {
            fs::rename(&from, &to).map_err(|e| Error::io("rename", &to, e))?;
        }
    }
    Ok(())
}
