//! One client connection: its requests, in order.
