//! Answers the hook of a git that receives a push: deploys what is pushed, and tells who pushes each step.

use std::time::Duration;

use actix_web::web::Data;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::pkt_line::{self, FLUSH, Pkt};
use super::wish::{self, Judgement, Wish};
use crate::api::state::ApiState;
use crate::app::deployer::{Accepted, Action};
use crate::app::operations::{Outcome, Ticket};
use crate::app::status::AppState;
use crate::app::supervisor::Act;
use crate::events::By;
use crate::install::git_service::Hook;
use crate::install::pushed::Pushed;
use crate::logs::log::{Chunk, Query};
use crate::logs::record::Stream;
use crate::terminal::{self, Shown};

/// How many refs one push may change, and the bytes of what it says of them.
const MOST_WISHES: usize = 10_000;
const MOST_BYTES: usize = 4 << 20;

/// How long the last lines of a deploy are waited for.
const LAST_LINES: Duration = Duration::from_secs(2);

/// A push to `app`.
pub(super) struct Receiving {
    pub(super) state: Data<ApiState>,
    pub(super) app: String,
    pub(super) pushed: Pushed,
    pub(super) by: By,
}

/// What people see of a push. That nobody looks any more is no reason to stop.
struct Told(Sender);

impl Told {
    async fn line(&mut self, text: &str) {
        // A build prints what it likes, and this is for a terminal.
        let mut shown = Shown::new(true);
        let mut line = shown.piece(text.as_bytes());
        line.extend(shown.end());
        line.push(b'\n');
        let _ = self.0.write_all(&line).await;
    }
}

impl Receiving {
    /// Answers what git asks. Without an answer git refuses the push.
    pub(super) async fn answer(&self, hook: Hook) -> std::io::Result<()> {
        let Hook {
            mut asks,
            mut answers,
            tells,
        } = hook;
        let mut told = Told(tells);
        // The version of this protocol, and what git can do.
        let mut is_atomic = false;
        while let Pkt::Line(line) = read(&mut asks).await? {
            is_atomic |= wish::is_atomic(&line);
        }
        answers.write_all(&pkt_line::line("version=1\n")).await?;
        answers.write_all(FLUSH).await?;
        let mut wishes = Vec::new();
        let mut bytes = 0;
        while let Pkt::Line(line) = read(&mut asks).await? {
            bytes += line.len();
            if wishes.len() == MOST_WISHES || bytes > MOST_BYTES {
                let why = "this push changes too many branches and tags at once: push fewer (git push URL main)";
                told.line(why).await;
                return Err(std::io::Error::other(why));
            }
            wishes.extend(Wish::parse(&line));
        }
        let judged = wish::judge_all(&wishes, self.pushed.branch(), is_atomic);
        let mut is_refused = false;
        for (wish, judgement) in judged {
            let verdict = match judgement {
                Judgement::Refuse(why) => Err(why),
                _ if is_atomic && is_refused => Err(wish::ALL_OR_NONE.to_owned()),
                Judgement::Deploy => self.deploy(wish, &mut told).await,
                Judgement::Take => Ok(true),
            };
            is_refused |= verdict.is_err();
            let name = &wish.name;
            let lines = match verdict {
                Ok(falls_through) => {
                    let mut lines = pkt_line::line(&format!("ok {name}\n"));
                    if falls_through {
                        lines.extend(pkt_line::line("option fall-through\n"));
                    }
                    lines
                }
                Err(why) => pkt_line::line(&format!("ng {name} {}\n", one_line(&why))),
            };
            answers.write_all(&lines).await?;
        }
        answers.write_all(FLUSH).await
    }

