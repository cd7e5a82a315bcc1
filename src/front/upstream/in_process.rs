//! The API as a backend in this process: a pipe per connection.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::DuplexStream;

/// Opens pipes to the API on one worker thread: given the client's address it returns the near end of a pipe whose far
/// end speaks HTTP/1.1.
pub type Connector = Rc<dyn Fn(SocketAddr) -> DuplexStream>;

/// Makes a [`Connector`] on the worker thread that it is called on.
pub type ConnectorFactory = Arc<dyn Fn() -> Connector + Send + Sync>;
