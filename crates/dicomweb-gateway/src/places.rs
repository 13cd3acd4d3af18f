//! Places for connections: few at the door, for those that have not shown yet that they may ask, the rest for the others.
//!
//! Any program of this machine can connect, as often as it likes. What it holds open must not keep out those who have an
//! account's secret: so who says nothing at the door makes room for who comes, and who asks nothing any more makes room for
//! who waits with a request.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use google_credentials::World;
use tokio::sync::Notify;

/// Connections at the door. Each takes some 10 kB, and never more than hyper's 400 kB for header fields.
const AT_THE_DOOR: usize = 64;
/// Connections that are served at once; more wait at the door with their requests.
const SERVED: usize = 256;
/// The log has at most one line about refused connections in this time.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// All places of a gateway.
#[derive(Debug, Default)]
pub(crate) struct Places {
    table: Mutex<Table>,
    /// Something has changed for those who wait.
    changed: Notify,
    refused: AtomicU64,
    /// … of these, those that the log does not have yet.
    unreported: AtomicU64,
    news: Notify,
}

#[derive(Debug, Default)]
struct Table {
    /// By their numbers, which grow.
    taken: BTreeMap<u64, Taken>,
    next: u64,
}

#[derive(Debug)]
struct Taken {
    stage: Stage,
    end: Arc<Notify>,
}

/// How it stands with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has just come.
    Entering,
    /// It had time to say something, and has shown nothing.
    Silent,
    /// It may ask, and all places for those who may are taken.
    Waiting,
    /// A request is being answered.
    Busy,
    /// It has shown that it may ask, and asks nothing now; since when, as a number that grows.
    Idle(u64),
    /// The same, and it was told to end.
    Ending,
}

impl Stage {
    fn is_served(self) -> bool {
        matches!(self, Self::Busy | Self::Idle(_) | Self::Ending)
    }
}

impl Table {
    fn count(&self, is_counted: impl Fn(Stage) -> bool) -> usize {
        self.taken.values().filter(|taken| is_counted(taken.stage)).count()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The connection that has been silent at the door for longest goes.
    fn make_room_at_the_door(&mut self) -> bool {
        let oldest = self.taken.iter().find(|(_, taken)| taken.stage == Stage::Silent).map(|(id, _)| *id);
        let Some(taken) = oldest.and_then(|id| self.taken.remove(&id)) else { return false };
        taken.end.notify_one();
        true
    }

    /// The connection that has been idle for longest ends, unless enough are about to.
    fn make_room_inside(&mut self) {
        if self.count(|stage| stage == Stage::Ending) >= self.count(|stage| stage == Stage::Waiting) {
            return;
        }
        let idle = self.taken.values_mut().filter_map(|taken| match taken.stage {
            Stage::Idle(since) => Some((since, taken)),
            _ => None,
        });
        if let Some((_, taken)) = idle.min_by_key(|(since, _)| *since) {
            taken.stage = Stage::Ending;
            taken.end.notify_one();
        }
    }
}

impl Places {
    /// A place at the door, for a connection that was just made.
    pub(crate) async fn enter(self: &Arc<Self>) -> Place {
        loop {
            let changed = self.changed.notified();
            if let Some(place) = self.try_enter() {
                return place;
            }
            changed.await;
        }
    }

    fn try_enter(self: &Arc<Self>) -> Option<Place> {
        let mut table = self.locked();
        if table.count(|stage| !stage.is_served()) >= AT_THE_DOOR {
            if !table.make_room_at_the_door() {
                return None;
            }
            self.refused.fetch_add(1, Relaxed);
            self.unreported.fetch_add(1, Relaxed);
            self.news.notify_one();
        }
        let (id, end) = (table.number(), Arc::new(Notify::new()));
        table.taken.insert(id, Taken { stage: Stage::Entering, end: Arc::clone(&end) });
        Some(Place { places: Arc::clone(self), id, end })
    }

    /// How many connections were refused for lack of places.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Reports refused connections to the log.
    pub(crate) async fn report(&self, world: &dyn World) -> Infallible {
        loop {
            self.news.notified().await;
            let refused = self.unreported.swap(0, Relaxed);
            tracing::warn!(
                "the gateway closed {refused} connections that had not sent a permitted request, because others needed their places; see which program opens so many (`ss -tnp`)"
            );
            world.sleep(REPORT_EVERY).await;
        }
    }

    fn locked(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place. Dropped, it is free.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    id: u64,
    end: Arc<Notify>,
}

impl Place {
    /// The connection had time to show that it may ask.
    pub(crate) fn had_time(&self) {
        if let Some(taken) = self.places.locked().taken.get_mut(&self.id)
            && taken.stage == Stage::Entering
        {
            taken.stage = Stage::Silent;
        }
        self.places.changed.notify_waiters();
    }

