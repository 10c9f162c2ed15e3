//! Policies in IAM's words: statements that allow or deny operations on streams.
//!
//! A pure function of policy, operation, resource and source address. IAM's rule: one matching `Deny` denies; else one
//! matching `Allow` allows; else nothing is allowed.
//!
//! # Limits
//! - Actions are resolved to the API's operations when a policy is read. Actions of other services are taken, since
//!   policies are shared with AWS, and match nothing here.
//! - The one condition is on `aws:SourceIp`.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::pattern;
use crate::Operation;

/// What precedes an operation's name in an action.
const SERVICE: &str = "firehose:";

/// A set of the API's operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Operations(u16);

/// An action that no policy should hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// It has no service.
    #[error("\"{0}\" is not an action: write \"*\", or a service and a name as \"firehose:PutRecord\"")]
    NoService(String),
    /// It is for this service and no operation has that name; in a `Deny` it would protect nothing.
    #[error("\"{0}\" matches no operation of the Firehose API")]
    MatchesNothing(String),
}

impl Operations {
    /// The operations that an IAM action means, in which `*` and `?` are wildcards and case does not count; none for an
    /// action of another service.
    ///
    /// # Errors
    /// [`ActionError`].
    pub fn of_action(action: &str) -> Result<Self, ActionError> {
        let folded = action.to_ascii_lowercase();
        if folded != "*" && !folded.contains(':') {
            return Err(ActionError::NoService(action.to_owned()));
        }
        let matching = |operation: &Operation| {
            let name = format!("{SERVICE}{}", operation.name().to_ascii_lowercase());
            pattern::matches(folded.as_bytes(), name.as_bytes())
        };
        let found: Self = Operation::ALL.into_iter().filter(matching).collect();
        if found == Self::default() && folded.starts_with(SERVICE) {
            return Err(ActionError::MatchesNothing(action.to_owned()));
        }
        Ok(found)
    }

    /// All others: what IAM calls `NotAction`.
    #[must_use]
    pub fn others(self) -> Self {
        Operation::ALL.into_iter().filter(|operation| !self.contains(*operation)).collect()
    }

    /// Whether an operation is among them.
    pub fn contains(self, operation: Operation) -> bool {
        self.0 & Self::bit(operation) != 0
    }

    fn bit(operation: Operation) -> u16 {
        1 << operation as u16
    }
}

impl FromIterator<Operation> for Operations {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        Self(operations.into_iter().fold(0, |set, operation| set | Self::bit(operation)))
    }
}

impl FromIterator<Operations> for Operations {
    fn from_iter<I: IntoIterator<Item = Operations>>(sets: I) -> Self {
        Self(sets.into_iter().fold(0, |set, more| set | more.0))
    }
}

/// An ARN with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourcePattern(String);

/// A text that is no pattern of ARNs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// It is none.
    #[error(
        "\"{0}\" is not a resource: write \"*\", or an ARN as \
         \"arn:aws:firehose:*:*:deliverystream/app-*\""
    )]
    NotArn(String),
    /// It holds a policy variable.
    #[error("\"{0}\" holds a policy variable; standpipe has none")]
    Variable(String),
}

impl ResourcePattern {
    /// Takes `*` or an ARN, in which `*` and `?` are wildcards.
    ///
    /// # Errors
    /// [`ResourceError`].
    pub fn parse(text: &str) -> Result<Self, ResourceError> {
        if text.contains("${") {
            return Err(ResourceError::Variable(text.to_owned()));
        }
        if text != "*" && !text.starts_with("arn:") {
            return Err(ResourceError::NotArn(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    fn matches(&self, arn: &str) -> bool {
        pattern::matches(self.0.as_bytes(), arn.as_bytes())
    }
}

/// Which resources a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resources {
    /// Those that one of the patterns matches.
    In(Vec<ResourcePattern>),
    /// Those that none matches: IAM's `NotResource`.
    NotIn(Vec<ResourcePattern>),
}

impl Resources {
    fn contain(&self, arn: &str) -> bool {
        let within = |patterns: &[ResourcePattern]| patterns.iter().any(|pattern| pattern.matches(arn));
        match self {
            Self::In(patterns) => within(patterns),
            Self::NotIn(patterns) => !within(patterns),
        }
    }
}

/// An address range of callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceNetwork(IpNet);

/// A text that is no address range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is neither an address nor a range as 10.0.0.0/8")]
pub struct SourceNetworkError(String);

impl SourceNetwork {
    /// Takes an address or a range in CIDR notation.
    ///
    /// # Errors
    /// [`SourceNetworkError`].
    pub fn parse(text: &str) -> Result<Self, SourceNetworkError> {
        let address = || text.parse().map(|address: IpAddr| IpNet::from(address));
        text.parse::<IpNet>()
            .or_else(|_| address())
            .map(Self)
            .map_err(|_| SourceNetworkError(text.to_owned()))
    }
}

/// A condition on the caller's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceRule {
    /// It is in one of the ranges: `IpAddress`. An unknown address is in none.
    In(Vec<SourceNetwork>),
    /// It is in none of them: `NotIpAddress`.
    NotIn(Vec<SourceNetwork>),
}

impl SourceRule {
    fn holds(&self, source: Option<IpAddr>) -> bool {
        // A listener for both families shows IPv4 callers in the other's clothes.
        let source = source.map(|source| source.to_canonical());
        let within = |networks: &[SourceNetwork]| {
            source.is_some_and(|source| networks.iter().any(|network| network.0.contains(&source)))
        };
        match self {
            Self::In(networks) => within(networks),
            Self::NotIn(networks) => !within(networks),
        }
    }
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies, whatever else allows.
    Deny,
}

/// One statement of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What it does.
    pub effect: Effect,
    /// The operations that it is about.
    pub operations: Operations,
    /// The resources that it is about.
    pub resources: Resources,
    /// What must hold of the caller's address, all of it.
    pub source: Vec<SourceRule>,
}

/// What someone wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// The operation.
    pub operation: Operation,
    /// The ARN of what it is done to.
    pub resource: &'a str,
    /// Where the request comes from, if that is known.
    pub source: Option<IpAddr>,
}

impl Statement {
    fn matches(&self, attempt: &Attempt<'_>) -> bool {
        self.operations.contains(attempt.operation)
            && self.resources.contain(attempt.resource)
            && self.source.iter().all(|rule| rule.holds(attempt.source))
    }
}

/// What a policy says to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allowed,
    /// Nothing allows it.
    NotAllowed,
    /// A statement denies it.
    Denied,
}

/// A policy: statements in no particular order. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy(Arc<[Statement]>);

impl Policy {
    /// A policy of these statements.
    pub fn new(statements: Vec<Statement>) -> Self {
        Self(statements.into())
    }

    /// The policies as one: what any denies is denied, what any allows is allowed.
    pub fn all<'a>(policies: impl IntoIterator<Item = &'a Self>) -> Self {
        Self(policies.into_iter().flat_map(|policy| policy.0.iter().cloned()).collect())
    }

    /// Decides.
    pub fn decide(&self, attempt: &Attempt<'_>) -> Decision {
        let mut decision = Decision::NotAllowed;
        for statement in self.0.iter().filter(|statement| statement.matches(attempt)) {
            match statement.effect {
                Effect::Deny => return Decision::Denied,
                Effect::Allow => decision = Decision::Allowed,
            }
        }
        decision
    }
}

#[cfg(test)]
mod tests;
