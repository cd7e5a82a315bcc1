//! Rewrites heads: hop-by-hop fields out, forwarding fields in (pure).
