//! How a body arrives: piece by piece, with memory that is counted, for as long as it and its answer are there.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::BodyExt;

use super::slots::{NoRoom, Share, Slot, Slots, WITH_PLACE};

/// Why a body did not arrive.
#[derive(Debug)]
pub(super) enum Broken {
    /// It is longer than it may be.
    TooLarge,
    /// There is no memory or no place for it.
    NoRoom(NoRoom),
    /// Its client or the connection.
    Client(axum::Error),
}

/// Receives a body of at most `limit` bytes. Until it is there, `slot` is only lent. The memory of a large one is free again when the last
/// clone of the returned bytes is dropped, on whichever thread that is.
///
/// # Errors
///
/// See [`Broken`]. Place and memory are free again then.
pub(super) async fn receive(
    slots: &Arc<Slots>,
    slot: Slot,
    mut body: Body,
    limit: usize,
) -> Result<(Bytes, Slot), Broken> {
    let mut received = Received::new(&body, limit);
    let mut whole = received.take_what_is_there(&mut body).await?;
    if whole && received.length() <= WITH_PLACE {
        return Ok((received.into_bytes(None), slot));
    }
    let loan = slots.lend(slot);
    loop {
        if let Err(no_room) = loan.grow_to(received.length()) {
            drop(received);
            if no_room == NoRoom::Spent {
                loan.shrink();
                tokio::select! {
                    () = discard(body, slots.patience()) => {}
                    () = loan.lost() => {}
                }
            }
            return Err(Broken::NoRoom(no_room));
        }
        if whole {
            break;
        }
        let piece = tokio::select! {
            biased;
            piece = next(&mut body) => piece?,
            () = loan.lost() => return Err(Broken::NoRoom(NoRoom::Lost)),
        };
        whole = received.push_or_end(piece)?;
    }
    let (slot, share) = loan.keep().ok_or(Broken::NoRoom(NoRoom::Lost))?;
    Ok((received.into_bytes(share), slot))
}

/// The next piece; `None` behind the last one.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Broken> {
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        // Trailers are of no use.
        if let Ok(data) = frame.map_err(Broken::Client)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Takes the rest of a body that is refused, if it is on its way: a connection that is closed before its client has sent all is reset,
/// and the answer may be lost with it.
pub(super) async fn discard(mut body: Body, patience: Duration) {
    let rest = async { while matches!(next(&mut body).await, Ok(Some(_))) {} };
    // Both ends are as good: what has not come by then is not waited for.
    let _ = tokio::time::timeout(patience, rest).await;
}

/// What has arrived of a body. Pieces are copied as they come: kept as they are, each would keep the buffer that it was read into, 8 KiB
/// for a piece of one byte.
#[derive(Debug)]
struct Received {
    /// The first piece, as long as it is the only one: mostly that is all, and nothing has to be copied.
    first: Bytes,
    /// All of them, once there are several.
    all: Vec<u8>,
    limit: usize,
    /// How long the body will be at most: what it says, or the limit if it says nothing.
    most: usize,
}

impl Received {
    fn new(body: &Body, limit: usize) -> Self {
        let announced = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
        let most = announced.map_or(limit, |length| length.min(limit));
        Self { first: Bytes::new(), all: Vec::new(), limit, most }
    }

    fn length(&self) -> usize {
        self.first.len() + self.all.len()
    }

    /// Takes pieces without waiting, until there are more bytes than come with a place. Whether the body is whole.
    async fn take_what_is_there(&mut self, body: &mut Body) -> Result<bool, Broken> {
        while self.length() <= WITH_PLACE {
            if body.is_end_stream() {
                return Ok(true);
            }
            let piece = poll_fn(|context| Poll::Ready(Pin::new(&mut *body).poll_frame(context))).await;
            match piece {
                Poll::Pending => break,
                Poll::Ready(None) => return Ok(true),
                Poll::Ready(Some(frame)) => {
                    if let Ok(data) = frame.map_err(Broken::Client)?.into_data() {
                        self.push(data)?;
                    }
                }
            }
        }
        Ok(false)
    }

    /// Whether that was the end.
    fn push_or_end(&mut self, piece: Option<Bytes>) -> Result<bool, Broken> {
        piece.map_or(Ok(true), |piece| self.push(piece).map(|()| false))
    }

    fn push(&mut self, piece: Bytes) -> Result<(), Broken> {
        let length = self.length() + piece.len();
        if length > self.limit {
            return Err(Broken::TooLarge);
        }
        if self.length() == 0 {
            self.first = piece;
            return Ok(());
        }
        // Twice as much each time, so that it is not copied for each piece, but never more than will be needed.
        if self.all.capacity() < length {
            let capacity = (2 * length).min(self.most).max(length);
            self.all.reserve_exact(capacity - self.all.len());
        }
        self.all.extend_from_slice(&std::mem::take(&mut self.first));
        self.all.extend_from_slice(&piece);
        Ok(())
    }

    fn into_bytes(self, share: Option<Share>) -> Bytes {
        let bytes = if self.all.is_empty() { self.first } else { self.all.into() };
        match share {
            Some(share) => with_share(bytes, share),
            None => bytes,
        }
    }
}

/// Bytes that keep their share of the memory for as long as they are there.
pub(super) fn with_share(bytes: impl AsRef<[u8]> + Send + 'static, share: Share) -> Bytes {
    Bytes::from_owner(Counted { bytes, _share: share })
}

struct Counted<B> {
    // Dropped in this order: counted until it is gone.
    bytes: B,
    _share: Share,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Counted<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}
