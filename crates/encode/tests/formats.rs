//! Objects of every format, read back by readers that share no code with the encoder: other Rust crates for random
//! rows, and Python, Java and Node programs for a fixed set.

mod readers;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::thread;

use bytes::Bytes;
use proptest::prelude::*;
use standpipe_encode::{EncodeOptions, EncoderPool, Entry, Joiner};
use standpipe_model::{Compression, RecordBlockBuilder, Timestamp};

use readers::Readers;

/// Each with the extension that the readers know it by.
const FORMATS: [(Compression, &str); 6] = [
    (Compression::Uncompressed, "plain"),
    (Compression::Gzip, "gz"),
    (Compression::Zip, "zip"),
    (Compression::Snappy, "xerial"),
    (Compression::HadoopSnappy, "hadoop"),
    (Compression::Zstd, "zst"),
];

const ENTRY_NAME: &str = "0f9c5a3e-6f0b-4b62-9d0e-5b1d1f6a7c11";

/// The rows of each chunk.
type Chunks = Vec<Vec<Vec<u8>>>;

fn start(compression: Compression) -> (Joiner, Vec<u8>) {
    let entry = Entry { name: ENTRY_NAME.to_owned(), modified: Timestamp(1_700_000_000_000) };
    let (joiner, header) = Joiner::start(compression, entry).expect("starts");
    (joiner, header.to_vec())
}

fn options(compression: Compression, delimiter: &'static [u8]) -> EncodeOptions {
    EncodeOptions { compression, level: None, delimiter: Bytes::from_static(delimiter) }
}

fn encode(pool: &EncoderPool, options: &EncodeOptions, chunks: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let encoder = pool.encoder(options).expect("options are valid");
    let (mut joiner, mut object) = start(options.compression);
    for rows in chunks {
        let chunk = encoder.encode(rows.iter().map(Vec::as_slice)).expect("encodes");
        object.extend_from_slice(&joiner.push(&chunk).expect("joins"));
    }
    assert_eq!(joiner.rows(), chunks.iter().map(Vec::len).sum::<usize>() as u64);
    object.extend_from_slice(&joiner.finish());
    object
}

fn concatenated(chunks: &[Vec<Vec<u8>>], delimiter: &[u8]) -> Vec<u8> {
    chunks.iter().flatten().flat_map(|row| [row, delimiter]).collect::<Vec<&[u8]>>().concat()
}

fn decode(compression: Compression, object: &[u8]) -> Vec<u8> {
    match compression {
        Compression::Uncompressed => object.to_vec(),
        Compression::Gzip => {
            let first_member = read(flate2::read::GzDecoder::new(object));
            let all_members = read(flate2::read::MultiGzDecoder::new(object));
            assert_eq!(first_member, all_members, "there is one member");
            all_members
        }
        Compression::Zip => {
            let mut archive = zip::ZipArchive::new(std::io::Cursor::new(object)).expect("an archive");
            assert_eq!(archive.len(), 1);
            let entry = archive.by_index(0).expect("an entry");
            assert_eq!(entry.name().expect("a name"), ENTRY_NAME);
            assert_eq!(entry.compression(), zip::CompressionMethod::DEFLATE);
            read(entry)
        }
        Compression::Snappy => {
            xerial_blocks(object.strip_prefix(b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01").expect("the header, once"))
        }
        Compression::HadoopSnappy => hadoop_blocks(object),
        Compression::Zstd => zstd::decode_all(object).expect("frames"),
    }
}

fn read(mut reader: impl Read) -> Vec<u8> {
    let mut raw = Vec::new();
    reader.read_to_end(&mut raw).expect("decodes");
    raw
}

fn xerial_blocks(mut object: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    while !object.is_empty() {
        raw.extend_from_slice(&raw_snappy(&mut object));
    }
    raw
}

fn hadoop_blocks(mut object: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    while !object.is_empty() {
        let block_end = raw.len() + take_u32(&mut object);
        while raw.len() < block_end {
            raw.extend_from_slice(&raw_snappy(&mut object));
        }
        assert_eq!(raw.len(), block_end);
    }
    raw
}

fn raw_snappy(object: &mut &[u8]) -> Vec<u8> {
    let len = take_u32(object);
    let (block, rest) = object.split_at(len);
    *object = rest;
    snap::raw::Decoder::new().decompress_vec(block).expect("a raw snappy block")
}

fn take_u32(object: &mut &[u8]) -> usize {
    let (len, rest) = object.split_first_chunk::<4>().expect("a length");
    *object = rest;
    u32::from_be_bytes(*len) as usize
}

fn rows_in_chunks() -> impl Strategy<Value = Chunks> {
    let row = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..200),
        4 => "[a-c]{0,300}".prop_map(String::into_bytes),
        // Rows over a block, and over several.
        1 => (any::<u8>(), 0usize..500_000).prop_map(|(byte, len)| vec![byte; len]),
        1 => (any::<u64>(), 0usize..500_000).prop_map(|(seed, len)| noise(seed, len)),
    ];
    prop::collection::vec(prop::collection::vec(row, 0..12), 0..6)
}

