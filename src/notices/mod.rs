//! Notices: people are told by a webhook or by mail when something goes wrong, and when it is well again.
//!
//! [`notice`] says what of all that is reported is worth telling, [`policy`] when it is told (both pure): once, not again
//! and again, and not what passes by itself; [`told_file`] keeps that for the next server. [`book`] is who wants to be told. [`notifier`] listens, also looks at
//! certificates and the disk, and keeps one [`messenger`] for each receiver, which tries for an hour ([`deliver`]), on a
//! thread that all of them share.

pub mod book;
pub mod deliver;
mod mail;
mod messenger;
pub mod notice;
pub mod notifier;
pub mod policy;
pub mod smtp;
mod told_file;
mod watched;
