//! What control frames come to.

use super::*;

fn close(batch: u8, first: u64, last: u64) -> Close {
    Close {
        batch: BatchId([batch; 16]),
        destination: DestinationId::primary(),
        range: BatchRange { first: Position(first), last: Position(last) },
        reason: CloseReason::Size,
        version: 1,
        closed_at: Timestamp(2),
        arrived_at: Timestamp(1),
        record_bytes: 100,
        pins: BTreeMap::new(),
    }
}

fn settle(of: &Close) -> Control {
    Control::Settle(Settle {
        batch: of.batch,
        destination: of.destination.clone(),
        range: of.range,
        tally: Tally { delivered: of.range.count(), ..Tally::default() },
    })
}

fn state() -> State {
    let mut state = State { next: Position(100), ..State::default() };
    state.destinations.insert(DestinationId::primary(), Progress::starting_at(Position(0)));
    state
}

#[test]
fn the_oldest_open_batch_holds_the_journal() {
    let (mut state, first, second) = (state(), close(1, 0, 9), close(2, 10, 19));
    state.apply(&Control::Close(first.clone()));
    state.apply(&Control::Close(second.clone()));
    state.apply(&settle(&second));
    assert_eq!(state.lowest_unsettled(), Position(0));
    state.apply(&settle(&first));
    assert_eq!(state.lowest_unsettled(), Position(20));
    let progress = &state.destinations[&DestinationId::primary()];
    assert_eq!((progress.tally.delivered, progress.in_journal(state.next)), (20, 80));
}

#[test]
fn a_record_that_waits_at_several_destinations_is_counted_once() {
    let mut state = state();
    let other = DestinationId::parse("other").unwrap();
    state.destinations.insert(other.clone(), Progress::starting_at(Position(20)));
    assert_eq!(state.waiting(), 100);
    let all = [close(1, 0, 9), close(2, 10, 69), Close { destination: other, ..close(3, 20, 49) }];
    all.iter().for_each(|close| state.apply(&Control::Close(close.clone())));
    state.apply(&settle(&all[1]));
    // One has 0 to 9 and what comes behind 69, the other what comes behind 19.
    assert_eq!(state.waiting(), 10 + 80);
    state.apply(&settle(&all[2]));
    assert_eq!(state.waiting(), 10 + 50);
    let most = state.lasting().map(|(_, progress)| progress.in_journal(state.next)).max();
    assert_eq!(most, Some(50), "neither has as many by itself");
    let rest =
        [close(4, 70, 99), Close { destination: DestinationId::parse("other").unwrap(), ..close(5, 50, 99) }];
    rest.iter().for_each(|close| state.apply(&Control::Close(close.clone())));
    rest.iter().for_each(|close| state.apply(&settle(close)));
    assert_eq!((state.waiting(), state.is_settled()), (10, false));
    state.apply(&settle(&all[0]));
    assert_eq!((state.waiting(), state.is_settled()), (0, true));
}

#[test]
fn a_settle_counts_once_even_when_its_close_was_lost() {
    let (mut state, lost) = (state(), close(1, 0, 9));
    state.apply(&settle(&lost));
    state.apply(&settle(&lost));
    assert_eq!(state.destinations[&DestinationId::primary()].tally.delivered, 10);
}

#[test]
fn a_batch_whose_close_was_lost_is_opened_again_under_another_identity() {
    let (mut state, second) = (state(), close(2, 10, 19));
    state.apply(&Control::Close(second));
    let open = |state: &State| -> Vec<(u64, u64)> {
        let open = state.destinations[&DestinationId::primary()].open.values();
        open.map(|open| (open.close.range.first.0, open.close.range.last.0)).collect()
    };
    assert_eq!(open(&state).len(), 2, "records 0 to 9 are still somebody's");
    assert_eq!(state.lowest_unsettled(), Position(0));
    let mut settled = state.clone();
    settled.apply(&settle(&close(1, 0, 9)));
    assert_eq!(open(&settled), [(10, 19)], "its SETTLE is known by its range");
    assert_eq!(settled.destinations[&DestinationId::primary()].tally.delivered, 10);
}

#[test]
fn records_whose_close_and_settle_were_both_lost_are_told_as_lost() {
    let mut state = state();
    state.apply(&settle(&close(2, 10, 19)));
    let progress = &state.destinations[&DestinationId::primary()];
    assert_eq!((progress.tally.lost, progress.tally.delivered), (10, 10));
    assert_eq!(progress.tally.total() + progress.in_journal(state.next), 100);
}

#[test]
fn what_is_done_is_kept_as_runs() {
    let mut open = OpenBatch::new(close(1, 0, 9));
    open.done.extend([0, 2, 3, 4, 9, 10]);
    let text = serde_json::to_string(&open).unwrap();
    assert!(text.contains("\"done\":[0,[2,4],[9,10]]"), "{text}");
    assert_eq!(serde_json::from_str::<OpenBatch>(&text).unwrap(), open);
    let huge = text.replace("[2,4]", "[2,4000000000]");
    assert!(serde_json::from_str::<OpenBatch>(&huge).is_err());
}

