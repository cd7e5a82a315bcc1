//! What the tests of the swarm stand on, and with them this bench.

#[path = "../../tests/support/machine.rs"]
pub(crate) mod machine;
#[path = "../../tests/support/wait.rs"]
pub(crate) mod wait;
