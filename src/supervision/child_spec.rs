//! What a supervisor knows of a child before it starts it (pure). Words as in OTP's `supervisor(3)`.

use std::time::Duration;

/// Counts the starts of a child; an event of an old generation is dropped.
pub type Generation = u64;

/// When a child that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// After an error or a panic only.
    Transient,
    /// Never.
    Temporary,
}

impl Restart {
    /// Whether a child that ended is started again. Holds for actors, and for processes as their documents say.
    #[must_use]
    pub fn follows(self, is_abnormal: bool) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => is_abnormal,
            Self::Temporary => false,
        }
    }
}

/// How a child's end concerns its siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Only the child that ended is restarted.
    OneForOne,
    /// It and all started after it.
    RestForOne,
    OneForAll,
}

/// How long a child may take to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// It is killed at once.
    Brutal,
    /// It is asked, then killed after this time.
    After(Duration),
    /// It is asked and waited for (for supervisors).
    Infinite,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, having done its work.
    Normal,
    Shutdown,
    /// By itself, unable to go on.
    Error(String),
    /// By a panic; the text is the panic's message.
    Panic(String),
    /// Its shutdown timeout had passed.
    Killed,
}

impl Exit {
    /// Whether a transient child is restarted after it.
    #[must_use]
    pub fn is_abnormal(&self) -> bool {
        matches!(self, Self::Error(_) | Self::Panic(_) | Self::Killed)
    }
}

/// A child as its supervisor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildSpec<Id> {
    pub id: Id,
    pub restart: Restart,
    /// How long it may take to stop.
    pub shutdown: Timeout,
}
