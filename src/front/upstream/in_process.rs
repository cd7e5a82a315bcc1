//! The way to the API, which is a backend in this process: a pipe for each client's connection.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::DuplexStream;

/// Opens a pipe to the API for a client's address. It returns the near end; the far end speaks HTTP/1.1.
pub type Connector = Rc<dyn Fn(SocketAddr) -> DuplexStream>;

/// Makes a [`Connector`] on the worker thread that it is called on.
pub type ConnectorFactory = Arc<dyn Fn() -> Connector + Send + Sync>;
