//! The floor: a relay that looks at nothing.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

use crate::cores;

/// `LISTEN ORIGIN`, until it is killed.
pub(crate) fn serve(words: &[String]) {
    let [listen, origin] = words else {
        panic!("serve-relay LISTEN ORIGIN")
    };
    let listen: SocketAddr = listen.parse().expect("an address");
    let origin: SocketAddr = origin.parse().expect("an address");
    cores::runtime().block_on(async move {
        let listener = TcpListener::bind(listen).await.expect("the port is free");
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(relay(client, origin));
        }
    });
}

async fn relay(mut client: TcpStream, origin: SocketAddr) -> std::io::Result<()> {
    let mut upstream = TcpStream::connect(origin).await?;
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut client, &mut upstream, 64 * 1024, 64 * 1024).await?;
    Ok(())
}
