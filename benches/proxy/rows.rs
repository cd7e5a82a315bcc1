//! The rows of the table: what is asked of each proxy.

use crate::subject::Kind;

/// One kind of load.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Which of our apps, and which server of nginx, answers.
    pub(crate) host: &'static str,
    pub(crate) connections: usize,
    /// Bytes of a response's body.
    pub(crate) response: usize,
    /// Bytes of a request's body.
    pub(crate) upload: usize,
    /// Each request on a connection of its own.
    pub(crate) fresh: bool,
    /// Hosts that are asked for in turn: `wwwN.` before `host`.
    pub(crate) hosts: usize,
    /// By HTTPS.
    pub(crate) tls: bool,
    /// By HTTP/2, which only h2load speaks here.
    pub(crate) http2: bool,
    /// Each handshake but the first of each connection resumes a session, as wrk's always do (seen on the wire).
    pub(crate) resumes: bool,
}

pub(crate) const SMALL: Row = Row {
    name: "small",
    title: "128 B x 64 connections",
    host: "tcp.example.org",
    connections: 64,
    response: 128,
    upload: 0,
    fresh: false,
    hosts: 1,
    tls: false,
    http2: false,
    resumes: false,
};

/// All rows but those by HTTP/2.
pub(crate) const ROWS: [Row; 14] = [
    SMALL,
    Row {
        name: "policies",
        title: "the same, to an app with seven policies",
        host: "policies.example.org",
        ..SMALL
    },
    Row {
        name: "unix",
        title: "the same, ours to $SOCKET",
        host: "unix.example.org",
        ..SMALL
    },
    Row {
        name: "large",
        title: "64 KiB x 64 connections",
        response: 64 * 1024,
        ..SMALL
    },
    Row {
        name: "many",
        title: "128 B x 1,000 connections",
        connections: 1000,
        ..SMALL
    },
    Row {
        name: "upload",
        title: "1 MiB uploads x 16, streamed",
        host: "streamed.example.org",
        connections: 16,
        upload: 1 << 20,
        ..SMALL
    },
    Row {
        name: "buffered",
        title: "1 MiB uploads x 16, buffered",
        host: "buffered.example.org",
        connections: 16,
        upload: 1 << 20,
        ..SMALL
    },
    Row {
        name: "fresh",
        title: "new connection per request",
        fresh: true,
        ..SMALL
    },
    Row {
        name: "apps",
        title: "1,000 apps, 1,000 hosts",
        hosts: 1000,
        ..SMALL
    },
    Row {
        name: "tls",
        title: "128 B x 64 connections, TLS",
        tls: true,
        ..SMALL
    },
    Row {
        name: "tls-large",
        title: "64 KiB x 64 connections, TLS",
        response: 64 * 1024,
        tls: true,
        ..SMALL
    },
    Row {
        name: "handshakes",
        title: "new connection and full handshake per request",
        fresh: true,
        tls: true,
        ..SMALL
    },
    Row {
        name: "resumed",
        title: "new connection and resumed handshake per request",
        fresh: true,
        tls: true,
        resumes: true,
        ..SMALL
    },
    Row {
        name: "certificates",
        title: "full handshakes for 1,000 names with a certificate each",
        fresh: true,
        tls: true,
        hosts: 1000,
        ..SMALL
    },
];

impl Row {
    /// The rows of many apps and many certificates are compared with our own rows of one, and no peer is set up for them.
    /// What policies cost is compared with our own row without any. What is special in two others is ours or nginx's.
    pub(crate) fn runs_on(&self, kind: Kind) -> bool {
        match self.name {
            "apps" => kind == Kind::ManyApps,
            "certificates" => kind == Kind::ManyCertificates,
            "policies" => kind == Kind::Ours,
            "unix" | "buffered" => matches!(kind, Kind::Ours | Kind::Nginx),
            _ if self.tls => matches!(kind, Kind::Ours | Kind::Nginx | Kind::Haproxy),
            _ => !matches!(kind, Kind::ManyApps | Kind::ManyCertificates),
        }
    }

    /// Which of ours it runs on.
    pub(crate) fn own_kind(&self) -> Kind {
        match self.name {
            "apps" => Kind::ManyApps,
            "certificates" => Kind::ManyCertificates,
            _ => Kind::Ours,
        }
    }

    /// wrk asks for one name only, and resumes its sessions.
    pub(crate) fn runs_with_wrk(&self) -> bool {
        !self.tls || (self.hosts == 1 && self.resumes == self.fresh)
    }

    pub(crate) fn host(&self, n: usize) -> String {
        match self.hosts {
            1 => self.host.to_owned(),
            _ => format!("www{n}.{}", self.host),
        }
    }

    /// The requests of a connection, in turn.
    pub(crate) fn requests(&self) -> Vec<Vec<u8>> {
        let (method, length) = if self.upload > 0 {
            ("POST", format!("Content-Length: {}\r\n", self.upload))
        } else {
            ("GET", String::new())
        };
        let close = if self.fresh {
            "Connection: close\r\n"
        } else {
            ""
        };
        (0..self.hosts)
            .map(|n| {
                let head = format!(
                    "{method} /{} HTTP/1.1\r\nHost: {}\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n\
                     {close}{length}\r\n",
                    self.response,
                    self.host(n)
                );
                let mut request = head.into_bytes();
                request.resize(request.len() + self.upload, b'u');
                request
            })
            .collect()
    }
}
