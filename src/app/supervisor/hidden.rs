//! [`Secrets`]: what those may not see who may look at the app.

use actix::prelude::*;
use jiff::Timestamp;

use super::App;
use crate::document::mask::{self, Mask};

/// Asks for the [`Secrets`] of the app.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Secrets")]
pub struct Hidden;

/// The secrets of its documents, also of those of kept releases, whose processes may still print them.
#[derive(Clone, Debug)]
pub struct Secrets {
    pub mask: Mask,
    /// Before that the app may have had others.
    pub since: Timestamp,
}

impl Handler<Hidden> for App {
    type Result = MessageResult<Hidden>;

    fn handle(&mut self, _: Hidden, _: &mut Self::Context) -> Self::Result {
        let documents = &self.deployer.documents;
        let present = [documents.newest(), documents.standing()].map(|config| &config.document);
        let kept = self.deployer.releases.records.iter();
        let all = present
            .into_iter()
            .chain(kept.map(|record| &record.document));
        let server = &self.spec.context.settings.env;
        let of_server = mask::of_values(server.values().cloned());
        let of_one_offs = mask::of_values(self.one_offs.secrets());
        let secrets = all
            .flat_map(mask::of_document)
            .chain(of_server)
            .chain(of_one_offs);
        MessageResult(Secrets {
            mask: Mask::new(secrets),
            since: self.deployer.secrets_since,
        })
    }
}
