//! [`Writes`]: tells whether a scan of the config directory may have missed a write of the server itself (pure).

/// The server's own writes to the config directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Writes {
    under_way: u32,
    ended: u64,
}

impl Writes {
    pub(super) fn begin(&mut self) {
        self.under_way += 1;
    }

    /// Call it together with the change of what is known of the app.
    pub(super) fn end(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
        self.ended += 1;
    }

    /// Whether no write was under way from `before` until now.
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
