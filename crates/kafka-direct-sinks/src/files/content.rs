//! What a file holds: its size and checksum, and the JSON that files of this crate are written in.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crc_fast::{CrcAlgorithm, Digest};
use serde::{Deserialize, Serialize};

use super::durable;
use crate::Error;

/// Bytes read at once while a file is checked.
const CHUNK_BYTES: usize = 256 * 1024;

/// The running CRC-32 (ISO-HDLC: the one of gzip, zlib and PNG) and size of a file's content.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    digest: Digest,
    bytes: u64,
}

impl Content {
    pub(crate) fn new() -> Self {
        Self { digest: Digest::new(CrcAlgorithm::Crc32IsoHdlc), bytes: 0 }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The receipt of a file `name` with this content.
    pub(crate) fn receipt(&self, name: String) -> FileReceipt {
        FileReceipt { name, bytes: self.bytes, crc32: self.crc32() }
    }

    /// Eight hexadecimal digits.
    pub(crate) fn crc32(&self) -> String {
        format!("{:08x}", self.digest.finalize())
    }

    /// Size and checksum of the file at `path`; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read.
    pub(crate) fn of(path: &Path) -> Result<Option<Self>, Error> {
        match Self::read(path) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(durable::failed("checking", path)(error)),
        }
    }

    fn read(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut content = Self::new();
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(content),
                read => content.update(chunk.get(..read).unwrap_or_default()),
            }
        }
    }
}

/// A finished file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FileReceipt {
    /// Its name in the folder.
    #[serde(rename = "file")]
    pub name: String,
    /// Its size.
    #[serde(rename = "file_bytes")]
    pub bytes: u64,
    /// CRC-32 of its content as eight hexadecimal digits: the one of gzip and zlib.
    pub crc32: String,
}

impl FileReceipt {
    /// Whether the file at `path` is the one this receipt was written for. This decides that a
    /// range's file is complete.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read; a missing one does not match.
    pub(crate) fn matches(&self, path: &Path) -> Result<bool, Error> {
        let found = Content::of(path)?;
        Ok(found.is_some_and(|it| it.bytes() == self.bytes && it.crc32() == self.crc32))
    }
}

/// A value as one JSON object, indented, ending in a line feed.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    // Serialising plain values into memory cannot fail.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(
    text: &'a str,
    path: &Path,
    wanted: &'static str,
) -> Result<T, Error> {
    serde_json::from_str(text)
        .map_err(|error| Error::invalid(format!("{} is not {wanted}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_the_one_of_gzip_and_of_pythons_zlib() {
        let mut content = Content::new();
        content.update(b"1234");
        content.update(b"56789");
        assert_eq!((content.crc32().as_str(), content.bytes()), ("cbf43926", 9));
    }
}
