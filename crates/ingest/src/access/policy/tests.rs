//! The table of IAM's rules, and every decision against the rule written down a second time.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

const PREFIX: &str = "arn:aws:firehose:us-east-1:000000000000:deliverystream/";

fn statement(effect: Effect, actions: &[&str], resources: &[&str]) -> Statement {
    Statement {
        effect,
        operations: actions.iter().map(|action| Operations::of_action(action).unwrap()).collect(),
        resources: Resources::In(patterns(resources)),
        source: Vec::new(),
    }
}

fn patterns(resources: &[&str]) -> Vec<ResourcePattern> {
    resources.iter().map(|resource| ResourcePattern::parse(resource).unwrap()).collect()
}

fn networks(texts: &[&str]) -> Vec<SourceNetwork> {
    texts.iter().map(|text| SourceNetwork::parse(text).unwrap()).collect()
}

fn decide(policy: &Policy, operation: Operation, stream: &str) -> Decision {
    decide_from(policy, operation, stream, None)
}

fn decide_from(policy: &Policy, operation: Operation, stream: &str, source: Option<&str>) -> Decision {
    let resource = format!("{PREFIX}{stream}");
    let source = source.map(|source| source.parse().unwrap());
    policy.decide(&Attempt { operation, resource: &resource, source })
}

#[test]
fn actions_mean_the_operations_that_they_match() {
    use Operation::{DescribeDeliveryStream, PutRecord, PutRecordBatch};
    let puts: Operations = [PutRecord, PutRecordBatch].into_iter().collect();
    let all: Operations = Operation::ALL.into_iter().collect();
    for (action, expect) in [
        ("firehose:PutRecord", [PutRecord].into_iter().collect()),
        ("FIREHOSE:putrecord", [PutRecord].into_iter().collect()),
        ("firehose:PutRecord*", puts),
        ("firehose:Put??????*", puts),
        ("firehose:Describe*", [DescribeDeliveryStream].into_iter().collect()),
        ("firehose:*", all),
        ("*", all),
        ("*:*", all),
        ("s3:PutObject", Operations::default()),
        ("kms:*", Operations::default()),
    ] {
        assert_eq!(Operations::of_action(action), Ok(expect), "{action}");
    }
    assert_eq!(puts.others().others(), puts);
    assert!(!puts.others().contains(PutRecord) && puts.others().contains(DescribeDeliveryStream));
    for action in ["firehose:PutRecrod", "firehose:", "firehose:Get*"] {
        assert_eq!(Operations::of_action(action), Err(ActionError::MatchesNothing(action.to_owned())));
    }
    for action in ["PutRecord", "", "**"] {
        assert_eq!(Operations::of_action(action), Err(ActionError::NoService(action.to_owned())));
    }
}

#[test]
fn resources_and_networks_that_mean_nothing_are_refused() {
    for text in ["", "app-*", "deliverystream/x", "*x", "arn"] {
        assert_eq!(ResourcePattern::parse(text), Err(ResourceError::NotArn(text.to_owned())));
    }
    let variable = "arn:aws:firehose:*:*:deliverystream/${aws:username}";
    assert_eq!(ResourcePattern::parse(variable), Err(ResourceError::Variable(variable.to_owned())));
    for text in ["", "10.0.0", "10.0.0.0/33", "10.0.0.*", "host"] {
        assert_eq!(SourceNetwork::parse(text), Err(SourceNetworkError(text.to_owned())));
    }
}

#[test]
fn nothing_is_allowed_by_default_and_a_denial_wins_wherever_it_stands() {
    let allow =
        statement(Effect::Allow, &["firehose:PutRecord*"], &["arn:aws:firehose:*:*:deliverystream/app-*"]);
    let deny = statement(Effect::Deny, &["*"], &[&format!("{PREFIX}app-secret")]);
    assert_eq!(decide(&Policy::new(vec![]), Operation::PutRecord, "app-a"), Decision::NotAllowed);
    for statements in [vec![allow.clone(), deny.clone()], vec![deny, allow]] {
        let policy = Policy::new(statements);
        for (operation, stream, expect) in [
            (Operation::PutRecord, "app-a", Decision::Allowed),
            (Operation::PutRecordBatch, "app-", Decision::Allowed),
            (Operation::PutRecord, "app", Decision::NotAllowed),
            (Operation::PutRecord, "App-a", Decision::NotAllowed),
            (Operation::DescribeDeliveryStream, "app-a", Decision::NotAllowed),
            (Operation::PutRecord, "app-secret", Decision::Denied),
            (Operation::DescribeDeliveryStream, "app-secret", Decision::Denied),
        ] {
            assert_eq!(decide(&policy, operation, stream), expect, "{operation:?} {stream}");
        }
    }
}

#[test]
fn several_policies_are_the_union_of_their_statements() {
    let allow = Policy::new(vec![statement(Effect::Allow, &["*"], &["*"])]);
    let deny = Policy::new(vec![statement(Effect::Deny, &["firehose:Delete*"], &["*"])]);
    let both = Policy::all([&allow, &deny]);
    assert_eq!(decide(&both, Operation::PutRecord, "s"), Decision::Allowed);
    assert_eq!(decide(&both, Operation::DeleteDeliveryStream, "s"), Decision::Denied);
}

