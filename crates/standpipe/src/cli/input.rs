//! Files that commands read bytes or records from, or standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context as _;

use super::put::lines::Splitter;

/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;

/// Opens a file; `-` is standard input.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    Ok(if path == Path::new("-") { Box::new(io::stdin().lock()) } else { Box::new(File::open(path)?) })
}

/// Reads what there is, whatever signals come meanwhile; 0 at the end.
pub(super) fn read(from: &mut dyn Read, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(into) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Gives each line of a file as a record until `each` says that it is enough; returns how many lines were too long to be
/// one. Memory stays at one piece and what the splitter holds.
pub(super) fn records(
    path: &Path,
    keep_newline: bool,
    mut each: impl FnMut(&[u8]) -> anyhow::Result<bool>,
) -> anyhow::Result<u64> {
    let cannot = || format!("cannot read {}", path.display());
    let mut from = open(path).with_context(cannot)?;
    let (mut splitter, mut into) = (Splitter::new(keep_newline), vec![0; READ_BYTES]);
    loop {
        let len = read(&mut *from, &mut into).with_context(cannot)?;
        match len {
            0 => splitter.end_input(),
            len => splitter.push(&into[..len]),
        }
        splitter.flush();
        while let Some(block) = splitter.next() {
            for record in block.iter() {
                if !each(record)? {
                    return Ok(splitter.too_long());
                }
            }
        }
        if len == 0 {
            return Ok(splitter.too_long());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Is interrupted at every second read.
    struct Interrupted(&'static [u8], bool);

    impl Read for Interrupted {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(into) }
        }
    }

    #[test]
    fn a_signal_ends_no_input() {
        let (mut from, mut into) = (Interrupted(b"abc", false), [0; 2]);
        let mut all = Vec::new();
        while let len @ 1.. = read(&mut from, &mut into).unwrap() {
            all.extend_from_slice(&into[..len]);
        }
        assert_eq!(all, b"abc");
    }
}
