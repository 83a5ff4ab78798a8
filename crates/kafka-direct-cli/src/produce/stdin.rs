//! Lines of stdin, read ahead on a thread of their own.

use std::io::{self, BufRead as _, BufReader, Read as _, Stdin};

use tokio::sync::mpsc;

use crate::exit::Failure;

/// No line may be longer, whatever a record may be.
const LINE_BYTES: u64 = 64 << 20;
/// Lines are handed over together while they are there already, up to so many and so large.
const BLOCK_LINES: usize = 1024;
const BLOCK_BYTES: usize = 256 * 1024;
/// Blocks read ahead.
const AHEAD: usize = 4;

/// Blocks of lines without their line feeds. A last line without one counts too.
pub(super) fn lines() -> mpsc::Receiver<Result<Vec<Vec<u8>>, Failure>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        let mut stdin = BufReader::with_capacity(BLOCK_BYTES, io::stdin());
        loop {
            let block = block(&mut stdin);
            let last = !matches!(&block, Ok(lines) if !lines.is_empty());
            let is_end = matches!(&block, Ok(lines) if lines.is_empty());
            // The receiver is gone when the run has ended.
            if is_end || sender.blocking_send(block).is_err() || last {
                return;
            }
        }
    });
    receiver
}

/// At least one line, unless the input has ended.
fn block(stdin: &mut BufReader<Stdin>) -> Result<Vec<Vec<u8>>, Failure> {
    let failed = |source| Failure::io("reading stdin", source);
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0usize;
    while lines.len() < BLOCK_LINES && bytes < BLOCK_BYTES {
        let mut line = Vec::new();
        if stdin.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if u64::try_from(line.len()).is_ok_and(|length| length >= LINE_BYTES) {
            return Err(Failure::usage(format!(
                "a line of stdin is longer than {LINE_BYTES} bytes"
            )));
        }
        bytes = bytes.saturating_add(line.len());
        lines.push(line);
        // What has come in is handed on before waiting for more.
        if !stdin.buffer().contains(&b'\n') {
            break;
        }
    }
    Ok(lines)
}
