//! Accepting, on a worker's own thread: a connection never changes threads.
//!
//! All workers wait on the same sockets, so whoever has time takes the next connection, and one that is busy or full
//! keeps none waiting. Handing connections over from a thread of its own took two changes of context each.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

use super::connection::Connection;
use super::drain::Place;
use super::exchange::client::Endpoints;
use super::listener::{Listening, Sockets};
use super::upstream::upkeep;
use super::worker::{Plan, Worker};
use crate::{priority, threads};

/// The pause after an accept that failed: out of file descriptors, it would fail again at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs a worker on this thread: accepts until the front end drains, and then lets its connections end. `alive` is
/// dropped early only when it could not go on.
pub(super) async fn run(plan: Plan, mut alive: oneshot::Sender<()>) {
    priority::step_back();
    threads::keep_one();
    let worker = Rc::new(Worker::new(&plan));
    let weak = || Rc::downgrade(&worker);
    actix_rt::spawn(upkeep::give_up(weak(), plan.calls.subscribe()));
    actix_rt::spawn(upkeep::tidy(weak(), plan.table.clone()));
    accept_all(&worker, plan.sockets).await;
    alive.closed().await;
}

/// Accepts on all sockets that are published, until the front end drains.
async fn accept_all(worker: &Rc<Worker>, mut sockets: watch::Receiver<Sockets>) {
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
        serve(worker, stream, peer, socket);
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
            Ok((stream, peer)) => serve(worker, stream, peer, &socket),
            Err(error) => {
                worker.tell_not_accepted(name, &error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Serves a connection on a task of its own. The stream has TCP_NODELAY from its listener.
fn serve(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, socket: &Listening) {
    // At once: whoever counts connections must not miss one that was accepted and is not served yet.
    let counted = worker.count();
    let endpoints = Endpoints {
        peer,
        local: socket.local,
        app_port: socket.port,
        is_trusted: worker.trusts(peer),
    };
    let worker = Rc::clone(worker);
    drop(actix_rt::spawn(async move {
        let _counted = counted;
        // Without an answer: who has that many connections may be after what answering costs.
        if let Some(_visit) = worker.admit(&endpoints) {
            Connection::new(stream, endpoints, worker).serve().await;
        }
    }));
}
