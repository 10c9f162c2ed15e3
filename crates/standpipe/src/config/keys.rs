//! The `keys` section: the master keys that journals are encrypted under, by name, with who keeps them.

use std::path::PathBuf;
use std::time::Duration;

use super::compound::{ByType, List, Map, Named};
use super::reader::{Cursor, ReadSection, Section, Shape};
use super::schema::Schema;
use super::shapes::{FilePath, Span, text};
use super::stores::{AwsService, aws_service};

/// A master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConfig {
    /// Who keeps it.
    pub keeper: KeyKeeper,
    /// ARNs that lead to it when an API call names one.
    pub arns: Vec<String>,
}

/// Who keeps a master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKeeper {
    /// A file, such as a credential of systemd.
    File(FileKeyConfig),
    /// AWS KMS, or a server that speaks its language.
    AwsKms(KmsKeyConfig),
}

/// A master key in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileKeyConfig {
    /// The file.
    pub path: PathBuf,
    /// Files of earlier master keys, which still unwrap.
    pub previous: Vec<PathBuf>,
}

/// A master key in a KMS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsKeyConfig {
    /// Its id, ARN or alias there.
    pub key_id: String,
    /// How it is reached.
    pub service: AwsService,
}

/// Everything about keys that stands at the top of the configuration.
pub(super) struct KeyNames {
    pub(super) keys: Vec<Named<KeyConfig>>,
    pub(super) default_key: Option<String>,
    pub(super) key_check_interval: Duration,
}

pub(super) fn key_names(section: &mut Section<'_, '_>) -> KeyNames {
    let keys = section
        .optional(
            "keys",
            Map(KEY),
            "The master keys that journals are encrypted under, by a name of your own.",
        )
        .unwrap_or_default();
    let default_key = section.optional(
        "default_key",
        text(1..=64),
        "The key that an API call means with `AWS_OWNED_CMK`. Such a call is refused where absent.",
    );
    let key_check_interval = section.or(
        "key_check_interval",
        Span::secs(1..=3600),
        "60s",
        "How often each key in use is tried. One that was stopped stops its streams within this time.",
    );
    KeyNames { keys, default_key, key_check_interval }
}

/// The shape of one key.
const KEY: ByType<KeyConfig> =
    ByType(&[("file", file as ReadSection<KeyConfig>), ("aws_kms", aws_kms as ReadSection<KeyConfig>)]);

fn file(section: &mut Section<'_, '_>) -> Option<KeyConfig> {
    let path = section.required(
        "path",
        FilePath,
        "The file: 32 random bytes, raw, in hexadecimal or in base64, as `standpipe generate-key` writes them. None \
         but its owner and group may read it.",
    );
    let previous = section.optional(
        "previous",
        List(FilePath),
        "Files of earlier keys: what they wrapped is read with them, and wrapped anew with `path`.",
    );
    let arns = arns(section);
    let keeper = KeyKeeper::File(FileKeyConfig { path: path?, previous: previous.unwrap_or_default() });
    Some(KeyConfig { keeper, arns })
}

fn aws_kms(section: &mut Section<'_, '_>) -> Option<KeyConfig> {
    let key_id = section.required("key_id", text(1..=2048), "The key's id, ARN or alias in the KMS.");
    let service = aws_service(section, "The KMS's address; AWS's own for the region where absent.");
    let arns = arns(section);
    let kms = KmsKeyConfig { key_id: key_id?, service };
    Some(KeyConfig { keeper: KeyKeeper::AwsKms(kms), arns })
}

fn arns(section: &mut Section<'_, '_>) -> Vec<String> {
    section
        .optional("arns", List(KeyArn), "ARNs that lead to this key when an API call gives one as `KeyARN`.")
        .unwrap_or_default()
}

/// The ARN of a key, as the API has it.
struct KeyArn;

impl Shape for KeyArn {
    type Out = String;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<String> {
        let arn = at.text()?;
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        match parts.as_slice() {
            ["arn", _, "kms", _, _, resource] if resource.starts_with("key/") => Some(arn),
            _ => at.refuse(format!("\"{arn}\" is not a key's ARN: arn:aws:kms:<region>:<account>:key/<id>")),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "key ARN".to_owned(), pattern: "^arn:[^:]*:kms:[^:]*:[0-9]{12}:key/.+$" }
    }
}
