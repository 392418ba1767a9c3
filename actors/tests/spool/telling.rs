//! What a session is told beside scans, and what the spool hears from its router.

use std::sync::Arc;

use bifrost_actors::{
    broker::{Outcome, Outgoing, Requeue},
    router::{ForgetDevice, RecordEvent},
    spool::SpoolSettings,
    supervision::OrderKind,
};
use bifrost_model::{Event, Severity, TagClass};

use crate::{
    Bench, Session,
    bench::{run_in, tags, with_mailbox},
    bounds::break_disk,
    ms, secs, settle, with_bench,
};

fn topics(session: &Session) -> Vec<String> {
    let mut topics: Vec<_> = session.got().iter().map(|got| got.message.topic.to_string()).collect();
    topics.sort_unstable();
    topics
}

#[test]
fn every_session_is_told_of_all_devices_and_the_broker_keeps_it() {
    with_bench(SpoolSettings::default(), async |bench| {
        for _ in 0..2 {
            let session = Session::taking(&bench.spool, 10);
            settle().await;
            assert_eq!(topics(&session), ["e/boiler/tags", "e/press/tags"]);
            assert!(session.got().iter().all(|got| got.message.retain));
            assert_eq!(session.on("e/press/tags")[0].json()["tags"]["t0"]["data_type"], "float64");
            session.detach();
            settle().await;
        }
        assert_eq!(bench.on_disk().await, 0, "none of it is kept");
    });
}

#[test]
fn a_changed_device_is_told_anew_and_one_that_is_gone_is_cleared() {
    with_bench(SpoolSettings::default(), async |bench| {
        let session = Session::taking(&bench.spool, 10);
        settle().await;
        bench.plant.register(&tags("press", 3, TagClass::Telemetry)).await;
        settle().await;
        let told = session.on("e/press/tags");
        assert_eq!((told.len(), told[1].json()["tags"].as_object().unwrap().len()), (2, 3));
        bench.plant.router().forget.send(ForgetDevice(Arc::from("press"))).await.unwrap();
        settle().await;
        let told = session.on("e/press/tags");
        assert!(told.len() == 3 && told[2].message.payload.is_empty() && told[2].message.retain);
        let next = Session::taking(&bench.spool, 10);
        settle().await;
        assert_eq!(topics(&next), ["e/boiler/tags"]);
    });
}

#[test]
fn scans_come_before_descriptions() {
    with_bench(SpoolSettings::default(), async |bench| {
        bench.scans(&bench.press, 20).await;
        let session = Session::taking(&bench.spool, 5);
        settle().await;
        let got: Vec<_> = session.got().iter().map(|got| got.message.seq).collect();
        assert!(got.iter().copied().eq((1..=20).chain([0, 0])), "{got:?}");
    });
}

#[test]
fn events_and_alarms_are_kept_as_what_must_not_get_lost() {
    with_bench(SpoolSettings::default(), async |bench| {
        let event = Event::new("press", "test", Severity::Info, "said");
        bench.plant.router().events.try_send(RecordEvent(event)).unwrap();
        bench.plant.events().raise("a", "test", Severity::Error, "press", "said");
        settle().await;
        assert_eq!(bench.on_disk().await, 2, "at once");
        let session = Session::taking(&bench.spool, 10);
        tokio::time::sleep(secs(1)).await;
        let late: Vec<_> = topics(&session).into_iter().filter(|topic| !topic.ends_with("/tags")).collect();
        assert_eq!(late, ["a/press/error", "e/press/test"]);
        assert_eq!(bench.on_disk().await, 0);
        bench.plant.events().clear("a", "test", "press", "said");
        settle().await;
        let alarm = session.got().pop().unwrap();
        assert_eq!((alarm.is_late(), alarm.json()["state"].as_str()), (false, Some("cleared")));
    });
}

#[test]
fn nothing_is_missed_once_the_router_is_rebuilt() {
    with_bench(SpoolSettings::default(), async |bench| {
        let session = Session::taking(&bench.spool, 100);
        bench.scans(&bench.press, 10).await;
        for from in [11, 31] {
            bench.plant.universe.order("router", OrderKind::Restart).await.unwrap();
            bench.plant.until_router().await;
            for _ in 0..4 {
                bench.scans(&bench.press, 5).await;
                tokio::time::sleep(crate::ms(100)).await;
            }
            assert!(session.scans("press", false).into_iter().eq(1..from + 20), "{:?}", session.numbers());
        }
        assert_eq!(bench.spool.report().await.dropped.messages, 0);
    });
}

#[test]
fn a_flood_beyond_the_mailbox_is_counted_as_lost_and_told() {
    with_mailbox(SpoolSettings::default(), 16, async |bench| {
        let session = Session::taking(&bench.spool, 100);
        settle().await;
        bench.scans(&bench.press, 500).await;
        bench.scans(&bench.press, 1).await;
        let report = bench.spool.report().await;
        let came = session.scans("press", false);
        assert!(report.dropped.messages > 0 && came.len() < 500, "{report:?}");
        assert_eq!(came.len() as u64 + report.dropped.messages, 501);
        assert!(report.dropped.last.unwrap().reason.contains("limits.broker_mailbox"));
        tokio::time::sleep(secs(6)).await;
        let told = session.on("e/gateway/spool_dropped");
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].json()["data"]["messages"].as_u64(), Some(report.dropped.messages));
        bench.scans(&bench.press, 5).await;
        assert!(session.scans("press", false).ends_with(&[502, 503, 504, 505, 506]), "and it goes on");
    });
}

