//! [`Authority`]: the CA as this server asks it.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{Account, CertificateIdentifier, Error};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::account;
use super::challenges::PublishedChallenges;
use super::error::OrderError;
use super::order::{self, Desk};
use super::precheck::Precheck;
use super::schedule::Window;
use super::settings::Settings;
use super::storage::Storage;
use crate::tls::certificate::Certificate;

/// How long an order may take; then the next attempt goes on with it.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// How long the CA may take to say when it wants a renewal.
const SHORT: Duration = Duration::from_secs(60);

/// The CA as this server asks it. Its account is opened when it is first needed.
pub struct Authority {
    desk: Desk,
    account: Mutex<Option<Account>>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("desk", &self.desk)
            .finish_non_exhaustive()
    }
}

impl Authority {
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        storage: Storage,
        challenges: Arc<PublishedChallenges>,
        precheck: Precheck,
    ) -> Self {
        Self {
            desk: Desk {
                settings,
                storage,
                challenges,
                precheck,
            },
            account: Mutex::default(),
        }
    }

    /// Gets a certificate for this name and puts it in the place of the `old` one. Where an order is open it goes on.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn obtain(
        &self,
        name: &str,
        old: Option<&Certificate>,
    ) -> Result<Certificate, OrderError> {
        let order = async {
            match self.order(name, old).await {
                Err(error) if error.is_account_unknown() => {
                    *self.account.lock().await = None;
                    order::on_files(&self.desk.storage, Storage::forget_account).await?;
                    self.order(name, old).await
                }
                done => done,
            }
        };
        match tokio::time::timeout(LIMIT, order).await {
            Ok(done) => done,
            Err(_) => Err(OrderError::Slow(LIMIT.as_secs() / 60)),
        }
    }

    async fn order(
        &self,
        name: &str,
        old: Option<&Certificate>,
    ) -> Result<Certificate, OrderError> {
        let account = self.account().await?;
        order::obtain(&self.desk, &account, name, old.and_then(identifier)).await
    }

    /// When the CA wants this certificate to be renewed, and when it is to be asked again. `None`: it does not say.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn renewal_window(
        &self,
        certificate: &Certificate,
    ) -> Result<Option<(Window, Timestamp)>, OrderError> {
        let Some(identifier) = identifier(certificate) else {
            return Ok(None);
        };
        let asked = async {
            let account = self.account().await?;
            match account.renewal_info(&identifier).await {
                Err(Error::Unsupported(_)) => Ok(None),
                asked => Ok::<_, OrderError>(Some(asked?)),
            }
        };
        let asked = tokio::time::timeout(SHORT, asked).await;
        let Some((info, again)) = asked.unwrap_or(Err(OrderError::Slow(1)))? else {
            return Ok(None);
        };
        let at = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        let window = Window {
            start: at(info.suggested_window.start.unix_timestamp()),
            end: at(info.suggested_window.end.unix_timestamp()),
        };
        let again = SignedDuration::try_from(again).unwrap_or(SignedDuration::MAX);
        let again = Timestamp::now()
            .saturating_add(again)
            .unwrap_or(Timestamp::MAX);
        Ok(Some((window, again)))
    }

    /// One at a time: two orders that come first open one account.
    async fn account(&self) -> Result<Account, OrderError> {
        let mut kept = self.account.lock().await;
        if let Some(account) = &*kept {
            return Ok(account.clone());
        }
        let account = account::open(&self.desk.settings, &self.desk.storage).await?;
        Ok(kept.insert(account).clone())
    }
}

/// What the CA calls a certificate (RFC 9773 §4.1).
fn identifier(certificate: &Certificate) -> Option<CertificateIdentifier<'static>> {
    let leaf = certificate.key.cert.first()?;
    let identifier = CertificateIdentifier::try_from(leaf).ok()?;
    Some(identifier.into_owned())
}
