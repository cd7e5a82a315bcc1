//! One order, from the account to the certificate (RFC 8555 §7.4). An order that was cut off goes on where it was.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, CertificateIdentifier, ChallengeHandle,
    ChallengeStatus, ChallengeType, Error, Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::challenges::{Answer, PublishedChallenges};
use super::error::{self, OrderError};
use super::hook::{self, Ask};
use super::precheck::Precheck;
use super::settings::{Method, Settings};
use super::storage::{OpenOrder, Storage, StorageError};
use crate::failpoint;
use crate::tls::certificate::{Certificate, Source};
use crate::tls::server_config::provider;

/// How the CA is asked whether it has looked, and whether the certificate is made.
const POLLS: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(5 * 60));

/// What all orders share.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) settings: Arc<Settings>,
    pub(super) storage: Storage,
    pub(super) challenges: Arc<PublishedChallenges>,
    pub(super) precheck: Precheck,
}

/// Gets a certificate for this name and puts it in the place of the old one, which `replaces` names to a CA that wants
/// to know. Where an order is open it goes on.
pub(super) async fn obtain(
    desk: &Desk,
    account: &Account,
    name: &str,
    replaces: Option<CertificateIdentifier<'_>>,
) -> Result<Certificate, OrderError> {
    let (mut ordering, mut order) = match Ordering::resume(desk, account, name).await? {
        Some(resumed) => resumed,
        None => Ordering::begin(desk, account, name, replaces).await?,
    };
    let done = ordering.complete(&mut order).await;
    if let Err(error) = &done
        && !error.may_go_on()
    {
        ordering.withdraw().await;
        let name = name.to_owned();
        on_files(&desk.storage, move |files| files.forget_order(&name)).await?;
    }
    done
}

/// The order of one name.
struct Ordering<'a> {
    desk: &'a Desk,
    name: &'a str,
    open: OpenOrder,
    key: KeyPair,
}

impl<'a> Ordering<'a> {
    /// The order that is open, if there is one and the CA still knows it.
    async fn resume(
        desk: &'a Desk,
        account: &Account,
        name: &'a str,
    ) -> Result<Option<(Self, Order)>, OrderError> {
        let named = name.to_owned();
        let kept = on_files(&desk.storage, move |files| {
            let open = files.order(&named)?;
            Ok(open.zip(files.order_key(&named)?))
        });
        let Some((open, key)) = kept.await? else {
            return Ok(None);
        };
        let key = KeyPair::from_pem(&String::from_utf8_lossy(&key))?;
        let found = account.order(open.url.clone()).await;
        let ordering = Self {
            desk,
            name,
            open,
            key,
        };
        match found.map_err(OrderError::from) {
            Ok(mut order) => {
                if order.state().status != OrderStatus::Invalid {
                    return Ok(Some((ordering, order)));
                }
            }
            Err(error) if error.is_account_unknown() || error.may_go_on() => return Err(error),
            // The CA has forgotten it.
            Err(_) => {}
        }
        ordering.withdraw().await;
        let name = name.to_owned();
        on_files(&desk.storage, move |files| files.forget_order(&name)).await?;
        Ok(None)
    }

    /// A new order, kept as soon as the CA has named its URL.
    async fn begin(
        desk: &'a Desk,
        account: &Account,
        name: &'a str,
        replaces: Option<CertificateIdentifier<'_>>,
    ) -> Result<(Self, Order), OrderError> {
        let method = desk.settings.method_for(name);
        if method == Method::Dns && desk.settings.dns_hook.is_none() {
            return Err(OrderError::NoHook);
        }
        if desk.settings.check_first {
            match method {
                Method::Http => desk.precheck.look(name, &desk.challenges).await?,
                Method::TlsAlpn => drop(desk.precheck.addresses(name).await?),
                Method::Dns => {}
            }
        }
        let key = KeyPair::generate()?;
        let (named, pem) = (name.to_owned(), key.serialize_pem());
        on_files(&desk.storage, move |files| {
            files.save_order_key(&named, &pem)
        })
        .await?;
        let order = new_order(&desk.settings, account, name, replaces).await?;
        let open = OpenOrder {
            url: order.url().to_owned(),
            answers: Vec::new(),
        };
        let ordering = Self {
            desk,
            name,
            open,
            key,
        };
        ordering.keep().await?;
        Ok((ordering, order))
    }

