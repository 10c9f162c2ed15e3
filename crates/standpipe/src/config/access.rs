//! Who may do what: credentials and policies.
//!
//! Policies have IAM's own keys, so that a document can be moved here as it is; what standpipe does not understand of
//! one is refused, never passed over.

use std::collections::{BTreeMap, HashSet};

use chrono::DateTime;
use standpipe_ingest::Operation;
use standpipe_ingest::access::{
    Effect, Operations, Policy, ResourcePattern, Resources, SourceNetwork, SourceRule, Statement,
};
use standpipe_model::{Secret, Timestamp};

use super::compound::{Either, List, Map, Named, OneOrMany, Sub};
use super::problem::{Problem, did_you_mean};
use super::rates::{CredentialRates, credential_rates};
use super::reader::{Cursor, ReadSection, Section, Shape, Spots};
use super::schema::Schema;
use super::shapes::{Choice, secret, text};

/// An access key that producers sign with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret: Secret,
    /// The session token that requests must carry, where one is set.
    pub session_token: Option<Secret>,
    /// When the session token ends.
    pub expires_at: Option<Timestamp>,
    /// The user that the key belongs to.
    pub user: String,
    /// What it may be used for; everything where there is none.
    pub policy: Option<Policy>,
    /// Its own limits.
    pub rates: CredentialRates,
}

/// A credential before the policies that it names are known.
pub(super) struct CredentialDraft {
    credential: Credential,
    named: Vec<String>,
    spots: Spots,
}

/// A policy, or the names of some.
enum PolicyDraft {
    Document(Policy),
    Named(Vec<String>),
}

/// The shape of one credential.
pub(super) const CREDENTIAL: Sub<CredentialDraft> = Sub(credential);

/// The shape of the named policies.
pub(super) const POLICIES: Map<Sub<Policy>> = Map(Sub(document as ReadSection<Policy>));

fn credential(section: &mut Section<'_, '_>) -> Option<CredentialDraft> {
    let access_key_id =
        section.required("access_key_id", text(1..=128), "The access key id that producers sign with.");
    let secret_key = secret(
        section,
        "secret_access_key",
        "secret_access_key_file",
        "The secret access key; better a variable or a file than here.",
        "A file that holds the secret access key.",
    );
    if !section.given("secret_access_key") && !section.given("secret_access_key_file") {
        section.refuse("", "the key \"secret_access_key\" or \"secret_access_key_file\" is missing");
    }
    let session_token = secret(
        section,
        "session_token",
        "session_token_file",
        "The session token that requests must carry; none is asked for where absent.",
        "A file that holds the session token.",
    );
    let expires_at = section.optional(
        "expires",
        Moment,
        "When the session token ends, as `2026-12-31T23:59:59Z`; never where absent.",
    );
    if section.given("expires") && !section.given("session_token") && !section.given("session_token_file") {
        section.refuse("expires", "only a credential with a session token can expire");
    }
    let user = section.optional(
        "user",
        UserName,
        "The user that the key belongs to, as ARNs name it; two keys may have the same. The access key id where absent.",
    );
    let policy = section.optional(
        "policy",
        Either(Names, Sub(document_draft)),
        "What the key may be used for: a policy, or the name or names of some under `policies`. Everything where absent.",
    );
    let rates = section.section("limits", credential_rates, "How much may be asked for with the key.");
    let spots = section.spots();
    let access_key_id = access_key_id?;
    let (policy, named) = match policy {
        Some(PolicyDraft::Document(policy)) => (Some(policy), Vec::new()),
        Some(PolicyDraft::Named(names)) => (None, names),
        None => (None, Vec::new()),
    };
    let user = user.unwrap_or_else(|| access_key_id.clone());
    let credential =
        Credential { access_key_id, secret: secret_key?, session_token, expires_at, user, policy, rates };
    Some(CredentialDraft { credential, named, spots })
}

/// The credentials with the policies that they name, and with access key ids that neither they nor `others` share.
pub(super) fn resolve(
    drafts: Vec<CredentialDraft>,
    policies: &BTreeMap<String, Policy>,
    others: &[Credential],
    problems: &mut Vec<Problem>,
) -> Vec<Credential> {
    let mut taken: HashSet<String> = others.iter().map(|other| other.access_key_id.clone()).collect();
    let mut resolved = Vec::new();
    for CredentialDraft { mut credential, named, spots } in drafts {
        let id = &credential.access_key_id;
        if !taken.insert(id.clone()) {
            let message = format!("the access key id \"{id}\" is given twice");
            problems.push(Problem { spot: spots.of("access_key_id"), message });
        }
        let mut found = Vec::new();
        for name in &named {
            match policies.get(name) {
                Some(policy) => found.push(policy),
                None => {
                    let hint = did_you_mean(name, policies.keys().map(String::as_str));
                    let message = format!("there is no policy \"{name}\" under \"policies\"{hint}");
                    problems.push(Problem { spot: spots.of("policy"), message });
                }
            }
        }
        if !named.is_empty() {
            credential.policy = Some(Policy::all(found));
        }
        resolved.push(credential);
    }
    resolved
}

/// The named policies that are right; the others have reported what is wrong.
pub(super) fn known(policies: Vec<Named<Policy>>) -> BTreeMap<String, Policy> {
    policies.into_iter().filter_map(|(name, _, policy)| Some((name, policy?))).collect()
}

fn document_draft(section: &mut Section<'_, '_>) -> Option<PolicyDraft> {
    document(section).map(PolicyDraft::Document)
}

