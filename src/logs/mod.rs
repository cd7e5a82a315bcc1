//! Logs of applications: FIFOs in, numbered lines in rotated segments, readers and followers out.
//!
//! The way of a line: a process writes to its FIFO ([`fifo`]) → it is cut ([`lines`]) → stored with the next id
//! ([`segment`]) → given to who follows ([`follow`]). A reader ([`query`]) gets the stored lines ([`stored`], [`merged`]) first ([`delivery`]) and
//! follows from the id where they end. [`log`] is the actor that owns all of it.
//! What the front end tells of each request comes by another way ([`access`]).

pub mod app_logs;
pub mod fifo;
pub mod follow;
pub mod intent_note;
pub mod lines;
pub mod log;
pub mod merged;
pub mod query;
pub mod reader;
pub mod record;
pub mod rotating_file;
pub mod segment_reader;
pub mod segment_writer;
pub mod source;
pub mod store;