    async fn complete(&mut self, order: &mut Order) -> Result<Certificate, OrderError> {
        if order.state().status == OrderStatus::Pending {
            self.authorize(order).await?;
            failpoint::reach("acme answers are ready");
            if let Err(error) = poll_ready(order).await {
                return Err(unverified(order).await.unwrap_or(error));
            }
        }
        failpoint::reach("acme order is ready");
        if order.state().status == OrderStatus::Ready {
            order.finalize_csr(&self.request()?).await?;
            failpoint::reach("acme order is finalized");
        }
        let chain = order.poll_certificate(&POLLS).await?;
        failpoint::reach("acme certificate is here");
        let key = self.key.serialize_pem();
        let read =
            Certificate::from_pem(chain.as_bytes(), key.as_bytes(), Source::Acme, &provider());
        let certificate = read?;
        if !certificate.names.iter().any(|name| name == self.name) {
            return Err(OrderError::OtherNames(certificate.names.join(", ")));
        }
        self.withdraw().await;
        let name = self.name.to_owned();
        on_files(&self.desk.storage, move |files| {
            files.install(&name, &chain)
        })
        .await?;
        Ok(certificate)
    }

    /// Answers every challenge that is open.
    async fn authorize(&mut self, order: &mut Order) -> Result<(), OrderError> {
        let method = self.desk.settings.method_for(self.name);
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            match authorization.status {
                AuthorizationStatus::Pending => {}
                // Of an order before this.
                AuthorizationStatus::Valid => continue,
                _ => return Err(OrderError::Unverified(reasons(&authorization))),
            }
            let offered = offered(&authorization);
            let Some(mut challenge) = authorization.challenge(kind(method)) else {
                return Err(OrderError::NotOffered {
                    wanted: method,
                    offered,
                });
            };
            let answer = self.answer(method, &challenge);
            self.publish(answer).await?;
            if challenge.status == ChallengeStatus::Pending {
                challenge.set_ready().await?;
            }
        }
        Ok(())
    }

    fn answer(&self, method: Method, challenge: &ChallengeHandle<'_>) -> Answer {
        let authorization = challenge.key_authorization();
        let key_authorization = authorization.as_str().to_owned();
        match method {
            Method::Http => Answer::Http {
                token: challenge.token.clone(),
                key_authorization,
            },
            Method::TlsAlpn => Answer::TlsAlpn {
                name: self.name.to_owned(),
                key_authorization,
            },
            Method::Dns => Answer::Dns {
                name: format!("_acme-challenge.{}", self.name.trim_start_matches("*.")),
                value: authorization.dns_value(),
            },
        }
    }

    /// Gives an answer, after it is kept: a daemon that comes after this one must give it too.
    async fn publish(&mut self, answer: Answer) -> Result<(), OrderError> {
        if !self.open.answers.contains(&answer) {
            self.open.answers.push(answer.clone());
            self.keep().await?;
        }
        self.desk.challenges.add(&answer)?;
        if let (Answer::Dns { name, value }, Some(program)) =
            (&answer, &self.desk.settings.dns_hook)
        {
            hook::call(program, Ask::Present, name, value).await?;
        }
        Ok(())
    }

    /// Takes all answers back.
    async fn withdraw(&self) {
        for answer in &self.open.answers {
            self.desk.challenges.remove(answer);
            if let (Answer::Dns { name, value }, Some(program)) =
                (answer, &self.desk.settings.dns_hook)
                && let Err(error) = hook::call(program, Ask::Cleanup, name, value).await
            {
                log::warn!("the TXT record of {name} was not removed: {error}");
            }
        }
    }

    async fn keep(&self) -> Result<(), OrderError> {
        let (name, open) = (self.name.to_owned(), self.open.clone());
        on_files(&self.desk.storage, move |files| {
            files.save_order(&name, &open)
        })
        .await
    }

    /// The certificate signing request, in DER.
    fn request(&self) -> Result<Vec<u8>, OrderError> {
        let mut parameters = CertificateParams::new([self.name.to_owned()])?;
        parameters.distinguished_name = DistinguishedName::new();
        let request = parameters.serialize_request(&self.key)?;
        Ok(request.der().to_vec())
    }
}

