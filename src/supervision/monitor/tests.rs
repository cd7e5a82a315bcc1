//! What the monitor promises, tried on actors that misbehave in each way there is.

use std::sync::mpsc;
use std::time::Duration;

use actix_rt::Arbiter;

use super::*;

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Build,
    Started,
    Handler,
    Stopped,
    Drop,
    HandlerAndStoppedAndDrop,
}

struct Subject {
    fault: Fault,
    reason: ExitReason,
}

impl Actor for Subject {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        assert!(self.fault != Fault::Started, "in started");
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        let faulty = [Fault::Stopped, Fault::HandlerAndStoppedAndDrop];
        assert!(!faulty.contains(&self.fault), "in stopped");
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let faulty = [Fault::Drop, Fault::HandlerAndStoppedAndDrop];
        assert!(!faulty.contains(&self.fault), "in drop");
    }
}

#[derive(Message)]
#[rtype(result = "u8")]
struct Poke;

impl Handler<Poke> for Subject {
    type Result = u8;

    fn handle(&mut self, _: Poke, _: &mut Self::Context) -> u8 {
        let faulty = [Fault::Handler, Fault::HandlerAndStoppedAndDrop];
        assert!(!faulty.contains(&self.fault), "in a handler");
        7
    }
}

impl Handler<Shutdown> for Subject {
    type Result = ();

    fn handle(&mut self, _: Shutdown, ctx: &mut Self::Context) {
        self.reason.set(Exit::Shutdown);
        ctx.stop();
    }
}

fn run(arbiter: &ArbiterHandle, fault: Fault) -> (Child<Subject>, mpsc::Receiver<Exit>) {
    let (sender, receiver) = mpsc::channel();
    let build = move |_: &mut Context<Subject>, reason| {
        assert!(fault != Fault::Build, "in build");
        Subject { fault, reason }
    };
    let child = start(arbiter, build, move |exit| {
        sender.send(exit).expect("the test listens");
    });
    (child, receiver)
}

/// The one exit; the sender is gone afterwards, so that there can be no second.
fn only_exit(exits: &mpsc::Receiver<Exit>) -> Exit {
    let exit = exits
        .recv_timeout(Duration::from_secs(10))
        .expect("an exit");
    assert_eq!(
        exits.recv_timeout(Duration::from_secs(10)),
        Err(mpsc::RecvTimeoutError::Disconnected)
    );
    exit
}

fn panic_in(place: &str) -> Exit {
    Exit::Panic(format!("in {place}"))
}

#[actix::test]
async fn a_panic_anywhere_becomes_one_exit_and_closes_the_mailbox() {
    let arbiter = Arbiter::new();
    for (fault, place) in [
        (Fault::Build, "build"),
        (Fault::Started, "started"),
        (Fault::Handler, "a handler"),
        (Fault::Stopped, "stopped"),
        (Fault::Drop, "drop"),
        (Fault::HandlerAndStoppedAndDrop, "a handler"),
    ] {
        let (child, exits) = run(&arbiter.handle(), fault);
        child.addr.do_send(Poke);
        child.addr.do_send(Shutdown);
        assert_eq!(only_exit(&exits), panic_in(place));
        assert!(!child.addr.connected());
        assert_eq!(child.addr.send(Poke).await, Err(MailboxError::Closed));
    }
    // The arbiter lives on and takes the next.
    let (child, exits) = run(&arbiter.handle(), Fault::None);
    assert_eq!(child.addr.send(Poke).await, Ok(7));
    child.addr.do_send(Shutdown);
    assert_eq!(only_exit(&exits), Exit::Shutdown);
    arbiter.stop();
}

#[actix::test]
async fn an_actor_without_addresses_ends_normally() {
    let arbiter = Arbiter::new();
    let (child, exits) = run(&arbiter.handle(), Fault::None);
    drop(child);
    assert_eq!(only_exit(&exits), Exit::Normal);
    arbiter.stop();
}

#[actix::test]
async fn a_killed_actor_runs_nothing_more() {
    let arbiter = Arbiter::new();
    // `stopped` would panic: it must not be called.
    let (child, exits) = run(&arbiter.handle(), Fault::Stopped);
    assert_eq!(child.addr.send(Poke).await, Ok(7));
    child.kill();
    child.kill();
    assert_eq!(only_exit(&exits), Exit::Killed);
    assert_eq!(child.addr.send(Poke).await, Err(MailboxError::Closed));
    arbiter.stop();
}

#[actix::test]
async fn an_actor_killed_before_it_is_built_never_starts() {
    let arbiter = Arbiter::new();
    let (go, gate) = mpsc::channel::<()>();
    arbiter.spawn_fn(move || gate.recv().expect("the test opens the gate"));
    let (child, exits) = run(&arbiter.handle(), Fault::Started);
    child.kill();
    go.send(()).expect("the arbiter waits");
    assert_eq!(only_exit(&exits), Exit::Killed);
    arbiter.stop();
}

#[actix::test]
async fn a_dying_arbiter_kills_its_actors() {
    let arbiter = Arbiter::new();
    let (child, exits) = run(&arbiter.handle(), Fault::Drop);
    assert_eq!(child.addr.send(Poke).await, Ok(7));
    arbiter.stop();
    arbiter.join().expect("no panic leaves the actor");
    assert_eq!(only_exit(&exits), Exit::Killed);
}

#[actix::test]
async fn on_a_dead_arbiter_it_is_killed_at_once() {
    let arbiter = Arbiter::new();
    let handle = arbiter.handle();
    arbiter.stop();
    arbiter.join().expect("joins");
    let (child, exits) = run(&handle, Fault::None);
    assert_eq!(only_exit(&exits), Exit::Killed);
    assert!(!child.addr.connected());
}
