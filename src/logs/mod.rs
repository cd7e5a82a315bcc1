//! Logs of applications: FIFOs in, numbered lines in rotated segments, readers and followers out.
//!
//! Begin with [`log`], the actor that owns an application's log. A process writes to its FIFO ([`fifo`]); the bytes are
//! cut into lines ([`lines`]), stored with the next id ([`segment_writer`]) and given to followers ([`follow`]). A
//! reader ([`query`], [`reader`]) gets the stored lines first ([`segment_reader`], [`merged`]) and follows from the id
//! where they end.

pub mod app_logs;
mod backward;
pub mod fifo;
pub mod follow;
pub mod intent_note;
pub mod lines;
pub mod log;
pub mod merged;
pub mod query;
pub mod reader;
pub mod record;
pub mod restarts;
pub mod rotating_file;
pub mod segment_files;
pub mod segment_reader;
pub mod segment_writer;
pub mod settings;
pub mod source;
pub mod store;
