//! How the API words tables: URLs of JDBC, and what `COPY` is told where the table is PostgreSQL's.

use standpipe_sinks::postgres::PostgresFormat;

use super::redshift::RedshiftTarget;

/// PostgreSQL's port.
const POSTGRES_PORT: u16 = 5432;
/// What AWS calls the hosts of Redshift below.
const REDSHIFT_LABELS: [&str; 2] = ["redshift", "redshift-serverless"];

/// Where a table is (`ClusterJDBCURL`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JdbcUrl {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
    /// Whether the server is a PostgreSQL: its driver is, and the host is none of AWS's Redshift, whose users may name that driver.
    pub(crate) is_postgres: bool,
}

impl JdbcUrl {
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let (driver, place) = url.strip_prefix("jdbc:")?.split_once("://")?;
        let (server, database) = place.split_once('/')?;
        let (host, port) = match server.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (server, None),
        };
        let is_postgres = match driver {
            "postgresql" => !is_redshift(host),
            "redshift" => false,
            _ => return None,
        };
        let usual = if is_postgres { POSTGRES_PORT } else { RedshiftTarget::PORT };
        let (host, database) = (host.to_owned(), database.to_owned());
        Some(Self { host, port: port.unwrap_or(usual), database, is_postgres })
    }
}

/// Whether AWS would take the host for one of Redshift.
fn is_redshift(host: &str) -> bool {
    let labels: Vec<&str> = host.split('.').collect();
    let between = labels.get(1..labels.len() - 1).unwrap_or_default();
    between.iter().any(|label| REDSHIFT_LABELS.contains(label))
}

/// What `COPY` is told (`CopyOptions`) is not known for PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CopyWordsError {
    /// It does not say what records are.
    #[error("for a table of PostgreSQL CopyOptions has to say what records are: JSON 'auto', or CSV")]
    NoFormat,
    /// A word that has no meaning here, or that lacks its value.
    #[error(
        "for a table of PostgreSQL CopyOptions must not have {0}: it may be JSON 'auto', or CSV with DELIMITER '…' and NULL \
         AS '…', and GZIP beside CompressionFormat GZIP"
    )]
    Unknown(String),
}

/// The format that the options of a table of PostgreSQL ask for. `GZIP` is about objects that are not staged here: it may be
/// there where they would have been compressed.
///
/// # Errors
/// [`CopyWordsError`].
pub(crate) fn format_of(options: &str, gzip: bool) -> Result<PostgresFormat, CopyWordsError> {
    let mut words = Words(options);
    let mut format = None;
    let (mut delimiter, mut null) = (None, None);
    while let Some(word) = words.word() {
        match word.to_ascii_uppercase().as_str() {
            "FORMAT" => drop(words.skip("AS")),
            "JSON" if format.is_none() && words.value().as_deref() == Some("auto") => {
                format = Some(PostgresFormat::Json);
            }
            "CSV" if format.is_none() => {
                format = Some(PostgresFormat::Csv { delimiter: ',', null: String::new() });
            }
            "GZIP" if gzip => {}
            "DELIMITER" if delimiter.is_none() => {
                delimiter = words.value().as_deref().and_then(character);
                delimiter.ok_or(CopyWordsError::Unknown(word))?;
            }
            "NULL" if null.is_none() => {
                null = words.value();
                null.as_ref().ok_or(CopyWordsError::Unknown(word))?;
            }
            _ => return Err(CopyWordsError::Unknown(word)),
        }
    }
    match format.ok_or(CopyWordsError::NoFormat)? {
        PostgresFormat::Csv { delimiter: usual, null: usual_null } => Ok(PostgresFormat::Csv {
            delimiter: delimiter.unwrap_or(usual),
            null: null.unwrap_or(usual_null),
        }),
        PostgresFormat::Json if delimiter.is_some() => Err(CopyWordsError::Unknown("DELIMITER".to_owned())),
        PostgresFormat::Json if null.is_some() => Err(CopyWordsError::Unknown("NULL".to_owned())),
        PostgresFormat::Json => Ok(PostgresFormat::Json),
    }
}

/// The options that lead to the format.
pub(crate) fn options_of(format: &PostgresFormat) -> String {
    let quoted = |text: &str| text.replace('\'', "''");
    match format {
        PostgresFormat::Json => "JSON 'auto'".to_owned(),
        PostgresFormat::Csv { delimiter, null } => {
            format!("CSV DELIMITER '{}' NULL AS '{}'", quoted(&delimiter.to_string()), quoted(null))
        }
    }
}

