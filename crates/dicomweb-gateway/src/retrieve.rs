//! WADO-RS of a study or series (PS3.18 section 10.4): its instances, fetched side by side, as one multipart body.
//!
//! 1. `listing` asks which instances there are; `ledger` keeps what has become of each.
//! 2. `plan` decides which series are asked for as one stream (`stream`) and what one by one (`instance`), and `fetching`
//!    does so, as much at once as fills the line.
//! 3. Whatever comes (`incoming`) becomes a `part`, which is collected or passes through, and is written to the `output`.
//!    `answer_body` gives that to the client.
//!
//! Either every instance is written, once and whole, or the connection breaks off. Their order does not matter (PS3.18 section
//! 10.4.1.3).

mod answer_body;
mod fetching;
pub(crate) mod incoming;
mod instance;
mod ledger;
mod listing;
mod odd;
mod output;
mod part;
mod plan;
pub(crate) mod single;
mod stream;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::task::JoinSet;

use crate::{
    accept::TransferSyntaxes,
    body::ResponseBody,
    content::Content,
    dicom_identity::Uid,
    exchange::Ask,
    forward,
    gateway::Shared,
    memory::Memory,
    multipart,
    refusal::Refusal,
    store::Store,
    transfers::{Kind, Transfer},
};
use answer_body::AnswerBody;
use ledger::{Key, Ledger};
use output::Output;

/// A retrieve may take one part in so many of the memory: 32 MiB is more than what a far store sends while Orthanc stores the
/// 10 MB that it reads at once, and leaves room to other transfers where a client reads slowly.
const SHARE_OF_MEMORY: usize = 4;

/// A retrieve under way.
struct Retrieval {
    shared: Arc<Shared>,
    store: Store,
    study: Uid,
    series: Option<Uid>,
    syntaxes: TransferSyntaxes,
    /// Header fields of the client's that reach Google.
    headers: HeaderMap,
    transfer: Transfer,
    output: Output,
    ledger: Mutex<Ledger>,
    sizes: Sizes,
    /// How much of the memory it may take.
    room: Memory,
}

/// What is known of how large instances are.
#[derive(Default)]
struct Sizes {
    count: AtomicU64,
    bytes: AtomicU64,
}

/// Answers a `GET` of `studies/{study}` or `studies/{study}/series/{series}` that wants DICOM files.
///
/// The head of the answer is sent when the first bytes of an instance are there; until then Google's refusal is the answer.
/// After that a failure can only be shown by breaking the connection off.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    store: &Store,
    study: &str,
    series: Option<&str>,
    syntaxes: TransferSyntaxes,
    headers: &HeaderMap,
) -> Response<ResponseBody> {
    let uid = |text: &str| Uid::parse(text.as_bytes()).filter(|uid| uid.as_str() == text);
    let (Some(study), Some(series)) = (uid(study), series.map_or(Some(None), |series| uid(series).map(Some)))
    else {
        let cause = "the path of a retrieve has something else than UIDs";
        let remedy =
            "ask for studies/{StudyInstanceUID} or studies/{StudyInstanceUID}/series/{SeriesInstanceUID}";
        return Refusal::own(StatusCode::BAD_REQUEST, cause, remedy).into_response();
    };
    let transfer = shared.transfers.begin(&store.name, Kind::Retrieve, shared.world.now());
    transfer.is_about(study.as_str(), series.as_ref().map(Uid::as_str));
    let writer = multipart::Writer::new(shared.dice());
    let content_type = writer.content_type("application/dicom");
    let (sender, receiver) = output::channel();
    let retrieval = Retrieval {
        shared: Arc::clone(shared),
        store: store.clone(),
        study,
        series,
        syntaxes,
        headers: forward::passed_on_of_transfer(headers),
        transfer,
        output: Output::new(writer, sender),
        ledger: Mutex::default(),
        sizes: Sizes::default(),
        room: Memory::new(shared.settings.memory / SHARE_OF_MEMORY),
    };
    let what = format!("{}: GET {}", store.title(), retrieval.path());
    let mut task = JoinSet::new();
    task.spawn(fetching::fetch_all(retrieval));
    let mut body = AnswerBody::new(what, receiver, task);
    match body.begun().await {
        Ok(()) => {
            let mut response = Response::new(body.boxed_unsync());
            if let Ok(content_type) = HeaderValue::try_from(content_type) {
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            }
            response
        }
        Err(Some(refusal)) => refusal.into_response(),
        Err(None) => {
            let cause = "the gateway ended the retrieve early";
            Refusal::own(StatusCode::INTERNAL_SERVER_ERROR, cause, "report this").into_response()
        }
    }
}

impl Retrieval {
    fn study_path(&self) -> String {
        format!("studies/{}", self.study)
    }

    /// The path of what is retrieved.
    fn path(&self) -> String {
        match &self.series {
            None => self.study_path(),
            Some(series) => format!("{}/series/{series}", self.study_path()),
        }
    }

    fn series(&self) -> Option<&Uid> {
        self.series.as_ref()
    }

    fn ask(&self, path: String, accept: HeaderValue) -> Ask {
        let mut headers = self.headers.clone();
        headers.insert(header::ACCEPT, accept);
        let patience = self.shared.settings.patience;
        Ask { method: Method::GET, path, headers, content: Content::Empty, patience }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes with their share of the memory, if there is room for them.
    fn sharing(&self, bytes: &Bytes) -> Option<Bytes> {
        let (mut own, mut of_all) = (self.room.share(), self.shared.memory.share());
        let has_room = self.room.try_grow(&mut own, bytes.len())
            && self.shared.memory.try_grow(&mut of_all, bytes.len());
        has_room.then(|| output::sharing(bytes.clone(), own, of_all))
    }

    /// An instance is written, of so many bytes.
    fn wrote(&self, key: &Key, bytes: u64) {
        self.ledger().wrote(key);
        self.transfer.done(bytes);
    }

    /// What was asked for in one request will be asked for in others.
    fn count_retry(&self, why: &str) {
        self.shared.transfers.totals.retried();
        self.transfer.retried(why);
    }
}

impl Sizes {
    /// An instance has so many bytes, if known.
    fn add(&self, bytes: Option<u64>) {
        if let Some(bytes) = bytes {
            self.count.fetch_add(1, Relaxed);
            self.bytes.fetch_add(bytes, Relaxed);
        }
    }

    /// Bytes of an instance, on average; `None` while none is known.
    fn average(&self) -> Option<u64> {
        self.bytes.load(Relaxed).checked_div(self.count.load(Relaxed))
    }
}
