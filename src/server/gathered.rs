//! A connection whose answers travel together.
//!
//! One commit of the ledger answers many calls at once, a few of each connection. tokio runs a
//! connection right after the first of its calls that has an answer, which would cost a system call
//! and a packet for each answer, here and at the client. So before the first byte of whatever is to
//! be sent, the connection goes once to the end of its worker's queue: the calls in front of it put
//! their answers beside the first, and all are written as one.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that waits for its turn once before it writes.
pub(super) struct Gathered<IO> {
    io: IO,
    /// Whether it waited since the last flush.
    waited: bool,
}

impl<IO> Gathered<IO> {
    pub(super) fn new(io: IO) -> Self {
        Self { io, waited: false }
    }

    /// Not ready the first time: a task that wakes itself while it runs goes behind all that wait.
    fn turn(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.waited {
            return Poll::Ready(());
        }
        self.waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Gathered<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Gathered<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.turn(context));
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.turn(context));
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = std::task::ready!(Pin::new(&mut self.io).poll_flush(context));
        self.waited = false;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Notes each write.
    #[derive(Default)]
    struct Written(Vec<Vec<u8>>);

    impl AsyncWrite for Written {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Another task that is ready runs between the wish to write and the write.
    #[tokio::test]
    async fn what_is_ready_runs_before_the_first_write_and_none_after_it() {
        let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let note = |what: &'static str| {
            let order = order.clone();
            move || order.lock().unwrap().push(what)
        };
        let (writes, other) = (note("written"), note("other"));
        let writer = tokio::spawn(async move {
            let mut gathered = Gathered::new(Written::default());
            tokio::spawn(async move { other() });
            gathered.write_all(b"one").await.unwrap();
            writes();
            gathered.write_all(b"two").await.unwrap();
            gathered.flush().await.unwrap();
            gathered.io.0
        });
        assert_eq!(writer.await.unwrap(), [b"one".to_vec(), b"two".to_vec()]);
        assert_eq!(*order.lock().unwrap(), ["other", "written"]);
    }
}
