//! The end of an upload: what is still missing, what is answered, and what is told.

use std::collections::{BTreeMap, BTreeSet};

use google_credentials::{Failure, FailureKind};
use http::{HeaderValue, Response, StatusCode, header};

use super::{
    answer::{self, Answer},
    remembered::Missing,
    send::Way,
    upload::{End, Upload},
};
use crate::{
    accept::AnswerFormat,
    body::ResponseBody,
    dicom_identity::Uid,
    refusal::Refusal,
    transfers::{FAILED_INSTANCES, Stage},
    trouble::Act,
    words,
};

impl Upload<'_> {
    /// The answer, and how the transfer ended; no stage where the client went away.
    pub(super) async fn finish(
        &mut self,
        end: End,
        format: AnswerFormat,
    ) -> (Response<ResponseBody>, Option<Stage>) {
        let Way { shared, store, study, .. } = self.way;
        let what = study.map_or("POST studies", |_| "POST studies/{study}");
        let refusal = match end {
            End::Gone => {
                // For whoever has not gone, but sent something that cannot be read.
                let cause = "the upload broke off before its end";
                let refusal = Refusal::own(StatusCode::BAD_REQUEST, cause, "send the study again");
                return (refusal.into_response(), None);
            }
            End::Refused(refusal) => Some(*refusal),
            End::Known if self.records.len() == 0 => Some(Refusal::own(
                StatusCode::BAD_REQUEST,
                "the upload carries no instance",
                "send the study again as a whole, with a new job: one that is resubmitted sends only what it had not read before",
            )),
            End::Known => None,
        };
        if let Some(refusal) = refusal {
            shared.troubles.tell(store, Act::Upload, what, &refusal, shared.world.now());
            let unknown = self.records.len() - self.records.known();
            self.transfer.failed(unknown as u64, &refusal.in_words());
            for instance in self.records.unknown(FAILED_INSTANCES) {
                self.transfer.lacks(&instance);
            }
            if self.records.stored() == 0 {
                return (refusal.into_response(), Some(Stage::Failed));
            }
            let otherwise = format!("not sent: {}", refusal.failure().cause);
            let mut more = Vec::new();
            if self.records.is_all_stored() {
                // Nobody knows what else was to come, but that is no success.
                more.push(answer::Item { name: None, detail: otherwise.clone() });
            }
            self.log();
            return (self.answered(format, more, otherwise), Some(Stage::Failed));
        }
        let mut more = Vec::new();
        let is_all_stored = self.records.is_all_stored();
        if is_all_stored {
            more = self.still_missing().await;
        } else {
            self.tell_failures();
        }
        self.log();
        self.records.is_settled = is_all_stored && more.is_empty();
        if self.records.is_settled {
            shared.troubles.mended(store, Act::Upload);
        }
        let stage = if self.records.is_settled { Stage::Succeeded } else { Stage::Failed };
        (self.answered(format, more, String::new()), Some(stage))
    }

    /// The log has Google's words as far as it may, and what the numbers mean that come with them or instead of them.
    fn tell_failures(&self) {
        let Way { shared, store, .. } = self.way;
        let mut words = words::without_values(
            &self.records.details().into_iter().take(20).collect::<Vec<_>>().join("; "),
        );
        let reasons = self.records.reasons().join("; ");
        if !words.trim().is_empty() && !reasons.is_empty() {
            words.push_str("; ");
        }
        words.push_str(&reasons);
        let remedy = "correct what is refused where it comes from, or send the study again if it was not the instances' fault";
        self.transfer.can_be_mended(remedy);
        let (all, stored) = (self.records.len(), self.records.stored());
        let studies = of_studies(self.records.studies());
        let what = format!("{} of {all} instances of an upload{studies} could not be stored", all - stored);
        let failure = Failure::new(FailureKind::NeedsPerson, words, remedy);
        shared.troubles.tell_in_part(store, &what, &failure, shared.world.now());
    }

    /// Instances that earlier uploads of the same job have read and not stored, and that the store still lacks.
    async fn still_missing(&mut self) -> Vec<answer::Item> {
        let Way { shared, store, .. } = self.way;
        let Some(job) = &self.records.job else { return Vec::new() };
        let mut missing = shared.remembered.missing(&store.name, job, shared.world.now());
        if missing.is_empty() {
            return Vec::new();
        }
        self.records.leave_out(&mut missing);
        let mut studies = BTreeMap::<Uid, Vec<Missing>>::new();
        for missing in missing {
            studies.entry(missing.name.study.clone()).or_default().push(missing);
        }
        let mut items = Vec::new();
        for (study, missing) in studies {
            let listed = self.listing(&study).await;
            let (found, missing): (Vec<_>, Vec<_>) = missing
                .into_iter()
                .partition(|missing| listed.is_some_and(|listed| listed.contains(&missing.name.instance)));
            for found in found {
                shared.remembered.found(&store.name, found.name.study.as_str(), found.name.instance.as_str());
            }
            items.extend(missing.into_iter().map(|Missing { name, why }| answer::Item {
                name: Some((*name).clone()),
                detail: match why {
                    Some(why) => format!("an earlier upload of this job could not store this instance: {why}"),
                    None => "an earlier upload of this job ended before this instance was stored; send the study again as a whole".to_owned(),
                },
            }));
        }
        if !items.is_empty() {
            self.tell_missing(&items);
        }
        items
    }

    /// They were counted when they failed.
    fn tell_missing(&self, items: &[answer::Item]) {
        let Way { shared, store, .. } = self.way;
        let names: Vec<_> = items.iter().filter_map(|item| item.name.as_ref()).collect();
        for name in &names {
            self.transfer.lacks(name.instance.as_str());
        }
        let studies = of_studies(&names.iter().map(|name| name.study.clone()).collect());
        let cause =
            format!("an earlier upload of this job has read instances{studies} that are not in the store");
        self.transfer.failed(0, &cause);
        for item in items {
            self.transfer.failed(0, &words::without_values(&item.detail));
        }
        let remedy = "send the study again as a whole, with a new job: one that is resubmitted sends only what it had not read \
                      before; an instance that shall never be there is forgotten when it is deleted there by its own name";
        self.transfer.can_be_mended(remedy);
        let what = format!("everything of an upload is stored, but {} instances are missing", items.len());
        let failure = Failure::new(FailureKind::NeedsPerson, cause, remedy);
        shared.troubles.tell_in_part(store, &what, &failure, shared.world.now());
    }

    fn answered(
        &mut self,
        format: AnswerFormat,
        more: Vec<answer::Item>,
        otherwise: String,
    ) -> Response<ResponseBody> {
        let root = self.way.store.url("");
        let mut answer = Answer::new(format, root, self.way.study, self.records.close());
        (answer.more, answer.otherwise) = (more, otherwise);
        let (status, content_type) = (answer.status(), answer.content_type());
        let mut response = Response::new(answer.into_body());
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }

    fn log(&self) {
        let seconds =
            self.way.shared.world.now().duration_since(self.began).unwrap_or_default().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "it is told with one decimal")]
        let megabytes = self.records.bytes as f64 / 1e6;
        let (all, stored) = (self.records.len(), self.records.stored());
        tracing::info!(
            "{}: uploaded {all} instances, {megabytes:.1} MB, in {seconds:.1} s ({:.0} MB/s) with {} batches, at most {} at once, \
             {} sent again; {} of them were in the store already, {} failed",
            self.way.store.title(),
            megabytes / seconds.max(0.001),
            self.requests,
            self.most_at_once,
            self.transfer.report().retries,
            self.records.present,
            all - stored
        );
    }
}

/// ` of study 1.2.3`; nothing where none is known, or too many to name.
fn of_studies(studies: &BTreeSet<Uid>) -> String {
    let mut studies = studies.iter();
    match (studies.next(), studies.len()) {
        (None, _) => String::new(),
        (Some(study), 0) => format!(" of study {study}"),
        (Some(_), others) => format!(" of {} studies", others + 1),
    }
}
