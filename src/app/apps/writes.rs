//! [`Writes`]: tells whether what was read of the config directory may be older than what we wrote there (pure).

/// Our own writes to the config directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Writes {
    under_way: u32,
    ended: u64,
}

impl Writes {
    pub(super) fn begin(&mut self) {
        self.under_way += 1;
    }

    /// It is over, and what we know of the app is what was written.
    pub(super) fn end(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
        self.ended += 1;
    }

    /// Whether what was read since `before` is what is there: none was under way, and none is.
    #[must_use]
    pub(super) fn none_since(self, before: Self) -> bool {
        self == before && self.under_way == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_during_a_write_does_not_count() {
        let mut writes = Writes::default();
        let before = writes;
        assert!(writes.none_since(before));
        writes.begin();
        let during = writes;
        assert!(!writes.none_since(before) && !writes.none_since(during));
        writes.end();
        assert!(!writes.none_since(before) && !writes.none_since(during));
        assert!(writes.none_since(writes));
    }
}
