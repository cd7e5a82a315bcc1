//! Recovers a fresh App from its state on disk and the processes that outlived the previous daemon (or App).

use std::io;
use std::path::Path;

use actix::prelude::*;
use futures::FutureExt as _;

use super::{App, AppSpec};
use crate::app::deployer::Deployer;
use crate::app::engine::one_off::OutlivedOneOff;
use crate::app::engine::outlived::{self, Elsewhere, Outlived};
use crate::app::engine::unit::Left;
use crate::app::finished::FinishedProcesses;
use crate::app::lifecycle::{BatchId, Kind, Lifecycle, Wanted};
use crate::app::one_offs::Written;
use crate::app::pushed_commits::PushedCommits;
use crate::app::releases::Releases;
use crate::app::remembered::Remembered;
use crate::app::runnable::{account, config_of_before};
use crate::app_dirs::AppDirs;
use crate::document::config::Strategy;
use crate::document::engine::EngineKind;
use crate::durable;
use crate::install::carried_code;
use crate::install::instances;
use crate::install::record::{self, DeploymentRecord};
use crate::install::release::{self, ReleaseRecord};
use crate::install::tree;
use crate::install::upload;
use crate::process::identity::Identity;
use crate::process::procfs;
use crate::process::shm::Shm;
use crate::process::survivors;
use crate::process::users::Users;
use crate::supervision::Exit;

struct Found {
    remembered: io::Result<Option<Remembered>>,
    deployments: Vec<DeploymentRecord>,
    releases: Vec<ReleaseRecord>,
    next_release: u64,
    survivors: Vec<Identity>,
    one_offs: Written,
    /// The highest batch of all instances, also of those that cannot be ended.
    last_batch: Option<BatchId>,
    boot_id: String,
    /// A restore has brought the code of an app that is pushed to.
    has_code: bool,
    /// The user that the app runs as now.
    user: Result<Option<u32>, String>,
}

fn look(spec: &AppSpec) -> Found {
    let dirs = &spec.dirs;
    if !spec.nothing_remains {
        instances::kill_all_remains(dirs);
    }
    // There is no mirror, or nothing in it, where nothing was uploaded.
    let _nothing = upload::remove_remains(&dirs.mirror());
    let _nothing = carried_code::remove_remains(&dirs.mirror());
    // No deploy is at work now, so whatever is half made was left by one that was interrupted.
    release::sweep(dirs, &[], u64::MAX);
    durable::sweep(dirs.root());
    durable::sweep(&dirs.deployments());
    let releases = release::list(dirs);
    let deployments = record::load_all(dirs);
    let remembered = Remembered::load(&dirs.state());
    let survivors = survivors::survivors(dirs.runtime(), &Users::of_app(dirs));
    if survivors.is_empty() {
        empty(&dirs.tmp());
        Shm::of(dirs).found().iter().for_each(|shm| empty(shm));
    }
    let current = remembered.as_ref().ok().and_then(Option::as_ref);
    let current = current.and_then(|r| {
        releases
            .iter()
            .find(|release| Some(release.id) == r.current)
    });
    Found {
        has_code: dirs.code().exists(),
        user: match survivors.is_empty() {
            true => Ok(None),
            false => user_of(spec, current),
        },
        last_batch: survivors::last_batch(dirs.runtime()),
        boot_id: procfs::boot_id().unwrap_or_default(),
        remembered,
        next_release: next_release(dirs, &deployments),
        deployments,
        releases,
        survivors,
        one_offs: Written::load(dirs),
    }
}

/// Removes what is in the app's directory for temporary files, as a machine does with `/tmp` when it starts. Nothing of the
/// app runs.
fn empty(tmp: &Path) {
    for entry in std::fs::read_dir(tmp).into_iter().flatten().flatten() {
        if let Err(e) = tree::remove(&entry.path()) {
            log::warn!("cannot remove {}: {e}", entry.path().display());
        }
    }
}

/// The user that the current release runs as, as passwd has it now; `None`: whoever the daemon is.
fn user_of(spec: &AppSpec, current: Option<&ReleaseRecord>) -> Result<Option<u32>, String> {
    let known =
        current.and_then(|r| config_of_before(&spec.context.rules(), r.document.clone()).ok());
    let config = known.as_ref().unwrap_or(&spec.config);
    let (account, _) = account(&spec.context, &spec.dirs, config).map_err(|e| e.to_string())?;
    Ok(account.map(|account| account.uid))
}

/// The first number without a release directory, a record or a deployment above it: numbers are not used again.
fn next_release(dirs: &AppDirs, deployments: &[DeploymentRecord]) -> u64 {
    let entries = std::fs::read_dir(dirs.releases())
        .into_iter()
        .flatten()
        .flatten();
    let numbers = entries.filter_map(|e| {
        e.file_name()
            .to_str()?
            .trim_end_matches(".json")
            .parse::<u64>()
            .ok()
    });
    let made = deployments.iter().filter_map(|d| d.release);
    numbers.chain(made).max().unwrap_or(0) + 1
}

