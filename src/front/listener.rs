//! Listening sockets: those of the server and those of apps with a port of their own.