async fn new_order(
    settings: &Settings,
    account: &Account,
    name: &str,
    replaces: Option<CertificateIdentifier<'_>>,
) -> Result<Order, OrderError> {
    let identifiers = [Identifier::Dns(name.to_owned())];
    let new = || {
        let new = NewOrder::new(&identifiers);
        match &settings.profile {
            Some(profile) => new.profile(profile),
            None => new,
        }
    };
    if let Some(replaces) = replaces {
        match account.new_order(&new().replaces(replaces)).await {
            // It has no renewal information (RFC 9773), or does not know the old certificate as ours.
            Err(Error::Unsupported(_)) => {}
            Err(Error::Api(problem))
                if ["alreadyReplaced", "malformed", "unauthorized"]
                    .into_iter()
                    .any(|kind| error::is(&problem, kind)) => {}
            made => return Ok(made?),
        }
    }
    Ok(account.new_order(&new()).await?)
}

async fn poll_ready(order: &mut Order) -> Result<(), OrderError> {
    match order.poll_ready(&POLLS).await? {
        OrderStatus::Invalid => Err(OrderError::Unverified("it gives no reason".to_owned())),
        _ => Ok(()),
    }
}

/// What the CA found when it looked, if that is why the order is over.
async fn unverified(order: &mut Order) -> Option<OrderError> {
    if order.state().status != OrderStatus::Invalid {
        return None;
    }
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let status = authorization.refresh().await.ok()?.status;
        if status == AuthorizationStatus::Invalid {
            return Some(OrderError::Unverified(reasons(&authorization)));
        }
    }
    None
}

fn reasons(authorization: &AuthorizationHandle<'_>) -> String {
    let challenges = authorization.challenges.iter();
    let errors = challenges.filter_map(|challenge| challenge.error.as_ref());
    let told: Vec<String> = errors.map(error::told).collect();
    match told.is_empty() {
        true => format!("its authorization is {:?}", authorization.status).to_lowercase(),
        false => told.join("; "),
    }
}

fn offered(authorization: &AuthorizationHandle<'_>) -> String {
    let kinds = authorization
        .challenges
        .iter()
        .map(|challenge| match &challenge.r#type {
            ChallengeType::Http01 => "http-01",
            ChallengeType::Dns01 => "dns-01",
            ChallengeType::TlsAlpn01 => "tls-alpn-01",
            ChallengeType::Unknown(kind) => kind,
            _ => "others",
        });
    kinds.collect::<Vec<_>>().join(", ")
}

fn kind(method: Method) -> ChallengeType {
    match method {
        Method::Http => ChallengeType::Http01,
        Method::TlsAlpn => ChallengeType::TlsAlpn01,
        Method::Dns => ChallengeType::Dns01,
    }
}

/// Does something with the files, on a blocking thread.
pub(super) async fn on_files<T: Send + 'static>(
    storage: &Storage,
    work: impl FnOnce(&Storage) -> Result<T, StorageError> + Send + 'static,
) -> Result<T, OrderError> {
    let storage = storage.clone();
    Ok(tokio::task::spawn_blocking(move || work(&storage)).await??)
}
