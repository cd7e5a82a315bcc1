//! Applications whose code is pushed to the server.

mod documents;
