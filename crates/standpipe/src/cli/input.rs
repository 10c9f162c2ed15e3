//! Files that commands read bytes from, or standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

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