#[test]
fn a_failure_that_is_over_starts_the_retry_duration_anew() {
    let (mut state, closed) = (state(), close(1, 0, 9));
    state.apply(&Control::Close(closed.clone()));
    for (since, over, expect) in
        [(5, false, Some(5)), (6, false, Some(5)), (7, true, None), (8, false, Some(8))]
    {
        let (batch, destination) = (closed.batch, closed.destination.clone());
        state.apply(&Control::Failing(Failing { batch, destination, since: Timestamp(since), over }));
        let open = &state.destinations[&DestinationId::primary()].open[&closed.batch];
        assert_eq!(open.failing_since, expect.map(Timestamp));
    }
}

#[test]
fn a_request_is_done_by_its_id_and_not_by_a_number() {
    let (mut state, closed, request) = (state(), close(1, 0, 9), RequestId([6; 16]));
    state.apply(&Control::Close(closed.clone()));
    let (batch, destination) = (closed.batch, closed.destination.clone());
    state.apply(&Control::Done(Done { batch, destination, ordinal: 0, further: 0, request: Some(request) }));
    let open = &state.destinations[&DestinationId::primary()].open[&closed.batch];
    assert_eq!((open.requests.clone(), open.done.len()), (BTreeSet::from([request]), 0));
    let text = serde_json::to_string(open).unwrap();
    assert_eq!(serde_json::from_str::<OpenBatch>(&text).unwrap(), *open);
}

#[test]
fn what_is_given_up_for_one_reason_is_one_decision() {
    let (mut state, closed) = (state(), close(1, 0, 9));
    state.apply(&Control::Close(closed.clone()));
    let decide = |first, last, message: &str| {
        Control::Decide(Decide {
            batch: closed.batch,
            destination: closed.destination.clone(),
            rows: vec![BatchRange { first: Position(first), last: Position(last) }],
            reason: "500".into(),
            message: message.into(),
            attempts: 3,
            decided_at: Timestamp(9),
        })
    };
    for frame in [decide(0, 1, "a"), decide(2, 3, "a"), decide(4, 4, "b"), decide(6, 6, "a")] {
        state.apply(&frame);
    }
    let decided = &state.destinations[&DestinationId::primary()].open[&closed.batch].decided;
    let rows: Vec<Vec<(u64, u64)>> =
        decided.iter().map(|one| one.rows.iter().map(|rows| (rows.first.0, rows.last.0)).collect()).collect();
    assert_eq!(rows, [vec![(0, 3), (6, 6)], vec![(4, 4)]]);
}

#[test]
fn every_control_frame_reads_back() {
    let batch = BatchId([7; 16]);
    let destination = DestinationId::backup();
    let rows = BatchRange { first: Position(1), last: Position(3) };
    let mut state = state();
    state.apply(&Control::Close(close(1, 0, 9)));
    let all = [
        Control::Close(close(1, 0, 9)),
        settle(&close(1, 0, 9)),
        Control::State(Box::new(state)),
        Control::Done(Done {
            batch,
            destination: destination.clone(),
            ordinal: 4,
            further: 0,
            request: None,
        }),
        Control::Done(Done {
            batch,
            destination: destination.clone(),
            ordinal: 4,
            further: 2,
            request: None,
        }),
        Control::Done(Done {
            batch,
            destination: destination.clone(),
            ordinal: 0,
            further: 0,
            request: Some(RequestId([6; 16])),
        }),
        Control::Failing(Failing {
            batch,
            destination: destination.clone(),
            since: Timestamp(8),
            over: false,
        }),
        Control::Failing(Failing {
            batch,
            destination: destination.clone(),
            since: Timestamp(8),
            over: true,
        }),
        Control::Puts(Puts {
            segment: "0".repeat(32),
            encrypted: true,
            puts: vec![("1".repeat(32), Position(4), 2, 1)],
        }),
        Control::Decide(Decide {
            batch,
            destination: destination.clone(),
            rows: vec![rows],
            reason: "400".into(),
            message: "no such column".into(),
            attempts: 2,
            decided_at: Timestamp(9),
        }),
        Control::Plan(Plan {
            batch,
            destination,
            spool: serde_json::from_str(&format!("\"{}\"", "5a".repeat(16))).unwrap(),
            objects: 3,
            index: ObjectPlace { last: 4096, rows: 3, bytes: 99 },
            tally: Tally { delivered: 9, ..Tally::default() },
        }),
    ];
    for control in all {
        assert_eq!(Control::decode(control.kind(), &control.encode()).unwrap(), Some(control));
    }
}
