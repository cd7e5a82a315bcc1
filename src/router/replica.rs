//! [`Replica`]: the router's copy on a worker's own thread.
