//! The AWS JSON 1.1 front end: SigV4, validation, decoding, errors.
