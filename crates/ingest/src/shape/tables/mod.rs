//! The tables: every structure, member, limit and value of the API's model, under the model's names.
//!
//! A test walks the model that botocore ships and fails on what is missing or different here. What standpipe does with
//! a member stands beside it (see [`Support`]); `docs/compatibility.md` is made from that.

#![allow(non_upper_case_globals, reason = "the names are those of the API's model")]

mod endpoints;
mod operations;
mod processing;
mod s3;
mod scalars;
mod search;
mod sources;
mod warehouses;

use serde_json::Value;

use super::Shape::{Blob, Boolean, Double, Integer, List, Map};
use super::{Member, Pattern, Shape, Structure, Support, Text};
use crate::Operation;

use endpoints::*;
use operations::*;
use processing::*;
use s3::*;
use scalars::*;
use search::*;
use sources::*;
use warehouses::*;

/// The input structure of an operation.
pub fn input_of(operation: Operation) -> &'static Structure {
    structure(match operation {
        Operation::CreateDeliveryStream => CreateDeliveryStreamInput,
        Operation::DeleteDeliveryStream => DeleteDeliveryStreamInput,
        Operation::DescribeDeliveryStream => DescribeDeliveryStreamInput,
        Operation::ListDeliveryStreams => ListDeliveryStreamsInput,
        Operation::ListTagsForDeliveryStream => ListTagsForDeliveryStreamInput,
        Operation::PutRecord => PutRecordInput,
        Operation::PutRecordBatch => PutRecordBatchInput,
        Operation::StartDeliveryStreamEncryption => StartDeliveryStreamEncryptionInput,
        Operation::StopDeliveryStreamEncryption => StopDeliveryStreamEncryptionInput,
        Operation::TagDeliveryStream => TagDeliveryStreamInput,
        Operation::UntagDeliveryStream => UntagDeliveryStreamInput,
        Operation::UpdateDestination => UpdateDestinationInput,
    })
}

/// The output structure of an operation.
pub fn output_of(operation: Operation) -> &'static Structure {
    structure(match operation {
        Operation::CreateDeliveryStream => CreateDeliveryStreamOutput,
        Operation::DeleteDeliveryStream => DeleteDeliveryStreamOutput,
        Operation::DescribeDeliveryStream => DescribeDeliveryStreamOutput,
        Operation::ListDeliveryStreams => ListDeliveryStreamsOutput,
        Operation::ListTagsForDeliveryStream => ListTagsForDeliveryStreamOutput,
        Operation::PutRecord => PutRecordOutput,
        Operation::PutRecordBatch => PutRecordBatchOutput,
        Operation::StartDeliveryStreamEncryption => StartDeliveryStreamEncryptionOutput,
        Operation::StopDeliveryStreamEncryption => StopDeliveryStreamEncryptionOutput,
        Operation::TagDeliveryStream => TagDeliveryStreamOutput,
        Operation::UntagDeliveryStream => UntagDeliveryStreamOutput,
        Operation::UpdateDestination => UpdateDestinationOutput,
    })
}

/// The structure that describes a stream's destination, of whichever kind.
pub fn destination_description() -> &'static Structure {
    structure(DestinationDescription)
}

const fn structure(shape: Shape) -> &'static Structure {
    match shape {
        Shape::Structure(structure) => structure,
        _ => panic!("the inputs and outputs of operations are structures"),
    }
}

// How the tables are written.

/// `Name: [members],`: a constant of that name for each structure.
macro_rules! structures {
    ($($name:ident: [$($member:expr),* $(,)?],)*) => {
        $(pub(crate) const $name: Shape = {
            static STRUCTURE: Structure = Structure { name: stringify!($name), members: &[$($member),*] };
            Shape::Structure(&STRUCTURE)
        };)*
    };
}
use structures;

/// A string of so many characters that matches a pattern as a whole.
macro_rules! matching {
    ($min:expr, $max:expr, $pattern:expr) => {{
        static PATTERN: Pattern = $pattern;
        Shape::Text(Text {
            min_len: $min,
            max_len: $max,
            pattern: Some(&PATTERN),
            values: &[],
            sensitive: false,
        })
    }};
}
use matching;

const fn required(name: &'static str, shape: Shape) -> Member {
    Member {
        name,
        required: true,
        shape,
        support: Support::Full,
        default: None,
        stands_for: None,
        instead_of: None,
    }
}

const fn optional(name: &'static str, shape: Shape) -> Member {
    Member {
        name,
        required: false,
        shape,
        support: Support::Full,
        default: None,
        stands_for: None,
        instead_of: None,
    }
}

impl Member {
    const fn support(self, support: Support) -> Self {
        Self { support, ..self }
    }

    /// Accepted, stored and described back, but without effect, and why.
    const fn ignored(self, why: &'static str) -> Self {
        self.support(Support::Ignored(why))
    }

    /// Refused by name: this version of standpipe cannot do it.
    const fn refused(self) -> Self {
        self.support(Support::None)
    }

    /// Honoured only with the values that the function accepts, in words.
    const fn only(self, accepts: fn(&Value) -> bool, words: &'static str) -> Self {
        self.support(Support::When(accepts, words))
    }

    /// What a description shows where nothing was given, as JSON.
    const fn default(self, json: &'static str) -> Self {
        Self { default: Some(json), ..self }
    }

    /// In an update or description: the member of the configuration that it is about, where that has another name.
    const fn stands_for(self, name: &'static str) -> Self {
        Self { stands_for: Some(name), ..self }
    }

    /// Of this member and that one only one may be there.
    const fn instead_of(self, name: &'static str) -> Self {
        Self { instead_of: Some(name), ..self }
    }
}

impl Shape {
    /// A string that is never shown.
    const fn sensitive(self) -> Self {
        match self {
            Self::Text(text) => Self::Text(Text { sensitive: true, ..text }),
            other => other,
        }
    }
}

const fn text(min_len: usize, max_len: usize) -> Shape {
    Shape::Text(Text { min_len, max_len, pattern: None, values: &[], sensitive: false })
}

const fn one_of(values: &'static [&'static str]) -> Shape {
    Shape::Text(Text { min_len: 0, max_len: usize::MAX, pattern: None, values, sensitive: false })
}

/// CloudWatch logging where nothing was said of it.
const NOT_LOGGED: &str = r#"{"Enabled":false}"#;

fn not_enabled(block: &Value) -> bool {
    !block.as_object().is_some_and(super::enabled)
}

fn direct_put(stream_type: &Value) -> bool {
    stream_type == "DirectPut"
}