    /// Deploys the commit. `Ok`: it serves, and the branch has moved.
    async fn deploy(&self, wish: &Wish, told: &mut Told) -> Result<bool, String> {
        let turns = self.pushed.turns();
        let _turn = match turns.deploying.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                told.line("another push is being deployed: this one waits for it")
                    .await;
                turns.deploying.lock().await
            }
        };
        let present = self.pushed.head().await.map_err(|e| e.to_string())?;
        if present.as_deref() != wish.before() {
            return Err("the branch has moved meanwhile: git pull, then push again".to_owned());
        }
        if let Ok(view) = self.state.inspect(&self.app).await
            && view.summary.state == AppState::Deploying
        {
            told.line("a deployment is at work: this one waits for it")
                .await;
        }
        let action = Action::Deploy {
            commit: wish.new.clone(),
        };
        let asked = self
            .state
            .ask_app(&self.app, Act(action, self.by.clone()))
            .await;
        let accepted = asked
            .map_err(|e| e.to_string())?
            .map_err(|e| e.to_string())?;
        match accepted {
            Accepted::Already => Ok(false),
            Accepted::Underway(ticket) => self.follow(ticket, told).await,
        }
    }

    /// Tells each line of the deployment, until it is over.
    async fn follow(&self, ticket: Ticket, told: &mut Told) -> Result<bool, String> {
        let mut over = ticket.outcome.clone();
        let lines = self.lines(ticket.deployment, told);
        let ended = async {
            // An error is the end of the app's actor, which is being restarted.
            let ended = over.wait_for(Option::is_some).await;
            ended.ok().and_then(|outcome| outcome.clone())
        };
        let mut lines = std::pin::pin!(lines);
        let outcome = tokio::select! {
            outcome = ended => {
                // The log may be some lines behind, and the last one ends it.
                let _ = tokio::time::timeout(LAST_LINES, lines).await;
                outcome
            }
            never = &mut lines => {
                let () = never;
                over.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone())
            }
        };
        let mask = self
            .state
            .mask_of(&self.app)
            .await
            .map_err(|e| e.to_string())?;
        verdict(outcome).map_err(|why| mask.text(&why))
    }

    /// Tells what the deployment writes to the install log, until its last line.
    async fn lines(&self, deployment: Option<u64>, told: &mut Told) {
        let Ok(mask) = self.state.mask_of(&self.app).await else {
            return;
        };
        let query = Query {
            release: deployment,
            follow: true,
            mask: mask.clone(),
            ..Query::all(&[Stream::Install])
        };
        let Ok(Ok(mut chunks)) = self.state.read_log(&self.app, &query).await else {
            return;
        };
        while let Some(chunk) = chunks.recv().await {
            let Chunk::Lines(records) = chunk else {
                continue;
            };
            for record in records.iter() {
                let text = String::from_utf8_lossy(&record.text);
                told.line(&mask.text(&text)).await;
                if is_last(&text) {
                    return;
                }
            }
        }
    }
}

/// Whether a line of the install log is the last of its deployment.
fn is_last(line: &str) -> bool {
    line.starts_with("=== deployment ") && line.contains(" succeeded: ")
}

/// `Ok(false)`: git has nothing left to do, since the branch has moved.
fn verdict(outcome: Option<Outcome>) -> Result<bool, String> {
    match outcome {
        Some(Outcome::Done) => Ok(false),
        Some(Outcome::Overtaken(_, end)) => verdict(Some(*end)),
        Some(Outcome::Failed(failure)) => Err(match &failure.hint {
            Some(hint) => format!("not deployed: {failure} ({hint})"),
            None => format!("not deployed: {failure}"),
        }),
        Some(Outcome::Dropped(why)) => Err(format!("not deployed: {why}")),
        None => Err("not deployed: the application was restarted before that ended".to_owned()),
    }
}

/// A reason in a report of git's is one line, and not a long one.
fn one_line(why: &str) -> String {
    let plain = |c: char| if terminal::is_control(c) { ' ' } else { c };
    why.chars().map(plain).take(500).collect()
}

async fn read(asks: &mut Receiver) -> std::io::Result<Pkt> {
    let mut digits = [0; 4];
    asks.read_exact(&mut digits).await?;
    let length = pkt_line::length(digits).map_err(std::io::Error::other)?;
    let Some(length) = length else {
        return Ok(Pkt::Flush);
    };
    let mut line = vec![0; length];
    asks.read_exact(&mut line).await?;
    Ok(Pkt::Line(line))
}
