//! Takes a [`Reading`] for the history: what is counted already, and what `/proc` says of processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::web;
use futures::future::LocalBoxFuture;

use super::gather;
use crate::api::state::ApiState;
use crate::app::apps::List;
use crate::app::status::ProcessStatus;
use crate::events::counts::AppCounts;
use crate::front::request_counts::{AppTotals, CLASSES};
use crate::history::reading::{Counted, Process, Reading};
use crate::process::usage::{self, Run};

/// What takes readings by this state.
pub fn of(state: ApiState) -> crate::history::recorder::Gather {
    Arc::new(move || {
        let state = state.clone();
        let reading: LocalBoxFuture<'static, _> = Box::pin(async move { read(&state).await });
        reading
    })
}

async fn read(state: &ApiState) -> Option<Reading> {
    let names: Vec<String> = state
        .ask_apps(List)
        .await
        .ok()?
        .into_iter()
        .map(|app| app.name)
        .collect();
    let mut processes = gather::processes(state, &names).await;
    let table = Arc::clone(&state.routing.table.borrow());
    let totals = gather::requests(state.metrics.requests.clone(), Arc::clone(&table)).await;
    let counts = state.events.counts();
    let own_memory = web::block(usage::own_memory).await.ok()?;
    let mut own = Counted {
        memory_bytes: own_memory,
        processes: vec![Process {
            run: Run::Pid(std::process::id()),
            started: 0,
            cpu_seconds: gather::own_cpu_seconds(),
        }],
        ..Counted::default()
    };
    add_classes(&mut own, &totals.api);
    add_classes(&mut own, &totals.nobody);
    let mut apps = BTreeMap::new();
    for name in names {
        let name: Arc<str> = name.into();
        let mut counted = Counted {
            created: table.route(&name).map_or(0, |route| route.created),
            ..Counted::default()
        };
        if let Some(totals) = totals.apps.get(&name) {
            add_requests(&mut counted, totals);
        }
        if let Some(counts) = counts.apps.get(&name) {
            counted.restarts = restarts(counts);
        }
        for process in processes.remove(&*name).unwrap_or_default() {
            add_process(&mut counted, &process);
        }
        apps.insert(name, counted);
    }
    Some(Reading { own, apps })
}

fn add_classes(counted: &mut Counted, by_class: &[u64; CLASSES.len()]) {
    counted.requests += by_class.iter().sum::<u64>();
    counted.status_4xx += by_class[3];
    counted.status_5xx += by_class[4];
}

fn add_requests(counted: &mut Counted, totals: &AppTotals) {
    for of_rule in &totals.by_rule {
        add_classes(counted, &of_rule.by_class);
        let durations = counted.durations.iter_mut().zip(of_rule.durations);
        durations.for_each(|(sum, number)| *sum += number);
    }
}

fn add_process(counted: &mut Counted, process: &ProcessStatus) {
    let Some(run) = process.run() else { return };
    counted.memory_bytes += process.memory_bytes;
    counted.processes.push(Process {
        run,
        started: process.started_at.map_or(0, |at| at.as_second()),
        cpu_seconds: process.cpu_seconds,
    });
}

fn restarts(counts: &AppCounts) -> u64 {
    counts.types.values().map(|of_type| of_type.restarts).sum()
}

#[cfg(test)]
mod tests {
    use crate::front::request_counts;
    use crate::history::reading;

    #[test]
    fn durations_are_counted_by_the_same_bounds() {
        assert_eq!(reading::BOUNDS, request_counts::BOUNDS);
    }
}
