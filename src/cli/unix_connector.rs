//! [`UnixConnector`]: lets awc reach the API's Unix socket.

use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_rt::net::UnixStream;
use actix_service::Service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use awc::http::Uri;
use futures::future::{FutureExt, LocalBoxFuture};

/// Connects to one Unix socket, whatever host the URL names.
#[derive(Clone, Debug)]
pub struct UnixConnector {
    path: Rc<PathBuf>,
}

impl UnixConnector {
    /// A connector to the socket at `path`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path: Rc::new(path),
        }
    }
}

impl Service<ConnectInfo<Uri>> for UnixConnector {
    type Response = Connection<Uri, UnixStream>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, to: ConnectInfo<Uri>) -> Self::Future {
        let path = Rc::clone(&self.path);
        async move {
            let stream = UnixStream::connect(path.as_path())
                .await
                .map_err(ConnectError::Io)?;
            Ok(Connection::new(to.request().clone(), stream))
        }
        .boxed_local()
    }
}
