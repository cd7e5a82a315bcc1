//! One command of a deploy: its output goes to the install log, its whole tree ends with it.
