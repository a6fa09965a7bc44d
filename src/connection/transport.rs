//! A connection, with TLS or without, that keeps why it broke.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls, rustls::pki_types::ServerName};

use super::{
    fault::{Fault, NoConnection, Tried},
    seen::Seen,
};

/// What a record of TLS begins with when a server ends a connection (RFC 8446 §5.1): an alert.
/// HTTP/2 begins with the length of its settings, which is never so large.
const ALERT: u8 = 0x15;

/// Where to connect, how, and what was tried.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) endpoint: String,
    pub(super) port: u16,
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    pub(super) tried: Tried,
    pub(super) seen: Seen,
}

impl Way {
    pub(super) async fn connect(self) -> io::Result<Transport> {
        let tcp = TcpStream::connect((self.tried.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        let stream = match self.tls.clone() {
            None => Stream::Plain(tcp),
            Some((connector, name)) => {
                let stream = connector.connect(name, tcp).await.inspect_err(|error| self.note(error))?;
                Stream::Tls(Box::new(stream))
            }
        };
        Ok(Transport { stream, way: self, has_begun: false, broken: None })
    }

    /// Keeps what TLS says of a failure, if it says anything.
    fn note(&self, error: &io::Error) {
        // An io::Error does not name what it holds as its source.
        if let Some(error) = error.get_ref().and_then(|held| held.downcast_ref::<rustls::Error>()) {
            self.note_fault(self.tried.fault(error));
        }
    }

    fn note_fault(&self, fault: Fault) {
        self.seen.note(NoConnection { endpoint: self.endpoint.clone(), fault });
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection.
pub(super) struct Transport {
    stream: Stream,
    way: Way,
    /// Whether anything came.
    has_begun: bool,
    /// Why it cannot be written any more.
    broken: Option<io::Error>,
}

impl Transport {
    /// Sees to it that what the other side said last is read before it is told that nothing can be
    /// written: a server that refuses our certificate says so when we believe the handshake to be
    /// over, and closes.
    fn with_last_words<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(&mut Stream, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.broken.is_none() {
            match write(&mut self.stream, context) {
                Poll::Ready(Err(error)) => self.broken = Some(error),
                done => return done,
            }
        }
        let mut spare = [0; 256];
        loop {
            let mut buffer = ReadBuf::new(&mut spare);
            match Pin::new(&mut *self).poll_read(context, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => break,
            }
        }
        Poll::Ready(Err(self.broken.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())))
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let had = buffer.filled().len();
        let done = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        let first = buffer.filled().get(had);
        match &done {
            Poll::Pending => return done,
            Poll::Ready(Err(error)) => self.way.note(error),
            Poll::Ready(Ok(())) => {}
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            match (first, &self.stream) {
                (None, _) => self.way.note_fault(Fault::Silent),
                (Some(&ALERT), Stream::Plain(_)) => self.way.note_fault(Fault::SpeaksTls),
                _ => {}
            }
        }
        done
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with_last_words(context, |stream, context| match stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with_last_words(context, |stream, context| match stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        })
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
