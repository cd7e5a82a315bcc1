//! A receiver of HTTPS and HTTP that does as it is told: it takes, refuses, is slow, or closes midway.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200: from then on it has the lines.
    Take,
    /// This status, and `Retry-After: 0`.
    Say(u16),
    /// The connection is closed when half of the body is there.
    CloseMidway,
    /// It is closed when all of the body is there, without an answer.
    CloseAfter,
    /// 200, after this time.
    TakeLate(Duration),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) path: String,
    pub(crate) body: String,
    /// Whether it was answered with 200.
    pub(crate) is_taken: bool,
}

type Script = dyn Fn(usize) -> Answer + Send + Sync;

pub(crate) struct Receiver {
    port: u16,
    certificate: Option<(String, Arc<ServerConfig>)>,
    taken: Arc<Mutex<Vec<Taken>>>,
    script: Arc<Script>,
    listening: Option<Listening>,
}

/// The thread that accepts connections; its listener is closed when it ends.
struct Listening {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Receiver {
    /// One that answers its n-th request by `script`; with TLS where `is_secure`.
    pub(crate) fn start(
        is_secure: bool,
        script: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut receiver = Self {
            port: listener.local_addr().unwrap().port(),
            certificate: is_secure.then(certificate),
            taken: Arc::default(),
            script: Arc::new(script),
            listening: None,
        };
        receiver.listen(listener);
        receiver
    }

    /// PEM of its certificate.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate.as_ref().unwrap().0
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    /// The bodies of those that were taken, one after the other.
    pub(crate) fn taken(&self) -> String {
        let requests = self.requests();
        let taken = requests.iter().filter(|request| request.is_taken);
        taken.map(|request| &*request.body).collect()
    }

    /// Nobody listens any more.
    pub(crate) fn go_away(&mut self) {
        if let Some(Listening { ends, thread }) = self.listening.take() {
            ends.store(true, Ordering::SeqCst);
            // It waits for a connection; an error: it has just ended.
            let _woken = TcpStream::connect(("127.0.0.1", self.port));
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "it panicked");
        }
    }

    /// It is there again, at the same port.
    pub(crate) fn come_back(&mut self) {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        let address: std::net::SocketAddr = ([127, 0, 0, 1], self.port).into();
        socket.bind(&address.into()).unwrap();
        socket.listen(128).unwrap();
        self.listen(socket.into());
    }

    fn listen(&mut self, listener: TcpListener) {
        let ends = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ends);
        let tls = self
            .certificate
            .as_ref()
            .map(|(_, config)| Arc::clone(config));
        let (taken, script) = (Arc::clone(&self.taken), Arc::clone(&self.script));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let stream = stream.unwrap();
                let (tls, taken, script) = (tls.clone(), Arc::clone(&taken), Arc::clone(&script));
                let ends = Arc::clone(&is_over);
                std::thread::spawn(move || match tls {
                    None => serve(stream, &taken, &*script, &ends),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        serve(
                            StreamOwned::new(connection, stream),
                            &taken,
                            &*script,
                            &ends,
                        );
                    }
                });
            }
        });
        self.listening = Some(Listening { ends, thread });
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.go_away();
    }
}

/// Answers requests until the client goes away, or something is to be closed.
fn serve(stream: impl Read + Write, taken: &Mutex<Vec<Taken>>, script: &Script, ends: &AtomicBool) {
    let mut stream = BufReader::new(stream);
    while let Some((path, fields)) = head(&mut stream) {
        let length: usize = fields["content-length"].parse().unwrap();
        let number = taken.lock().unwrap().len();
        // One that has gone away takes nothing on connections that were open.
        let answer = match ends.load(Ordering::SeqCst) {
            true => Answer::CloseMidway,
            false => script(number),
        };
        let mut body = vec![
            0;
            if answer == Answer::CloseMidway {
                length / 2
            } else {
                length
            }
        ];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        if let Answer::TakeLate(late) = answer {
            std::thread::sleep(late);
        }
        let is_taken = matches!(answer, Answer::Take | Answer::TakeLate(_));
        taken.lock().unwrap().push(Taken {
            fields,
            path,
            body: String::from_utf8_lossy(&body).into_owned(),
            is_taken,
        });
        let said = match answer {
            Answer::CloseMidway | Answer::CloseAfter => return,
            Answer::Say(status) => {
                format!("HTTP/1.1 {status} No\r\nRetry-After: 0\r\nContent-Length: 5\r\n\r\nnever")
            }
            Answer::Take | Answer::TakeLate(_) => "HTTP/1.1 204 Taken\r\n\r\n".to_owned(),
        };
        let stream = stream.get_mut();
        if stream
            .write_all(said.as_bytes())
            .and_then(|()| stream.flush())
            .is_err()
        {
            return;
        }
    }
}

/// Path and fields, names in small letters; `None` at the end.
fn head(stream: &mut impl BufRead) -> Option<(String, BTreeMap<String, String>)> {
    let mut line = String::new();
    let mut next = |line: &mut String| {
        line.clear();
        stream.read_line(line).ok().filter(|length| *length > 0)
    };
    next(&mut line)?;
    let path = line
        .strip_prefix("POST ")
        .expect("a POST")
        .split(' ')
        .next()?
        .to_owned();
    let mut fields = BTreeMap::new();
    loop {
        next(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            return Some((path, fields));
        };
        fields.insert(name.to_ascii_lowercase(), value.to_owned());
    }
}

/// A certificate for 127.0.0.1 that nobody has signed.
pub(crate) fn self_signed() -> (String, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    (parameters.self_signed(&key).unwrap().pem(), key)
}

fn certificate() -> (String, Arc<ServerConfig>) {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let (pem, key) = self_signed();
    let chain = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = procserver::tls::server_config::provider();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key);
    (pem, Arc::new(config.unwrap()))
}
