//! Rates over time, bursts, concurrency, and that a refusal costs nothing.

use proptest::prelude::*;

use super::*;

const NONE: PutLimits = PutLimits {
    records_per_second: None,
    bytes_per_second: None,
    requests_per_second: None,
    concurrent_requests: None,
    burst: Duration::from_secs(1),
};

fn limiter(limits: PutLimits) -> Arc<PutLimiter> {
    Arc::new(PutLimiter::new(limits))
}

fn put(limiter: &Arc<PutLimiter>, records: u32, bytes: u64, at_ms: u64) -> Result<Slots, Duration> {
    let limiters = [Some(Arc::clone(limiter)), None];
    admit(limiters, Cost { records, bytes }, Duration::from_millis(at_ms)).map_err(|(_, wait)| wait)
}

#[test]
fn a_second_of_the_rate_may_come_at_once_and_then_as_much_as_time_gives() {
    let limiter = limiter(PutLimits { records_per_second: Some(100), ..NONE });
    assert!(put(&limiter, 60, 0, 0).is_ok() && put(&limiter, 40, 0, 0).is_ok());
    assert_eq!(put(&limiter, 10, 0, 0).unwrap_err(), Duration::from_millis(100));
    assert_eq!(put(&limiter, 10, 0, 50).unwrap_err(), Duration::from_millis(50));
    assert!(put(&limiter, 10, 0, 100).is_ok());
    assert!(put(&limiter, 1, 0, 100).is_err());
    assert!(put(&limiter, 100, 0, 60_000).is_ok(), "a minute of rest saves up one second");
    assert!(put(&limiter, 1, 0, 60_000).is_err());
}

#[test]
fn what_is_larger_than_the_burst_passes_when_all_is_saved_up_and_is_paid_for_afterwards() {
    let limiter = limiter(PutLimits { bytes_per_second: Some(1_000), ..NONE });
    assert!(put(&limiter, 1, 5_000, 0).is_ok());
    assert_eq!(put(&limiter, 1, 1, 0).unwrap_err(), Duration::from_millis(4_001));
    assert!(put(&limiter, 1, 5_000, 4_999).is_err());
    assert!(put(&limiter, 1, 5_000, 5_000).is_ok());
}

#[test]
fn each_count_refuses_by_itself_and_a_refusal_takes_nothing() {
    let limits = PutLimits { records_per_second: Some(10), requests_per_second: Some(2), ..NONE };
    let limiter = limiter(limits);
    assert!(put(&limiter, 4, 0, 0).is_ok());
    for _ in 0..5 {
        assert!(put(&limiter, 7, 0, 0).is_err(), "too many records");
    }
    assert!(put(&limiter, 6, 0, 0).is_ok());
    assert!(put(&limiter, 0, 0, 0).is_err(), "too many requests");
}

#[test]
fn what_one_limiter_refuses_is_not_taken_from_the_other() {
    let wide = limiter(PutLimits { records_per_second: Some(10), ..NONE });
    let narrow = limiter(PutLimits { records_per_second: Some(1), ..NONE });
    let both = |records| {
        let limiters = [Some(Arc::clone(&wide)), Some(Arc::clone(&narrow))];
        admit(limiters, Cost { records, bytes: 0 }, Duration::ZERO)
    };
    assert!(both(1).is_ok());
    assert_eq!(both(1).unwrap_err(), (1, Duration::from_secs(1)));
    assert!(put(&wide, 9, 0, 0).is_ok());
    assert_eq!(both(1).unwrap_err().0, 1, "the longer wait is told");
    assert!(wide.lock().running == 0 && narrow.lock().running == 0);
}

#[test]
fn a_request_that_is_being_answered_holds_its_place_until_it_is_dropped() {
    let limiter = limiter(PutLimits { concurrent_requests: Some(2), ..NONE });
    let (one, two) = (put(&limiter, 1, 0, 0), put(&limiter, 1, 0, 0));
    assert_eq!(put(&limiter, 1, 0, 0).unwrap_err(), THROTTLED_RETRY_AFTER);
    drop(one);
    let three = put(&limiter, 1, 0, 0);
    assert!(three.is_ok() && put(&limiter, 1, 0, 0).is_err());
    drop((two, three));
    assert_eq!(limiter.lock().running, 0);
}

#[test]
fn every_operation_has_its_own_count_of_calls() {
    let calls = CallLimiter::new(2);
    let at = |operation, now| admit_call([Some(&calls), None], operation, now).map_err(|(_, wait)| wait);
    let call = |operation| at(operation, Duration::ZERO);
    let (describe, list) = (Operation::DescribeDeliveryStream, Operation::ListDeliveryStreams);
    assert!(call(describe).is_ok() && call(describe).is_ok());
    assert_eq!(call(describe), Err(Duration::from_millis(500)));
    assert!(call(list).is_ok());
    assert!(at(describe, Duration::from_millis(500)).is_ok());
}

#[test]
fn a_call_that_one_limiter_refuses_is_not_taken_from_the_other() {
    let (own, all) = (CallLimiter::new(2), CallLimiter::new(1));
    let call =
        |limiters, at_ms| admit_call(limiters, Operation::ListDeliveryStreams, Duration::from_millis(at_ms));
    let both = [Some(&own), Some(&all)];
    assert_eq!(call(both, 0), Ok(()));
    for _ in 0..5 {
        assert_eq!(call(both, 0), Err((1, Duration::from_secs(1))));
    }
    assert_eq!(call([Some(&own), None], 0), Ok(()), "of its two calls one is left");
    assert_eq!(call(both, 0), Err((1, Duration::from_secs(1))), "the one that lasts longer is told");
    assert_eq!(call(both, 1_000), Ok(()));
    assert_eq!(call([Some(&own), None], 1_000), Ok(()));
}

#[test]
fn every_operation_has_its_place_in_the_array() {
    for (index, operation) in Operation::ALL.into_iter().enumerate() {
        assert_eq!(operation as usize, index, "{operation:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Over any stretch of time: at most the rate, one burst, and the credit of one request.
    #[test]
    fn no_more_than_the_rate_is_let_in(
        rate in 1u64..1_000,
        steps in proptest::collection::vec((0u64..400, 1u32..500), 1..200),
    ) {
        let limiter = limiter(PutLimits { records_per_second: Some(rate), ..NONE });
        let (mut now, mut let_in, mut largest) = (0, 0, 0);
        for (step, records) in steps {
            now += step;
            largest = largest.max(records);
            match put(&limiter, records, 0, now) {
                Ok(_) => let_in += u64::from(records),
                Err(wait) => {
                    // When it is told to come back, it is let in.
                    now += u64::try_from(wait.as_millis()).unwrap() + 1;
                    prop_assert!(put(&limiter, records, 0, now).is_ok());
                    let_in += u64::from(records);
                }
            }
        }
        let most = rate as f64 * now as f64 / 1_000.0 + rate as f64 + f64::from(largest);
        prop_assert!(let_in as f64 <= most + 1e-6, "{let_in} of {most}");
    }
}
