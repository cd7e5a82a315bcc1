//! procserver: a server for Procfile applications. It fetches apps from git, installs them, runs their Procfiles under
//! a supervision tree in the style of Erlang/OTP, and proxies HTTP to them, in one process with one API.
//!
//! # The tree
//!
//! ```text
//! daemon::run                composition root: starts in this order, stops in reverse
//! └ Root                     daemon/root.rs       one_for_one, 3 restarts / 60 s, then the process exits with 1
//!   ├ CertificateStore       tls/store.rs         the only writer of what answers handshakes
//!   ├ Router                 router/router.rs     the only writer of the routing table
//!   ├ Drainer                drains/drainer.rs    a task for each receiver of an application's logs, on a thread of their own
//!   ├ Notifier               notices/notifier.rs  has people told of what goes wrong, by webhook and mail
//!   ├ Apps                   app/apps.rs          dynamic, one_for_one, 10 / 60 s; the only writer of the config directory
//!   │ └ App "rubynas"        app/supervisor.rs    one_for_one, 5 / 60 s; the only owner of the app's state
//!   │   ├ Log                logs/log.rs          first up, last down; on the logs' own arbiter
//!   │   ├ Installer          install/installer.rs temporary: one per deploy
//!   │   ├ Process web.1 …    process/worker.rs    one OS process each
//!   │   ├ Service web …      swarm/service.rs     or all processes of a type, where a swarm runs them
//!   │   └ Process run.1 …    worker/one_off.rs    transient: one that runs once, outside of the formation
//!   ├ Front                  front/front.rs       worker threads; in each a router::replica, a pool, the API in process
//!   ├ Acme                   acme/acme.rs         orders certificates, one order for a name at a time; only with [acme]
//!   └ History                history/recorder.rs  what was counted over the last day, for plots; the only writer of its file
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
//! `front::acceptor → connection → routing → exchange → upstream`, on one worker thread from accept to close: all
//! workers accept on the same sockets. [`router::replica`] is an actor on that thread; a message to it crosses no
//! thread. It and routing share [`router::snapshot`], the newest table with what was found by host, so that a request
//! whose host is known needs no message. A backend is a TCP port or a Unix socket ([`router::address`]). The API is one
//! more backend, reached through a pipe in memory ([`front::upstream::in_process`]); the API's Unix socket is served to
//! it directly ([`api::socket`]).
//!
//! A slow client holds no process: `front::exchange::collect` gathers the request's body before a backend is asked, and
//! `front::exchange::spool` takes the response as fast as the backend gives it, in memory first and then in an unnamed
//! file.
//!
//! What a document says of requests beside who answers them (`maintenance`, `allow`, `rate`, `auth`, `redirects` and
//! more) is made once into [`router::policies`] when the route is published, and asked by [`front::policies`], which
//! says in which order. What it counts and remembers is shared by all workers and outlives the route. A route whose
//! document says nothing has none: one look.
//!
//! Files of a release (`static` of the document) are answered before the app is asked ([`front::static_files`]), text
//! in gzip; nothing that an app answers is compressed. Each request leaves a line ([`front::access`]), and no request
//! waits until it is written.
//!
//! Where a balancer names its client, its PROXY header comes before everything else ([`front::proxy_header`]).
//!
//! With TLS the handshake comes first (`front::handshake`), in the time that a head may take. One configuration for all
//! workers ([`tls::server_config`]) chooses the certificate by SNI from a snapshot ([`tls::certificates`]) of what the
//! files of the settings and [`acme`] have; a connection after that is one more stream to [`front::connection`]. What a
//! certificate authority looks for is answered before any route ([`acme::challenges`]).
//!
//! A client may choose HTTP/2 while it shakes hands, unless the app of the name that it asks for wants none. Each of its
//! streams is then one more stream to [`front::connection`], of one request (`front::http2`): everything behind it
//! knows HTTP/1.1 alone.
//!
//! # Who may call
//!
//! Every call of the API passes `api::gate`: no page of another site makes it, somebody known does (an account at the
//! socket, or the holder of a token: [`tokens`], of which all workers share one immutable set), and its route says which
//! scope that takes ([`api::needs`]). Who may not see secrets is answered through a [`document::mask`]. The line of a
//! change is in the audit log before it is answered ([`audit`]); where it cannot be written, the change counts and the
//! line goes to the server's own log.
//!
//! People have pages (`api::ui`), which are made of what the same routes answer: a page calls the API in this process as
//! the holder of the token that somebody logged in with, so it needs no rights, masks and lines of the audit log of its
//! own. They are on hosts of the API alone, where no app shares their origin, and for who calls as clients do.
//!
//! A webhook comes from who has no token: `api::hooks` believes it by its signature ([`hooks::signature`]) and answers
//! all others alike, also where there is no such application. What it leads to is a redeploy as any other.
//!
//! What calls and fields there are is said twice: by the code, and by `api::openapi` for programs. Tests compare the two, and
//! schemathesis compares answers with the description.
//!
//! # The way of a change
//!
//! `POST /applications` is read by `api::applications`, which makes an [`document::config::AppConfig`] of it or names
//! every field that is wrong. [`app::apps`] writes the document ([`app::config_dir`]), starts the App, and sends it the
//! deploy (`apps/requests`). The App's [`app::deployer`] opens a deployment and an operation and feeds them to
//! [`app::lifecycle`]; the commands that come back are carried out in [`app::supervisor`]. Changes of a document come
//! the same way. To start, stop, restart, redeploy and roll back changes none: `api::actions` asks the App itself.
//!
//! # The deploy path
//!
//! [`app::lifecycle`] (pure) orders the operations of an app and says what runs when. `Build` starts an
//! [`install::installer`]: packages → fetch → checkout → install → release phase; what it leaves is an immutable
//! [`install::release`]. `Spawn` starts a batch of [`process::worker`]s for it; when all are ready the route switches,
//! the old batch drains and stops. There are two batches at most: one that drains is ended when the next comes. A
//! deploy that fails changes nothing that runs, nor what the next server makes of it: scale and route are those of the
//! document that *stands* ([`app::remembered::Remembered::standing`]), which is the newest one but for what failed.
//!
//! The whole repository is checked out, and the application may be a directory of it (`install/app_root.rs`): no part of
//! the way there is a link. Directories that `shared` names become links into the storage: a command of the app's user
//! makes them and copies what was there (`install/shared.rs`), since both ends are that user's. While install commands
//! run, the checkout has a `.git` with the commits and tags (`install/history.rs`): git makes it as its own user, and
//! the server removes it unread. `scripts.postdeploy` of an `app.json` follows the release command in the first deploy
//! (`install/first_deploy.rs`).
//! Where the document has no `install`, [`install::builders`] (pure) says by the files of the checkout what is to be done,
//! and `install::deploy` does it, missing tools first. What a release has beside its files is in its record
//! ([`install::built`]): directories for PATH, variables, what stands in for a Procfile, and the directories that the next
//! release may take over (`install::kept`) with a key of what decided their content and a count of what is in them. The
//! cache is the release itself: nobody prunes it. A Python environment names its own place, so it lies beside the
//! releases (`install::venv`), which link to it; it goes with the last record that names it. Caches in HOME are the
//! package managers' (`install::home`).
//!
//! Code may also come as an archive (`api::source`). It is stored in a file without a name, read to its end
//! ([`archive::walk`]), and only if all of it is good told to git as a commit ([`archive::fast_import`]) of the mirror:
//! this server unpacks nothing. What follows is a deploy of that commit, as after a push ([`install::upload`]).
//!
//! Releases share the files that they have in common as hard links ([`install::hard_links`], [`install::dedup`]), also
//! packages that were installed anew with the same bytes: only files that root owns and nobody may write to, so never
//! with a daemon that is not root.
//!
//! # On a swarm
//!
//! What runs the processes of a batch is an [`app::engine::Engine`], by the release's document: this server, or a Docker
//! Swarm. Nothing above that folder asks which. An engine runs *units*, each with an actor of its own: one process
//! ([`process::worker`]), or all processes of a type ([`swarm::service`]), which are one service of the swarm. Both tell
//! the App of each process in the same words, so a change of engine is a rolling deploy like any other.
//!
//! `swarm::life` (pure) says what a service must be and what its tasks are: processes that start, are ready, end and stop.
//! The swarm restarts and moves them; this server puts right what others change. `swarm::observer` lists services, tasks and
//! machines once for all Services, since engines tell of no task. Whether a process answers is found out from here, over
//! the network, so a machine that is gone leaves the route before the swarm misses it. Labels are the identity records: a
//! new server lists, and takes over. Where no manager answers it goes on with what was written down last
//! ([`swarm::known`]). What tasks print comes as streams of the engine and goes to the app's Log; a note of the last line
//! (`swarm::printed`) says where the next server reads on. Among it is what no manager knows: the first process of each
//! container tells what that uses, and whether memory ran out ([`swarm::meter`]). What no manager does, removing volumes and
//! old images on other machines, a task of a global service does on each ([`swarm::chore`]).
//!
//! What runs once there (`run`, `cron`, the release phase) is a service of one task that is never run again: `swarm::job`.
//! Its `life` (pure) says what is next; `swarm::job::run` carries that out, for an actor ([`swarm::job::actor`]) that
//! stands where the one of a process would, or for [`app::engine::release_phase`], which runs once the image is made.
//!
//! # Images
//!
//! Nodes of a swarm fetch the images of releases from this server ([`swarm::image`]): a root file system that mmdebstrap
//! makes, kept by the set of its packages, or the layers of an image of the settings ([`swarm::image::base_image`]), and the
//! release's directories at their own paths, all as blobs by their digests below `DATA/swarm`. `api::registry` gives them
//! out at `/v2/`, to who has the application's password. The record of an image is the last that is written; an image
//! lives as long as the directory of its release.
//!
//! # The way of a push
//!
//! `/git/NAME.git` (`api/git.rs`) speaks git's smart HTTP: the real git serves it ([`install::git_service`]), as the app's
//! user in git's group, in the app's own mirror ([`install::pushed`]), from which deploys are made without a fetch. When
//! git has a push whole and checked, its hook `proc-receive` asks the server, over pipes, what becomes of each ref. For the
//! app's branch that is a deploy ([`app::deployer::Action::Deploy`]), of which each line goes to who pushes. The App moves
//! the branch, not git, once the release serves; [`app::pushed_commits`] (pure) is what a server that was killed in between
//! does about it. So the branch is always what was deployed last, whoever went away.
//!
//! Over ssh it is the same git, which speaks with its client from begin to end ([`install::git_request::Exchange`]). The
//! machine's sshd runs `procserver ssh-serve` for each key ([`ssh_keys`]); it carries bytes between the client and a
//! socket (`daemon/git_socket.rs`) that is for sshd's user alone and has no other call. The API's own socket refuses that
//! user.
//!
//! What no ref leads to any more is dropped while nobody is at work in the mirror (`install::pushed_gc`): whoever comes
//! ends that, and does not wait.
//!
//! What is pushed is nowhere else, so a backup has it as a bundle ([`install::carried_code`]), which the first deploy after
//! a restore takes in.
//!
//! # The way of an exit
//!
//! The kernel tells [`process::worker`] by a pidfd that its process ended. `process::state` says what follows: the rest
//! of its group is ended, then it is spawned again, at once or after a back-off. Each change goes to the App as a
//! message; [`app::batch`] knows which processes serve, the App makes a route of these, and the Router publishes it.
//! The exit takes the process out of the route, and readiness brings it back.
//!
//! # Pause and sleep
//!
//! A route whose app is paused or asleep has no backend, and says so ([`router::table::Availability`]). The front end then
//! holds requests (`front/hold.rs`) and counts them in [`router::held`], which both sides look at. Those that were held
//! go on a few at a time ([`router::burst`]). To pause, the App also closes the loads of its processes, so that no worker
//! with an older table lets one through. [`app::sleep`] (pure) says when it has been quiet for long enough, by what was
//! counted of requests and is in flight; then the operation `Kind::Sleep` stops the processes, and a request that is held
//! wakes it (`supervisor/sleep`).
//!
//! # Previews
//!
//! A branch of an application beside it is an application like any other, whose document is made of that one's
//! ([`document::preview_document`]) and says so in `preview`. [`app::apps`] removes it when its time is over
//! (`apps/previews`) or the other one goes, and `api::hooks` when its branch was deleted.
//!
//! # What runs once
//!
//! `POST /applications/A/run` reaches `supervisor/one_offs`: it notes the process in `runs.json` ([`app::one_offs`]), and
//! starts a [`process::worker`] that ends with its OS process. One that is attached has the other ends of a terminal or of
//! pipes ([`process::ends`]) for input and output; they go as a [`process::one_off::Session`] to `api::attach`, which
//! carries bytes between them and a WebSocket on its own thread: the control thread sees none. The session is the client's
//! presence. When it is dropped the process is stopped, and with the server it hangs up. A later server goes on with a
//! detached one, whose output is in the log, and ends an attached one. It keeps its release through deploys; a stop of the
//! application and its removal end it.
//!
//! Jobs (`cron` of the document) are started the same way. `supervisor/cron` looks at the wall clock when the next one is
//! due, and every ten seconds, since that may be set; [`app::cron`] (pure) says which are due. A time is noted as seen in
//! `runs.json` before its run begins: no server runs it again.
//!
//! # The way of an upgrade
//!
//! Listening sockets outlive a server ([`front::kept`]): copies are in systemd's store, and this process keeps them over
//! execve(2). Either way the next server gets them as sd_listen_fds(3) says, and takes each for what it is bound to.
//!
//! `POST /-/reload` reaches `daemon::reload`. The program that is installed is tried first: a child with the server's own
//! arguments reads settings, documents and the version of the data directory (`daemon/state_version`). Then
//! [`front::departure`]: what is in flight is waited for while new clients are served, connections end behind their
//! response, and accepting stops. The tree ends as in a crash that was announced ([`app::context::AppContext::hands_over`]):
//! logs and state are written, OS processes stay. What this process becomes then adopts them, as their parent, with
//! exit statuses of those that ended meanwhile; other children are waited for ([`process::former_children`]). Until it
//! is ready it can go back: it holds the former program as a descriptor, and an error, a panic or a minute lead there
//! (`daemon/reload/handover`). A signal that ends it does not: then systemd starts the new program again.
//!
//! The watchdog of systemd is fed while each front worker and the control actors answer ([`pulse`]).
//!
//! # Backups
//!
//! [`backup::take`] copies the storage of one application after the other while its processes are paused
//! ([`process::stop::pause`]) and streams it to who asked. [`backup::restore`] reads a backup to its end, unpacks it beside
//! the data and writes down what is to be done; [`backup::carry`] does that through [`app::apps`], also at the next start
//! of a server that was killed.
//!
//! # What is told
//!
//! Whatever happens to a process, a deployment, a route or an actor becomes one [`events::Report`]: a line in the
//! server's own log, and an event for those who follow `GET /events`. Who had something done is a [`events::By`], which
//! goes with each message that changes an application, from who calls the API to the record of the deployment.
//! [`event_log`] keeps events, without steps and routes; what happens by itself is thinned ([`event_log::thinning`], pure):
//! an application that crashes all day leaves some hundred lines, and the others theirs. It and the access log are tasks
//! on the arbiter of the logs, and no actors: [`logs::restarts`] lets a fresh one follow a panic.
//!
//! What is counted is read by `GET /metrics` ([`api::metrics`]). Each front worker adds to a table of its own
//! ([`front::request_counts`]), reports are counted where they pass ([`events::counts`]); both outlive the actors that
//! count. All else is asked for when somebody reads, once a second at most: what an application is in of its App, CPU
//! and memory of `/proc`, which a blocking thread looks at.
//!
//! Where `[traces]` names a collector, [`traces::tracer`] of each worker chooses some requests, which go to the application
//! with a `traceparent` of their own, and [`traces::exporter`] sends their spans as OTLP's JSON from a thread of its own.
//! What its queue or the collector does not take is counted, and no request waits.
//!
//! [`history::recorder`] takes a reading of the same counts at the end of each minute, and when somebody asks for plots,
//! at most every five seconds. What came between two of them goes into steps of time ([`history::series`], pure): 60 of a
//! minute and 288 of five, 17 KiB an application. It writes them every five minutes and when the server stops.
//!
//! The logs themselves go to receivers elsewhere ([`drains`]). What waits is the stored log, which is bounded; a drain
//! remembers up to which line its receiver has it, and knows by the ids of lines what the log went on over. It is a
//! follower like any other: no line is written twice, and no application waits for a receiver. People are told of what
//! goes wrong ([`notices`]): reports become notices, once each, and go to webhooks and mailboxes.
//!
//! # Floors
//!
//! A folder imports only from the lines below its own; two on one line do not import each other. So there is no circle
//! of folders, nor of files, but for a module and the files below it. `tests/structure.rs` reads this list and holds
//! both.
//!
//! ```text
//! main
//! cli
//! daemon
//! api
//! backup
//! app
//! settings
//! ssh_keys, history
//! swarm
//! install, front
//! process, audit, event_log, drains, notices
//! logs
//! router
//! acme
//! events, own_user
//! app_dirs, tokens, hooks, outgoing
//! document
//! account
//! tls, traces
//! supervision
//! durable
//! pulse
//! threads
//! amounts, archive, regular, terminal, priority, tally, failpoint, exit_status, test_support
//! ```
//!
//! # Invariants
//!
//! - A file whose first lines call it pure imports neither actix nor tokio, directly or through a file that does, and
//!   is given the time and what is random. `tests/structure.rs` holds that too.
//! - `front/` never imports `app/`: it sees the routing table.
//! - `process/worker.rs` alone starts a process of an application on this machine, and `install/started.rs` what makes a release: git,
//!   install commands, the release phase; `acme/hook.rs` runs the program for TXT records, and `own_user/commands.rs`
//!   useradd, usermod and userdel, `install/quota/tools.rs` chattr and setquota. An OS process is started again by its
//!   worker (`process/state`), an actor by its supervisor.
//! - An app whose document names no user has one of its own where the server is root ([`own_user`]). It is there before
//!   the app has a file that it owns, and goes when the app has none any more, after all that runs as it on the machine
//!   was killed. Its id is noted before it is given, and comes again only when the system's range (login.defs(5)) has no
//!   other: the one that is free longest comes first.
//! - Documents, records and keys are replaced whole ([`durable`]). Logs are appended to, and a new server cuts off the
//!   line that a crash tore. A release without a record is rubbish.
//! - Whatever runs for an app does so in one sandbox, also its install commands: its user, no capability, no_new_privs,
//!   [`process::landlock`] for what it may write, [`process::mounts`] for what there is, also where all may write
//!   ([`process::shm`]), IPC and a session keyring of its own. `process::exec` puts it on from inside; what the machine
//!   does not give is a [`process::lack::Lack`] that the app's status tells of.
//! - What runs for an app is in control groups named after app and process, which also hold it to the document's
//!   `limits` ([`process::cgroup`]). The server touches no group but those with the mark of its data directory, and moves
//!   itself into a group beside them where cgroup2 has controllers.
//! - Where the file system has project quotas, all files of an app with `limits.disk` are of one project ([`install::quota`]),
//!   which its processes cannot leave ([`process::fixed_project`]).
//! - The daemon's own environment reaches no app; secrets reach no log.
//! - Control actors share one thread. What may take long happens in child processes or on blocking threads: the files
//!   of apps and of the config directory, git, passwd look-ups, `/proc`, the search for a port. What is left on that
//!   thread are single system calls: a health check opens the socket of its process (three calls on the runtime
//!   directory, in each interval; a hop to another thread costs more), waitid(2) of a process that has ended,
//!   inotify(7) of the config directory, and the line that the server logs on stderr. Before the tree starts, and after
//!   it has stopped, nobody is kept waiting. The control thread comes before the apps' threads ([`priority`]); proxy,
//!   logs and all that is started do not.
//!
//! # The package
//!
//! `systemd/debian/build` makes a .deb: the program, what it prints about itself ([`cli::man`], [`cli::completions`]), the
//! unit, and `systemd/procserver.toml`, which a test keeps equal to what [`settings::raw`] knows. Its scripts are in
//! `systemd/debian/`; purge finds the users of apps by their comments, as [`own_user`] does. `tests/installed/run` boots
//! a Debian with a systemd of its own, without a network, and installs, upgrades under load, reboots, breaks and purges
//! it there; `.ci/run` runs that, too.
//!
//! # Benches
//!
//! `cargo bench --bench proxy` starts `procserver serve` with one worker, deploys its origins by the API, and compares
//! it with nginx, haproxy (`apt-get install nginx-light haproxy wrk nghttp2-client`; what is missing is named) and a
//! relay that looks at nothing. Access logs are on, it is built as packages are (fat LTO), the proxy has one core, load
//! and origin the other. CPU is the whole daemon's, user and system time apart, from `/proc`; rounds are interleaved
//! and their medians shown. `kept` is a load of this program with an origin of one thread; `wrk` is wrk with an origin
//! that has a thread for each connection; rows by HTTP/2 are under h2load with the same origin. All takes nine minutes,
//! `-- --quick` three; `-- --load wrk`, `-- --row unix` (small, unix, large, many, upload, buffered, fresh, apps,
//! http2, memory) are parts. By HTTPS there are `tls` and `tls-large` on kept connections, `handshakes` (full, with
//! `kept` only) and `resumed` on new ones, `certificates` (1,000 of them: CPU of a full handshake, beside that of
//! `handshakes` if both are run; what a start takes in time and memory, beside one certificate) and `memory-tls`;
//! nginx and haproxy have the same certificate, tickets and defaults otherwise. It prints tables in Markdown.
//! `cargo bench --bench swarm`, as root, runs two engines in network namespaces, an application of ours and a service
//! that is changed by hand on them, and nginx before the latter: CPU per request through backends on other machines
//! (`-- --row cpu`), seconds until only the new version is answered (`deploys`), requests lost during deploys (`lost`)
//! and how long the loss of a machine is felt (`death`). `docker-registry`, `nginx-light` and `wrk` must be installed.
//! The ports of the service are published in host mode, so its old processes stop first, one engine after the other.
//!
//! `cargo bench --bench parts` measures heads, framing and routing alone.
//!
//! On 2026-11-29, all rows, on a machine with nothing else to do, CPU microseconds per request, user + system. With the
//! load `kept`:
//!
//! | | procserver | nginx | haproxy | of nginx's: user, all |
//! |---|---|---|---|---|
//! | 128 B x 64 connections | 5.3 + 18.5 | 9.2 + 23.8 | 9.3 + 19.8 | 0.57, 0.72 |
//! | the same, ours to $SOCKET | 6.7 + 16.2 | 9.5 + 22.2 |  | 0.71, 0.73 |
//! | 64 KiB x 64 connections | 11.0 + 46.6 | 24.4 + 95.7 | 19.1 + 58.9 | 0.45, 0.48 |
//! | 128 B x 1,000 connections | 14.1 + 34.3 | 13.4 + 32.3 | 26.8 + 34.1 | 1.05, 1.06 |
//! | 1 MiB uploads x 16, streamed | 42.6 + 690.9 | 123.7 + 1400.0 | 110.8 + 692.5 | 0.34, 0.48 |
//! | 1 MiB uploads x 16, buffered | 32.6 + 390.1 | 48.4 + 964.3 |  | 0.67, 0.42 |
//! | new connection per request | 19.2 + 49.1 | 17.7 + 52.3 | 20.4 + 53.0 | 1.09, 0.98 |
//! | 1,000 apps, 1,000 hosts | 7.1 + 18.7 |  |  |  |
//!
//! With wrk:
//!
//! | | procserver | nginx | haproxy | of nginx's: user, all |
//! |---|---|---|---|---|
//! | 128 B x 64 connections | 6.1 + 19.7 | 9.2 + 22.3 | 8.7 + 18.7 | 0.67, 0.82 |
//! | the same, ours to $SOCKET | 7.4 + 20.7 | 7.9 + 22.4 |  | 0.93, 0.93 |
//! | 64 KiB x 64 connections | 11.1 + 46.6 | 18.7 + 103.8 | 18.4 + 61.0 | 0.59, 0.47 |
//! | 128 B x 1,000 connections | 13.2 + 33.2 | 13.4 + 41.8 | 25.1 + 36.9 | 0.98, 0.84 |
//! | 1 MiB uploads x 16, streamed | 38.0 + 601.4 | 128.6 + 1399.4 | 131.3 + 699.6 | 0.30, 0.42 |
//! | 1 MiB uploads x 16, buffered | 30.4 + 371.8 | 38.1 + 750.3 |  | 0.80, 0.51 |
//! | new connection per request | 17.7 + 45.7 | 13.6 + 51.5 | 16.7 + 53.6 | 1.30, 0.97 |
//! | 1,000 apps, 1,000 hosts | 6.9 + 19.2 |  |  |  |
//!
//! By HTTPS, `-- --quick`, on a faster machine; HTTP/2 is h2load's, 4 connections of 100 streams, all else wrk's, but
//! where `kept` stands. wrk resumes its sessions:
//!
//! | | procserver | nginx | haproxy | of nginx's: user, all |
//! |---|---|---|---|---|
//! | 128 B x 64 connections | 5.2 + 13.7 | 8.8 + 13.5 | 10.9 + 12.4 | 0.59, 0.85 |
//! | 128 B x 64 connections, `kept` | 4.5 + 8.9 | 8.0 + 11.0 | 10.1 + 10.1 | 0.57, 0.71 |
//! | 64 KiB x 64 connections | 21.3 + 36.8 | 34.7 + 41.8 | 40.7 + 40.0 | 0.61, 0.76 |
//! | 64 KiB x 64 connections, `kept` | 17.2 + 47.2 | 37.3 + 45.0 | 37.9 + 45.4 | 0.46, 0.78 |
//! | 128 B by HTTP/2 | 11.6 + 9.4 | 6.5 + 11.2 | 8.1 + 8.1 | 1.80, 1.19 |
//! | 64 KiB by HTTP/2 | 34.1 + 35.6 | 35.5 + 47.9 | 41.9 + 38.0 | 0.96, 0.84 |
//! | full handshake, `kept` | 93.0 + 42.5 | 203.2 + 65.9 | 302.8 + 116.6 | 0.46, 0.50 |
//! | resumed handshake | 105.1 + 52.6 | 79.6 + 44.6 | 267.4 + 59.9 | 1.32, 1.27 |
//! | resumed handshake, `kept` | 83.0 + 33.6 | 65.7 + 45.3 | 277.0 + 71.6 | 1.26, 1.05 |
//!
//! A full handshake with one of 1,000 certificates costs 0.96 of one with the only one; a start with these takes 117 ms
//! and 17.7 MB, with one 57 ms and 15.0 MB. An idle connection by TLS takes 12.8 KiB, 13.8 of nginx, 15.2 of haproxy.
//!
//! nginx has its backend on TCP everywhere. By plain HTTP total CPU is less than nginx's in every row but that of 1,000
//! connections with `kept`; user time is more where connections are new, and as much with 1,000 of them. Times of so
//! short rounds are counted by the kernel's clock: with wrk and `$SOCKET` 0.93 of nginx's here was 0.79 the day before,
//! on a busy machine. 1,000 applications with 1,000 hosts cost 1.08 times one with `kept`. A request takes two writes
//! and two reads and a fifteenth of a wait (`strace -c`). An idle keep-alive connection takes 4.9 KiB here, 0.5 KiB of
//! nginx, 1.1 KiB of haproxy. With seven policies (three networks, a rate, 20 redirects, fields of responses, a timeout, a
//! body limit, sticky) a request costs 1.05 times one without any, by `kept` on 2026-11-30 (5.2 + 15.2, and 4.7 + 14.7).
//!
//! `cargo bench --bench swarm` on 2026-12-01, 2 cores for both sides and two engines:
//!
//! | | procserver | nginx and `docker service update` |
//! |---|---|---|
//! | CPU µs per request, 128 B x 64 connections: user + system | 4.9 + 19.5 | 5.5 + 21.6 |
//! | seconds until only the new version is answered: changed code, rollback | 1.47, 1.07 | 3.29, the image there already |
//! | requests lost in 5 deploys, 8 at a time | 0 of 3,773 | 18,114 of 24,983; tuned (`--update-delay 3s`, `fail_timeout=1s`) 0 of 18,282 |
//! | a machine loses its power, 4 at a time: failed, slower than 1 s, the last of both ended after s | 2, 2, 4.2 | 8, 4, 55.3 |
//!
//! `cargo bench --bench supervision` measures the supervision beside supervisord, s6, runit, pm2, s6-log and multilog
//! (`apt-get install supervisor s6 runit daemontools`, `npm install -g pm2`; what is missing is named; systemd would
//! have to be the machine's first process). `-- --quick` takes a minute and a half, `-- --row restart` (or `start`,
//! `idle`, `logs`, `drains`, `boot`) is one part. On 2026-11-22, 2 cores:
//!
//! | | procserver | supervisord | s6 | runit | pm2 |
//! |---|---|---|---|---|---|
//! | restart after kill -9, ms: median, p90 | 5.0, 5.9 | 1013, 1015 | 1005, 1006 | 4.6, 5.5 | 5.1, 6.6 |
//! | 50 started: the last runs after ms, CPU ms | 335, 444 | 1389, 610 | 185, 342 | 1257, 489 | |
//! | 500 started: the last runs after ms, CPU ms | 1276, 2053 | 3736, 4992 | 688, 1324 | 1637, 1243 | |
//! | 100 watched: resident MiB, proportional MiB, CPU % | 14.0, 12.0, 0.02 | 31.5, 25.2, 0.06 | 159.1, 13.1, 0.00 | 133.5, 9.8, 0.02 | |
//!
//! One process that writes lines of 100 bytes, CPU microseconds per line of who logs them (lines per second), none
//! missing:
//!
//! | | procserver | s6-log | multilog |
//! |---|---|---|---|
//! | a write for each | 0.92 (1,004,000) | 0.80 (1,170,000) | 0.89 (980,000) |
//! | 40 in each write | 0.38 (2,137,000) | 0.64 (1,512,000) | 0.98 (952,000) |
//!
//! A drain sends such lines on by syslog over TCP at 696,000 lines per second for 1.57 microseconds of CPU each, of which
//! 0.43 are for storing them; rsyslog, which follows a file by imfile, at 461,000 for 2.87 (2026-11-30).
//!
//! A restart is counted from the kill to the first instruction of the new process; procserver's also changes to the
//! application's user. It restarts at once after the first crash only, then as written above. s6 and runit are counted
//! without loggers. A process without a port is `ready` once it has lived for a second, so 500 are after 2.3 s. A
//! server with 1,000 deployed static sites answers `/healthz` after 0.8 s and has all routes after 1.0 s.
//!
//! On a busy machine on 2026-11-28 (load 13 to 20) 1,000 processes of 100 applications listened after 44 s, the same
//! processes forked by hand after 16 s; the server took 4.9 s of CPU for them. 1,000 ready processes that are looked at
//! each second take 2.5 % of a core.
//!
//! `cargo bench --bench deploys` measures deploys beside `git clone` and a copy. On 2026-11-29, nothing else at work on
//! the machine, a repository of 10,000 files, medians of 5:
//!
//! | | |
//! |---|---|
//! | POST of a new application to its first 200, nothing to install | 190 ms |
//! | by hand: `git clone`, and a copy of it | 6,442 ms (5,131 to 7,048) |
//! | redeploy of the same commit | 576 ms |
//! | redeploy after a change of one line | 611 ms |
//! | rollback | 27 ms |
//! | redeploy after a change of one line, with an install command | 9,256 ms (4,730 to 9,487) |
//! | by hand, in turn with these | 950 ms (905 to 12,782) |
//! | five releases on disk, five clones | 41 MiB, 206 MiB |
//! | requests lost during five redeploys | none of 27,593 |
//!
//! What creates 10,000 files is decided by the disk, and takes from one to thirteen seconds here for the same work, on
//! ext4 mounted with `discard`. In turn with the clone and copy, a redeploy with an install command took by the medians
//! 9.7 times that in this run, and 2.75 and 0.62 times in others; on ext4 with a journal (loop device) 1.35 and 0.55
//! times. It is meant to be 1.5. git writes each file then, and what the release before has becomes a link at the
//! hand-over; the server's own CPU was 0.3 s for 2,000 files (2.1 s before links were made there). Where packages
//! are installed anew each time (87 MiB with django, flask and requests), each further release takes 13 MiB, nearly
//! all of it directories. Removing 6,000 directories at depth 129 takes 0.3 s of CPU.
//!
//! `PROCSERVER_TEST_REDEPLOYS=100`, `PROCSERVER_TEST_RELOADS=20`, `PROCSERVER_TEST_KILLS=100`, `PROCSERVER_TEST_STORM=2000` and
//! `PROCSERVER_TEST_ROUNDS=100` lengthen tests; the last one with `PROCSERVER_TEST_CALLS=Delete,Put` tries only pairs
//! with one of these calls. `PROCSERVER_TEST_EXAMPLES=200`, `PROCSERVER_TEST_SEED=2` and
//! `PROCSERVER_TEST_PHASES=examples,coverage,fuzzing,stateful` are for schemathesis.
//!
//! # Fuzzing
//!
//! `tests/fuzz/` holds fuzz targets for what reads foreign bytes: `request_head`, `response_head`, `body`,
//! `target_path`, `forwarded`. Each checks more than that nothing panics: what is sent on parses back to what came,
//! pieces of any size give the same result, no path leaves its directory or its application. It is a crate of its own,
//! for the nightly compiler and a C++ compiler:
//!
//! ```text
//! rustup toolchain install nightly && cargo install cargo-fuzz
//! PROCSERVER_TEST_FUZZ_CORPUS=1 cargo test --test integration fuzz_seeds   # writes the seeds to tests/fuzz/corpus/
//! cargo +nightly fuzz run --fuzz-dir tests/fuzz request_head -- -max_total_time=60
//! ```
//!
//! A few seeds are in `tests/fuzz/seeds/`; the second line adds one for each case of `tests/conformance/*.json`.
//! `cargo test` runs all of them through the same functions (`tests/fuzz/src/`), with the stable compiler. An input
//! that failed becomes a unit test beside what was wrong, and a file in `tests/fuzz/seeds/`.

pub mod account;
pub mod acme;
pub mod amounts;
pub mod api;
pub mod app;
pub mod app_dirs;
pub mod archive;
pub mod audit;
pub mod backup;
pub mod cli;
pub mod daemon;
pub mod document;
pub mod drains;
pub mod durable;
pub mod event_log;
pub mod events;
pub mod exit_status;
pub mod failpoint;
pub mod front;
pub mod history;
pub mod hooks;
pub mod install;
pub mod logs;
pub mod notices;
pub mod outgoing;
pub mod own_user;
pub mod priority;
pub mod process;
pub mod pulse;
pub mod regular;
pub mod router;
pub mod settings;
pub mod ssh_keys;
pub mod supervision;
pub mod swarm;
pub mod tally;
pub mod terminal;
#[cfg(test)]
mod test_support;
pub mod threads;
pub mod tls;
pub mod tokens;
pub mod traces;
