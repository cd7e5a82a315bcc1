//! The layer that has the application's user, and the directories that it may write to.

use std::io;

use super::blobs::Blobs;
use super::layer::{Layer, LayerWriter, Rights};
use super::wish::{Owner, Wish};

/// What `/etc/passwd` and `/etc/group` of a root file system say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    pub passwd: String,
    pub group: String,
}

impl Accounts {
    /// With `owner` under its numbers: what the root file system has under that name or number otherwise gives way, since
    /// the files of the application have this machine's numbers.
    #[must_use]
    pub fn with(&self, owner: &Owner) -> Self {
        let (uid, gid) = (owner.uid.to_string(), owner.gid.to_string());
        let home = owner.home.display();
        Self {
            passwd: replaced(
                &self.passwd,
                &owner.user,
                &uid,
                &format!("{}:x:{uid}:{gid}::{home}:/bin/sh", owner.user),
            ),
            group: replaced(
                &self.group,
                &owner.group,
                &gid,
                &format!("{}:x:{gid}:", owner.group),
            ),
        }
    }
}

/// passwd(5) and group(5) have the name in the first field and the number in the third.
fn replaced(text: &str, name: &str, id: &str, line: &str) -> String {
    let is_other = |line: &&str| {
        let mut fields = line.split(':');
        fields.next() != Some(name) && fields.nth(1) != Some(id)
    };
    let lines = text.lines().filter(is_other).chain([line]);
    lines.fold(String::new(), |text, line| text + line + "\n")
}

/// Makes the layer. The directories of `wish` are empty in it. Blocks.
///
/// # Errors
/// A directory above a writable one cannot be looked at; the store cannot be written to.
pub fn layer_of(blobs: &Blobs, accounts: &Accounts, wish: &Wish) -> io::Result<Layer> {
    let mut writer = LayerWriter::new(blobs)?;
    let owner = &wish.owner;
    let accounts = accounts.with(owner);
    for (path, text) in [
        ("/etc/passwd", &accounts.passwd),
        ("/etc/group", &accounts.group),
    ] {
        let content = (text.as_bytes(), text.len() as u64);
        writer.file(path.as_ref(), Rights::OF_ROOT, 0, content)?;
    }
    let own = Rights {
        uid: owner.uid,
        gid: owner.gid,
        mode: 0o700,
    };
    for path in &wish.writable {
        writer.parents(path)?;
        writer.directory(path, own, 0)?;
    }
    // Memory is mounted there, which runc gives the mode of what it is mounted on.
    writer.parents(&wish.tmp)?;
    writer.directory(
        &wish.tmp,
        Rights {
            mode: 0o1777,
            ..own
        },
        0,
    )?;
    writer.store()
}

#[cfg(test)]
mod tests {
    use super::super::layer::tests::entries;
    use super::*;
    use crate::document::name::AppName;

    fn owner() -> Owner {
        Owner {
            user: "ps-shop".into(),
            group: "ps-shop".into(),
            uid: 998,
            gid: 997,
            home: "/var/lib/procserver/apps/shop/home".into(),
        }
    }

    #[test]
    fn the_application_s_user_has_its_numbers_alone() {
        let accounts = Accounts {
            passwd: "root:x:0:0:root:/root:/bin/bash\n_apt:x:998:65534::/nonexistent:/usr/sbin/nologin\nps-shop:x:5:5::/:/bin/sh\n".into(),
            group: "root:x:0:\nssl:x:997:\n".into(),
        };
        let with = accounts.with(&owner());
        assert_eq!(
            with.passwd,
            "root:x:0:0:root:/root:/bin/bash\nps-shop:x:998:997::/var/lib/procserver/apps/shop/home:/bin/sh\n"
        );
        assert_eq!(with.group, "root:x:0:\nps-shop:x:997:\n");
        assert_eq!(with.with(&owner()), with);
    }

    #[test]
    fn writable_directories_are_the_user_s_and_those_above_are_not() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(home.path().join("blobs")).unwrap();
        let tmp = home.path().join("apps/shop/tmp");
        std::fs::create_dir_all(tmp.parent().unwrap()).unwrap();
        let wish = Wish {
            app: AppName::parse("shop").unwrap(),
            code: 1,
            files: vec![],
            writable: vec![tmp.with_file_name("storage")],
            tmp: tmp.clone(),
            owner: owner(),
            packages: vec![],
            found: vec![],
        };
        let layer = layer_of(&blobs, &Accounts::default(), &wish).unwrap();
        let told = entries(&blobs, &layer);
        assert!(told[0].starts_with("Regular etc/passwd 0:0 644 ps-shop:x:998:997:"));
        assert!(told[1].starts_with("Regular etc/group 0:0 644 ps-shop:x:997:"));
        let above = tmp.parent().unwrap().strip_prefix("/").unwrap();
        let inner = above.display();
        let last = [
            format!("Directory {inner}/storage 998:997 700 "),
            format!("Directory {inner}/tmp 998:997 1777 "),
        ];
        assert!(told.ends_with(&last), "{told:?}");
        let above = format!("Directory {} ", above.display());
        let is_above = |line: &&String| line.starts_with(&above) && !line.contains("998:");
        assert_eq!(told.iter().filter(is_above).count(), 1);
    }
}
