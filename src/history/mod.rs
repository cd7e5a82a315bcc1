//! What was counted over the last day, in steps, for each application and for the server as a whole: what plots show.
//!
//! [`reading`] is what there is at one moment and what came since the one before, [`series`] the steps of one
//! application, [`day`] all of them, [`file`] how they are written down (all pure). [`recorder::Recorder`] is the actor
//! that owns them: it takes a reading once a minute, and writes them now and then.

pub mod day;
pub mod file;
pub mod reading;
pub mod recorder;
pub mod series;
