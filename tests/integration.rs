//! The one integration binary.

mod front;
