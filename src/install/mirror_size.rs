//! [`MirrorSize`]: what the objects of a mirror take, and whether it is worth packing them anew (pure, but for the look).
//!
//! Packing leaves one pack. So the largest pack stands for the last packing, and what is beside it for what has come
//! since, also for a server that was started again. Packing is due when that is half as large: its cost stays in
//! proportion to what is pushed, and a mirror is never larger than twice what it had after the last packing, and a bit.

use std::path::Path;

/// Each push, fetch or upload adds a pack, or loose objects when they are few.
const MAX_PACKS: u64 = 12;
const MAX_LOOSE: u64 = 3000;

/// Less is not worth it; bytes.
const LITTLE: u64 = 8 << 20;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MirrorSize {
    packs: u64,
    /// Bytes of all packs.
    packed: u64,
    /// Bytes of the largest one.
    largest: u64,
    /// How many objects are files of their own, and their bytes.
    loose: u64,
    loose_bytes: u64,
}

impl MirrorSize {
    /// Blocks.
    pub(super) fn of(mirror: &Path) -> Self {
        let objects = mirror.join("objects");
        let mut size = Self::default();
        for (name, bytes) in files(&objects.join("pack")) {
            if name.ends_with(".pack") {
                size.add_pack(bytes);
            }
        }
        for first in 0..=255 {
            for (_, bytes) in files(&objects.join(format!("{first:02x}"))) {
                size.loose += 1;
                size.loose_bytes = size.loose_bytes.saturating_add(bytes);
            }
        }
        size
    }

    fn add_pack(&mut self, bytes: u64) {
        self.packs += 1;
        self.packed = self.packed.saturating_add(bytes);
        self.largest = self.largest.max(bytes);
    }

    /// Whether to pack.
    pub(super) fn is_due(self) -> bool {
        let since = (self.packed - self.largest).saturating_add(self.loose_bytes);
        self.packs > MAX_PACKS || self.loose > MAX_LOOSE || since > LITTLE.max(self.largest / 2)
    }
}

impl std::fmt::Display for MirrorSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.packed.saturating_add(self.loose_bytes);
        let (packs, loose) = (self.packs, self.loose);
        write!(
            f,
            "{} KiB in {packs} packs and {loose} loose objects",
            bytes.div_ceil(1024)
        )
    }
}

/// Names and bytes of the files in a directory, if there is one.
fn files(directory: &Path) -> impl Iterator<Item = (String, u64)> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let found = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        Some((entry.file_name().into_string().ok()?, found.len()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(packs: &[u64], loose: &[u64]) -> MirrorSize {
        let mut size = MirrorSize::default();
        packs.iter().for_each(|bytes| size.add_pack(*bytes));
        size.loose = loose.len() as u64;
        size.loose_bytes = loose.iter().sum();
        size
    }

    proptest! {
        /// Else it would be packed again after each deploy.
        #[test]
        fn what_was_just_packed_is_not_due(bytes: u64) {
            prop_assert!(!size(&[bytes], &[]).is_due());
            prop_assert!(!size(&[], &[]).is_due());
        }

        #[test]
        fn what_is_not_due_is_bounded_by_its_largest_pack(
            packs in prop::collection::vec(0..1_u64 << 40, 0..20),
            loose in prop::collection::vec(0..1_u64 << 30, 0..20),
        ) {
            let size = size(&packs, &loose);
            let all = packs.iter().chain(&loose).sum::<u64>();
            let largest = packs.iter().copied().max().unwrap_or(0);
            let is_small = all <= largest + LITTLE.max(largest / 2);
            prop_assert_eq!(size.is_due(), !is_small || packs.len() > 12);
        }

        #[test]
        fn more_that_is_not_the_largest_keeps_it_due(
            packs in prop::collection::vec(0..1_u64 << 40, 1..20),
            more in 0..1_u64 << 40,
        ) {
            let largest = packs.iter().copied().max().unwrap();
            let before = size(&packs, &[]);
            let after = size(&[&packs[..], &[more.min(largest)]].concat(), &[]);
            prop_assert!(!before.is_due() || after.is_due());
        }
    }

    #[test]
    fn the_files_of_a_mirror_are_counted() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(MirrorSize::of(home.path()), MirrorSize::default());
        for (name, length) in [
            ("pack/pack-1.pack", 7),
            ("pack/pack-1.idx", 100),
            ("pack/pack-2.pack", 5),
            ("a0/1", 3),
            ("info/packs", 9),
        ] {
            let path = home.path().join("objects").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![0; length]).unwrap();
        }
        assert_eq!(MirrorSize::of(home.path()), size(&[7, 5], &[3]));
    }

    #[test]
    fn many_packs_or_objects_are_due() {
        assert!(!size(&[1; 12], &[1; 3000]).is_due());
        assert!(size(&[1; 13], &[]).is_due());
        assert!(size(&[], &[1; 3001]).is_due());
    }
}