    /// Waits until the connection has to end: at once if it is not served, else when it asks nothing.
    pub(crate) async fn must_end(&self) {
        self.end.notified().await;
    }

    /// Whether it still has a place. One that had to go from the door gets another if it shows that it may ask.
    pub(crate) fn is_kept(&self) -> bool {
        self.places.locked().taken.contains_key(&self.id)
    }

    /// The request that has come may ask: waits for a place among those who may. The request is over when what is returned
    /// is dropped.
    pub(crate) async fn admit(self: &Arc<Self>) -> Busy {
        loop {
            let changed = self.places.changed.notified();
            if self.try_admit() {
                return Busy(Arc::clone(self));
            }
            changed.await;
        }
    }

    fn try_admit(&self) -> bool {
        let mut table = self.places.locked();
        let before = table.taken.get(&self.id).map(|taken| taken.stage);
        let has_place = before.is_some_and(Stage::is_served);
        let is_admitted = has_place || table.count(Stage::is_served) < SERVED;
        let stage = if is_admitted { Stage::Busy } else { Stage::Waiting };
        // It may have had to make room at the very moment at which it asked.
        let taken = table.taken.entry(self.id);
        taken.or_insert_with(|| Taken { stage, end: Arc::clone(&self.end) }).stage = stage;
        if is_admitted && !has_place {
            self.places.changed.notify_waiters();
        }
        if !is_admitted {
            table.make_room_inside();
        }
        is_admitted
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.places.locked().taken.remove(&self.id));
        self.places.changed.notify_waiters();
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Place>);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut table = self.0.places.locked();
        let since = table.number();
        if let Some(taken) = table.taken.get_mut(&self.0.id)
            && taken.stage == Stage::Busy
        {
            taken.stage = Stage::Idle(since);
        }
        drop(table);
        self.0.places.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn enter(places: &Arc<Places>) -> Option<Arc<Place>> {
        places.enter().now_or_never().map(Arc::new)
    }

    fn has_to_end(place: &Place) -> bool {
        place.must_end().now_or_never().is_some()
    }

    #[test]
    fn silent_connections_make_room_and_new_ones_do_not() {
        let places = Arc::new(Places::default());
        let first: Vec<_> = (0..AT_THE_DOOR).map(|_| enter(&places).unwrap()).collect();
        // All of them may be about to ask.
        assert!(enter(&places).is_none());
        first[3].had_time();
        first[5].had_time();
        let next = enter(&places).unwrap();
        assert!(has_to_end(&first[3]) && !has_to_end(&first[5]) && !has_to_end(&next));
        assert_eq!(places.refused(), 1);
        // Its end frees no second place.
        drop(first.into_iter().nth(3));
        assert!(places.locked().taken.len() <= AT_THE_DOOR);
    }

    #[test]
    fn permitted_requests_do_not_take_places_at_the_door() {
        let places = Arc::new(Places::default());
        let served: Vec<_> = (0..SERVED)
            .map(|_| {
                let place = enter(&places).unwrap();
                let busy = place.admit().now_or_never().unwrap();
                (place, busy)
            })
            .collect();
        let silent: Vec<_> = (0..1000)
            .map(|_| {
                let place = enter(&places).unwrap();
                place.had_time();
                place
            })
            .collect();
        assert_eq!(usize::try_from(places.refused()), Ok(1000 - AT_THE_DOOR));
        assert_eq!(silent.iter().filter(|place| has_to_end(place)).count(), 1000 - AT_THE_DOOR);
        assert!(served.iter().all(|(place, _)| place.is_kept() && !has_to_end(place)));
        // One that asks just as it has to go is let in as soon as there is a place.
        assert!(silent[0].admit().now_or_never().is_none());
        drop(served);
        let busy = silent[0].admit().now_or_never().unwrap();
        assert!(silent[0].is_kept());
        drop(busy);
    }

    #[test]
    fn idle_connections_make_room_for_those_that_wait() {
        let places = Arc::new(Places::default());
        let mut served: Vec<_> = (0..SERVED)
            .map(|_| {
                let place = enter(&places).unwrap();
                let busy = place.admit().now_or_never().unwrap();
                (place, Some(busy))
            })
            .collect();
        let waiting = enter(&places).unwrap();
        let mut admitted = Box::pin(waiting.admit());
        assert!(admitted.as_mut().now_or_never().is_none());
        assert!(!served.iter().any(|(place, _)| has_to_end(place)));
        // The first to be idle is the one that ends, and one is enough.
        for idle in [7, 2] {
            drop(served[idle].1.take());
            assert!(admitted.as_mut().now_or_never().is_none());
        }
        let ended: Vec<_> = (0..SERVED).filter(|number| has_to_end(&served[*number].0)).collect();
        assert_eq!(ended, [7]);
        drop(served.swap_remove(7));
        assert!(admitted.now_or_never().is_some());
        assert_eq!(places.refused(), 0);
    }
}
