//! Images of releases, without a registry (OCI image specification 1.0).
//!
//! An image is a stack of layers: a root file system of this machine's Debian with the document's packages
//! ([`mmdebstrap`]), which applications with the same packages share ([`bases`]), or the layers of an image that the
//! settings name ([`base_image`]); the account of the application and its writable directories ([`identity`]); and each directory of the release at its own absolute path ([`files`]), so that what install commands
//! have made there, such as a Python environment, is valid in the image too. Layers, configuration and manifest are blobs
//! ([`blobs`]), each stored once by the digest of its content. [`images`] puts them together, and `store` remembers which image
//! belongs to which release; what no release has any more is swept.

pub mod base;
pub mod base_image;
pub mod bases;
pub mod blobs;
pub mod challenge;
pub mod digest;
pub mod files;
pub mod host;
pub mod identity;
pub mod images;
pub mod index;
pub mod layer;
pub mod manifest;
pub mod mmdebstrap;
pub mod programs;
pub mod pull;
pub mod pull_secret;
pub mod registry;
pub mod session;
mod store;
pub mod wish;

pub use images::{Image, Images, OnNodes, Origin};
pub use wish::{Owner, Wish};
