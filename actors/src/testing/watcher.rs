//! A subscriber that keeps everything it is told.

use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use bifrost_model::{Alarm, Event, TagBatch};
use tokio::{sync::Notify, time::Instant};

use crate::{plc::DeviceStatus, router::News};

/// A subscriber of the router.
#[derive(Clone)]
pub struct Watcher {
    pub(super) address: Addr<WatcherActor>,
    told: Arc<Mutex<Vec<(Instant, News)>>>,
    free: Arc<Notify>,
}

impl Watcher {
    /// A subscriber with a mailbox of this size.
    pub fn start(capacity: usize) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&told);
        let address = WatcherActor::create(|ctx| {
            ctx.set_mailbox_capacity(capacity);
            WatcherActor { told: log }
        });
        Self { address, told, free: Arc::default() }
    }

    /// Takes nothing more in until it is released.
    pub async fn hold(&self) {
        let _ = self.address.send(Hold(Arc::clone(&self.free))).await;
    }

    /// Goes on after a hold.
    pub fn release(&self) {
        self.free.notify_one();
    }

    /// Ends it, without a word to the router.
    pub async fn end(&self) {
        let _ = self.address.send(End).await;
    }

    /// Everything it was told, and when.
    pub fn told(&self) -> Vec<(Instant, News)> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn pick<T>(&self, pick: impl Fn(&News) -> Option<T>) -> Vec<T> {
        self.told().iter().filter_map(|(_, news)| pick(news)).collect()
    }

    /// The scans of one device, and when each came.
    pub fn scans(&self, device: &str) -> Vec<(Instant, Arc<TagBatch>)> {
        let told = self.told();
        let scans = told.into_iter().filter_map(|(at, news)| match news {
            News::Scan(batch) => Some((at, batch)),
            _ => None,
        });
        scans.filter(|(_, batch)| &**batch.device.device_id() == device).collect()
    }

    /// The numbers of one device's scans.
    pub fn numbers(&self, device: &str) -> Vec<u64> {
        self.scans(device).iter().map(|(_, batch)| batch.seq).collect()
    }

    /// The events it was told.
    pub fn events(&self) -> Vec<Arc<Event>> {
        self.pick(|news| if let News::Event(event) = news { Some(Arc::clone(event)) } else { None })
    }

    /// The alarms it was told.
    pub fn alarms(&self) -> Vec<Arc<Alarm>> {
        self.pick(|news| if let News::Alarm(alarm) = news { Some(Arc::clone(alarm)) } else { None })
    }

    /// The statuses it was told.
    pub fn statuses(&self) -> Vec<Arc<DeviceStatus>> {
        self.pick(|news| if let News::Status(status) = news { Some(Arc::clone(status)) } else { None })
    }

    /// How many pieces it was told that it missed, each time.
    pub fn missed(&self) -> Vec<u64> {
        self.pick(|news| if let News::Missed(count) = news { Some(*count) } else { None })
    }
}

pub(super) struct WatcherActor {
    told: Arc<Mutex<Vec<(Instant, News)>>>,
}

impl Actor for WatcherActor {
    type Context = Context<Self>;
}

impl Handler<News> for WatcherActor {
    type Result = ();

    fn handle(&mut self, news: News, _: &mut Self::Context) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), news));
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Hold(Arc<Notify>);

impl Handler<Hold> for WatcherActor {
    type Result = ();

    fn handle(&mut self, Hold(free): Hold, ctx: &mut Self::Context) {
        ctx.wait(async move { free.notified().await }.into_actor(self));
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct End;

impl Handler<End> for WatcherActor {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Self::Context) {
        use actix::ActorContext;
        ctx.stop();
    }
}