impl App {
    /// Looks at the disk and goes on from there. Messages wait meanwhile.
    pub(super) fn recover(&mut self, ctx: &mut Context<Self>) {
        let spec = self.spec.clone();
        let found = actix_rt::task::spawn_blocking(move || look(&spec));
        let (name, context) = (self.name().to_owned(), self.spec.context.clone());
        let is_there = self.spec.config.engine != EngineKind::Local;
        let elsewhere = async move { outlived::elsewhere(name, is_there, &context).await };
        let found = futures::future::join(found, elsewhere);
        ctx.wait(
            found
                .into_actor(self)
                .map(|(found, elsewhere), app, ctx| match found {
                    Ok(found) => {
                        if let Some(error) = &elsewhere.error {
                            log::error!("{}: {error}; what was known last goes on", app.name());
                        }
                        app.take_over(found, elsewhere, ctx);
                        if app.spec.announces {
                            app.publish();
                            ctx.wait(app.publisher.settled().into_actor(app));
                        }
                    }
                    Err(e) => app.leave(Exit::Error(format!("cannot look at its files: {e}")), ctx),
                }),
        );
    }

    fn take_over(&mut self, found: Found, elsewhere: Elsewhere, ctx: &mut Context<Self>) {
        // Without `sleep` nothing would ever let it sleep again.
        let sleeps = self.deployer.documents.newest().sleep.is_some();
        let newest = found.releases.last().map(|r| r.id);
        let remembered = self.remembered(found.remembered);
        let is_new = remembered.is_none();
        let remembered = remembered.unwrap_or_else(|| Remembered {
            current: newest,
            ..Remembered::new()
        });
        let current = self.present(remembered.current, &found.releases);
        let deployer = &mut self.deployer;
        deployer.created = remembered.created;
        deployer.has_code = found.has_code;
        deployer.finished =
            FinishedProcesses::recovered(remembered.finished, found.boot_id, current);
        let rules = self.spec.context.rules();
        let standing = remembered.standing.filter(|_| current.is_some());
        let standing = standing.and_then(|document| config_of_before(&rules, document).ok());
        deployer.documents.recover(standing, remembered.settled);
        deployer.recover_secrets(remembered.secrets_since);
        let proven = found.releases.iter().map(|release| release.id);
        let proven = proven.filter(|id| !remembered.unproven.contains(id));
        let (pushed, branch) =
            PushedCommits::recovered(remembered.pushed, current, &proven.collect());
        deployer.pushed = pushed;
        deployer.deployments.recover(found.deployments);
        deployer.releases = Releases {
            records: found.releases,
            unproven: remembered.unproven,
            next: found.next_release,
            leftover: vec![],
        };
        let survivors = self.of_present_user(found.survivors, found.user);
        let outlived = self.take_over_one_offs(found.one_offs, survivors, elsewhere, ctx);
        let wanted = match remembered.wanted {
            Wanted::Running if remembered.asleep && sleeps && current.is_some() => Wanted::Asleep,
            wanted => wanted,
        };
        let first_batch = self.sort_survivors(outlived, found.last_batch, wanted, current, ctx);
        self.batches.at_boot = self.spec.deploy_at_start.then_some(first_batch);
        self.deployer.life = Lifecycle::new(wanted, current, first_batch);
        if is_new {
            self.deployer.remember();
        }
        if let Some(pushed) = branch {
            self.catch_branch_up(pushed, ctx);
        }
        let now = jiff::Timestamp::now();
        if let Some(until) = remembered.paused_until.filter(|until| *until > now) {
            self.begin_pause(until, ctx);
        }
        self.resume(remembered.keep_storage, ctx);
        if matches!(wanted, Wanted::Stopped | Wanted::Removed) {
            self.follow_schedules(ctx);
        }
        if !self.deployer.releases.unproven.is_empty() {
            self.tidy(ctx);
        }
    }

    /// What was remembered, if it can be read.
    fn remembered(&mut self, read: io::Result<Option<Remembered>>) -> Option<Remembered> {
        read.unwrap_or_else(|e| {
            log::error!("{}: {e}", self.name());
            self.warnings.push(e.to_string());
            None
        })
    }

    /// The release that was current, if it is still on disk.
    fn present(&mut self, current: Option<u64>, releases: &[ReleaseRecord]) -> Option<u64> {
        let id = current?;
        if releases.iter().any(|release| release.id == id) {
            return Some(id);
        }
        let gone = format!("release {id} is gone from disk");
        self.warnings.push(gone);
        None
    }

    /// Goes on with what runs once. Returns the units that outlived the server.
    fn take_over_one_offs(
        &mut self,
        written: Written,
        survivors: Vec<(Identity, bool)>,
        elsewhere: Elsewhere,
        ctx: &mut Context<Self>,
    ) -> Vec<Outlived> {
        let (one_offs, units): (Vec<_>, Vec<_>) =
            survivors.into_iter().partition(|(s, _)| s.one_off);
        let one_offs = one_offs.into_iter();
        let one_offs = one_offs.map(|(s, p)| OutlivedOneOff::process(s, p));
        let one_offs = one_offs.chain(elsewhere.one_offs).collect();
        let strangers = self.recover_one_offs(written, one_offs, ctx);
        ctx.spawn(self.end_all(strangers.into_iter()).into_actor(self));
        let units = units.into_iter();
        let units = units.map(|(s, p)| Outlived::process(s, p));
        units.chain(elsewhere.units).collect()
    }