#[test]
fn what_is_not_in_a_list_is_meant_by_its_opposite() {
    let policy = Policy::new(vec![Statement {
        operations: Operations::of_action("firehose:Delete*").unwrap().others(),
        resources: Resources::NotIn(patterns(&[&format!("{PREFIX}prod-*")])),
        ..statement(Effect::Allow, &[], &[])
    }]);
    assert_eq!(decide(&policy, Operation::PutRecord, "dev-a"), Decision::Allowed);
    assert_eq!(decide(&policy, Operation::PutRecord, "prod-a"), Decision::NotAllowed);
    assert_eq!(decide(&policy, Operation::DeleteDeliveryStream, "dev-a"), Decision::NotAllowed);
}

#[test]
fn the_source_address_counts_in_both_of_its_forms() {
    let rules = vec![
        SourceRule::In(networks(&["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"])),
        SourceRule::NotIn(networks(&["10.9.0.0/16"])),
    ];
    let policy = Policy::new(vec![Statement { source: rules, ..statement(Effect::Allow, &["*"], &["*"]) }]);
    for (source, expect) in [
        (Some("10.1.2.3"), Decision::Allowed),
        (Some("::ffff:10.1.2.3"), Decision::Allowed),
        (Some("192.0.2.7"), Decision::Allowed),
        (Some("2001:db8::1"), Decision::Allowed),
        (Some("192.0.2.8"), Decision::NotAllowed),
        (Some("10.9.1.1"), Decision::NotAllowed),
        (Some("::1"), Decision::NotAllowed),
        (None, Decision::NotAllowed),
    ] {
        assert_eq!(decide_from(&policy, Operation::PutRecord, "s", source), expect, "{source:?}");
    }
}

/// A statement as written, for the second opinion.
#[derive(Debug, Clone)]
struct Written {
    deny: bool,
    actions: Vec<&'static str>,
    inverted: bool,
    resources: Vec<&'static str>,
    ranges: Vec<&'static str>,
}

/// A text of a policy, and what it means.
type Meaning = (&'static str, fn(&str) -> bool);

const ACTIONS: [Meaning; 5] = [
    ("*", |_| true),
    ("firehose:PutRecord", |name| name == "PutRecord"),
    ("firehose:put*", |name| name.starts_with("Put")),
    ("firehose:*DeliveryStream", |name| name.ends_with("DeliveryStream")),
    ("s3:*", |_| false),
];
const RESOURCES: [Meaning; 5] = [
    ("*", |_| true),
    ("arn:aws:firehose:*:*:deliverystream/a*", |stream| stream.starts_with('a')),
    ("arn:aws:firehose:us-east-1:000000000000:deliverystream/ab", |stream| stream == "ab"),
    ("arn:*/?b", |stream| stream.len() == 2 && stream.ends_with('b')),
    ("arn:aws:firehose:eu-west-1:*", |_| false),
];
const RANGES: [Meaning; 3] = [
    ("10.0.0.0/8", |source| source.starts_with("10.")),
    ("10.1.0.1", |source| source == "10.1.0.1"),
    ("0.0.0.0/0", |_| true),
];

fn means(table: &[Meaning], written: &[&str], what: &str) -> bool {
    written.iter().any(|text| table.iter().any(|(known, rule)| known == text && rule(what)))
}

fn written() -> impl Strategy<Value = Written> {
    let some = |all: Vec<&'static str>| subsequence(all.clone(), 1..=all.len());
    let actions = ACTIONS.iter().map(|(text, _)| *text).collect();
    let resources = RESOURCES.iter().map(|(text, _)| *text).collect();
    let ranges: Vec<&'static str> = RANGES.iter().map(|(text, _)| *text).collect();
    (any::<bool>(), some(actions), any::<bool>(), some(resources), subsequence(ranges, 0..=3)).prop_map(
        |(deny, actions, inverted, resources, ranges)| Written { deny, actions, inverted, resources, ranges },
    )
}

impl Written {
    fn matches(&self, name: &str, stream: &str, source: &str) -> bool {
        means(&ACTIONS, &self.actions, name)
            && means(&RESOURCES, &self.resources, stream) != self.inverted
            && (self.ranges.is_empty() || means(&RANGES, &self.ranges, source))
    }

    fn compiled(&self) -> Statement {
        let effect = if self.deny { Effect::Deny } else { Effect::Allow };
        let patterns = patterns(&self.resources);
        let ranges = networks(&self.ranges);
        Statement {
            resources: if self.inverted { Resources::NotIn(patterns) } else { Resources::In(patterns) },
            source: if ranges.is_empty() { vec![] } else { vec![SourceRule::In(ranges)] },
            ..statement(effect, &self.actions, &[])
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_decision_is_the_one_that_the_rule_gives(
        written in proptest::collection::vec(written(), 0..5),
        operation in select(Operation::ALL.to_vec()),
        stream in select(vec!["a", "ab", "b", "bb", "abc"]),
        source in select(vec!["10.1.0.1", "10.2.3.4", "192.0.2.1"]),
    ) {
        let matching = |deny| {
            let of_kind = written.iter().filter(|statement| statement.deny == deny);
            of_kind.filter(|statement| statement.matches(operation.name(), stream, source)).count()
        };
        let expect = match (matching(true), matching(false)) {
            (1.., _) => Decision::Denied,
            (0, 1..) => Decision::Allowed,
            (0, 0) => Decision::NotAllowed,
        };
        let policy = Policy::new(written.iter().map(Written::compiled).collect());
        prop_assert_eq!(decide_from(&policy, operation, stream, Some(source)), expect);
    }
}
