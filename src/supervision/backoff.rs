//! Back-off: the delay before a crashed OS process is started again (pure).
