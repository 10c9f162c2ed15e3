//! The walk over the API's tables: what it accepts is in normal form, and stays so.

use serde_json::Value;
use standpipe_ingest::{ErrorCode, Operation, check_s3_destination, shape};

/// Checks the same JSON as the input of every operation.
pub(crate) fn run(body: &[u8]) {
    let Ok(input) = serde_json::from_slice::<Value>(body) else { return };
    for operation in Operation::ALL {
        let Some(structure) = shape::input_of(operation) else { continue };
        let normal = match shape::check(structure, &input) {
            Ok(normal) => normal,
            Err(error) => {
                let known = matches!(error.code, ErrorCode::Serialization | ErrorCode::Validation);
                assert!(known && input.as_object().is_none_or(|_| error.message.is_some()), "{error:?}");
                continue;
            }
        };
        assert!(normal.keys().all(|name| structure.members.iter().any(|member| member.name == name)));
        let normal = Value::Object(normal);
        let again = shape::check(structure, &normal).map(Value::Object);
        assert_eq!(again.as_ref(), Ok(&normal), "the normal form of {}", operation.name());
        let honoured = shape::unsupported(structure, &normal);
        assert!(honoured.is_none_or(|error| error.code == ErrorCode::InvalidArgument));
        for value in normal.as_object().into_iter().flat_map(|members| members.values()) {
            if let Some(destination) = value.as_object() {
                // Whatever it says, it says it without a panic.
                drop(check_s3_destination(destination));
            }
        }
    }
}
