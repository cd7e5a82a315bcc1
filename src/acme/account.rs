//! The account at the CA.

use instant_acme::{Account, AccountBuilder, AccountCredentials, Key, NewAccount};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::error::OrderError;
use super::settings::{ExternalAccount, Settings};
use super::storage::Storage;
use crate::tls::server_config::provider;

/// The account that is kept, or a new one. Its key is kept before the CA hears of it: to ask twice with one key gives
/// one account (RFC 8555 §7.3.1).
pub(super) async fn open(settings: &Settings, storage: &Storage) -> Result<Account, OrderError> {
    let builder = client(settings).await?;
    let from = storage.clone();
    // One that is damaged is put aside, and its key opens it again.
    let kept = tokio::task::spawn_blocking(move || from.account::<AccountCredentials>()).await??;
    if let Some(credentials) = kept {
        return Ok(builder.from_credentials(credentials).await?);
    }
    let (account, credentials) = match &settings.external_account {
        Some(external) => bind(builder, settings, external).await?,
        None => create(builder, settings, storage).await?,
    };
    let to = storage.clone();
    tokio::task::spawn_blocking(move || to.save_account(&credentials)).await??;
    Ok(account)
}

/// The HTTP client. The roots of the system are read from files.
async fn client(settings: &Settings) -> Result<AccountBuilder, OrderError> {
    // instant-acme takes the provider of the process. One that is there already is as good.
    let _there = provider().as_ref().clone().install_default();
    let root = settings.root_ca.clone();
    let built = tokio::task::spawn_blocking(move || match root {
        Some(root) => Account::builder_with_root(root),
        None => Account::builder(),
    });
    Ok(built.await??)
}

async fn create(
    builder: AccountBuilder,
    settings: &Settings,
    storage: &Storage,
) -> Result<(Account, AccountCredentials), OrderError> {
    let files = storage.clone();
    let key = tokio::task::spawn_blocking(move || {
        if let Some(key) = files.account_key()? {
            let key = PrivatePkcs8KeyDer::from(key);
            match Key::from_pkcs8_der(key.clone_key()) {
                Ok(_) => return Ok(key),
                Err(_) => files.put_account_key_aside()?,
            }
        }
        let (_, key) = Key::generate_pkcs8()?;
        files.save_account_key(key.secret_pkcs8_der())?;
        Ok::<_, OrderError>(key)
    });
    let key = key.await??;
    let pair = (
        Key::from_pkcs8_der(key.clone_key())?,
        PrivateKeyDer::from(key),
    );
    let directory = settings.directory.clone();
    let (account, credentials) = builder.create_from_key(pair, directory).await?;
    if let Some(contact) = contact(settings) {
        account.update_contacts(&[&contact]).await?;
    }
    Ok((account, credentials))
}

/// An account that belongs to one which the CA keeps elsewhere. Its key is made by instant-acme.
async fn bind(
    builder: AccountBuilder,
    settings: &Settings,
    external: &ExternalAccount,
) -> Result<(Account, AccountCredentials), OrderError> {
    let contact = contact(settings);
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let account = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let key = instant_acme::ExternalAccountKey::new(external.id.clone(), &external.key);
    let directory = settings.directory.clone();
    Ok(builder.create(&account, directory, Some(&key)).await?)
}

fn contact(settings: &Settings) -> Option<String> {
    let email = settings.email.as_ref()?;
    Some(format!("mailto:{email}"))
}
