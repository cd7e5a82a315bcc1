//! The tokens by which the API is called over TCP: who has one, what each may do, and until when.
//!
//! [`scope`] and [`token`] say what a token is, [`known`] is the immutable set that every worker thread looks at, [`wish`]
//! reads what somebody asks for (all pure). [`store::TokenStore`] is the only writer: of the file, and of the set.

pub mod error;
mod file;
pub mod first_token;
pub mod known;
pub mod scope;
pub mod store;
pub mod token;
pub mod wish;

pub use scope::Scope;
pub use store::TokenStore;
pub use token::Token;
