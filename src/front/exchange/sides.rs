//! What an exchange is between, and what it is given by its worker.

use std::rc::Rc;

use super::buffer::{Buffer, Spare};
use super::deadline::Deadline;
use super::spool_space::SpoolSpace;
use super::stored::Stored;
use crate::front::asking::Asking;
use crate::front::date::HttpDate;
use crate::front::settings::FrontSettings;
use crate::front::upstream::connection::Upstream;

/// The client's side of an exchange.
#[derive(Debug)]
pub struct Client<'c, S> {
    pub stream: &'c mut S,
    /// What came after the head.
    pub input: &'c mut Buffer,
    /// The time limit of the connection.
    pub deadline: &'c mut Deadline,
}

/// The backend's side of an exchange.
#[derive(Debug)]
pub struct Backend<'c> {
    pub connection: &'c mut Upstream,
    /// The connection was used before: the backend may have closed it just now.
    pub reused: bool,
    /// Where a response is kept that the client does not take as fast as it comes; `None`: it is not.
    pub room: Option<&'c Rc<SpoolSpace>>,
    /// The request's body, where it is not in memory.
    pub stored: Option<&'c mut Stored>,
    /// Asks for an idle connection to be given up, while there is no answer on this one.
    pub asking: Option<Asking>,
}

impl<'c> Backend<'c> {
    #[must_use]
    pub fn own(connection: &'c mut Upstream, reused: bool) -> Self {
        Self {
            connection,
            reused,
            room: None,
            stored: None,
            asking: None,
        }
    }
}

/// What all exchanges of a worker have in common.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'c> {
    pub settings: &'c FrontSettings,
    pub spare: &'c Spare,
    /// The Date of responses that have none.
    pub date: &'c HttpDate,
    /// The front end drains: no connection is kept.
    pub draining: bool,
}
