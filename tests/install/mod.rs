//! Deploys of real git repositories by real commands, up to a release. As root the app's user is `nobody`, otherwise
//! it is who runs the tests.

mod builders;
mod builds;
mod disk_space;
mod hidden;
mod hostile;
mod hostile_builds;
mod http_server;
mod lent;
mod lfs;
mod limits;
mod mirrors;
mod refusals;
mod remotes;
mod root;
mod sandbox;
pub(crate) mod servers;
mod sharing;
mod sources;
mod ssh;
mod submodules;
mod world;
