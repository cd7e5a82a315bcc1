//! Followers: bounded, told what they lost.
