//! Replays of a stream in this process, over a disk and a clock that fail and move when a test says so.

mod rig;

use std::sync::atomic::Ordering;
use std::time::Duration;

use standpipe_journal::control::Replay;
use standpipe_model::{DestinationId, Position, StreamName, Timestamp};

use super::{BatchOrder, ReplayError, ReplayOrders};
use crate::alarm::AlarmKind;
use crate::metrics::Snapshot;
use crate::worker::Replaying;
use rig::{Rig, eventually, record};

const A_MINUTE: Duration = Duration::from_secs(61);

fn of_one() -> DestinationId {
    DestinationId::parse("one").unwrap()
}

fn all_of(of: &str) -> ReplayOrders {
    let of = DestinationId::parse(of).unwrap();
    ReplayOrders { of, from: None, to: None, into: None, rate: None }
}

fn into_other() -> ReplayOrders {
    ReplayOrders { into: Some(StreamName::parse("other").unwrap()), ..all_of("one") }
}

/// The entry of a replay of nothing at all, which nobody runs.
async fn entry(rig: &Rig, number: u32) -> (DestinationId, Position, Replay) {
    let (id, end) = (DestinationId::replay(number), rig.stream.journal().state().next);
    let (from, to) = (Timestamp(1), Timestamp(2));
    let replay = Replay { of: of_one(), end, from, to, into: None, rate: None, begun_at: to };
    assert!(rig.stream.journal().begin_replay(id.clone(), end, replay.clone()).await.unwrap());
    (id, end, replay)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_cannot_be_closed_is_told_of_after_a_minute_and_until_it_is() {
    let rig = Rig::new().await;
    rig.faults.opens.store(true, Ordering::Relaxed);
    rig.put(0..10).await;
    rig.timer.advance(Duration::from_secs(5));
    assert!(!rig.has_alarm(AlarmKind::JournalFailed, "cannot be closed"));
    eventually("a human is told", async || {
        rig.timer.advance(A_MINUTE);
        let told = |id: &str| {
            let message = format!("destination {id}: a batch cannot be closed: too many open files");
            rig.has_alarm(AlarmKind::JournalFailed, &message)
        };
        (told("one") && told("two")).then_some(())
    })
    .await;
    rig.faults.opens.store(false, Ordering::Relaxed);
    rig.settled().await;
    assert!(!rig.has_alarm(AlarmKind::JournalFailed, ""), "{:?}", rig.alarms());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_cannot_be_ended_says_so_and_takes_no_orders_that_anybody_waits_for() {
    let rig = Rig::new().await;
    let (id, start, replay) = entry(&rig, 7).await;
    rig.faults.writes.store(true, Ordering::Relaxed);
    let replaying = Replaying::new(id, start, replay);
    let worker = rig.stream.start_replay(replaying.clone()).unwrap();
    rig.stream.workers.lock().await.push(worker);
    let why = eventually("it says why", async || replaying.waiting()).await;
    assert!(why.starts_with("the replay cannot be ended: "), "{why}");
    let ordered = async {
        for _ in 0..40 {
            rig.stream.nudge().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ordered).await.expect("nobody waits for it");
    eventually("a human is told", async || {
        rig.timer.advance(A_MINUTE);
        rig.has_alarm(AlarmKind::JournalFailed, "the replay cannot be ended").then_some(())
    })
    .await;
    rig.faults.writes.store(false, Ordering::Relaxed);
    let ended = eventually("it ends", async || {
        rig.timer.advance(A_MINUTE);
        replaying.ended()
    })
    .await;
    assert!(!ended.early && replaying.waiting().is_none(), "{ended:?}");
    assert!(!rig.has_alarm(AlarmKind::JournalFailed, ""), "{:?}", rig.alarms());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_whose_destination_goes_keeps_its_numbers_and_leaves_no_alarm() {
    let rig = Rig::new().await;
    rig.put(0..300).await;
    rig.settled().await;
    let orders = ReplayOrders { rate: Some(20), ..all_of("two") };
    let replaying = rig.stream.begin_replay(orders).await.unwrap();
    eventually("some are delivered", async || {
        rig.timer.advance(Duration::from_secs(1));
        (rig.stream.replayed(&replaying).delivered > 0).then_some(())
    })
    .await;
    rig.forget_stores();
    let batch = eventually("a batch is stuck", async || {
        rig.timer.advance(Duration::from_secs(1));
        replaying.waiting()?;
        rig.stream.open_batches().remove(&replaying.id)?.pop()
    })
    .await;
    let shapes: Vec<_> = rig.stream.open_shapes().into_iter().map(|(of, _)| of).collect();
    assert_eq!(shapes, [DestinationId::parse("two").unwrap()], "it is delivered as its destination's are");
    let now = Timestamp(1);
    let (name, refused) = (Some(rig.stream.name()), AlarmKind::Refused);
    rig.context.alarms.raise(name, refused, &batch.close.batch.to_string(), "never".to_owned(), now);
    rig.without_two().await;
    let delivered = rig.stream.replayed(&replaying).delivered;
    let ended = replaying.ended().unwrap();
    assert!(ended.early && ended.tally.delivered == delivered && delivered > 0, "{ended:?}");
    let left = |kind: AlarmKind, text: &str| rig.has_alarm(kind, text);
    assert!(
        !left(refused, "") && !left(AlarmKind::Misconfigured, replaying.id.as_str()),
        "{:?}",
        rig.alarms()
    );
    assert!(rig.stream.is_finished(), "nothing is held for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_cannot_be_started_is_none() {
    let rig = Rig::new().await;
    rig.put(0..10).await;
    rig.settled().await;
    rig.faults.opens_after_write.store(true, Ordering::Relaxed);
    let refused = rig.stream.begin_replay(all_of("one")).await.unwrap_err();
    assert!(matches!(refused, ReplayError::Read(_)), "{refused}");
    rig.faults.opens.store(false, Ordering::Relaxed);
    eventually("it is not held", async || rig.stream.is_finished().then_some(())).await;
    assert_eq!(rig.stream.replays().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_nobody_runs_can_be_stopped() {
    let rig = Rig::new().await;
    let (id, ..) = entry(&rig, 9).await;
    assert!(!rig.stream.is_finished(), "the stream waits for it");
    let stopped = rig.stream.stop_replay(id.as_str()).await.unwrap();
    assert!(stopped.ended().is_some_and(|ended| ended.early));
    assert!(rig.stream.is_finished());
    let again = rig.stream.stop_replay(id.as_str()).await.unwrap_err();
    assert!(matches!(again, ReplayError::Unknown), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn none_is_begun_of_a_stream_that_is_being_deleted() {
    let rig = Rig::new().await;
    rig.put(0..10).await;
    rig.stream.begin_deletion();
    let refused = rig.stream.begin_replay(all_of("one")).await.unwrap_err();
    assert_eq!(refused.to_string(), "the stream is being deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_to_another_stream_is_noted_part_by_part_and_nothing_twice() {
    let rig = Rig::new().await;
    rig.put(0..1_200).await;
    rig.settled().await;
    rig.intake.takes.store(1, Ordering::Relaxed);
    let replaying = rig.stream.begin_replay(into_other()).await.unwrap();
    eventually("the second is refused", async || replaying.waiting()).await;
    let open = rig.stream.open_batches().remove(&replaying.id).unwrap().pop().unwrap();
    assert_eq!(open.done.into_iter().collect::<Vec<_>>(), [499], "the first is noted");
    let shapes = rig.stream.open_shapes();
    assert!(shapes.is_empty(), "no destination's store is needed for it: {shapes:?}");
    // It is put while the journal takes nothing, and so cannot be noted.
    rig.intake.fails_writes.store(true, Ordering::Relaxed);
    rig.intake.takes.store(usize::MAX, Ordering::Relaxed);
    let why = eventually("the note fails", async || {
        rig.stream.nudge().await;
        replaying.waiting().filter(|why| why.contains("the journal did not take"))
    })
    .await;
    for _ in 0..3 {
        rig.stream.nudge().await;
    }
    assert_eq!(rig.intake.sizes(), [500, 500], "nothing is put before it is noted: {why}");
    rig.faults.writes.store(false, Ordering::Relaxed);
    eventually("it ends", async || {
        rig.timer.advance(A_MINUTE);
        rig.stream.nudge().await;
        replaying.ended()
    })
    .await;
    assert_eq!(rig.intake.sizes(), [500, 500, 200]);
    assert_eq!(rig.intake.records(), (0..1_200).map(record).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_of_a_replay_counts_as_replayed_and_is_told_of() {
    let rig = Rig::new().await;
    rig.put(0..30).await;
    rig.settled().await;
    rig.intake.takes.store(0, Ordering::Relaxed);
    let replaying = rig.stream.begin_replay(into_other()).await.unwrap();
    let open = eventually("it is refused", async || {
        replaying.waiting()?;
        rig.stream.open_batches().remove(&replaying.id)?.pop()
    })
    .await;
    let ended = eventually("it is given up", async || {
        // Between two attempts.
        drop(rig.stream.batch(&replaying.id, open.close.batch, BatchOrder::Abandon).await);
        replaying.ended()
    })
    .await;
    assert_eq!((ended.tally.dropped, replaying.abandoned()), (30, 30));
    let metrics = rig.context.metrics.render(&Snapshot::default()).unwrap();
    let expect = "standpipe_records_replayed_total{stream=\"clicks\"} 30";
    assert!(metrics.contains(expect), "{metrics}");
}
