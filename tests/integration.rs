//! The one integration binary.

mod conformance;

mod install;
