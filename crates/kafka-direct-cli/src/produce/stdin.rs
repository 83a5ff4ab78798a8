//! Reads lines of stdin ahead on a separate thread.

use std::io::{self, BufRead as _, BufReader, Read as _, Stdin};

use tokio::sync::mpsc;

use crate::exit::Failure;

/// Maximum length of a line, independent of the limits on a record.
const MAX_LINE_BYTES: u64 = 64 << 20;
/// Maximum number of lines in a block; a block also ends at [`BLOCK_BYTES`].
const BLOCK_LINES: usize = 1024;
/// Bytes at which a block ends, without the line feeds.
const BLOCK_BYTES: usize = 256 * 1024;
/// Number of blocks that are read ahead.
const READ_AHEAD_BLOCKS: usize = 4;

/// Starts the thread and returns its blocks of lines, without their line feeds.
///
/// A last line without a line feed counts too.
pub(super) fn lines() -> mpsc::Receiver<Result<Vec<Vec<u8>>, Failure>> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD_BLOCKS);
    std::thread::spawn(move || {
        let mut stdin = BufReader::with_capacity(BLOCK_BYTES, io::stdin());
        loop {
            let block = block(&mut stdin);
            let last = !matches!(&block, Ok(lines) if !lines.is_empty());
            let is_end = matches!(&block, Ok(lines) if lines.is_empty());
            // The receiver is dropped when the run has ended.
            if is_end || sender.blocking_send(block).is_err() || last {
                return;
            }
        }
    });
    receiver
}

/// Reads a block of at least one line; an empty block means the end of the input.
fn block(stdin: &mut BufReader<Stdin>) -> Result<Vec<Vec<u8>>, Failure> {
    let failed = |source| Failure::io("reading stdin", source);
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0usize;
    while lines.len() < BLOCK_LINES && bytes < BLOCK_BYTES {
        let mut line = Vec::new();
        if stdin.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if u64::try_from(line.len()).is_ok_and(|length| length >= MAX_LINE_BYTES) {
            return Err(Failure::usage(format!(
                "a line of stdin is longer than {MAX_LINE_BYTES} bytes; split it"
            )));
        }
        bytes = bytes.saturating_add(line.len());
        lines.push(line);
        // The block is sent before the thread waits for more input.
        if !stdin.buffer().contains(&b'\n') {
            break;
        }
    }
    Ok(lines)
}
