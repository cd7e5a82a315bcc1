//! HTTP/2 to clients (RFC 9113), by the `h2` crate.
//!
//! Each stream becomes one more [`Connection`](super::connection::Connection), of one request: its head is written as
//! a head of HTTP/1.1 and read by the parser that reads all others, and what is answered in HTTP/1.1 is taken apart
//! into frames. So routing, holding, collecting, limits, retries and the access log are the same code for both
//! versions, and whatever would be smuggled into HTTP/1.1 has to pass the parser that refuses it there.
//!
//! | what | where |
//! |---|---|
//! | accepts the streams of a connection, ends it | `connection` |
//! | the streams that are not answered yet | `open` |
//! | a stream as the connection that carries its request | `stream` |
//! | the body of a request, as bytes of HTTP/1.1 | `upload` |
//! | bytes of a response in HTTP/1.1, as frames | `reply` |
//! | heads, both ways | `heads` (pure) |
//! | how much a client may do that asks for nothing | `flood` (pure), `traffic` |

pub(super) mod connection;
mod flood;
mod heads;
mod open;
mod reply;
mod stream;
mod traffic;
mod upload;
