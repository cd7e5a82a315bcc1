//! Message bodies: Content-Length, chunked, until close (pure).
