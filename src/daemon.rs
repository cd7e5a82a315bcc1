//! The composition root: builds the tree, in order, and takes it down in reverse.