fn document(section: &mut Section<'_, '_>) -> Option<Policy> {
    section.optional(
        "Version",
        Choice(&[("2012-10-17", ()), ("2008-10-17", ())]),
        "The version of IAM's language; has no effect.",
    );
    section.optional("Id", text(0..=128), "A name for people; has no effect.");
    let statements = section.required("Statement", OneOrMany(Sub(statement)), "What is allowed and denied.");
    statements.map(Policy::new)
}

fn statement(section: &mut Section<'_, '_>) -> Option<Statement> {
    section.optional("Sid", text(0..=128), "A name for people; has no effect.");
    let effect = section.required(
        "Effect",
        Choice(&[("Allow", Effect::Allow), ("Deny", Effect::Deny)]),
        "Whether the statement allows or denies; what any statement denies is denied.",
    );
    let action = section.optional(
        "Action",
        OneOrMany(Action),
        "The operations, as `firehose:PutRecord*`; `*` and `?` are wildcards, case does not count.",
    );
    let not_action = section.optional("NotAction", OneOrMany(Action), "All operations but these.");
    let resource = section.optional(
        "Resource",
        OneOrMany(Resource),
        "The streams, as `arn:aws:firehose:*:*:deliverystream/app-*`, or `*`.",
    );
    let not_resource = section.optional("NotResource", OneOrMany(Resource), "All streams but these.");
    let source = section.optional("Condition", Sub(condition), "What must hold beside; all of it.");
    for (one, other) in [("Action", "NotAction"), ("Resource", "NotResource")] {
        section.exclusive(one, other);
        if !section.given(one) && !section.given(other) {
            section.refuse("", format!("the key \"{one}\" or \"{other}\" is missing"));
        }
    }
    let union = |sets: Vec<Operations>| sets.into_iter().collect::<Operations>();
    Some(Statement {
        effect: effect?,
        operations: action.map(union).or_else(|| not_action.map(|sets| union(sets).others()))?,
        resources: resource.map(Resources::In).or_else(|| not_resource.map(Resources::NotIn))?,
        source: source.unwrap_or_default(),
    })
}

fn condition(section: &mut Section<'_, '_>) -> Option<Vec<SourceRule>> {
    let within =
        section.optional("IpAddress", Sub(source_ip), "The caller's address is in one of the ranges.");
    let outside =
        section.optional("NotIpAddress", Sub(source_ip), "The caller's address is in none of the ranges.");
    Some(within.map(SourceRule::In).into_iter().chain(outside.map(SourceRule::NotIn)).collect())
}

fn source_ip(section: &mut Section<'_, '_>) -> Option<Vec<SourceNetwork>> {
    section.required(
        "aws:SourceIp|aws:sourceIp",
        OneOrMany(Network),
        "Addresses or ranges as `10.0.0.0/8`, of the connection as standpipe sees it.",
    )
}

/// The name or the names of policies.
struct Names;

impl Shape for Names {
    type Out = PolicyDraft;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<PolicyDraft> {
        OneOrMany(text(1..=128)).read(at).map(PolicyDraft::Named)
    }

    fn schema(&self) -> Schema {
        OneOrMany(text(1..=128)).schema()
    }
}

/// An IAM action.
struct Action;

impl Shape for Action {
    type Out = Operations;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<Operations> {
        let action = at.text()?;
        Operations::of_action(&action).map_or_else(
            |error| {
                let known = Operation::ALL.map(|operation| format!("firehose:{}", operation.name()));
                let hint = did_you_mean(&action, known.iter().map(String::as_str));
                at.refuse(format!("{error}{hint}"))
            },
            Some,
        )
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "action".to_owned(), pattern: r"^\*$|:" }
    }
}

/// An ARN with wildcards.
struct Resource;

impl Shape for Resource {
    type Out = ResourcePattern;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<ResourcePattern> {
        let resource = at.text()?;
        ResourcePattern::parse(&resource).map_or_else(|error| at.refuse(error), Some)
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "ARN with wildcards, or `*`".to_owned(), pattern: r"^\*$|^arn:" }
    }
}

/// An address range.
struct Network;

impl Shape for Network {
    type Out = SourceNetwork;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<SourceNetwork> {
        let network = at.text()?;
        SourceNetwork::parse(&network).map_or_else(|error| at.refuse(error), Some)
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "address range".to_owned(), pattern: "[.:]" }
    }
}

/// A user's name by IAM's rule.
struct UserName;

impl Shape for UserName {
    type Out = String;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<String> {
        let name = at.text()?;
        let good = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if (1..=64).contains(&name.len()) && name.chars().all(good) {
            return Some(name);
        }
        at.refuse(format!("\"{name}\" is not a user: 1 to 64 letters, digits and _ + = , . @ -"))
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "user name".to_owned(), pattern: "^[a-zA-Z0-9_+=,.@-]{1,64}$" }
    }
}

/// A point in time.
struct Moment;

impl Shape for Moment {
    type Out = Timestamp;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<Timestamp> {
        let text = at.text()?;
        let millis = DateTime::parse_from_rfc3339(&text).ok().map(|moment| moment.timestamp_millis());
        match millis.and_then(|millis| u64::try_from(millis).ok()) {
            Some(millis) => Some(Timestamp(millis)),
            None => at.refuse(format!("\"{text}\" is not a point in time as 2026-12-31T23:59:59Z")),
        }
    }

    fn schema(&self) -> Schema {
        Schema::Pattern { what: "time (RFC 3339)".to_owned(), pattern: "^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]" }
    }
}

/// Reads the list of a credentials file.
pub(super) fn credential_list(at: &mut Cursor<'_, '_>) -> Option<Vec<CredentialDraft>> {
    List(CREDENTIAL).read(at)
}

#[cfg(test)]
mod tests;
