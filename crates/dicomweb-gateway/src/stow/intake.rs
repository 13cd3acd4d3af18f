//! Reading an upload: its body is cut into instances as it arrives.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use ring::digest::{Context, SHA256};
use tokio::{sync::Notify, time::timeout};

use super::{
    broken::Broken,
    instance::{Digest, Held, Kept, Name},
    job::Job,
    remembered::{MOST_MISSING, Missing},
    spool,
};
use crate::{
    dicom_identity::{Progress, Reader},
    gateway::Shared,
    media_type::MediaType,
    memory::Share,
    multipart::{self, Cutter, Event},
};

/// Memory is taken in blocks of this size, which instances share. What the connection hands out are slices of buffers of its
/// own, of which a short one would keep a long buffer: so they are copied, which takes a twentieth of the time that hashing
/// them does.
const BLOCK: usize = 256 << 10;
/// Parts of an upload that do not say which instance they are. Each is a request of its own.
const MOST_NAMELESS: usize = 100;
/// A client that could send and has not for so long waits for its answer. A slow disk reads an instance in that time.
const A_MOMENT: Duration = Duration::from_secs(5);

/// Reads an upload.
pub(super) struct Intake {
    shared: Arc<Shared>,
    account: String,
    job: Option<Job>,
    body: Incoming,
    cutter: Cutter,
    block: BytesMut,
    part: Option<Part>,
    parts: usize,
    /// Parts that do not say which instance they are.
    nameless: usize,
    /// What is read and has no place in memory.
    unplaced: Option<Bytes>,
    /// Everything was read.
    is_complete: bool,
    /// Instances that the client may believe to have sent, and that go no further.
    left_out: Vec<Missing>,
}

/// The part that is being read.
struct Part {
    index: usize,
    content_type: HeaderValue,
    reader: Reader,
    digest: Context,
    length: u64,
    /// The length that the part's header announces.
    announced: u64,
    place: Place,
    /// It is being sent while it is read.
    is_told: bool,
}

enum Place {
    Memory(Vec<Bytes>, Share),
    Spool(spool::Writer),
    /// It is only looked at.
    Nowhere,
}

/// What has arrived.
pub(super) enum Arrival {
    /// An instance, whole.
    Instance(Held),
    /// The beginning of one that is too large to wait for its end. [`Whole`](Arrival::Whole) follows.
    Beginning(Held),
    /// The instance that was begun is whole: its number, length and digest.
    Whole(usize, u64, Digest),
    /// Nothing more: the reading was stopped.
    Stopped,
    /// There is no memory for more. Then [`room`](Intake::room) or [`spill`](Intake::spill) makes some.
    Full,
    /// The end.
    End,
}

