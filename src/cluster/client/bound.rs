//! A client whose connections ask, before every write to the network, whether this process may still write.
//!
//! A check before a call is not enough: a call that waits for its connection when the process is stopped would be sent when it goes on,
//! perhaps long after another replica took over. Here nothing but the system call comes after the check.
//!
//! Decision: D-35.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use kube::{Client, Config};
use tokio::net::TcpStream;
use tower::BoxError;

use super::connection;

/// Says why nothing may be written now, or that it may.
pub type MayWrite = Arc<dyn Fn() -> Result<(), BoxError> + Send + Sync>;

/// A client made of `config`. It has no limit for reading, so each of its calls needs a limit of its own.
pub(super) fn client(config: Config, may_write: MayWrite) -> Result<Client, kube::Error> {
    connection::client(config, move |stream| Bound { stream, may_write: Arc::clone(&may_write) })
}

/// A connection that fails instead of writing when nothing may be written.
struct Bound<S> {
    stream: S,
    may_write: MayWrite,
}

impl<S: Unpin> Bound<S> {
    fn inner(self: Pin<&mut Self>) -> Pin<&mut S> {
        Pin::new(&mut self.get_mut().stream)
    }

    fn check(&self) -> io::Result<()> {
        (self.may_write)().map_err(io::Error::other)
    }
}

impl<S: Write + Unpin> Write for Bound<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        self.inner().poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        self.inner().poll_write_vectored(context, parts)
    }
}

impl<S: Read + Unpin> Read for Bound<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner().poll_read(context, into)
    }
}

impl Connection for Bound<TokioIo<TcpStream>> {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{Api, PostParams};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    /// An API server that gives every call the same answer and tells how many bytes it read.
    async fn server() -> (String, mpsc::UnboundedReceiver<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (told, read) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let told = told.clone();
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    while let Ok(length) = stream.read(&mut bytes).await {
                        let _ = told.send(length);
                        if length == 0 {
                            break;
                        }
                        let answer = "HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}";
                        let _ = stream.write_all(answer.as_bytes()).await;
                    }
                });
            }
        });
        (url, read)
    }

    /// Decision: D-35.
    #[tokio::test]
    async fn nothing_is_sent_on_an_open_connection_once_nothing_may_be_written() {
        let (url, mut read) = server().await;
        let may = Arc::new(AtomicBool::new(true));
        let ask = Arc::clone(&may);
        let may_write: MayWrite =
            Arc::new(move || if ask.load(Ordering::SeqCst) { Ok(()) } else { Err("not the leader".into()) });
        let config = Config::new(url.parse().expect("a URL"));
        let client = client(config, may_write).expect("a client");
        let maps = Api::<ConfigMap>::namespaced(client, "shop");
        maps.create(&PostParams::default(), &ConfigMap::default()).await.expect("created");
        assert!(read.recv().await.expect("a call") > 0);

        may.store(false, Ordering::SeqCst);
        let error = maps.create(&PostParams::default(), &ConfigMap::default()).await.expect_err("not sent");
        assert!(crate::causes::told(&error).contains("not the leader"), "{error}");
        assert_eq!(read.recv().await, Some(0), "the connection ends without another byte");
    }
}
