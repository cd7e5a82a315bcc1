//! After a 101: bytes both ways.
