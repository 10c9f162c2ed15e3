//! Column types in Hive's words, as AWS Glue's tables have them, and what they are in Arrow.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::orc::TYPE_KEY;

/// How deep types may be nested.
pub const DEPTH_MAX: usize = 32;
/// The most digits of a decimal.
const PRECISION_MAX: u8 = 38;
/// What a `decimal` without digits is.
const DECIMAL: Type = Type::Decimal { precision: 10, scale: 0 };

/// A column's type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Type {
    /// `boolean`
    Boolean,
    /// `tinyint`: 8 bits.
    TinyInt,
    /// `smallint`: 16 bits.
    SmallInt,
    /// `int` or `integer`: 32 bits.
    Int,
    /// `bigint`: 64 bits.
    BigInt,
    /// `float` or `real`: 32 bits.
    Float,
    /// `double`: 64 bits.
    Double,
    /// `decimal(precision, scale)`; without digits `decimal(10,0)`.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Of these, digits behind the point.
        scale: u8,
    },
    /// `string`
    String,
    /// `char(n)`: at most so many characters; more are cut off.
    Char(u16),
    /// `varchar(n)`: as `char`.
    Varchar(u16),
    /// `date`
    Date,
    /// `timestamp`: microseconds, without a zone.
    Timestamp,
    /// `binary`
    Binary,
    /// `array<type>`
    Array(Box<Type>),
    /// `map<string,type>`
    Map(Box<Type>),
    /// `struct<name:type,…>`
    Struct(Vec<(String, Type)>),
}

/// A text is no type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// There is no such type.
    #[error(
        "'{0}' is not a type: boolean, tinyint, smallint, int, bigint, float, double, decimal(p,s), string, char(n), varchar(n), date, timestamp, binary, array<t>, map<string,t> or struct<name:t,…>"
    )]
    Unknown(String),
    /// Something else should stand there.
    #[error("{expected} should stand before '{rest}'")]
    Expected {
        /// What should.
        expected: &'static str,
        /// What does, up to the end.
        rest: String,
    },
    /// A number is out of its range.
    #[error("{what} is {found}, allowed are {min} to {max}")]
    Range {
        /// What the number is.
        what: &'static str,
        /// The number.
        found: u64,
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
    },
    /// The keys of a map are something else than strings.
    #[error("the keys of a map are strings: map<string,…>, not map<{0},…>")]
    MapKey(Type),
    /// A struct has two members of one name; case does not tell them apart.
    #[error("a struct has two members '{0}'")]
    Twice(String),
    /// It is nested too deep.
    #[error("types may be nested {DEPTH_MAX} deep")]
    Depth,
}

