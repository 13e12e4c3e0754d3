//! Which engine dies at which fault point, and how often engines came to each.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use testledger::event_store::memory::MemoryLog;
use testledger::ports::fault::{self, Point};
use testledger_schemas::WorkerId;
use tokio_util::sync::CancellationToken;

/// What dies where. Shared by all engines of a world, which live in one thread.
#[derive(Clone, Default)]
pub struct Fates {
    deaths: Arc<Mutex<BTreeMap<WorkerId, Death>>>,
    /// Engines that renew no lease, and do not know.
    forgetful: Arc<Mutex<BTreeSet<WorkerId>>>,
}

struct Death {
    point: Point,
    left: u64,
    log: Arc<MemoryLog>,
    dead: CancellationToken,
}

/// How often engines died at each point.
pub type Deaths = Rc<RefCell<BTreeMap<Point, u64>>>;

impl Fates {
    pub fn dies_at(&self, worker: WorkerId, point: Point, time: u64, log: Arc<MemoryLog>, dead: CancellationToken) {
        self.deaths.lock().unwrap().insert(worker, Death { point, left: time, log, dead });
    }

    pub fn forgets_its_lease(&self, worker: WorkerId) {
        self.forgetful.lock().unwrap().insert(worker);
    }

    /// From now on the engines of this thread die as they are to.
    pub fn begin(&self, deaths: Deaths) {
        let (deaths_to_come, forgetful) = (Arc::clone(&self.deaths), Arc::clone(&self.forgetful));
        fault::watch(Some(Box::new(move |point, worker| {
            let is_forgetful = worker.is_some_and(|worker| forgetful.lock().unwrap().contains(&worker));
            if point == Point::LeaseRenewal && is_forgetful {
                return true;
            }
            let mut fates = deaths_to_come.lock().unwrap();
            let Some(death) = worker.and_then(|worker| fates.get_mut(&worker)) else { return false };
            if death.dead.is_cancelled() {
                return true;
            }
            if death.point != point {
                return false;
            }
            death.left -= 1;
            if death.left > 0 {
                return false;
            }
            death.log.kill();
            death.dead.cancel();
            *deaths.borrow_mut().entry(point).or_default() += 1;
            true
        })));
    }
}
