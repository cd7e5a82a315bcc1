//! What a server told of a run by `GET /events`, held against what must be true whatever happens. Each rule holds for
//! any beginning of a history, so that one that was cut off can be checked, too.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::http::{Peer, Request};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

/// The events of one life of a daemon, collected by a thread that ends with it.
pub(crate) struct History(Arc<Mutex<Vec<Value>>>);

impl History {
    /// Follows the daemon behind a socket; it misses nothing that comes after this call.
    pub(crate) fn follow(socket: PathBuf) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let request = Request::get("/events").deadline(LONG);
        // From the beginning: what happened before the socket was there is kept.
        let request = request.header("Last-Event-ID", "0");
        if let Ok(stream) = request.open(&Peer::Unix(socket)) {
            let collected = Arc::clone(&events);
            std::thread::spawn(move || {
                for line in BufReader::new(stream.into_body()).lines() {
                    let Ok(line) = line else { return };
                    if let Some(data) = line.strip_prefix("data: ") {
                        let event = serde_json::from_str(data).expect("an event is JSON");
                        collected.lock().unwrap().push(event);
                    }
                }
            });
        }
        Self(events)
    }

    /// What breaks a rule, in words.
    pub(crate) fn faults(&self) -> Vec<String> {
        let events = self.0.lock().unwrap().clone();
        let mut world = World::default();
        for event in &events {
            world.take(event);
        }
        world.faults
    }
}

/// A process type's number in one set of processes of one app.
type Slot = (String, String, u64);

/// What the events so far say.
#[derive(Default)]
struct World {
    last_id: u64,
    live: BTreeMap<Slot, u64>,
    over: BTreeSet<Slot>,
    ready: BTreeMap<Slot, String>,
    faults: Vec<String>,
}

impl World {
    fn take(&mut self, event: &Value) {
        if !event["lost"].is_null() {
            // Nothing can be said of a history with holes.
            *self = Self::default();
            return;
        }
        let id = event["id"].as_u64().unwrap_or(0);
        if id <= self.last_id {
            self.fault("ids grow", event);
        }
        self.last_id = id;
        let kind = event["event"].as_str().unwrap_or_default();
        if let Some(what) = kind.strip_prefix("process.") {
            self.process(what, event);
        } else if kind == "route.changed" {
            self.route(event);
        } else if kind == "deployment.started" && event["deployment"] == 1 {
            // An app of this name was removed, and this is another.
            self.over.retain(|(app, ..)| event["app"] != app.as_str());
        }
    }

    fn process(&mut self, what: &str, event: &Value) {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let batch = event["batch"].as_u64().unwrap_or(0);
        let slot = (text("app"), text("process"), batch);
        match what {
            "started" => self.started(slot, event),
            "ready" if event["address"].is_string() => {
                self.ready.insert(slot, text("address"));
            }
            "exited" => {
                self.ready.remove(&slot);
                // Without a pid it had ended before this daemon could hold it.
                if self.live.remove(&slot) != event["pid"].as_u64() {
                    self.fault("every exit is told once, and of what was started", event);
                }
            }
            "stopping" => drop(self.ready.remove(&slot)),
            "stopped" => {
                self.live.remove(&slot);
                self.over.insert(slot);
            }
            _ => {}
        }
    }

    fn started(&mut self, slot: Slot, event: &Value) {
        if self.over.contains(&slot) {
            self.fault("what was stopped is not started again", event);
        }
        let pid = event["pid"].as_u64().unwrap_or(0);
        let before = self.live.insert(slot, pid);
        // A fresh actor takes over what the one before it left running.
        let taken_over = event["adopted"] == true && before == Some(pid);
        if before.is_some() && !taken_over {
            self.fault("there is at most one live process per slot", event);
        }
    }

    fn route(&mut self, event: &Value) {
        let backends = event["backends"].as_array().into_iter().flatten();
        for backend in backends.filter_map(Value::as_str) {
            if !self.ready.values().any(|address| address == backend) {
                self.fault("what is routed is ready", event);
            }
        }
    }

    fn fault(&mut self, rule: &str, event: &Value) {
        self.faults.push(format!("{rule}: {event}"));
    }
}

#[test]
fn a_history_with_two_live_processes_in_a_slot_or_an_exit_told_twice_is_found() {
    let event = |id: u64, kind: &str, pid: u64| {
        serde_json::json!({
            "id": id, "event": kind, "app": "a", "process": "web.1", "batch": 1, "pid": pid,
        })
    };
    let faults = |events: &[Value]| {
        let mut world = World::default();
        events.iter().for_each(|event| world.take(event));
        world.faults.len()
    };
    let (start, exit) = ("process.started", "process.exited");
    let good = [event(1, start, 7), event(2, exit, 7), event(3, start, 8)];
    assert_eq!(faults(&good), 0);
    assert_eq!(faults(&[event(1, start, 7), event(2, start, 8)]), 1);
    assert_eq!(
        faults(&[event(1, start, 7), event(2, exit, 7), event(3, exit, 7)]),
        1
    );
    let route = serde_json::json!({
        "id": 9, "event": "route.changed", "app": "a", "backends": ["127.0.0.1:1"],
    });
    assert_eq!(faults(&[event(1, start, 7), route]), 1);
}
