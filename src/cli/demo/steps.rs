//! [`Steps`]: what the demo shows: each step with its time, or at the end one JSON document.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::amounts::took;
use crate::cli::output::Output;

/// What the demo shows.
pub struct Steps {
    json: bool,
    out: Output,
    begun: Instant,
    taken: Map<String, Value>,
    told: bool,
}

impl Steps {
    /// Shows as text, or with `json` as one document.
    #[must_use]
    pub fn new(json: bool) -> Self {
        Self {
            json,
            out: super::output(json),
            begun: Instant::now(),
            taken: Map::new(),
            told: false,
        }
    }

    /// For what writes by itself.
    pub fn output(&mut self) -> &mut Output {
        &mut self.out
    }

    /// A line of the story.
    pub fn say(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.out.line(text)?)
    }

    /// Bytes of the app's log.
    pub fn bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.out.bytes(bytes)?)
    }

    /// Does `work` and shows how long it took.
    ///
    /// # Errors
    /// That of `work`, with the step's name.
    pub async fn take<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let begun = Instant::now();
        let result = work
            .await
            .map_err(|error| error.context(format!("{name} failed")))?;
        let time = begun.elapsed();
        self.note(name, time);
        self.say(&format!("  {name:<44} {:>10}", took(time.as_secs_f64())))?;
        Ok(result)
    }

    /// Remembers how long a step took that showed itself, for the document.
    pub fn note(&mut self, name: &str, time: Duration) {
        self.taken.insert(name.to_owned(), rounded(time));
    }

    /// The document of a demo that goes on: where it is and what it took so far.
    pub fn document(&mut self, url: String, token: &str) -> anyhow::Result<()> {
        self.told = true;
        let document = json!({"url": url, "token": token, "steps": self.taken});
        Ok(Output::stdout(true).json(&document)?)
    }

    /// The end: how long it took in all.
    pub fn total(&mut self) -> anyhow::Result<()> {
        let time = self.begun.elapsed();
        if self.json && !self.told {
            let document = json!({"seconds": rounded(time), "steps": self.taken});
            return Ok(Output::stdout(true).json(&document)?);
        }
        self.say(&format!("all done in {}", took(time.as_secs_f64())))
    }
}

/// Seconds, to the millisecond.
fn rounded(time: Duration) -> Value {
    Value::from((time.as_secs_f64() * 1000.0).round() / 1000.0)
}
