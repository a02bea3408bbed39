//! Programs: where their text comes from, and what errors call them.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use gristmill::{Error, Result};

/// A program and the name it has in errors.
pub struct Program {
    /// Its file, or where else it is from.
    pub name: String,
    /// Its text; empty when it could not be read.
    pub text: String,
}

impl Program {
    /// Text that was given on the command line; `-` is read from standard input.
    pub fn given(text: &str) -> (Program, Result<()>) {
        if text == "-" {
            return Program::at(Path::new(text));
        }
        (Program { name: "query".to_string(), text: text.to_string() }, Ok(()))
    }

    /// The file at `path`; `-` is standard input.
    pub fn at(path: &Path) -> (Program, Result<()>) {
        let name = if path == Path::new("-") {
            "standard input".to_string()
        } else {
            path.display().to_string()
        };
        match read(path) {
            Ok(text) => (Program { name, text }, Ok(())),
            Err(error) => (Program { name, text: String::new() }, Err(error)),
        }
    }
}

fn read(path: &Path) -> Result<String> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    let bytes = bytes.map_err(|e| {
        // A statement where a file is expected.
        match e.kind() == io::ErrorKind::NotFound && path.to_string_lossy().contains(' ') {
            true => Error::input(format!(
                "there is no file {}; statements are given to `gristmill query`, and for their \
                 plan with EXPLAIN in front",
                path.display()
            )),
            false => Error::io("read", path, e),
        }
    })?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Error::input(format!("{}: byte {at} is not valid UTF-8", path.display()))
    })
}
