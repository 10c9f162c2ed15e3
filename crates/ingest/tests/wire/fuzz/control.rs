//! The walk over the API's tables: what it accepts is in normal form, and stays so; what is kept of it merges and is
//! described.

use serde_json::{Map, Value};
use standpipe_ingest::{Destination, DestinationKind, ErrorCode, Operation, check_destination, shape};

/// Checks the same JSON as the input of every operation.
pub(crate) fn run(body: &[u8]) {
    let Ok(input) = serde_json::from_slice::<Value>(body) else { return };
    let (mut created, mut updated) = (Map::new(), Map::new());
    for operation in Operation::ALL {
        let structure = shape::input_of(operation);
        drop(shape::redact(structure, &input));
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
        let refused = shape::unsupported(structure, &normal);
        assert!(refused.is_none_or(|error| error.code == ErrorCode::InvalidArgument));
        let Value::Object(normal) = normal else { unreachable!("made of an object above") };
        match operation {
            Operation::CreateDeliveryStream => created = normal,
            Operation::UpdateDestination => updated = normal,
            _ => {}
        }
    }
    for kind in DestinationKind::ALL {
        let take = |from: &mut Map<String, Value>, suffix: &str| match from
            .remove(&format!("{}Destination{suffix}", kind.name()))
        {
            Some(Value::Object(configuration)) => Some(Destination { kind, configuration }),
            _ => None,
        };
        let (current, update) = (take(&mut created, "Configuration"), take(&mut updated, "Update"));
        if let Some(current) = current {
            keep(current, update);
        }
    }
}

/// What becomes of a destination that a stream was made with.
fn keep(current: Destination, update: Option<Destination>) {
    let sound = check_destination(&current).is_ok();
    for (name, described) in current.describe() {
        let structure = shape::destination_description().structure(&name).expect("the model describes it so");
        let described = shape::check(structure, &described);
        assert!(!sound || described.is_ok(), "{name}: {described:?}");
    }
    let Some(update) = update else { return };
    let Ok(updated) = current.updated(update.clone()) else { return };
    let again = updated.clone().updated(update);
    assert_eq!(again.as_ref(), Ok(&updated), "the same update once more changes nothing");
}
