//! procserver: a server for Procfile applications. It fetches apps from git, installs them, runs their Procfiles under
//! a supervision tree in the style of Erlang/OTP, and proxies HTTP to them, in one process with one API.
//!
//! # The tree
//!
//! ```text
//! daemon::run                composition root: starts in this order, stops in reverse
//! └ Root                     daemon/root.rs       one_for_one, 3 restarts / 60 s, then the process exits with 1
//!   ├ Router                 router/router.rs     the only writer of the routing table
//!   ├ Apps                   app/apps.rs          dynamic, one_for_one, 10 / 60 s; the only writer of the config directory
//!   │ └ App "rubynas"        app/supervisor.rs    one_for_one, 5 / 60 s; the only owner of the app's state
//!   │   ├ Log                logs/log.rs          first up, last down; on the logs' own arbiter
//!   │   ├ Installer          install/installer.rs temporary: one per deploy
//!   │   └ Process web.1 …    process/worker.rs    one OS process each
//!   └ Front                  front/front.rs       worker threads; in each a router::replica, a pool, the API in process
//! ```
//!
//! Every actor below Root runs under [`supervision::monitor`]: a panic is an [`supervision::Exit`], not the end of
//! anything else. [`supervision::restart`] decides what follows (pure, OTP's rules); the parent carries it out. A
//! restart builds a fresh actor from what is durable: the routing table, the config directory, `state.json`, and the
//! identity records of OS processes, which live on while their actors come and go and are re-adopted. Others reach an
//! actor that may be restarted through a [`supervision::ChildRef`].
//!
//! # The request path
//!
//! `front::acceptor → connection → head → router::replica → pool → exchange`, on one worker thread from accept to
//! close: all workers accept on the same sockets. The replica is an actor on that thread which holds the latest snapshot
//! of the table: asking it is a message that crosses no thread. Its answer by a host is kept for the requests that must
//! get the same (`front::kept_routes`), until the table changes. The API is one more backend, reached through a pipe in memory ([`front::in_process`]); the
//! Unix socket is served to it directly ([`api::socket`]).
//!
//! Files of a release (`static` of the document) are answered before the app is asked: [`front::static_files`] opens
//! them, [`front::file_server`] answers with them. Each request leaves a line: a worker gathers them
//! ([`front::access_log`]), a task on the logs' arbiter writes them ([`logs::access`]), and no request waits for that.
//!
//! # The deploy path
//!
//! [`app::lifecycle`] (pure) orders the operations of an app and says what runs when. `Build` starts an
//! [`install::installer`]: packages → fetch → checkout → install → release phase; what it leaves is an immutable
//! [`install::release`]. `Spawn` starts a batch of [`process::worker`]s for it; when all are ready the route switches,
//! the old batch drains and stops. A deploy that fails changes nothing that runs, nor what the next server makes of it:
//! scale and route are those of the document that *stands* ([`app::journal::Remembered::standing`]), which is the newest
//! one but for what failed.
//!
//! Releases share the files that they have in common as hard links ([`install::share`], [`install::twins`]): only
//! files that root owns and nobody may write to, so never with a daemon that is not root.
//!
//! # What is told
//!
//! Whatever happens to a process, a deployment, a route or an actor becomes one [`events::Report`]: a line in the
//! server's own log, and an event for those who follow `GET /events`.
//!
//! # Invariants
//!
//! - Pure files (`supervision/` but for `monitor`, `parent`, `child_ref` and `failpoint`, `app/lifecycle`, `process/state`, `router/table`,
//!   `front/head`, `front/framing`, `front/forwarded`, …) import neither actix nor tokio and are given the time.
//! - `front/` never imports `app/`: it sees the routing table.
//! - Only `process/worker.rs` owns an OS process; only its App restarts that actor.
//! - Files are replaced whole ([`durable`]); a release without a record is rubbish.
//! - The daemon's own environment reaches no app; secrets reach no log.
//! - Control actors share one thread and never block it: files, git and passwd look-ups go to child processes or
//!   blocking threads. That thread comes before the apps' ([`priority`]); proxy, logs and all that is started do not.

pub mod api;
pub mod app;
pub mod cli;
pub mod daemon;
pub mod durable;
pub mod events;
pub mod front;
pub mod install;
pub mod logs;
pub mod priority;
pub mod process;
pub mod regular;
pub mod router;
pub mod settings;
pub mod supervision;
pub mod threads;
