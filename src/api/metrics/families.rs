//! What is measured by which name. Names and units are those that Prometheus advises:
//! <https://prometheus.io/docs/practices/naming/>. No label is a pid, a path or anything else that a client chooses.

use std::collections::BTreeMap;

use super::exposition::{APP, Families, Family, Sample, Value};
use super::gather::Facts;
use crate::api::server_state::App;
use crate::app::status::ProcessStatus;
use crate::drains::status::{DrainState, DrainStatus};
use crate::events::counts::{self, AppCounts, TypeCounts};
use crate::front::request_counts::{self, AppTotals, CLASSES, LISTENERS, RULES, RuleTotals};

/// All that is measured.
pub(super) fn of(facts: &Facts) -> Families {
    let all = [
        requests(facts),
        connections(facts),
        processes(facts),
        deployments(facts),
        logs_and_disk(facts),
        drains(facts),
        server(facts),
        own_process(facts),
    ];
    Families::new(all.into_iter().flatten().collect())
}

fn family(
    name: &'static str,
    help: &'static str,
    samples: impl IntoIterator<Item = Sample>,
) -> Family {
    Family {
        name,
        help,
        samples: samples.into_iter().collect(),
    }
}

fn sample<const N: usize>(labels: [(&'static str, &str); N], value: Value) -> Sample {
    let labels = labels.map(|(name, value)| (name, value.to_owned()));
    Sample {
        labels: labels.into(),
        value,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus keeps numbers as f64"
)]
fn count(count: u64) -> Value {
    Value::Counter(count as f64)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus keeps numbers as f64"
)]
fn gauge(value: u64) -> Value {
    Value::Gauge(value as f64)
}

fn one(name: &'static str, help: &'static str, value: Value) -> Family {
    family(name, help, [sample([], value)])
}

fn histogram<const N: usize>(bounds: [f64; N], counts: &[u64], sum: f64) -> Value {
    let bounds = bounds.into_iter().chain([f64::INFINITY]);
    Value::Histogram {
        sum,
        buckets: bounds.zip(counts.iter().copied()).collect(),
    }
}

/// A sample of each application.
fn by_app<'a, T: 'a>(
    of: impl IntoIterator<Item = (impl AsRef<str>, T)>,
    value: impl Fn(T) -> Value,
) -> Vec<Sample> {
    let samples = of.into_iter();
    samples
        .map(|(app, of)| sample([(APP, app.as_ref())], value(of)))
        .collect()
}

fn requests(facts: &Facts) -> Vec<Family> {
    let apps = &facts.requests.apps;
    let by_rule = || {
        apps.iter().flat_map(|(app, totals)| {
            let used = RULES.iter().zip(&totals.by_rule);
            let used = used.filter(|(_, of_rule)| **of_rule != RuleTotals::default());
            used.map(move |(rule, of_rule)| (&**app, rule.as_str(), of_rule))
        })
    };
    let of_class = |(app, rule, of_rule): (_, _, &RuleTotals)| {
        let classes = CLASSES.into_iter().zip(of_rule.by_class);
        let seen = classes.filter(|(_, number)| *number > 0);
        let seen = seen.map(|(class, number)| {
            sample([(APP, app), ("code", class), ("rule", rule)], count(number))
        });
        seen.collect::<Vec<_>>()
    };
    let took = |(app, rule, of_rule): (_, _, &RuleTotals)| {
        sample([(APP, app), ("rule", rule)], duration(of_rule))
    };
    let classes = |numbers: [u64; CLASSES.len()]| {
        let all = CLASSES.into_iter().zip(numbers);
        all.map(|(class, number)| sample([("code", class)], count(number)))
    };
    let bytes = |of: fn(&AppTotals) -> u64| by_app(apps, |totals| count(of(totals)));
    vec![
        family(
            "procserver_http_requests",
            "Requests that ended, by application, class of the status, and the rule by which the application was found.",
            by_rule().flat_map(of_class),
        ),
        family(
            "procserver_http_request_duration_seconds",
            "Time from the end of a request's head to the end of its response; tunnels (101) are left out.",
            by_rule().map(took),
        ),
        family(
            "procserver_http_request_bytes",
            "Bytes of bodies that came from clients.",
            bytes(|totals| totals.bytes_in),
        ),
        family(
            "procserver_http_response_bytes",
            "Bytes of bodies that clients took.",
            bytes(|totals| totals.bytes_out),
        ),
        family(
            "procserver_http_requests_in_flight",
            "Requests and tunnels that backends are at work on.",
            by_app(&facts.backends, |(_, outstanding)| {
                gauge(*outstanding as u64)
            }),
        ),
        family(
            "procserver_backends",
            "Processes that requests may go to.",
            by_app(&facts.backends, |(backends, _)| gauge(*backends as u64)),
        ),
        family(
            "procserver_http_requests_without_app",
            "Requests for which no application was found, and what was no request.",
            classes(facts.requests.nobody),
        ),
        family(
            "procserver_api_requests",
            "Requests to the API over TCP.",
            classes(facts.requests.api),
        ),
    ]
}

fn duration(of_rule: &RuleTotals) -> Value {
    let bounds = request_counts::BOUNDS.map(|micros| micros as f64 / 1e6);
    histogram(bounds, &of_rule.durations, of_rule.micros as f64 / 1e6)
}

fn connections(facts: &Facts) -> Vec<Family> {
    let accepted = LISTENERS.into_iter().zip(facts.requests.accepted);
    vec![
        one(
            "procserver_connections",
            "Connections of clients; of one by HTTP/2 each request beyond the first counts as one.",
            gauge(facts.server.connections as u64),
        ),
        family(
            "procserver_connections_accepted",
            "Connections that were accepted, by kind of listener.",
            accepted.map(|(listener, number)| sample([("listener", listener)], count(number))),
        ),
    ]
}

/// Samples of each type of processes of each application.
fn by_type(facts: &Facts, samples: impl Fn(&str, &str, &TypeCounts) -> Vec<Sample>) -> Vec<Sample> {
    let types = facts.counts.apps.iter().flat_map(|(app, counts)| {
        let types = counts.types.iter();
        types.map(move |(name, of_type)| (&**app, &**name, of_type))
    });
    types
        .flat_map(|(app, name, of_type)| samples(app, name, of_type))
        .collect()
}

fn exits(app: &str, name: &str, of_type: &TypeCounts) -> Vec<Sample> {
    let results = [
        ("success", of_type.succeeded),
        ("failure", of_type.failed),
        ("signal", of_type.signalled),
        ("unknown", of_type.unknown),
    ];
    let seen = results.into_iter().filter(|(_, number)| *number > 0);
    seen.map(|(result, number)| {
        sample(
            [(APP, app), ("type", name), ("result", result)],
            count(number),
        )
    })
    .collect()
}

fn processes(facts: &Facts) -> Vec<Family> {
    let mut by_state = BTreeMap::<_, u64>::new();
    let mut used = BTreeMap::<_, (u64, f64)>::new();
    for (app, processes) in &facts.processes {
        for process in processes {
            let key = (&**app, &*process.process_type, process.state.name());
            *by_state.entry(key).or_default() += 1;
            if goes_on(process) {
                // While a deployment drains the old one, two have the name.
                let (memory, cpu) = used.entry((&**app, &*process.id)).or_default();
                *memory += process.memory_bytes;
                *cpu += process.cpu_seconds;
            }
        }
    }
    let of_state = |((app, name, state), number)| {
        sample(
            [(APP, app), ("type", name), ("state", state)],
            gauge(number),
        )
    };
    let restarts = |app: &str, name: &str, of_type: &TypeCounts| {
        vec![sample(
            [(APP, app), ("type", name)],
            count(of_type.restarts),
        )]
    };
    let each = |value: fn((u64, f64)) -> Value| {
        let used = used.iter();
        let samples = used.map(move |((app, process), used)| {
            sample([(APP, app), ("process", process)], value(*used))
        });
        samples.collect::<Vec<_>>()
    };
    vec![
        family(
            "procserver_processes",
            "Processes by type and state.",
            by_state.into_iter().map(of_state),
        ),
        family(
            "procserver_process_restarts",
            "Ends of processes that were followed by a restart.",
            by_type(facts, restarts),
        ),
        family(
            "procserver_process_exits",
            "Ends of processes: success (exit code 0), failure (another one), signal, or unknown.",
            by_type(facts, exits),
        ),
        family(
            "procserver_process_cpu_seconds",
            "CPU time of a process and all that it started and that lives.",
            each(|(_, cpu)| Value::Counter(cpu)),
        ),
        family(
            "procserver_process_resident_memory_bytes",
            "Resident memory of a process and all that it started.",
            each(|(memory, _)| gauge(memory)),
        ),
    ]
}

/// Whether it is one of the formation, which has few names. Each one that runs once has a name of its own.
fn goes_on(process: &ProcessStatus) -> bool {
    process.command.is_none() && process.run().is_some()
}

fn deployments(facts: &Facts) -> Vec<Family> {
    let outcomes = || {
        facts.counts.apps.iter().flat_map(|(app, counts)| {
            let all = counts.deployments.iter();
            all.map(move |(outcome, of)| ([(APP, &**app), ("outcome", *outcome)], of))
        })
    };
    let bounds = counts::BOUNDS.map(|seconds| seconds as f64);
    let took = |of: &counts::DeploymentCounts| histogram(bounds, &of.durations, of.seconds);
    let actors = |counts: &AppCounts| count(counts.actors);
    let mut failed = by_app(&facts.counts.apps, actors);
    failed.push(sample([], count(facts.counts.actors)));
    vec![
        family(
            "procserver_deployments",
            "Deployments that ended, by how.",
            outcomes().map(|(labels, of)| sample(labels, count(of.count))),
        ),
        family(
            "procserver_deployment_duration_seconds",
            "Time from the request for a deployment to its end.",
            outcomes()
                .filter(|(_, of)| of.count > 0)
                .map(|(labels, of)| sample(labels, took(of))),
        ),
        family(
            "procserver_actor_failures",
            "Parts of the server that failed and were started anew: those of an application, and without app all others.",
            failed,
        ),
    ]
}

fn logs_and_disk(facts: &Facts) -> Vec<Family> {
    let state =
        |(app, of): (&String, &App)| sample([(APP, app), ("state", of.state.name())], gauge(1));
    vec![
        family(
            "procserver_app_state",
            "1 for the state that an application is in.",
            facts.server.applications.iter().map(state),
        ),
        family(
            "procserver_app_disk_bytes",
            "Bytes of an application on disk; they may have been measured a while ago.",
            by_app(&facts.disk, |bytes| gauge(*bytes)),
        ),
        family(
            "procserver_log_bytes",
            "Bytes of lines that were written to an application's logs.",
            by_app(&facts.logs, |bytes| count(*bytes)),
        ),
    ]
}

fn drains(facts: &Facts) -> Vec<Family> {
    let all = || {
        let apps = facts.drains.iter();
        apps.flat_map(|(app, drains)| drains.iter().map(move |drain| (&**app, drain)))
    };
    let labels = |app, drain: &DrainStatus, outcome: &[(&'static str, &'static str)]| {
        let known = [(APP, app), ("drain", &*drain.url), ("key", &*drain.key)];
        let all = known.iter().chain(outcome);
        all.map(|(name, value)| (*name, (*value).to_owned()))
            .collect()
    };
    let of = |labels, value| Sample { labels, value };
    let lines = all().flat_map(|(app, drain)| {
        [("sent", drain.sent), ("dropped", drain.dropped)]
            .map(|(outcome, lines)| of(labels(app, drain, &[("outcome", outcome)]), count(lines)))
    });
    let waiting = all().map(|(app, drain)| of(labels(app, drain, &[]), gauge(drain.waiting)));
    let failing = all().map(|(app, drain)| {
        let is_failing = drain.state == DrainState::Failing;
        of(labels(app, drain, &[]), gauge(u64::from(is_failing)))
    });
    vec![
        family(
            "procserver_drain_lines",
            "Lines that a receiver of an application's logs has got, and that it will not get.",
            lines,
        ),
        family(
            "procserver_drain_waiting_lines",
            "Lines in the log of an application that a receiver has not got yet.",
            waiting,
        ),
        family(
            "procserver_drain_failing",
            "1 while a receiver does not take what is sent.",
            failing,
        ),
    ]
}

fn server(facts: &Facts) -> Vec<Family> {
    let server = &facts.server;
    let certificates = facts.certificates.iter();
    let left = |(name, left): (&String, &i64)| sample([("name", name)], Value::Gauge(*left as f64));
    vec![
        one(
            "procserver_access_log_lost_lines",
            "Lines of the access log that could not be written.",
            count(facts.lost_lines),
        ),
        family(
            "procserver_certificate_remaining_seconds",
            "Time until a certificate ends, by its first name; below zero since it has.",
            certificates.map(left),
        ),
        family(
            "procserver_trace_spans",
            "Spans of requests, by whether the collector has taken them.",
            facts.spans.iter().flat_map(|(exported, dropped)| {
                [("exported", exported), ("dropped", dropped)]
                    .map(|(state, number)| sample([("state", state)], count(*number)))
            }),
        ),
        one(
            "procserver_login_failures",
            "Calls of the API with a wrong token, and webhooks with a wrong signature.",
            count(facts.failed_logins),
        ),
        one(
            "procserver_problems",
            "What keeps something from working, or soon will: see procserver status.",
            gauge(server.problems.len() as u64),
        ),
        one(
            "procserver_warnings",
            "What a person should look at some time: see procserver status.",
            gauge(server.warnings.len() as u64),
        ),
        one(
            "procserver_disk_size_bytes",
            "The file system of the data directory.",
            gauge(server.disk.total_bytes),
        ),
        one(
            "procserver_disk_free_bytes",
            "Of that, what users other than root may still write.",
            gauge(server.disk.free_bytes),
        ),
        one(
            "procserver_uptime_seconds",
            "Time since the server's start.",
            gauge(server.uptime_seconds),
        ),
        family(
            "procserver_build_info",
            "1, with the version of the server.",
            [sample([("version", server.version)], gauge(1))],
        ),
    ]
}

/// What every program tells of itself, by the names that Prometheus' libraries give it.
fn own_process(facts: &Facts) -> Vec<Family> {
    let server = &facts.server;
    let started = server
        .started_at
        .map_or(0.0, |at| at.as_millisecond() as f64 / 1e3);
    let mut all = vec![
        one(
            "process_cpu_seconds",
            "CPU time of the server.",
            Value::Counter(facts.cpu_seconds),
        ),
        one(
            "process_resident_memory_bytes",
            "Resident memory of the server.",
            gauge(server.memory_bytes),
        ),
        one(
            "process_start_time_seconds",
            "When the server was started, in seconds since 1970.",
            Value::Gauge(started),
        ),
        one(
            "process_open_fds",
            "Open file descriptors of the server.",
            gauge(server.descriptors.open as u64),
        ),
    ];
    let limit = server.descriptors.limit;
    all.extend(limit.map(|limit| {
        let help = "The most file descriptors that the server may have.";
        one("process_max_fds", help, gauge(limit))
    }));
    all
}