#[test]
fn a_dead_letter_that_is_tried_again_is_sent_as_late() {
    with_bench(SpoolSettings::default(), async |bench| {
        let session = Session::attach(&bench.spool, 10, |message| {
            (!message.historical && message.seq == 2)
                .then(|| bifrost_actors::broker::Outcome::Refused("no".to_owned()))
                .or(Some(bifrost_actors::broker::Outcome::Delivered))
        });
        bench.scans(&bench.press, 3).await;
        let (letter, _) = bench.spool.buried().pop().unwrap();
        let asked = bench.spool.desk().unwrap().requeue.send(Requeue((*letter).clone())).await.unwrap();
        assert_eq!(asked, Ok(()));
        settle().await;
        assert_eq!(session.scans("press", true), [2]);
    });
}

#[test]
fn descriptions_go_out_whatever_else_is_not_acknowledged() {
    with_bench(SpoolSettings::default(), async |bench| {
        let session = Session::holding(&bench.spool, 20);
        bench.scans(&bench.press, 10).await;
        tokio::time::sleep(secs(1)).await;
        assert_eq!(session.on("e/press/tags").len() + session.on("e/boiler/tags").len(), 2);
        assert_eq!(session.tickets().len(), 10);
    });
}

#[test]
fn descriptions_have_their_turn_though_there_is_always_something_live() {
    with_bench(SpoolSettings::default(), async |bench| {
        bench.scans(&bench.press, 100).await;
        let session = Session::holding(&bench.spool, 3);
        for _ in 0..20 {
            tokio::time::sleep(ms(50)).await;
            session.settle(1, &Outcome::Delivered);
        }
        settle().await;
        assert!(session.numbers().len() < 50, "there is more");
        assert_eq!(session.on("e/press/tags").len() + session.on("e/boiler/tags").len(), 2);
        assert_eq!(session.most().0, 3, "within the window");
    });
}

#[test]
fn a_broker_hears_of_a_device_that_went_while_it_was_away_until_it_has_taken_that() {
    with_bench(SpoolSettings::default(), async |bench| {
        let forgotten = ForgetDevice(Arc::from("press"));
        bench.plant.router().forget.send(forgotten).await.unwrap();
        bench.scans(&bench.boiler, 5).await;
        tokio::time::sleep(secs(3)).await;
        let deaf = Session::attach(&bench.spool, 10, |_| None);
        settle().await;
        deaf.detach();
        let busy = Outcome::Again("busy".to_owned());
        let next = Session::attach(&bench.spool, 10, {
            let mut first = Some(busy);
            move |message| {
                if &*message.topic == "e/press/tags" {
                    first.take().or(Some(Outcome::Delivered))
                } else {
                    Some(Outcome::Delivered)
                }
            }
        });
        tokio::time::sleep(secs(2)).await;
        let told = next.on("e/press/tags");
        assert_eq!(told.len(), 2, "once more after the broker was busy");
        assert!(told.iter().all(|got| got.message.payload.is_empty() && got.message.retain));
        let last = Session::taking(&bench.spool, 10);
        tokio::time::sleep(secs(1)).await;
        assert_eq!(topics(&last), ["e/boiler/tags"], "it knows by now");
    });
}

#[test]
fn what_was_missed_is_asked_for_rarely() {
    with_mailbox(SpoolSettings::default(), 16, async |bench| {
        let session = Session::taking(&bench.spool, 100);
        bench.plant.events().raise("a", "test", Severity::Error, "press", "said");
        settle().await;
        let told = || session.on("a/press/error").len();
        assert_eq!(told(), 1);
        for _ in 0..8 {
            bench.scans(&bench.press, 300).await;
            tokio::time::sleep(ms(250)).await;
        }
        assert!(bench.spool.report().await.dropped.messages > 0);
        assert_eq!(told(), 1);
        tokio::time::sleep(secs(8)).await;
        assert!((2..=3).contains(&told()), "it is active, and perhaps that was missed: {}", told());
        assert_eq!(session.on("e/press/tags").len(), 1, "nothing new");
    });
}

/// A scan of the press that a broker has refused for good.
async fn dead_letter(bench: &Bench) -> Outgoing {
    let session = Session::attach(&bench.spool, 10, |_| Some(Outcome::Refused("no".to_owned())));
    bench.scans(&bench.press, 1).await;
    session.detach();
    settle().await;
    let letters = bench.spool.buried();
    let (letter, _) = letters.iter().find(|(letter, _)| letter.seq == 1).unwrap();
    (**letter).clone()
}

#[test]
fn a_dead_letter_that_is_tried_again_is_on_disk_before_that_is_answered() {
    with_bench(SpoolSettings::default(), async |bench| {
        let requeue = Requeue(dead_letter(&bench).await);
        assert_eq!(bench.on_disk().await, 0);
        assert_eq!(bench.spool.desk().unwrap().requeue.send(requeue).await.unwrap(), Ok(()));
        assert_eq!(bench.on_disk().await, 1);
    });
}

#[test]
fn a_dead_letter_that_can_not_be_kept_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), SpoolSettings::default(), async |bench| {
        let requeue = Requeue(dead_letter(&bench).await);
        let disk = break_disk(folder.path());
        for _ in 0..2 {
            let asked = bench.spool.desk().unwrap().requeue.send(requeue.clone()).await.unwrap();
            assert!(asked.is_err(), "it stays a dead letter");
        }
        disk.mend();
        tokio::time::sleep(secs(3)).await;
        let session = Session::taking(&bench.spool, 10);
        tokio::time::sleep(secs(1)).await;
        assert_eq!(session.numbers(), Vec::<u64>::new());
    });
}
