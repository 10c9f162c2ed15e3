//! What arbitrary bytes must not do to the front end: the bodies of the fuzz targets in `crates/fuzz`, and the inputs
//! that fuzzing found worth keeping.

pub(crate) mod control;
pub(crate) mod put;
#[path = "../../../../fuzz/src/replay.rs"]
mod replay;
pub(crate) mod signature;

use replay::replay;

#[test]
fn puts_that_fuzzing_found_decode_as_a_plain_decoder_has_them() {
    replay("put", put::run);
}

#[test]
fn control_plane_inputs_that_fuzzing_found_keep_their_normal_form() {
    replay("control", control::run);
}

#[test]
fn requests_that_fuzzing_found_verify_as_the_signer_of_aws_has_them() {
    replay("signature", signature::run);
}
