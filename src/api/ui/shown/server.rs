//! The server itself, as far as pages show it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::amounts::{size, span};
use crate::api::ui::words::plain;

/// `GET /-/status`.
#[derive(Debug, Deserialize)]
pub(in crate::api::ui) struct Server {
    pub(in crate::api::ui) state: String,
    pub(in crate::api::ui) version: String,
    uptime_seconds: u64,
    pub(in crate::api::ui) listen: Vec<String>,
    pub(in crate::api::ui) tls_listen: Vec<String>,
    pub(in crate::api::ui) ports: Ports,
    pub(in crate::api::ui) connections: u64,
    pub(in crate::api::ui) descriptors: Descriptors,
    memory_bytes: u64,
    pub(in crate::api::ui) applications: BTreeMap<String, AppOnDisk>,
    pub(in crate::api::ui) disk: Disk,
    problems: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(in crate::api::ui) struct Ports {
    pub(in crate::api::ui) first: u16,
    pub(in crate::api::ui) last: u16,
    pub(in crate::api::ui) used: u64,
    pub(in crate::api::ui) free: u64,
}

#[derive(Debug, Deserialize)]
pub(in crate::api::ui) struct Descriptors {
    pub(in crate::api::ui) open: u64,
    pub(in crate::api::ui) limit: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(in crate::api::ui) struct AppOnDisk {
    pub(in crate::api::ui) state: String,
    disk_bytes: Option<u64>,
}

impl AppOnDisk {
    pub(in crate::api::ui) fn disk(&self) -> String {
        self.disk_bytes.map(size).unwrap_or_default()
    }
}

#[derive(Debug, Deserialize)]
pub(in crate::api::ui) struct Disk {
    pub(in crate::api::ui) path: String,
    total_bytes: u64,
    free_bytes: u64,
}

impl Disk {
    pub(in crate::api::ui) fn free(&self) -> String {
        format!(
            "{} of {} free",
            size(self.free_bytes),
            size(self.total_bytes)
        )
    }
}

impl Server {
    pub(in crate::api::ui) fn uptime(&self) -> String {
        span(self.uptime_seconds)
    }

    pub(in crate::api::ui) fn memory(&self) -> String {
        size(self.memory_bytes)
    }

    pub(in crate::api::ui) fn problems(&self) -> Vec<String> {
        self.problems.iter().map(|text| plain(text)).collect()
    }

    pub(in crate::api::ui) fn warnings(&self) -> Vec<String> {
        self.warnings.iter().map(|text| plain(text)).collect()
    }
}

/// A line of `GET /audit`.
#[derive(Debug, Deserialize)]
pub(in crate::api::ui) struct Audited {
    pub(in crate::api::ui) time: Timestamp,
    who: Option<String>,
    from: Option<String>,
    pub(in crate::api::ui) method: Option<String>,
    path: Option<String>,
    outcome: Option<Value>,
}

impl Audited {
    pub(in crate::api::ui) fn who(&self) -> String {
        plain(self.who.as_deref().unwrap_or_default())
    }

    pub(in crate::api::ui) fn from(&self) -> String {
        plain(self.from.as_deref().unwrap_or_default())
    }

    pub(in crate::api::ui) fn path(&self) -> String {
        plain(self.path.as_deref().unwrap_or_default())
    }

    pub(in crate::api::ui) fn outcome(&self) -> String {
        match &self.outcome {
            Some(Value::String(text)) => plain(text),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }
}
