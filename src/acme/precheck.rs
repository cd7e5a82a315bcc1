//! What can be seen from here before the CA looks: whether the name leads to this server. A failed order counts against
//! the CA's limits, which are few; a look does not.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, join_all};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::challenges::{Answer, PATH, PublishedChallenges};

/// How long a look-up, and then an answer, may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The most that is read of an answer, in bytes.
const LARGEST: u64 = 16 * 1024;

/// Why a name does not lead here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misled {
    #[error(
        "{name} has no address yet ({reason}): set an A or AAAA record for it that leads to this server"
    )]
    NoAddress { name: String, reason: String },
    #[error(
        "{name} leads to {address}, and what answers there at port {port} is not this server ({answer}): let its A and AAAA \
         records lead here"
    )]
    Elsewhere {
        name: String,
        address: IpAddr,
        port: u16,
        answer: String,
    },
    #[error(
        "{name} leads to {addresses}, and port {port} cannot be reached there ({reason}): the certificate authority must \
         reach it (`check_first = false` of [acme] if only this server itself cannot)"
    )]
    Unreachable {
        name: String,
        addresses: String,
        port: u16,
        reason: String,
    },
}

/// Looks up the addresses of a name.
pub type LookUp = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// How names are looked up, and where the CA will look.
#[derive(Clone)]
pub struct Precheck {
    pub look_up: LookUp,
    pub port: u16,
}

impl Default for Precheck {
    /// The resolver of the system, and the port that the RFC names.
    fn default() -> Self {
        let look_up = |name: String| {
            async move {
                let found = tokio::net::lookup_host((name, 80)).await?;
                Ok(found.map(|address| address.ip()).collect())
            }
            .boxed()
        };
        Self {
            look_up: Arc::new(look_up),
            port: 80,
        }
    }
}

impl std::fmt::Debug for Precheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Precheck")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// What one address answered.
enum Answered {
    Ours,
    Other(String),
    Nothing(String),
}

impl Precheck {
    /// Whether a name has an address.
    ///
    /// # Errors
    /// It has none.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Misled> {
        let no_address = |reason: String| Misled::NoAddress {
            name: name.to_owned(),
            reason,
        };
        match timeout(LIMIT, (self.look_up)(name.to_owned())).await {
            Err(_) => Err(no_address("no name server answered".to_owned())),
            Ok(Err(error)) => Err(no_address(error.to_string())),
            Ok(Ok(mut found)) => {
                found.sort_unstable();
                found.dedup();
                match found.is_empty() {
                    true => Err(no_address("nothing was found".to_owned())),
                    false => Ok(found),
                }
            }
        }
    }

    /// Asks every address of the name for a token of our own. One that does not answer is left out, as the CA does; one
    /// that answers something else is what the CA may meet.
    ///
    /// # Errors
    /// The name does not lead here.
    pub async fn look(&self, name: &str, published: &PublishedChallenges) -> Result<(), Misled> {
        let addresses = self.addresses(name).await?;
        let token = token();
        let answer = Answer::Http {
            token: token.clone(),
            key_authorization: format!("{token}.precheck"),
        };
        // Only a handshake's certificate can fail to be made.
        let _never = published.add(&answer);
        let asked = addresses
            .iter()
            .map(|&address| ask(SocketAddr::new(address, self.port), name, &token));
        let answers = join_all(asked).await;
        published.remove(&answer);
        self.judge(name, &addresses, answers)
    }

    fn judge(
        &self,
        name: &str,
        addresses: &[IpAddr],
        answers: Vec<Answered>,
    ) -> Result<(), Misled> {
        let (mut is_ours, mut reason) = (false, String::new());
        for (&address, answered) in addresses.iter().zip(answers) {
            match answered {
                Answered::Ours => is_ours = true,
                Answered::Nothing(why) => reason = why,
                Answered::Other(answer) => {
                    return Err(Misled::Elsewhere {
                        name: name.to_owned(),
                        address,
                        port: self.port,
                        answer,
                    });
                }
            }
        }
        if is_ours {
            return Ok(());
        }
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        Err(Misled::Unreachable {
            name: name.to_owned(),
            addresses: addresses.join(", "),
            port: self.port,
            reason,
        })
    }
}

/// A token of our own, that nobody guesses.
fn token() -> String {
    let mut bytes = [0; 16];
    // Without random numbers it can be guessed, and misleads nobody but a name's own server.
    let _zeros = getrandom::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn ask(address: SocketAddr, name: &str, token: &str) -> Answered {
    match timeout(LIMIT, exchange(address, name, token)).await {
        Err(_) => Answered::Nothing("no answer within ten seconds".to_owned()),
        Ok(Err(error)) => Answered::Nothing(error.to_string()),
        Ok(Ok(answer)) => {
            let body = format!("{token}.precheck");
            match answer.trim_end().ends_with(&body) {
                true => Answered::Ours,
                false => Answered::Other(first_line(&answer)),
            }
        }
    }
}

async fn exchange(address: SocketAddr, name: &str, token: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET {PATH}{token} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: procserver\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The first line of an answer, fit for a sentence.
fn first_line(answer: &str) -> String {
    let line = answer.lines().next().unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).take(60).collect();
    match line.is_empty() {
        true => "it answered nothing".to_owned(),
        false => format!("it answered \"{line}\""),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A look at a server on loopback that answers with what `answer` makes of the path.
    async fn look(answer: impl Fn(&str, &PublishedChallenges) -> String) -> Result<(), Misled> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let precheck = to_loopback(listener.local_addr().unwrap().port());
        let published = PublishedChallenges::default();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            assert!(request.contains("\r\nHost: a.test\r\n"), "{request}");
            let path = request.split(' ').nth(1).unwrap();
            let answer = answer(path, &published);
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (looked, ()) = tokio::join!(precheck.look("a.test", &published), serve);
        looked
    }

    fn to_loopback(port: u16) -> Precheck {
        Precheck {
            look_up: Arc::new(|_| async { Ok(vec![[127, 0, 0, 1].into()]) }.boxed()),
            port,
        }
    }

    #[actix::test]
    async fn a_name_that_leads_here_gets_our_own_token() {
        let looked = look(|path, published| {
            let seen = published.subscribe();
            let body = seen.borrow().body(path).unwrap().to_owned();
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}")
        });
        assert_eq!(looked.await, Ok(()));
    }

    #[actix::test]
    async fn one_that_leads_elsewhere_is_told_with_what_answered() {
        let looked = look(|_, _| "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n".to_owned());
        let told = looked.await.unwrap_err().to_string();
        assert!(told.contains("a.test leads to 127.0.0.1"), "{told}");
        assert!(told.contains("HTTP/1.1 404 Not Found"), "{told}");
    }

    #[actix::test]
    async fn one_without_an_address_or_a_listener_is_told_so() {
        let mut precheck = to_loopback(1);
        let told = precheck
            .look("a.test", &PublishedChallenges::default())
            .await;
        let told = told.unwrap_err().to_string();
        assert!(told.contains("port 1 cannot be reached"), "{told}");
        precheck.look_up = Arc::new(|_| async { Ok(Vec::new()) }.boxed());
        let told = precheck
            .look("a.test", &PublishedChallenges::default())
            .await;
        let told = told.unwrap_err().to_string();
        assert!(told.starts_with("a.test has no address yet"), "{told}");
    }
}
