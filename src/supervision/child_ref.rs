//! [`ChildRef`]: an address that stays valid over restarts of the actor behind it.

use std::sync::{Arc, RwLock};

use actix::{Actor, Addr};

/// A swappable address: a supervisor puts the address of a fresh actor in, others read it before each use.
#[derive(Debug)]
pub struct ChildRef<A: Actor>(Arc<RwLock<Option<Addr<A>>>>);

impl<A: Actor> Clone for ChildRef<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Actor> Default for ChildRef<A> {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(None)))
    }
}

impl<A: Actor> ChildRef<A> {
    /// The present address; `None` before the first start and while it is being restarted.
    #[must_use]
    pub fn get(&self) -> Option<Addr<A>> {
        self.0.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Puts the address of a fresh actor in.
    pub fn set(&self, addr: Option<Addr<A>>) {
        *self.0.write().unwrap_or_else(|e| e.into_inner()) = addr;
    }
}
