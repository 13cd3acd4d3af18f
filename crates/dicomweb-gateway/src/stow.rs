//! Uploads (STOW-RS, PS3.18 section 10.5): cut into instances as they arrive, and sent on in batches side by side.
//!
//! `upload` is the whole: `intake` reads instances, which `spool` keeps where memory does not; `gather` makes batches of them;
//! `send` sends one and finds out what became of its instances, with `conflict` where the store has others with the same
//! names; `parallelism` says how many are under way at once. `records` has what became of each, in a `book` that takes little
//! memory. `finish` ends it, and `answer` makes one response, with the words of `reason` where the store gives a number alone.
//! `remembered` is what later uploads need to know, and `job` tells which of them continue one another.

mod answer;
mod book;
mod broken;
mod conflict;
mod finish;
mod gather;
mod instance;
mod intake;
mod job;
mod listing;
mod parallelism;
mod reason;
mod records;
mod remembered;
mod said;
mod send;
mod spool;
mod upload;

use std::sync::{Arc, atomic::AtomicU64};

use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;

pub(crate) use self::{conflict::Overwriting, remembered::Remembered};
use self::{intake::Intake, job::Job, send::Way, upload::Upload};
use crate::{
    accept, body::ResponseBody, forward, gateway::Shared, multipart, refusal::Refusal, store::Store,
    transfers::Kind,
};

/// Answers an upload: `POST studies` or `POST studies/{study}` of `multipart/related; type="application/dicom"`.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    store: &Store,
    study: Option<&str>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let (parts, incoming) = request.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary = match multipart::boundary_of(content_type.unwrap_or_default()) {
        Ok(related) => related.boundary,
        Err(error) => {
            let remedy = "send multipart/related; type=\"application/dicom\"; boundary=…";
            return Refusal::own(StatusCode::BAD_REQUEST, &error.to_string(), remedy).into_response();
        }
    };
    let transfer = shared.transfers.begin(&store.name, Kind::Store, shared.world.now());
    let complaints = AtomicU64::new(0);
    let headers = forward::passed_on_of_transfer(&parts.headers);
    let way =
        Way { shared, store, study, headers: &headers, transfer: Some(&transfer), complaints: &complaints };
    let job = Job::of_boundary(&boundary);
    let mut upload = Upload::new(way, &transfer, job.clone());
    let intake = Intake::new(shared, &store.name, job, incoming, &boundary);
    let end = upload.run(intake, parts.extensions.get().cloned()).await;
    let (response, stage) = upload.finish(end, accept::stow_answer_format(&parts.headers)).await;
    drop(upload);
    if let Some(stage) = stage {
        transfer.end(stage, shared.world.now());
    }
    response
}
