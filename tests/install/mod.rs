//! Deploys of real git repositories by real commands, up to a release. As root the app's user is `nobody`, otherwise
//! it is who runs the tests.

mod builds;
mod hostile;
mod refusals;
mod room;
mod root;
mod sharing;
mod sources;
mod world;