/// Bytes that do not compress.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_rows_in_any_chunks_read_back_as_their_concatenation(
        chunks in rows_in_chunks(),
        delimiter in prop::sample::select(vec![&b""[..], b"\n", b"\r\n"]),
        gzip_level in 1..=9,
        zstd_level in 1..=19,
    ) {
        let pool = EncoderPool::new(8);
        let expect = concatenated(&chunks, delimiter);
        for (compression, _) in FORMATS {
            let level = match compression {
                Compression::Gzip | Compression::Zip => Some(gzip_level),
                Compression::Zstd => Some(zstd_level),
                _ => None,
            };
            let options = EncodeOptions { level, ..options(compression, delimiter) };
            let object = encode(&pool, &options, &chunks);
            // Not assert_eq: a difference would print megabytes.
            prop_assert!(decode(compression, &object) == expect, "{compression:?}");
            // With states that other chunks have used since, the bytes are still the same.
            prop_assert!(encode(&pool, &options, &chunks) == object, "{compression:?} differs the second time");
        }
    }
}

#[test]
fn chunks_encoded_at_once_give_the_same_object_as_one_after_another() {
    let chunks: Chunks = (1..=16).map(|seed| vec![noise(seed, 20_000), lines(seed, 400)]).collect();
    let pool = EncoderPool::new(2);
    for (compression, _) in FORMATS {
        let options = options(compression, b"\n");
        let encoder = pool.encoder(&options).expect("options are valid");
        let (mut joiner, mut object) = start(compression);
        thread::scope(|scope| {
            let running: Vec<_> = chunks
                .iter()
                .map(|rows| scope.spawn(|| encoder.encode(rows.iter().map(Vec::as_slice)).expect("encodes")))
                .collect();
            for thread in running {
                let chunk = thread.join().expect("ends");
                object.extend_from_slice(&joiner.push(&chunk).expect("joins"));
            }
        });
        object.extend_from_slice(&joiner.finish());
        assert!(object == encode(&pool, &options, &chunks), "{compression:?}");
    }
}

#[test]
fn a_record_block_is_encoded_as_its_records() {
    let mut block = RecordBlockBuilder::with_capacity(3, 16);
    [&b"a"[..], b"", b"b"].iter().for_each(|record| block.push(record));
    let encoder = EncoderPool::new(1).encoder(&options(Compression::Gzip, b";")).expect("options are valid");
    let (mut joiner, mut object) = start(Compression::Gzip);
    let chunk = encoder.encode(&block.finish()).expect("encodes");
    object.extend_from_slice(&joiner.push(&chunk).expect("joins"));
    object.extend_from_slice(&joiner.finish());
    assert_eq!(decode(Compression::Gzip, &object), b"a;;b;");
}

