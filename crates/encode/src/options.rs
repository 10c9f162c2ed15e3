//! What an object's encoding is configured by, and what its headers say about the result.

use bytes::Bytes;
use standpipe_model::{Compression, Media};

/// How the rows of a destination become an object's bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// The compression.
    pub compression: Compression,
    /// Its level; `None` is the format's default.
    pub level: Option<i32>,
    /// Appended to every row, the last one included; usually empty or a newline.
    pub delimiter: Bytes,
}

/// A compression level that the format does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// The format has levels, but not this one.
    #[error("{} has levels {min} to {max}, not {level}", name(*.compression))]
    OutOfRange {
        /// The format.
        compression: Compression,
        /// The level asked for.
        level: i32,
        /// The lowest level.
        min: i32,
        /// The highest level.
        max: i32,
    },
    /// The format has no levels.
    #[error("{} has no compression levels, but level {level} was given", name(*.compression))]
    NoLevels {
        /// The format.
        compression: Compression,
        /// The level asked for.
        level: i32,
    },
}

/// Checks a configured level: GZIP and ZIP have 1 to 9 (default 6), ZSTD has 1 to 22 (default 3), the others none.
///
/// Level 0 is refused although both libraries know it: deflate's means *stored*, which is what `UNCOMPRESSED` is
/// for, and zstd's is another name for the default.
///
/// # Errors
/// [`LevelError`] names the allowed range; show it beside the setting's path.
pub fn validate_level(compression: Compression, level: Option<i32>) -> Result<(), LevelError> {
    resolve_level(compression, level).map(drop)
}

/// The level to compress with; 0 where the format has none.
pub(crate) fn resolve_level(compression: Compression, level: Option<i32>) -> Result<i32, LevelError> {
    let (min, default, max) = match compression {
        Compression::Gzip | Compression::Zip => (1, 6, 9),
        Compression::Zstd => (1, 3, 22),
        Compression::Uncompressed | Compression::Snappy | Compression::HadoopSnappy => {
            return level.map_or(Ok(0), |level| Err(LevelError::NoLevels { compression, level }));
        }
    };
    let level = level.unwrap_or(default);
    if (min..=max).contains(&level) {
        Ok(level)
    } else {
        Err(LevelError::OutOfRange { compression, level, min, max })
    }
}

/// What an object's headers say of its bytes, as measured on the real service; `ZSTD` is ours.
///
/// `Content-Encoding: zip`, `snappy-java` and `hadoop-snappy` are not registered encodings, but they are what
/// Firehose sends, and what readers of its buckets have come to expect.
pub fn media(compression: Compression) -> Media {
    let (content_encoding, extension) = match compression {
        Compression::Uncompressed => (None, ""),
        Compression::Gzip => (Some("gzip"), ".gz"),
        Compression::Zip => (Some("zip"), ".zip"),
        Compression::Snappy => (Some("snappy-java"), ".snappy"),
        Compression::HadoopSnappy => (Some("hadoop-snappy"), ".snappy"),
        Compression::Zstd => (Some("zstd"), ".zst"),
    };
    Media { content_type: "application/octet-stream", content_encoding, extension }
}

/// The name as it is written in a configuration.
fn name(compression: Compression) -> &'static str {
    match compression {
        Compression::Uncompressed => "UNCOMPRESSED",
        Compression::Gzip => "GZIP",
        Compression::Zip => "ZIP",
        Compression::Snappy => "Snappy",
        Compression::HadoopSnappy => "HADOOP_SNAPPY",
        Compression::Zstd => "ZSTD",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_outside_the_range_are_refused_with_the_range() {
        for (compression, level, expect) in [
            (Compression::Gzip, 0, "GZIP has levels 1 to 9, not 0"),
            (Compression::Zip, 10, "ZIP has levels 1 to 9, not 10"),
            (Compression::Zstd, 23, "ZSTD has levels 1 to 22, not 23"),
            (Compression::Snappy, 1, "Snappy has no compression levels, but level 1 was given"),
            (Compression::Uncompressed, 6, "UNCOMPRESSED has no compression levels, but level 6 was given"),
        ] {
            let error = validate_level(compression, Some(level)).expect_err("refused");
            assert_eq!(error.to_string(), expect);
        }
    }

    #[test]
    fn levels_inside_the_range_and_none_at_all_are_accepted() {
        for (compression, level) in [
            (Compression::Gzip, Some(1)),
            (Compression::Zip, Some(9)),
            (Compression::Zstd, Some(22)),
            (Compression::Zstd, None),
            (Compression::HadoopSnappy, None),
        ] {
            assert_eq!(validate_level(compression, level), Ok(()));
        }
    }
}