impl Type {
    /// The type in Arrow.
    pub fn to_arrow(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::TinyInt => DataType::Int8,
            Self::SmallInt => DataType::Int16,
            Self::Int => DataType::Int32,
            Self::BigInt => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Decimal { precision, scale } => {
                DataType::Decimal128(*precision, i8::try_from(*scale).unwrap_or(i8::MAX))
            }
            Self::String | Self::Char(_) | Self::Varchar(_) => DataType::Utf8,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Binary => DataType::Binary,
            Self::Array(item) => DataType::List(Arc::new(item.to_field("element", true))),
            Self::Map(value) => {
                let key = Field::new("key", DataType::Utf8, false);
                let entry = DataType::Struct(Fields::from(vec![key, value.to_field("value", true)]));
                DataType::Map(Arc::new(Field::new("key_value", entry, false)), false)
            }
            Self::Struct(members) => {
                DataType::Struct(members.iter().map(|(name, member)| member.to_field(name, true)).collect())
            }
        }
    }

    /// A field of the type.
    pub fn to_field(&self, name: &str, nullable: bool) -> Field {
        let field = Field::new(name, self.to_arrow(), nullable);
        match self {
            // ORC has types of their own for them.
            Self::Char(_) | Self::Varchar(_) => {
                field.with_metadata(HashMap::from([(TYPE_KEY.to_owned(), self.to_string())]))
            }
            _ => field,
        }
    }

    /// The type of an Arrow field, where there is one.
    pub fn from_arrow(from: &DataType) -> Option<Self> {
        Some(match from {
            DataType::Boolean => Self::Boolean,
            DataType::Int8 => Self::TinyInt,
            DataType::Int16 | DataType::UInt8 => Self::SmallInt,
            DataType::Int32 | DataType::UInt16 => Self::Int,
            DataType::Int64 | DataType::UInt32 => Self::BigInt,
            DataType::Float32 => Self::Float,
            DataType::Float64 => Self::Double,
            DataType::Decimal128(precision, scale) => {
                Self::Decimal { precision: *precision, scale: u8::try_from(*scale).ok()? }
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::String,
            DataType::Date32 => Self::Date,
            DataType::Timestamp(_, None) => Self::Timestamp,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Self::Binary,
            DataType::List(item) | DataType::LargeList(item) => {
                Self::Array(Box::new(Self::from_arrow(item.data_type())?))
            }
            DataType::Map(entry, _) => match entry.data_type() {
                DataType::Struct(fields) => {
                    Self::Map(Box::new(Self::from_arrow(fields.get(1)?.data_type())?))
                }
                _ => return None,
            },
            DataType::Struct(fields) => {
                let member =
                    |field: &Arc<Field>| Some((field.name().clone(), Self::from_arrow(field.data_type())?));
                Self::Struct(fields.iter().map(member).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::TinyInt => f.write_str("tinyint"),
            Self::SmallInt => f.write_str("smallint"),
            Self::Int => f.write_str("int"),
            Self::BigInt => f.write_str("bigint"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::String => f.write_str("string"),
            Self::Char(length) => write!(f, "char({length})"),
            Self::Varchar(length) => write!(f, "varchar({length})"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Binary => f.write_str("binary"),
            Self::Array(item) => write!(f, "array<{item}>"),
            Self::Map(value) => write!(f, "map<string,{value}>"),
            Self::Struct(members) => {
                f.write_str("struct<")?;
                for (number, (name, member)) in members.iter().enumerate() {
                    let comma = if number > 0 { "," } else { "" };
                    write!(f, "{comma}{name}:{member}")?;
                }
                f.write_str(">")
            }
        }
    }
}

impl From<Type> for String {
    fn from(from: Type) -> Self {
        from.to_string()
    }
}

impl TryFrom<String> for Type {
    type Error = TypeError;

    fn try_from(text: String) -> Result<Self, TypeError> {
        text.parse()
    }
}

impl FromStr for Type {
    type Err = TypeError;

    fn from_str(text: &str) -> Result<Self, TypeError> {
        let mut parser = Parser { rest: text };
        let found = parser.any(0)?;
        match parser.rest.trim_start() {
            "" => Ok(found),
            rest => Err(TypeError::Expected { expected: "the end", rest: rest.to_owned() }),
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn any(&mut self, depth: usize) -> Result<Type, TypeError> {
        if depth > DEPTH_MAX {
            return Err(TypeError::Depth);
        }
        let name = self.word(|c| c.is_ascii_alphanumeric() || c == '_').to_ascii_lowercase();
        Ok(match name.as_str() {
            "boolean" => Type::Boolean,
            "tinyint" => Type::TinyInt,
            "smallint" => Type::SmallInt,
            "int" | "integer" => Type::Int,
            "bigint" => Type::BigInt,
            "float" | "real" => Type::Float,
            "double" => Type::Double,
            "string" => Type::String,
            "date" => Type::Date,
            "timestamp" => Type::Timestamp,
            "binary" => Type::Binary,
            "char" => Type::Char(self.length("the length of a char", 255)?),
            "varchar" => Type::Varchar(self.length("the length of a varchar", u16::MAX)?),
            "decimal" => self.decimal()?,
            "array" => {
                self.expect('<', "<")?;
                let item = self.any(depth + 1)?;
                self.expect('>', ">")?;
                Type::Array(Box::new(item))
            }
            "map" => {
                self.expect('<', "<")?;
                let key = self.any(depth + 1)?;
                if key != Type::String {
                    return Err(TypeError::MapKey(key));
                }
                self.expect(',', ",")?;
                let value = self.any(depth + 1)?;
                self.expect('>', ">")?;
                Type::Map(Box::new(value))
            }
            "struct" => self.members(depth)?,
            _ => return Err(TypeError::Unknown(format!("{name}{}", self.rest))),
        })
    }

    fn members(&mut self, depth: usize) -> Result<Type, TypeError> {
        self.expect('<', "<")?;
        let mut members: Vec<(String, Type)> = Vec::new();
        loop {
            let name = self.word(|c| !matches!(c, ':' | ',' | '<' | '>')).trim_end();
            if name.is_empty() {
                return Err(self.expected("the name of a member"));
            }
            if members.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                return Err(TypeError::Twice(name.to_owned()));
            }
            self.expect(':', ":")?;
            members.push((name.to_owned(), self.any(depth + 1)?));
            if !self.take(',') {
                break;
            }
        }
        self.expect('>', ">")?;
        Ok(Type::Struct(members))
    }

    fn decimal(&mut self) -> Result<Type, TypeError> {
        if !self.take('(') {
            return Ok(DECIMAL);
        }
        let precision = self.number("the precision of a decimal", 1, PRECISION_MAX.into())? as u8;
        let scale = match self.take(',') {
            true => self.number("the scale of a decimal", 0, precision.into())? as u8,
            false => 0,
        };
        self.expect(')', ")")?;
        Ok(Type::Decimal { precision, scale })
    }

    fn length(&mut self, what: &'static str, max: u16) -> Result<u16, TypeError> {
        self.expect('(', "(")?;
        let length = self.number(what, 1, max.into())?;
        self.expect(')', ")")?;
        Ok(u16::try_from(length).unwrap_or(max))
    }

    fn number(&mut self, what: &'static str, min: u64, max: u64) -> Result<u64, TypeError> {
        let digits = self.word(|c| c.is_ascii_digit());
        let found = digits.parse().map_err(|_| self.expected("a number"))?;
        match (min..=max).contains(&found) {
            true => Ok(found),
            false => Err(TypeError::Range { what, found, min, max }),
        }
    }

    fn word(&mut self, of: impl Fn(char) -> bool) -> &'a str {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c| !of(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn take(&mut self, wanted: char) -> bool {
        let rest = self.rest.trim_start().strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, wanted: char, expected: &'static str) -> Result<(), TypeError> {
        if self.take(wanted) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn expected(&self, expected: &'static str) -> TypeError {
        TypeError::Expected { expected, rest: self.rest.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_hive_writes_them_and_print_as_they_are_read() {
        for text in [
            "boolean",
            "decimal(38,10)",
            "char(255)",
            "varchar(65535)",
            "array<array<int>>",
            "map<string,struct<a b:int,c:array<string>>>",
            "struct<dep:double,arr:double>",
        ] {
            let found: Type = text.parse().expect(text);
            assert_eq!(found.to_string(), text);
            let plain = |found: &Type| !matches!(found, Type::Char(_) | Type::Varchar(_));
            assert_eq!(Type::from_arrow(&found.to_arrow()) == Some(found.clone()), plain(&found), "{text}");
        }
        for (text, same) in [
            (" Struct < A : INTEGER , b : Decimal > ", "struct<A:int,b:decimal(10,0)>"),
            ("decimal( 5 )", "decimal(5,0)"),
            ("real", "float"),
        ] {
            assert_eq!(text.parse::<Type>().expect(text).to_string(), same);
        }
    }

    #[test]
    fn what_is_no_type_is_refused_with_the_place() {
        for (text, expected) in [
            ("int8", "'int8' is not a type: "),
            ("uniontype<int,string>", "'uniontype<int,string>' is not a type: "),
            ("", "'' is not a type: "),
            ("array<int", "> should stand before ''"),
            ("array int", "< should stand before ' int'"),
            ("int>", "the end should stand before '>'"),
            ("decimal(39)", "the precision of a decimal is 39, allowed are 1 to 38"),
            ("decimal(5,6)", "the scale of a decimal is 6, allowed are 0 to 5"),
            ("char(256)", "the length of a char is 256, allowed are 1 to 255"),
            ("char", "( should stand before ''"),
            ("map<int,string>", "the keys of a map are strings: map<string,…>, not map<int,…>"),
            ("struct<a:int,A:int>", "a struct has two members 'A'"),
            ("struct<>", "the name of a member should stand before '>'"),
            ("struct<a>", ": should stand before '>'"),
        ] {
            let error = text.parse::<Type>().expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        let deep = format!("{}int{}", "array<".repeat(40), ">".repeat(40));
        assert_eq!(deep.parse::<Type>(), Err(TypeError::Depth));
    }
}