impl Intake {
    pub(super) fn new(
        shared: &Arc<Shared>,
        account: &str,
        job: Option<Job>,
        body: Incoming,
        boundary: &str,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            account: account.to_owned(),
            job,
            body,
            cutter: Cutter::new(boundary.as_bytes()),
            block: BytesMut::new(),
            part: None,
            parts: 0,
            nameless: 0,
            unplaced: None,
            is_complete: false,
            left_out: Vec::new(),
        }
    }

    /// Reads on, until it is stopped.
    pub(super) async fn next_unless(&mut self, stopped: &Notify) -> Result<Arrival, Broken> {
        tokio::select! {
            biased;
            () = stopped.notified() => Ok(Arrival::Stopped),
            arrival = self.next() => arrival,
        }
    }

    /// Reads on. Dropped in the middle, what has arrived can still be named.
    async fn next(&mut self) -> Result<Arrival, Broken> {
        loop {
            if let Some(bytes) = self.unplaced.take()
                && let Some(arrival) = self.place(bytes).await
            {
                return Ok(arrival);
            }
            match self.cutter.next()? {
                Some(Event::Part(headers)) => self.begin(&headers)?,
                Some(Event::Data(bytes)) => {
                    // At once: whatever ends the reading, what has arrived is known.
                    self.look_at(&bytes);
                    self.unplaced = Some(bytes);
                }
                Some(Event::EndOfPart) => {
                    if let Some(arrival) = self.end().await {
                        if self.nameless > MOST_NAMELESS {
                            return Err(Broken::Nameless(MOST_NAMELESS));
                        }
                        return Ok(arrival);
                    }
                }
                Some(Event::End) => {
                    self.is_complete = true;
                    return Ok(Arrival::End);
                }
                None => match self.frame().await? {
                    Some(bytes) => self.cutter.feed(bytes),
                    None => self.cutter.finish()?,
                },
            }
        }
    }

    /// Waits for memory.
    pub(super) async fn room(&mut self) {
        if let (Some(bytes), Some(Part { place: Place::Memory(_, share), .. })) =
            (&self.unplaced, &mut self.part)
        {
            let mut more = self.shared.memory.share();
            self.shared.memory.grow(&mut more, bytes.len()).await;
            share.merge(more);
            if let Some(bytes) = self.unplaced.take() {
                self.copy(&bytes);
            }
        }
    }

    /// Gives the memory of what was read of the present instance back, by writing it to disk.
    pub(super) async fn spill(&mut self) {
        self.close_block();
        let (settings, none) = (&self.shared.settings, self.shared.memory.share());
        if let Some(Part { place, .. }) = &mut self.part
            && let Place::Memory(pieces, share) = place
        {
            let (pieces, share) = (std::mem::take(pieces), std::mem::replace(share, none));
            *place = Place::Spool(
                spool::Writer::begin(&settings.spool_folder, settings.disk_reserve, pieces, share).await,
            );
        }
    }

    /// Reads what the client still sends, until everything is here or nothing comes for a moment.
    ///
    /// Of the instances only their names are kept: the client may believe that it has sent them, as the DICOMweb plugin does.
    pub(super) async fn hear_names(&mut self) {
        self.unplaced = None;
        loop {
            if let Some(part) = &mut self.part {
                part.place = Place::Nowhere;
            }
            match self.cutter.next() {
                Ok(Some(Event::Part(headers))) => {
                    if self.begin(&headers).is_err() {
                        return;
                    }
                }
                Ok(Some(Event::Data(bytes))) => self.look_at(&bytes),
                Ok(Some(Event::EndOfPart)) => self.not_stored(),
                Ok(Some(Event::End)) => {
                    self.is_complete = true;
                    return;
                }
                Err(_) => return,
                Ok(None) => match timeout(A_MOMENT, self.frame()).await {
                    Ok(Ok(Some(bytes))) => self.cutter.feed(bytes),
                    _ => return,
                },
            }
        }
    }

    /// Reads what the client still sends, and drops it, so that it comes to reading its answer.
    pub(super) async fn drain(mut self) {
        while let Ok(Some(_)) = self.frame().await {}
    }

    /// Whether everything was read.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The present instance goes no further. The client may believe that it is sent.
    fn not_stored(&mut self) {
        if let Some(part) = self.part.take()
            && let Some(name) = Name::of(part.reader.identity())
            && self.job.is_some()
            && self.left_out.len() < MOST_MISSING
        {
            self.left_out.push(Missing::from(Arc::new(name)));
        }
    }

    /// Remembers what goes no further, for when the job is resubmitted. One that has sent everything has nothing left to send.
    pub(super) fn remember_left_out(&mut self) {
        self.not_stored();
        let left_out = std::mem::take(&mut self.left_out);
        if let Some(job) = self.job.as_ref().filter(|_| !self.is_complete) {
            self.shared.remembered.not_stored(&self.account, job, left_out, self.shared.world.now());
        }
    }

    /// The next bytes of the body; none for other frames.
    async fn frame(&mut self) -> Result<Option<Bytes>, Broken> {
        let limit = self.shared.settings.inactivity;
        match timeout(limit, self.body.frame()).await {
            Err(_) => Err(Broken::Silent(limit.as_secs())),
            Ok(None) => Ok(None),
            Ok(Some(Err(error))) => Err(Broken::Gone(error)),
            Ok(Some(Ok(frame))) => Ok(Some(frame.into_data().unwrap_or_default())),
        }
    }

    fn begin(&mut self, headers: &HeaderMap) -> Result<(), Broken> {
        let content_type = headers.get(header::CONTENT_TYPE).cloned().unwrap_or(multipart::DICOM);
        let essence = content_type.to_str().ok().and_then(MediaType::parse).map(|parsed| parsed.essence);
        if essence.as_deref() != Some("application/dicom") {
            return Err(Broken::OtherType(essence.unwrap_or_else(|| "of no type".to_owned())));
        }
        let announced =
            headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        self.part = Some(Part {
            index: self.parts,
            content_type,
            reader: Reader::new(),
            digest: Context::new(&SHA256),
            length: 0,
            announced: announced.unwrap_or_default(),
            place: Place::Memory(Vec::new(), self.shared.memory.share()),
            is_told: false,
        });
        self.parts += 1;
        Ok(())
    }

    /// Gives bytes of the present part their place.
    async fn place(&mut self, bytes: Bytes) -> Option<Arrival> {
        let part = self.part.as_ref()?;
        let length = part.announced.max(part.length);
        if length > self.shared.settings.spool_over as u64 {
            self.spill().await;
        }
        match &mut self.part.as_mut()?.place {
            Place::Memory(_, share) => {
                if !self.shared.memory.try_grow(share, bytes.len()) {
                    self.unplaced = Some(bytes);
                    return Some(Arrival::Full);
                }
                self.copy(&bytes);
                None
            }
            Place::Spool(writer) => {
                writer.write(&bytes).await;
                self.beginning()
            }
            Place::Nowhere => None,
        }
    }

    /// Copies bytes into memory, of which there is a share for them.
    fn copy(&mut self, bytes: &[u8]) {
        let mut left = bytes;
        while !left.is_empty() {
            if self.block.capacity() == self.block.len() {
                self.close_block();
                self.block = BytesMut::with_capacity(BLOCK);
            }
            let (now, later) = left.split_at(left.len().min(self.block.capacity() - self.block.len()));
            self.block.extend_from_slice(now);
            left = later;
        }
    }

    /// What lies in the block is the present instance's.
    fn close_block(&mut self) {
        let bytes = self.block.split().freeze();
        if let Some(Part { place: Place::Memory(pieces, _), .. }) = &mut self.part
            && !bytes.is_empty()
        {
            pieces.push(bytes);
        }
    }

    fn look_at(&mut self, bytes: &[u8]) {
        if let Some(part) = &mut self.part {
            part.length += bytes.len() as u64;
            part.digest.update(bytes);
            part.reader.feed(bytes);
        }
    }

    /// The beginning of a large instance, as soon as it is known which one it is.
    ///
    /// One that was stored before is read to its end first: it may be the same.
    fn beginning(&mut self) -> Option<Arrival> {
        let part = self.part.as_mut()?;
        let Place::Spool(writer) = &part.place else { return None };
        if part.is_told {
            return None;
        }
        let name = Name::of(part.reader.identity()).map(Arc::new);
        let is_known =
            name.as_ref().is_some_and(|name| self.shared.remembered.knows(&self.account, &name.instance));
        // Without disk nothing can wait.
        if writer.spool().is_repeatable() && (is_known || part.reader.progress() == Progress::Reading) {
            return None;
        }
        part.is_told = true;
        let (index, content_type) = (part.index, part.content_type.clone());
        let kept = Kept::Spool(Arc::clone(writer.spool()));
        Some(Arrival::Beginning(Held { index, name, content_type, kept, whole: None }))
    }

    async fn end(&mut self) -> Option<Arrival> {
        self.close_block();
        if let Some(Part { place: Place::Spool(writer), .. }) = &mut self.part {
            writer.finish().await;
        }
        let Part { index, content_type, reader, digest, length, place, is_told, .. } = self.part.take()?;
        let mut sha256 = Digest::default();
        sha256.copy_from_slice(digest.finish().as_ref());
        let kept = match place {
            Place::Memory(pieces, share) => Kept::Memory(pieces, share),
            Place::Nowhere => return None,
            Place::Spool(writer) => {
                let spool = Arc::clone(writer.spool());
                if is_told {
                    return Some(Arrival::Whole(index, length, sha256));
                }
                Kept::Spool(spool)
            }
        };
        let name = Name::of(reader.identity()).map(Arc::new);
        self.nameless += usize::from(name.is_none());
        Some(Arrival::Instance(Held { index, name, content_type, kept, whole: Some((length, sha256)) }))
    }
}

/// Whatever ends the reading of an instance in its middle: the client may believe that it was sent.
impl Drop for Intake {
    fn drop(&mut self) {
        self.remember_left_out();
    }
}