/// The one character of a delimiter, which may be written as an escape.
fn character(text: &str) -> Option<char> {
    let mut chars = text.chars();
    match (chars.next()?, chars.next(), chars.next()) {
        (one, None, None) => Some(one),
        ('\\', Some('t'), None) => Some('\t'),
        _ => None,
    }
}

/// The words of a statement that are left.
struct Words<'a>(&'a str);

impl Words<'_> {
    /// The next word, or what stands there in its place.
    fn word(&mut self) -> Option<String> {
        let rest = self.0.trim_start();
        let first = rest.chars().next()?;
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len()).max(first.len_utf8());
        self.0 = &rest[end..];
        Some(rest[..end].to_owned())
    }

    /// Passes over that word, if it is the next one.
    fn skip(&mut self, word: &str) -> bool {
        let before = self.0;
        let there = self.word().is_some_and(|next| next.eq_ignore_ascii_case(word));
        if !there {
            self.0 = before;
        }
        there
    }

    /// The text in single quotes that is next, behind an `AS` or not.
    fn value(&mut self) -> Option<String> {
        self.skip("AS");
        let mut rest = self.0.trim_start().strip_prefix('\'')?;
        let mut text = String::new();
        loop {
            let (part, behind) = rest.split_once('\'')?;
            text.push_str(part);
            match behind.strip_prefix('\'') {
                Some(doubled) => {
                    text.push('\'');
                    rest = doubled;
                }
                None => {
                    self.0 = behind;
                    return Some(text);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_postgresql_by_its_driver_and_redshift_by_its_driver_or_its_host() {
        for (url, expected) in [
            ("jdbc:postgresql://db.example.com:5433/app", Some(("db.example.com", 5433, "app", true))),
            ("jdbc:postgresql://localhost/app", Some(("localhost", 5432, "app", true))),
            ("jdbc:postgresql://redshift:1/app", Some(("redshift", 1, "app", true))),
            ("jdbc:redshift://localhost/app", Some(("localhost", 5439, "app", false))),
            (
                "jdbc:postgresql://l.abc.eu-west-1.redshift.amazonaws.com:5439/dev",
                Some(("l.abc.eu-west-1.redshift.amazonaws.com", 5439, "dev", false)),
            ),
            (
                "jdbc:postgresql://w.123.eu-west-1.redshift-serverless.amazonaws.com/dev",
                Some(("w.123.eu-west-1.redshift-serverless.amazonaws.com", 5439, "dev", false)),
            ),
            ("jdbc:mysql://db:3306/app", None),
            ("jdbc:postgresql://db:99999/app", None),
            ("jdbc:postgresql://db", None),
            ("postgresql://db/app", None),
        ] {
            let expected = expected.map(|(host, port, database, is_postgres)| JdbcUrl {
                host: host.to_owned(),
                port,
                database: database.to_owned(),
                is_postgres,
            });
            assert_eq!(JdbcUrl::parse(url), expected, "{url}");
        }
    }

    fn csv(delimiter: char, null: &str) -> PostgresFormat {
        PostgresFormat::Csv { delimiter, null: null.to_owned() }
    }

    #[test]
    fn options_say_what_records_are_and_come_back_as_they_are_shown() {
        for (options, gzip, expected) in [
            ("JSON 'auto'", false, PostgresFormat::Json),
            ("format as json as 'auto' gzip", true, PostgresFormat::Json),
            ("CSV", false, csv(',', "")),
            ("csv delimiter '\\t' null as '\\N'", false, csv('\t', "\\N")),
            ("DELIMITER AS ';' NULL 'it''s' CSV", false, csv(';', "it's")),
        ] {
            let format = format_of(options, gzip).expect(options);
            assert_eq!(format, expected, "{options}");
            assert_eq!(format_of(&options_of(&format), false), Ok(expected));
        }
    }

    #[test]
    fn options_that_cannot_be_kept_are_refused_by_name() {
        for options in ["", " ", "DELIMITER ','", "GZIP"] {
            assert_eq!(format_of(options, true), Err(CopyWordsError::NoFormat), "{options}");
        }
        for (options, word) in [
            ("JSON 's3://bucket/paths.json'", "JSON"),
            ("JSON 'auto", "JSON"),
            ("JSON 'auto' GZIP", "GZIP"),
            ("JSON 'auto' CSV", "CSV"),
            ("JSON 'auto' NULL AS 'x'", "NULL"),
            ("CSV DELIMITER 'ab'", "DELIMITER"),
            ("CSV NULL AS x", "NULL"),
            ("CSV IGNOREHEADER 1", "IGNOREHEADER"),
            ("CSV; DROP TABLE t", ";"),
        ] {
            assert_eq!(format_of(options, false), Err(CopyWordsError::Unknown(word.to_owned())), "{options}");
        }
    }
}
