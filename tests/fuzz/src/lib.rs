//! What must hold for any bytes, one function for each fuzz target: it panics where it does not.
//!
//! An input begins with a few bytes that choose how it is run (see each function); the others are what a client, an app
//! or a document would send. The server's own tests run the same functions over all seeds, so this file is a part of
//! them too (`tests/fuzz_seeds.rs`): nothing here may need the nightly compiler or libFuzzer.

mod archive;
mod body;
mod forwarded;
mod heads;
mod hook;
mod request_head;
mod response_head;
mod target_path;

pub use archive::archive;
pub use body::body;
pub use forwarded::forwarded;
pub use hook::hook;
pub use request_head::request_head;
pub use response_head::response_head;
pub use target_path::target_path;

/// A property of one input.
pub type Property = fn(&[u8]);

/// All targets by their names.
pub const TARGETS: [(&str, Property); 7] = [
    ("request_head", request_head),
    ("response_head", response_head),
    ("body", body),
    ("target_path", target_path),
    ("forwarded", forwarded),
    ("archive", archive),
    ("hook", hook),
];
