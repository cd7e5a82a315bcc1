//! Accepting, on a worker's own thread: a connection never changes threads.
//!
//! All workers wait on the same sockets, so whoever has time takes the next connection, and one that is busy or full
//! keeps none waiting. Handing connections over from a thread of its own took two changes of context each.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;

use super::drain::Place;
use super::listener::{Listening, Sockets};
use super::worker::Worker;

/// The pause after an accept that failed: out of file descriptors, it would fail again at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts on all sockets that are published, until the front end drains.
pub(super) async fn accept_all(worker: &Rc<Worker>, mut sockets: watch::Receiver<Sockets>) {
    let mut drains = Place::new(&worker.drain);
    loop {
        let open = sockets.borrow_and_update().clone();
        let accepting = join_all(open.iter().cloned().map(|socket| accept(worker, socket)));
        let accepting = async {
            accepting.await;
            // Nothing is open yet.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = accepting => {}
            changed = sockets.changed() => if changed.is_err() {
                return;
            },
            () = poll_fn(|cx| drains.poll(cx)) => {}
        }
        if worker.is_draining() {
            return open.iter().for_each(|socket| serve_waiting(worker, socket));
        }
    }
}

/// Serves those that had connected before the socket is closed: they were promised an answer.
fn serve_waiting(worker: &Rc<Worker>, socket: &Listening) {
    while let Some((stream, peer)) = socket.take_waiting() {
        let serving = Rc::clone(worker).serve(stream, (peer, socket.local, socket.port));
        drop(actix_rt::spawn(serving));
    }
}

/// Accepts on one socket; does not end. Whenever it is dropped no connection is lost.
async fn accept(worker: &Rc<Worker>, socket: Arc<Listening>) -> std::convert::Infallible {
    let name = socket.local;
    let listener = loop {
        match socket.of_this_thread() {
            Ok(listener) => break listener,
            Err(error) => log::warn!("{name}: cannot listen: {error}"),
        }
        tokio::time::sleep(PAUSE).await;
    };
    loop {
        worker.has_room().await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                let serving = Rc::clone(worker).serve(stream, (peer, name, socket.port));
                drop(actix_rt::spawn(serving));
            }
            Err(error) => {
                worker.tell_not_accepted(name, &error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
