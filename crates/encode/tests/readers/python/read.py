"""Reads every object of a folder the way Python programs do and compares it with its `.raw` file.

Usage: read.py <folder>.
"""

import gzip
import io
import pathlib
import sys
import zipfile
import zlib

import kafka.codec
import snappy.snappy
import zstandard

PIECE = 1 << 20


def one_gzip_member(file):
    """Decompresses one member only, so that a second one would be missed rather than read."""
    member = zlib.decompressobj(wbits=31)
    while piece := file.read(PIECE):
        yield member.decompress(piece)
    yield member.flush()
    assert member.eof, "the member has no end"
    assert not member.unused_data, "there is more than one member"


def whole_gzip_file(file):
    yield from pieces(gzip.GzipFile(fileobj=file))


def zip_entry(file):
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        assert len(names) == 1, names
        with archive.open(names[0]) as entry:
            yield from pieces(entry)
        assert archive.getinfo(names[0]).compress_type == zipfile.ZIP_DEFLATED


def xerial(file):
    encoded = file.read()
    # snappy-java writes its header alone for an empty stream; kafka-python never meets one and does not know it.
    if len(encoded) > 16:
        yield kafka.codec.snappy_decode(encoded)
    else:
        assert encoded == b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"


def hadoop(file):
    out = io.BytesIO()
    snappy.snappy.hadoop_stream_decompress(file, out)
    yield out.getvalue()


def zstd(file):
    yield from pieces(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))


def pieces(file):
    while piece := file.read(PIECE):
        yield piece


READERS = {
    ".gz": [one_gzip_member, whole_gzip_file],
    ".zip": [zip_entry],
    ".xerial": [xerial],
    ".hadoop": [hadoop],
    ".zst": [zstd],
}


def check(path, reader):
    with open(path, "rb") as encoded, open(path.with_suffix(".raw"), "rb") as raw:
        for piece in reader(encoded):
            assert raw.read(len(piece)) == piece, "other bytes"
        assert raw.read(1) == b"", "too short"


def main(folder):
    checked = 0
    for path in sorted(pathlib.Path(folder).iterdir()):
        for reader in READERS.get(path.suffix, []):
            try:
                check(path, reader)
            except Exception as error:
                sys.exit(f"{path.name}: {reader.__name__}: {error!r}")
            checked += 1
    print(f"checked {checked}")


main(sys.argv[1])
