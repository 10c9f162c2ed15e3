//! Random tables, and rows of JSON that fit them, with what they are to come to.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use standpipe_convert::{Column, TableSchema, Type};

/// A type, nested at most `depth` deep.
pub(crate) fn kind(depth: u32) -> BoxedStrategy<Type> {
    let scalar = prop_oneof![
        Just(Type::Boolean),
        Just(Type::TinyInt),
        Just(Type::SmallInt),
        Just(Type::Int),
        Just(Type::BigInt),
        Just(Type::Float),
        Just(Type::Double),
        (1u8..=38, 0u8..=38)
            .prop_map(|(precision, scale)| Type::Decimal { precision, scale: scale.min(precision) }),
        Just(Type::String),
        Just(Type::Varchar(5)),
        Just(Type::Date),
        Just(Type::Timestamp),
        Just(Type::Binary),
    ];
    scalar
        .prop_recursive(depth, 12, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|item| Type::Array(Box::new(item))),
                inner.clone().prop_map(|value| Type::Map(Box::new(value))),
                prop::collection::vec(inner, 1..4).prop_map(|members| {
                    let named = members.into_iter().enumerate();
                    Type::Struct(named.map(|(number, kind)| (format!("m{number}"), kind)).collect())
                }),
            ]
        })
        .boxed()
}

/// A table with a number in its first column, and rows of it as JSON.
pub(crate) fn table_and_rows(rows: usize) -> BoxedStrategy<(TableSchema, Vec<Value>)> {
    prop::collection::vec(kind(3), 1..5)
        .prop_flat_map(move |kinds| {
            let named = kinds.iter().enumerate();
            let columns: Vec<Column> = named
                .map(|(number, kind)| Column {
                    name: format!("c{number}"),
                    kind: kind.clone(),
                    required: false,
                    ids: Vec::new(),
                })
                .collect();
            let row: Vec<BoxedStrategy<Value>> = kinds.iter().map(value).collect();
            let table = TableSchema::new(columns).unwrap();
            (Just(table), prop::collection::vec(row, 1..rows))
        })
        .prop_map(|(table, rows)| {
            let named = |row: Vec<Value>| {
                let members =
                    row.into_iter().enumerate().map(|(number, value)| (format!("c{number}"), value));
                Value::Object(members.collect::<Map<_, _>>())
            };
            (table, rows.into_iter().map(named).collect())
        })
        .boxed()
}

/// A value of the type or null, in the form that reading gives back.
fn value(kind: &Type) -> BoxedStrategy<Value> {
    let some = match kind {
        Type::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        Type::TinyInt => any::<i8>().prop_map(Value::from).boxed(),
        Type::SmallInt => any::<i16>().prop_map(Value::from).boxed(),
        Type::Int => any::<i32>().prop_map(Value::from).boxed(),
        Type::BigInt => any::<i64>().prop_map(Value::from).boxed(),
        Type::Float => (-1000i16..1000).prop_map(|number| json!(f32::from(number) / 8.0)).boxed(),
        Type::Double => (-1_000_000i32..1_000_000).prop_map(|number| json!(f64::from(number) / 64.0)).boxed(),
        Type::Decimal { precision, scale } => decimal(*precision, *scale),
        Type::String => "[a-zäö\"\\\\\n ]{0,12}".prop_map(Value::from).boxed(),
        Type::Varchar(_) | Type::Char(_) => "[a-zä]{0,5}".prop_map(Value::from).boxed(),
        Type::Binary => "[a-z]{0,6}".prop_map(Value::from).boxed(),
        Type::Date => (1900u32..2100, 1u32..13, 1u32..29)
            .prop_map(|(year, month, day)| Value::from(format!("{year}-{month:02}-{day:02}")))
            .boxed(),
        Type::Timestamp => (1900u32..2100, 1u32..13, 0u32..24, 0u32..1_000_000)
            .prop_map(|(year, month, hour, micros)| {
                Value::from(format!("{year}-{month:02}-15 {hour:02}:30:59.{micros:06}"))
            })
            .boxed(),
        Type::Array(item) => prop::collection::vec(value(item), 0..4).prop_map(Value::from).boxed(),
        Type::Map(of) => prop::collection::btree_map("[a-z]{1,4}", value(of), 0..4)
            .prop_map(|entries| Value::Object(entries.into_iter().collect()))
            .boxed(),
        Type::Struct(members) => {
            let names: Vec<String> = members.iter().map(|(name, _)| name.clone()).collect();
            let values: Vec<BoxedStrategy<Value>> = members.iter().map(|(_, kind)| value(kind)).collect();
            values
                .prop_map(move |values| {
                    Value::Object(names.iter().cloned().zip(values).collect::<Map<_, _>>())
                })
                .boxed()
        }
    };
    prop_oneof![1 => Just(Value::Null), 6 => some].boxed()
}

/// A string, since a JSON number of many digits would not come through.
fn decimal(precision: u8, scale: u8) -> BoxedStrategy<Value> {
    let whole = usize::from(precision - scale);
    let digits = (prop::collection::vec(0u8..10, whole), prop::collection::vec(0u8..10, usize::from(scale)));
    (any::<bool>(), digits)
        .prop_map(|(negative, (whole, fraction))| {
            let text =
                |digits: &[u8]| digits.iter().map(|digit| char::from(b'0' + digit)).collect::<String>();
            let (whole, fraction) = (text(&whole), text(&fraction));
            let whole = match whole.trim_start_matches('0') {
                "" => "0",
                whole => whole,
            };
            let point = if fraction.is_empty() { "" } else { "." };
            let is_zero = whole == "0" && fraction.bytes().all(|digit| digit == b'0');
            let sign = if negative && !is_zero { "-" } else { "" };
            Value::from(format!("{sign}{whole}{point}{fraction}"))
        })
        .boxed()
}

/// Objects that no table made: few keys, so that values of all kinds meet.
pub(crate) fn objects(most: usize) -> BoxedStrategy<Vec<Value>> {
    let key = || prop_oneof![8 => "[a-cAÄΣ.]{1,2}", 1 => "[ :,<>\"\\\\]{0,2}"];
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0u32..3000, 0u32..14, 0u32..33)
            .prop_map(|(year, month, day)| json!(format!("{year}-{month}-{day}"))),
        (1990u32..2100, 0u32..61).prop_map(|(year, second)| json!(format!("{year}-01-02T03:04:{second}Z"))),
        "[a-zä\"\n ]{0,5}".prop_map(Value::from),
    ];
    let value = scalar.prop_recursive(4, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    });
    let object =
        prop::collection::vec((key(), value), 0..5).prop_map(|members| members.into_iter().collect());
    prop::collection::vec(object, 1..most).boxed()
}