#[test]
fn python_java_and_node_read_every_format() {
    let readers = Readers::installed();
    let folder = tempfile::tempdir().expect("temporary folder");
    let objects = write_objects(folder.path());
    // A format has one reader per language, but for gzip and ZIP: see the reader programs.
    let cases = objects / FORMATS.len();
    assert_eq!(readers.python(folder.path()), cases * 6, "gz twice, zip, xerial, hadoop, zst");
    assert_eq!(readers.java(folder.path()), cases * 7, "gz, zip twice, xerial, hadoop twice, zst");
    assert_eq!(readers.node(folder.path()), cases * 4, "gz, zip, xerial, zst");
}

/// Writes every case in every format, each beside its raw bytes; returns how many objects there are.
fn write_objects(folder: &Path) -> usize {
    let cases: [(&str, Chunks); 6] = [
        ("nothing", vec![]),
        ("empty-rows", vec![vec![vec![]], vec![], vec![vec![], vec![]]]),
        ("one-byte", vec![vec![b"x".to_vec()]]),
        ("lines", (1..=3).map(|seed| vec![lines(seed, 4000), vec![], lines(seed + 10, 1)]).collect()),
        // Over Hadoop's buffers if it were one block; chunks that end within a block.
        ("noise", vec![vec![noise(1, 700_001)], vec![vec![]], vec![noise(2, 262_144)], vec![noise(3, 1)]]),
        ("zeros", vec![vec![vec![0; 5 << 20]]; 2]),
    ];
    let pool = EncoderPool::new(1);
    for (name, chunks) in &cases {
        fs::write(folder.join(format!("{name}.raw")), concatenated(chunks, b"")).expect("writes");
        for (compression, extension) in FORMATS {
            let object = encode(&pool, &options(compression, b""), chunks);
            fs::write(folder.join(format!("{name}.{extension}")), object).expect("writes");
        }
    }
    cases.len() * FORMATS.len()
}

/// Log-like text.
fn lines(seed: u64, count: usize) -> Vec<u8> {
    let line = |at| format!("{{\"seq\":{at},\"seed\":{seed},\"id\":\"{:016x}\"}}\n", noise_u64(seed ^ at));
    (0..count as u64).map(line).collect::<String>().into_bytes()
}

fn noise_u64(seed: u64) -> u64 {
    seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Just over 4 GiB, where gzip's length wraps and ZIP needs its 64-bit fields.
const LARGE_CHUNK_BYTES: usize = 4 << 20;
const LARGE_CHUNKS: usize = 1025;

#[test]
fn objects_over_4_gib_are_valid() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let raw_bytes = (LARGE_CHUNK_BYTES * LARGE_CHUNKS) as u64;
    fs::write(folder.path().join("large.zeros"), raw_bytes.to_string()).expect("writes");
    fs::write(folder.path().join("large.zip"), large_object(Compression::Zip)).expect("writes");
    // One language only, because 4 GiB take a while: Java's stream reader is the strictest about the descriptor.
    assert_eq!(Readers::installed().java(folder.path()), 2, "zip as a stream and by its directory");

    let archive = File::open(folder.path().join("large.zip")).expect("opens");
    let mut archive = zip::ZipArchive::new(archive).expect("an archive");
    let entry = archive.by_index(0).expect("an entry");
    assert_eq!(entry.size(), raw_bytes);

    // The same checksum, which Java has just verified, and the length modulo 2^32.
    let gzip = large_object(Compression::Gzip);
    let trailer = [entry.crc32().to_le_bytes(), (raw_bytes as u32).to_le_bytes()].concat();
    assert!(gzip.ends_with(&trailer));
}

fn large_object(compression: Compression) -> Vec<u8> {
    // At this level zlib's inflate reads zeros back many times faster than at the others.
    let options = EncodeOptions { level: Some(1), ..options(compression, b"") };
    let encoder = EncoderPool::new(1).encoder(&options).expect("options are valid");
    let chunk = encoder.encode([&vec![0; LARGE_CHUNK_BYTES][..]]).expect("encodes");
    let (mut joiner, mut object) = start(compression);
    for _ in 0..LARGE_CHUNKS {
        object.extend_from_slice(&joiner.push(&chunk).expect("joins"));
    }
    object.extend_from_slice(&joiner.finish());
    object
}
