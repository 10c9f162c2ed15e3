//! Prefix expressions: literal text with `!{namespace:value}` in it.

use super::pattern::Pattern;

/// What opens an expression.
const OPEN: &str = "!{";

/// A parsed prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixExpr {
    pub(super) parts: Vec<Part>,
}

/// One part of a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    Timestamp(Pattern),
    RandomString,
    ErrorOutputType,
    /// A dynamic partitioning key, by source and name.
    PartitionKey(PartitionSource, String),
}

/// Where a dynamic partitioning key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartitionSource {
    /// The metadata extraction processor.
    Query,
    /// The transformation function.
    Function,
}

/// Why a prefix does not parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ParseError {
    /// An opened expression without an end or without a colon.
    Usage,
    /// The namespace is none of Firehose's.
    Namespace(String),
    /// The value is none of its namespace's.
    Value,
}

/// A stretch of a prefix before its meaning is looked at.
enum Token<'a> {
    Literal(&'a str),
    Expression(&'a str),
    Stray,
}

/// Cuts a prefix into literals and expressions.
fn tokens(prefix: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = prefix;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(inner) = rest.strip_prefix(OPEN) else {
            let (literal, tail) = rest.split_at(rest.find(OPEN).unwrap_or(rest.len()));
            rest = tail;
            return Some(Token::Literal(literal));
        };
        match inner.split_once('}') {
            Some((body, tail)) => {
                rest = tail;
                Some(Token::Expression(body))
            }
            None => {
                rest = "";
                Some(Token::Stray)
            }
        }
    })
}

/// Whether the text holds a closed expression, well formed or not.
pub(super) fn has_expressions(prefix: &str) -> bool {
    tokens(prefix).any(|token| matches!(token, Token::Expression(_)))
}

/// Whether the text holds `!{firehose:error-output-type}`.
pub(super) fn has_error_output_type(prefix: &str) -> bool {
    tokens(prefix).any(|token| matches!(token, Token::Expression("firehose:error-output-type")))
}

/// Whether the text uses a dynamic partitioning namespace.
pub(super) fn has_partition_keys(prefix: &str) -> bool {
    tokens(prefix).any(|token| match token {
        Token::Expression(body) => {
            matches!(body.split_once(':'), Some(("partitionKeyFromQuery" | "partitionKeyFromLambda", _)))
        }
        _ => false,
    })
}

impl PrefixExpr {
    /// Parses one prefix by itself; [`validate`](super::validate) applies the rules between the two prefixes.
    ///
    /// # Errors
    /// Why it does not parse.
    pub(super) fn parse_parts(prefix: &str) -> Result<Self, ParseError> {
        let parts = tokens(prefix).map(|token| match token {
            Token::Literal(text) => Ok(Part::Literal(text.to_owned())),
            Token::Stray => Err(ParseError::Usage),
            Token::Expression(body) => part(body),
        });
        Ok(Self { parts: parts.collect::<Result<_, _>>()? })
    }

    /// The prefix of data: one without expressions gets the default folders behind it, one with them is complete.
    pub(super) fn with_folders(mut self) -> Self {
        if !self.has_expressions() {
            self.parts.push(Part::Timestamp(Pattern::default_folders()));
        }
        self
    }

    /// The prefix of error output: one without expressions gets a folder for the kind of error first.
    pub(super) fn with_error_folders(mut self) -> Self {
        if !self.has_expressions() {
            self.parts.extend([Part::ErrorOutputType, Part::Literal("/".to_owned())]);
            self.parts.push(Part::Timestamp(Pattern::default_folders()));
        }
        self
    }

    /// The partition keys that it asks for, in order; one that stands there twice comes twice.
    pub(super) fn partition_keys(&self) -> impl Iterator<Item = (PartitionSource, &str)> {
        self.parts.iter().filter_map(|part| match part {
            Part::PartitionKey(source, key) => Some((*source, key.as_str())),
            _ => None,
        })
    }

    /// Whether anything in the prefix is evaluated.
    pub fn has_expressions(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part, Part::Literal(_)))
    }
}

fn part(body: &str) -> Result<Part, ParseError> {
    let (namespace, value) = body.split_once(':').ok_or(ParseError::Usage)?;
    let key = |source| match value {
        "" => Err(ParseError::Value),
        key => Ok(Part::PartitionKey(source, key.to_owned())),
    };
    match (namespace, value) {
        ("timestamp", "") => Err(ParseError::Value),
        ("timestamp", pattern) => Pattern::parse(pattern).map(Part::Timestamp).map_err(|_| ParseError::Value),
        ("firehose", "random-string") => Ok(Part::RandomString),
        ("firehose", "error-output-type") => Ok(Part::ErrorOutputType),
        ("firehose", _) => Err(ParseError::Value),
        ("partitionKeyFromQuery", _) => key(PartitionSource::Query),
        ("partitionKeyFromLambda", _) => key(PartitionSource::Function),
        (other, _) => Err(ParseError::Namespace(other.to_owned())),
    }
}
