//! Dead letters: kept, told of, replayed, deleted, and never in anybody's way.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use actix::{Actor, Context, Handler};
use bifrost_actors::{
    broker::{CommandSettings, Kind, Outgoing, Requeue},
    commands::Protocol,
    dead_letters::{
        Bury, DeleteLetters, Letter, ListLetters, NewLetter, Replay, ReplayError, Replayed, Which,
    },
    gateway::LimitSettings,
    supervision::OrderKind,
    testing::Plant,
};
use bifrost_model::{TagClass, Timestamp};
use serde_json::json;

use crate::{
    answering::request, await_alarms, await_events, detail, device, events, run_in, secs, with_plant,
};

fn outgoing(n: u32) -> Outgoing {
    Outgoing {
        topic: format!("bifrost/telemetry/s/d/{n}").into(),
        payload: n.to_string().into(),
        kind: Kind::Telemetry,
        class: TagClass::Critical,
        retain: false,
        device: "d".into(),
        seq: 7,
        values: 1,
        part: "t0".into(),
        made: Timestamp::from_micros(5),
        historical: false,
    }
}

fn bury(plant: &Plant, session: &str, n: u32) -> bool {
    let letter = NewLetter::message(session.into(), "refused by the broker: 135", outgoing(n));
    plant.letters().bury.try_send(Bury(letter)).is_ok()
}

async fn list(plant: &Plant) -> Vec<Letter> {
    let ask = ListLetters { limit: 1000, max_payload: 1000, ..ListLetters::default() };
    plant.letters().list.send(ask).await.unwrap().unwrap().letters
}

async fn delete(plant: &Plant, which: Which) -> u64 {
    plant.letters().delete.send(DeleteLetters(which)).await.unwrap().unwrap()
}

async fn replay(plant: &Plant, id: u64) -> Result<Replayed, ReplayError> {
    plant.letters().replay.send(Replay(id)).await.unwrap()
}

/// Takes what is requeued, or says why not.
struct Spool {
    taken: Arc<Mutex<Vec<Outgoing>>>,
    refuses: bool,
}

impl Actor for Spool {
    type Context = Context<Self>;
}

impl Handler<Requeue> for Spool {
    type Result = Result<(), String>;

    fn handle(&mut self, Requeue(message): Requeue, _: &mut Self::Context) -> Self::Result {
        if self.refuses {
            return Err("the spool is full".to_owned());
        }
        self.taken.lock().unwrap().push(message);
        Ok(())
    }
}

#[test]
fn letters_survive_a_restart_and_their_alarm_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    run_in(folder.path(), LimitSettings::default(), async |plant| {
        await_alarms(&plant, &[]).await;
        assert!(bury(&plant, "cloud", 1) && bury(&plant, "plant", 2));
        await_alarms(&plant, &["dead_letters/cloud", "dead_letters/plant"]).await;
    });
    run_in(folder.path(), LimitSettings::default(), async |plant| {
        await_alarms(&plant, &["dead_letters/cloud", "dead_letters/plant"]).await;
        let letters = list(&plant).await;
        let sessions: Vec<_> = letters.iter().map(|letter| &*letter.session).collect();
        assert_eq!(sessions, ["plant", "cloud"]);
        assert_eq!(
            (&*letters[1].topic, letters[1].reason.as_str()),
            ("bifrost/telemetry/s/d/1", "refused by the broker: 135")
        );
        assert_eq!(delete(&plant, Which::Session("plant".to_owned())).await, 1);
        await_alarms(&plant, &["dead_letters/cloud"]).await;
        assert_eq!((delete(&plant, Which::All).await, delete(&plant, Which::All).await), (1, 0));
        await_alarms(&plant, &[]).await;
    });
}

#[test]
fn a_flood_is_bounded_counted_and_told_of_once_a_minute() {
    with_plant(async |plant| {
        for n in 0..250 {
            assert!(bury(&plant, "cloud", n));
        }
        let letters = list(&plant).await;
        assert_eq!((letters.len(), &*letters[0].topic), (100, "bifrost/telemetry/s/d/249"));
        let seen = detail(&plant, "dead_letters").await;
        assert_eq!(
            (&seen["buried"], &seen["made_room"], &seen["lost"]),
            (&json!(250), &json!(150), &json!(0))
        );
        assert!(seen["writes"].as_u64().unwrap() < 100, "{seen}");
        assert_eq!(events(&plant, "dead_letter").await.len(), 1);
        tokio::time::sleep(secs(70)).await;
        let counts: Vec<_> = await_events(&plant, "dead_letter", 2).await;
        let counts: Vec<_> = counts.iter().map(|event| event.data["count"].clone()).collect();
        assert_eq!(counts, [1, 249]);
    });
}

#[test]
fn what_the_mailbox_does_not_take_is_counted_and_nobody_waits() {
    with_plant(async |plant| {
        let taken = (0..5000).filter(|n| bury(&plant, "cloud", *n)).count();
        assert!(taken < 5000);
        let node = plant.universe.node("dead_letters").await.unwrap();
        assert_eq!(node.mailbox.unwrap().dropped, 5000 - taken as u64);
        assert_eq!(list(&plant).await.len(), 100);
    });
}

