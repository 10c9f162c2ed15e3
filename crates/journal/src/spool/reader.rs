//! Reading an object back from a spool.

use std::io;
use std::sync::Arc;

use standpipe_model::Position;

use super::{ObjectPlace, Place, SpoolDamage};
use crate::disk::DiskFile;
use crate::format::{FrameHeader, FrameKind, HEAD_LEN, HEADER_LEN};
use crate::journal::Shared;
use crate::keyed::Bodies;
use crate::reader::Chunk;

/// Reads an object of a spool from its first row to its last; blocking.
#[derive(Debug)]
pub struct SpoolReader {
    shared: Arc<Shared>,
    place: Arc<Place>,
    file: Arc<dyn DiskFile>,
    /// The offsets of the blocks that are still to be read, the next one last.
    blocks: Vec<u64>,
}

impl SpoolReader {
    pub(super) fn open(shared: Arc<Shared>, place: Arc<Place>, object: ObjectPlace) -> io::Result<Self> {
        let file = shared.disk().open_read(&place.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SpoolDamage("the spool's file is gone").into(),
            _ => error,
        })?;
        let mut reader = Self { shared, place, file, blocks: Vec::new() };
        let (mut at, mut rows) = (object.last, 0);
        while at != 0 {
            let header = reader.header(at)?;
            reader.blocks.push(at);
            rows += u64::from(header.count);
            // Strictly towards the front, so that it ends.
            at = Some(header.first.0)
                .filter(|before| *before < at)
                .ok_or(SpoolDamage("a spool runs in a circle"))?;
        }
        if rows == object.rows {
            Ok(reader)
        } else {
            Err(SpoolDamage("a spool lacks rows of an object").into())
        }
    }

    /// The next rows, about `want` bytes of them; `None` behind the last.
    ///
    /// # Errors
    /// The spool is damaged ([`SpoolDamage`]), its key cannot be had, or the disk refused.
    pub fn next_chunk(&mut self, want: u64) -> io::Result<Option<Chunk>> {
        let mut chunk = Chunk { payloads: Vec::new(), origins: Vec::new(), records: 0, bytes: 0 };
        while chunk.bytes < want
            && let Some(at) = self.blocks.pop()
        {
            let header = self.header(at)?;
            let mut body = vec![0; header.body_len as usize];
            let read = self.file.read_at(&mut body, at + HEADER_LEN as u64)?;
            if read < body.len() || crc32c::crc32c(&body) != header.body_crc {
                return Err(SpoolDamage("a block of a spool is damaged").into());
            }
            let payload = self.bodies()?.open(&header, body.into());
            let payload = payload.ok_or(SpoolDamage("a block of a spool does not decrypt"))?;
            chunk.bytes += payload.len() as u64;
            chunk.records += u64::from(header.count);
            chunk.payloads.push(payload);
            // Rows have no positions.
            chunk.origins.push((Position(0), header.arrived_at));
        }
        Ok((chunk.records > 0).then_some(chunk))
    }

    /// How its blocks are read: a key that was forgotten since is asked for again.
    fn bodies(&self) -> io::Result<Bodies> {
        let keys = self.shared.keys.as_ref();
        Ok(self.place.keyed.as_ref().map_or(Ok(Bodies::Plain), |keyed| keyed.bodies(keys))?)
    }

    fn header(&self, at: u64) -> io::Result<FrameHeader> {
        let mut bytes = [0; HEADER_LEN];
        let read = self.file.read_at(&mut bytes, at)?;
        let header = FrameHeader::decode(&bytes[..read], self.place.id);
        let fits = |header: &FrameHeader| {
            let before = header.first == Position(0) || header.first.0 >= HEAD_LEN;
            header.kind == FrameKind::Data && header.count > 0 && before
        };
        Ok(header.filter(fits).ok_or(SpoolDamage("a header in a spool is damaged"))?)
    }
}
