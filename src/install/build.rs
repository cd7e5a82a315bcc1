//! Runs install commands as the app's user, and hands the tree over to root.