    /// Marks survivors that run as the app's present user. That may have been removed, or made anew with another id.
    fn of_present_user(
        &self,
        survivors: Vec<Identity>,
        user: Result<Option<u32>, String>,
    ) -> Vec<(Identity, bool)> {
        let own = nix::unistd::geteuid().as_raw();
        let is_present = |survivor: &Identity| match &user {
            Ok(user) => survivor.uid.is_none_or(|uid| uid == user.unwrap_or(own)),
            Err(_) => false,
        };
        let sorted: Vec<_> = survivors
            .into_iter()
            .map(|s| {
                let is_present = is_present(&s);
                (s, is_present)
            })
            .collect();
        if sorted.iter().any(|(_, is_present)| !is_present) {
            let why = user
                .err()
                .unwrap_or_else(|| "its user has another id now".to_owned());
            log::warn!(
                "{}: processes that outlived the previous daemon are not taken over: {why}",
                self.name()
            );
        }
        sorted
    }

    /// Keeps survivors of the present user in the newest batch of the current release and ends the others. Returns the
    /// id of the first batch.
    fn sort_survivors(
        &mut self,
        survivors: Vec<Outlived>,
        last_batch: Option<BatchId>,
        wanted: Wanted,
        current: Option<u64>,
        ctx: &mut Context<Self>,
    ) -> BatchId {
        let of_current =
            |s: &&Outlived| s.is_present && Some(s.release) == current && wanted == Wanted::Running;
        let finished = self.deployer.finished.all().iter().map(|f| f.batch);
        let batch = survivors
            .iter()
            .filter(of_current)
            .map(|s| s.batch)
            .chain(finished.filter(|_| wanted == Wanted::Running))
            .max();
        let last_batch = survivors.iter().map(|s| s.batch).chain(last_batch).max();
        let next = last_batch.map_or(1, |last| last + 1);
        let (kept, foreign): (Vec<_>, Vec<_>) = survivors
            .into_iter()
            .partition(|s| of_current(&s) && Some(s.batch) == batch);
        if !kept.is_empty() {
            log::info!(
                "{}: {} processes outlived the previous daemon and are taken over",
                self.name(),
                kept.len()
            );
        }
        self.batches.survivors = kept
            .into_iter()
            .map(|s| (s.batch, s.unit, s.left))
            .collect();
        if !foreign.is_empty() {
            log::info!(
                "{}: {} processes that nobody wants are ended",
                self.name(),
                foreign.len()
            );
            self.deployer.releases.leftover = foreign.iter().map(|s| s.release).collect();
            let foreign = foreign.into_iter().map(|s| s.left);
            let ended = self.end_all(foreign).into_actor(self).map(|(), app, ctx| {
                app.deployer.releases.leftover.clear();
                app.tidy(ctx);
            });
            // They get their grace. Only an app that must not run beside them waits for it.
            match wanted == Wanted::Running
                && !self
                    .deployer
                    .documents
                    .newest()
                    .strategy
                    .has(Strategy::Recreate)
            {
                true => {
                    ctx.spawn(ended);
                }
                false => ctx.wait(ended),
            }
        }
        self.deployer.forget_finished(|f| Some(f.batch) != batch);
        batch.unwrap_or(next)
    }

    /// Ends survivors without a place in the batch: the scale has changed meanwhile.
    pub(super) fn end_surplus(&mut self, ctx: &mut Context<Self>) {
        let surplus = std::mem::take(&mut self.batches.survivors).into_iter();
        let surplus = self.end_all(surplus.map(|(.., left)| left));
        ctx.spawn(surplus.into_actor(self));
    }

    /// Ends what is left of units, each with its grace.
    fn end_all<I: Iterator<Item = Left>>(&self, all: I) -> impl Future<Output = ()> + use<I> {
        let policy = self.deployer.documents.newest().stop.clone();
        let each: Vec<_> = all.map(|left| left.end(policy.clone())).collect();
        futures::future::join_all(each).map(drop)
    }

    fn resume(&mut self, keep_storage: bool, ctx: &mut Context<Self>) {
        let life = &self.deployer.life;
        match (life.wanted(), life.current()) {
            (Wanted::Stopped, _) => self.publish(),
            (Wanted::Asleep, _) => self.sleep_on(ctx),
            (Wanted::Removed, _) => {
                self.decide(ctx, |deployer, out| deployer.remove(keep_storage, out));
            }
            (Wanted::Running, Some(release)) => {
                let deploys = self.spec.deploy_at_start;
                self.decide(ctx, |deployer, out| {
                    deployer.request(Kind::Activate { release }, None, out);
                    if deploys {
                        deployer.catch_up(release, out);
                    }
                });
            }
            (Wanted::Running, None)
                if self.spec.deploy_at_start && !self.deployer.awaits_push() =>
            {
                self.decide(ctx, Deployer::deploy);
            }
            (Wanted::Running, None) => self.publish(),
        }
    }
}
