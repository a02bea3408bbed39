//! The content of a file from its beginning on, decompressed where it is compressed.
//!
//! What a file is compressed with is seen from its first bytes, whatever its name. Several gzip
//! members or zstd frames one behind the other are one content.
//!
//! Memory: a buffer for the compressed bytes, and what the decoder looks back at:
//! [`ByteStream::held_bytes`] says how much that is, before any of it is allocated.

use std::io::{BufReader, ErrorKind, Read};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use super::file::InputFile;
use crate::error::{Error, Result};

/// Compressed bytes read at a time.
const BUFFER_BYTES: usize = 128 << 10;

/// What a gzip decoder holds: 32 KiB to look back at, and tables.
const GZIP_BYTES: usize = 64 << 10;

/// What a zstd decoder holds beside what it looks back at: tables, and a block each way.
const ZSTD_BYTES: usize = 512 << 10;

/// How far zstd frames look back at most, as a power of two, unless their first says more.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How far a zstd frame may look back at most; more is asked for by `zstd --long=28` and above.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Bytes of a file that tell its compression.
const MAGIC_BYTES: usize = 18;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd {
        /// How far it looks back, as a power of two.
        window_log: u32,
    },
}

impl Compression {
    /// How a file is compressed; `None` when it is not.
    ///
    /// # Errors
    /// `Io` when its first bytes cannot be read.
    pub(crate) fn of(file: &InputFile) -> Result<Option<Compression>> {
        let mut bytes = [0; MAGIC_BYTES];
        let len = (file.size() as usize).min(MAGIC_BYTES);
        file.read_at(0, &mut bytes[..len])?;
        Ok(Self::of_bytes(&bytes[..len]))
    }

    fn of_bytes(bytes: &[u8]) -> Option<Compression> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, header @ ..] => {
                Some(Compression::Zstd { window_log: window_log(header) })
            }
            // A frame to be skipped, as some parallel compressors put first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Some(Compression::Zstd { window_log: ZSTD_WINDOW_LOG })
            }
            _ => None,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Compression::Gzip => "gzip",
            Compression::Zstd { .. } => "zstd",
        }
    }
}

/// How far a frame looks back, from what follows its magic number.
fn window_log(header: &[u8]) -> u32 {
    let Some((&descriptor, rest)) = header.split_first() else { return ZSTD_WINDOW_LOG };
    let bytes = if descriptor & 0x20 == 0 {
        let Some(&window) = rest.first() else { return ZSTD_WINDOW_LOG };
        let base = 1_u64 << (10 + u32::from(window >> 3));
        base + base / 8 * u64::from(window & 7)
    } else {
        // The frame is one piece, as long as its content.
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let size = [1, 2, 4, 8][usize::from(descriptor >> 6)];
        let field = rest.get(dictionary..dictionary + size).unwrap_or_default();
        field.iter().rev().fold(0, |size, &byte| (size << 8) | u64::from(byte))
    };
    let log = bytes.max(1).next_power_of_two().trailing_zeros();
    log.clamp(ZSTD_WINDOW_LOG, ZSTD_WINDOW_LOG_MAX)
}

/// A file as a stream of bytes.
pub(crate) struct ByteStream {
    file: Arc<InputFile>,
    compression: Option<Compression>,
    content: Content,
}

enum Content {
    Plain(FileReader),
    Gzip(Box<MultiGzDecoder<BufReader<FileReader>>>),
    Zstd(zstd::stream::read::Decoder<'static, BufReader<FileReader>>),
}

/// Reads a file from its beginning on. An error of the engine travels inside the system's.
struct FileReader {
    file: Arc<InputFile>,
    at: u64,
}

impl Read for FileReader {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.file.size() - self.at).unwrap_or(usize::MAX);
        let len = into.len().min(left);
        self.file.read_at(self.at, &mut into[..len]).map_err(std::io::Error::other)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl ByteStream {
    /// The content of a file from its beginning.
    ///
    /// # Errors
    /// `Io` when it cannot be read.
    pub(crate) fn open(file: Arc<InputFile>) -> Result<ByteStream> {
        let compression = Compression::of(&file)?;
        let reader = FileReader { file: file.clone(), at: 0 };
        let buffered = |reader| BufReader::with_capacity(BUFFER_BYTES, reader);
        let content = match compression {
            None => Content::Plain(reader),
            Some(Compression::Gzip) => {
                Content::Gzip(Box::new(MultiGzDecoder::new(buffered(reader))))
            }
            Some(Compression::Zstd { window_log }) => {
                let decoder = zstd::stream::read::Decoder::with_buffer(buffered(reader));
                let limited = decoder.and_then(|mut decoder| {
                    decoder.window_log_max(window_log)?;
                    Ok(decoder)
                });
                Content::Zstd(limited.map_err(|e| Error::io("decompress", file.path(), e))?)
            }
        };
        Ok(ByteStream { file, compression, content })
    }

    /// The file.
    pub(crate) fn file(&self) -> &Arc<InputFile> {
        &self.file
    }

    /// How the file is compressed.
    pub(crate) fn compression(&self) -> Option<Compression> {
        self.compression
    }

    /// Heap bytes held while it is read.
    pub(crate) fn held_bytes(&self) -> usize {
        match self.compression {
            None => 0,
            Some(Compression::Gzip) => BUFFER_BYTES + GZIP_BYTES,
            Some(Compression::Zstd { window_log }) => BUFFER_BYTES + ZSTD_BYTES + (1 << window_log),
        }
    }

    /// Bytes of the file that have been read.
    pub(crate) fn consumed(&self) -> u64 {
        match &self.content {
            Content::Plain(reader) => reader.at,
            Content::Gzip(decoder) => behind(decoder.get_ref()),
            Content::Zstd(decoder) => behind(decoder.get_ref()),
        }
    }

    /// Fills `into`, or as much of it as there is content left, and says how much that is.
    ///
    /// # Errors
    /// `Input` when the compressed data are damaged or end too early, or the file has changed,
    /// `Io` when it cannot be read.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            let rest = &mut into[filled..];
            let read = match &mut self.content {
                Content::Plain(reader) => reader.read(rest),
                Content::Gzip(decoder) => decoder.read(rest),
                Content::Zstd(decoder) => decoder.read(rest),
            };
            match read {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(self.error(e)),
            }
        }
        Ok(filled)
    }

    fn error(&self, error: std::io::Error) -> Error {
        if let Some(own) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            return own.clone();
        }
        let (path, name) =
            (self.file.path().display(), self.compression.map_or("", Compression::name));
        if error.kind() == ErrorKind::UnexpectedEof {
            return Error::input(format!(
                "{path} ends in the middle of its {name} data; it was cut off, copy or compress it \
                 again"
            ));
        }
        Error::input(format!(
            "{path} has damaged {name} data before byte {}: {error}; copy or compress it again",
            self.consumed()
        ))
    }
}