#[test]
fn a_message_is_replayed_to_its_spool_and_is_no_letter_any_more() {
    with_plant(async |plant| {
        let taken = Arc::<Mutex<Vec<Outgoing>>>::default();
        let spool = Spool { taken: Arc::clone(&taken), refuses: false }.start();
        plant.spool("cloud", spool.recipient());
        plant.spool("full", Spool { taken: Arc::default(), refuses: true }.start().recipient());
        for (n, session) in [(1, "cloud"), (2, "gone"), (3, "full")] {
            assert!(bury(&plant, session, n));
        }
        assert_eq!(replay(&plant, 1).await, Ok(Replayed::Queued));
        assert_eq!(*taken.lock().unwrap(), [outgoing(1)]);
        assert_eq!(replay(&plant, 1).await, Err(ReplayError::Unknown(1)));
        assert_eq!(replay(&plant, 2).await, Err(ReplayError::NoSession("gone".into())));
        assert_eq!(replay(&plant, 3).await, Err(ReplayError::Refused("the spool is full".to_owned())));
        let left: Vec<_> = list(&plant).await.iter().map(|letter| letter.id).collect();
        assert_eq!(left, [3, 2]);
    });
}

#[test]
fn a_letter_is_replayed_once_however_many_ask_at_once() {
    with_plant(async |plant| {
        let taken = Arc::<Mutex<Vec<Outgoing>>>::default();
        plant.spool("cloud", Spool { taken: Arc::clone(&taken), refuses: false }.start().recipient());
        assert!(bury(&plant, "cloud", 1));
        let (first, second) = tokio::join!(replay(&plant, 1), replay(&plant, 1));
        assert_eq!((first, second), (Ok(Replayed::Queued), Err(ReplayError::UnderWay(1))));
        assert_eq!(taken.lock().unwrap().len(), 1);
    });
}

#[test]
fn a_command_is_replayed_once_its_device_is_there() {
    with_plant(async |plant| {
        let answering = plant.commands().answering(Protocol::Mqtt, CommandSettings::default());
        let order = json!({"command_id": "c", "tag_id": "t0", "value": 2.5}).to_string();
        answering(request("write", Some("d"), order)).await;
        answering(request("write", Some("d"), "no JSON")).await;
        assert_eq!(list(&plant).await.len(), 2);
        let refused = replay(&plant, 1).await.unwrap_err().to_string();
        assert!(refused.contains("no device \"d\""), "{refused}");
        assert_eq!(list(&plant).await.len(), 2, "what is refused again stays as it is");
        let device = device(&plant).await;
        let Ok(Replayed::Answered(answer)) = replay(&plant, 1).await else { panic!("not carried out") };
        assert!(String::from_utf8_lossy(&answer).contains(r#""status":"ok""#));
        assert_eq!((device.script.written().len(), list(&plant).await.len()), (1, 1));
        assert!(matches!(replay(&plant, 2).await, Err(ReplayError::Refused(_))));
    });
}

#[test]
fn a_command_is_replayed_only_to_what_its_session_may_reach() {
    with_plant(async |plant| {
        let device = device(&plant).await;
        let order = json!({"tag_id": "t0", "value": 2.5}).to_string();
        let filter = serde_json::from_value(json!({"tenants": ["other"]})).unwrap();
        plant.filter("plant", Some(filter));
        let answering = plant.commands().answering(Protocol::Mqtt, CommandSettings::default());
        answering(request("write", Some("d"), order)).await;
        assert_eq!(list(&plant).await.len(), 1);
        let refused = replay(&plant, 1).await.unwrap_err().to_string();
        assert!(refused.contains("no device \"d\""), "{refused}");
        plant.filter("plant", None);
        let refused = replay(&plant, 1).await.unwrap_err().to_string();
        assert!(refused.contains("no session \"plant\""), "{refused}");
        assert_eq!((device.script.written().len(), list(&plant).await.len()), (0, 1));
    });
}

#[test]
fn a_disk_that_takes_nothing_is_an_alarm_and_a_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dead-letters.db");
    fs::create_dir(&path).unwrap();
    run_in(folder.path(), LimitSettings::default(), async |plant| {
        await_alarms(&plant, &["dead_letter_store"]).await;
        assert!(bury(&plant, "cloud", 1));
        let ask = ListLetters { limit: 10, ..ListLetters::default() };
        let error = plant.letters().list.send(ask).await.unwrap().unwrap_err();
        assert!(error.contains("dead-letters.db"), "{error}");
        assert_eq!(detail(&plant, "dead_letters").await["lost"], 1);
        fs::remove_dir(&path).unwrap();
        await_alarms(&plant, &[]).await;
        assert!(bury(&plant, "cloud", 2));
        assert_eq!(list(&plant).await.len(), 1);
    });
}

#[test]
fn a_damaged_file_is_set_aside_with_an_event() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("dead-letters.db"), "no database, but long enough to look at".repeat(100))
        .unwrap();
    run_in(folder.path(), LimitSettings::default(), async |plant| {
        let told = await_events(&plant, "dead_letter_store_damaged", 1).await;
        assert!(fs::exists(told[0].data["set_aside"].as_str().unwrap()).unwrap());
        assert!(bury(&plant, "cloud", 1));
        assert_eq!(list(&plant).await.len(), 1);
    });
}

#[test]
fn letters_that_came_before_a_stop_are_kept() {
    with_plant(async |plant| {
        for n in 0..50 {
            assert!(bury(&plant, "cloud", n));
        }
        plant.universe.order("dead_letters", OrderKind::Restart).await.unwrap();
        assert_eq!(list(&plant).await.len(), 50);
    });
}