/// The position in a file of the next byte that a decoder has not taken yet.
fn behind(buffered: &BufReader<FileReader>) -> u64 {
    buffered.get_ref().at - buffered.buffer().len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::FileRef;
    use std::io::Write;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).expect("compresses");
        encoder.finish().expect("compresses")
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
        encoder.include_checksum(true).expect("may have one");
        encoder.write_all(text).expect("compresses");
        encoder.finish().expect("compresses")
    }

    fn read(bytes: &[u8], step: usize) -> Result<Vec<u8>> {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("a");
        std::fs::write(&path, bytes).expect("writes");
        let file = InputFile::open(&FileRef::of(&path).expect("there")).expect("opens");
        let mut stream = ByteStream::open(Arc::new(file))?;
        let mut content = Vec::new();
        let mut buffer = vec![0; step];
        loop {
            let read = stream.read(&mut buffer)?;
            content.extend_from_slice(&buffer[..read]);
            if read < step {
                assert_eq!(stream.read(&mut buffer)?, 0);
                assert_eq!(stream.consumed(), bytes.len() as u64);
                return Ok(content);
            }
        }
    }

    #[test]
    fn content_is_the_same_however_it_is_compressed() {
        let text: Vec<u8> = (0..300_000_u32).flat_map(|n| (n % 977).to_le_bytes()).collect();
        let (a, b) = text.split_at(12_345);
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], &zstd(&text)].concat();
        let forms = [
            text.clone(),
            gzip(&text),
            [gzip(a), gzip(b), gzip(b"")].concat(),
            zstd(&text),
            [zstd(a), zstd(b"")].concat().into_iter().chain(zstd(b)).collect(),
            skipped,
        ];
        for form in &forms {
            for step in [1 << 20, 65_537, 4096] {
                assert!(read(form, step).expect("reads") == text);
            }
        }
        for empty in [Vec::new(), gzip(b""), zstd(b"")] {
            assert_eq!(read(&empty, 10).expect("reads"), b"");
        }
    }

    #[test]
    fn damaged_data_are_refused() {
        let text: Vec<u8> =
            (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for (form, name) in [(gzip(&text), "gzip"), (zstd(&text), "zstd")] {
            for len in [form.len() - 1, form.len() / 2, 20] {
                let error = read(&form[..len], 10_000).expect_err("cut off").to_string();
                let expected = format!("ends in the middle of its {name} data");
                assert!(error.contains(&expected), "{error}");
            }
            let mut damaged = form.clone();
            let at = damaged.len() - 3;
            damaged[at] ^= 0x55;
            let error = read(&damaged, 10_000).expect_err("damaged").to_string();
            assert!(error.contains(&format!("damaged {name} data before byte")), "{error}");
            let behind = read(&[&form[..], b"more"].concat(), 10_000).expect_err("more");
            assert!(behind.to_string().contains(name), "{behind}");
        }
    }

    #[test]
    fn what_a_decoder_holds_is_known_before() {
        let small = zstd(b"some text");
        let Some(Compression::Zstd { window_log }) = Compression::of_bytes(&small) else {
            panic!("zstd")
        };
        assert_eq!(window_log, ZSTD_WINDOW_LOG);
        // A window of 2^26 and an eighth.
        assert_eq!(window_log_of(&[0, (16 << 3) | 1]), 27);
        // One piece of 2^25 bytes; a dictionary's number of two bytes stands before.
        assert_eq!(window_log_of(&[0x20 | 0x80 | 2, 0, 0, 0, 0, 0, 2]), 25);
        assert_eq!(window_log_of(&[]), ZSTD_WINDOW_LOG);
        assert_eq!(Compression::of_bytes(b"a,b"), None);
    }

    fn window_log_of(header: &[u8]) -> u32 {
        super::window_log(header)
    }
}
