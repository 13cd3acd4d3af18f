//! The end of an upload: what is still missing, what is answered, and what is told.

use std::collections::{BTreeMap, BTreeSet};

use google_credentials::{Failure, FailureKind};
use http::{HeaderValue, Response, StatusCode, header};

use super::{
    answer,
    instance::Outcome,
    remembered::Missing,
    send::Way,
    upload::{End, Upload},
};
use crate::{
    accept::AnswerFormat,
    body::{self, ResponseBody},
    dicom_identity::Uid,
    refusal::Refusal,
    transfers::Stage,
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
            for name in self.records.unknown() {
                self.transfer.lacks(name.instance.as_str());
            }
            if self.records.stored() == 0 {
                return (refusal.into_response(), Some(Stage::Failed));
            }
            let words = format!("not sent: {}", refusal.failure().cause);
            let mut items = self.records.items(&words);
            if self.records.is_all_stored() {
                // Nobody knows what else was to come, but that is no success.
                items.push(answer::Item { name: None, outcome: Outcome::failed(words) });
            }
            self.log();
            return (self.merged(format, &items), Some(Stage::Failed));
        }
        let mut items = self.records.items("");
        if self.records.is_all_stored() {
            items.extend(self.still_missing().await);
        } else {
            let words = words::without_values(&self.transfer.report().failures.join("; "));
            let remedy = "correct what is refused where it comes from, or send the study again if it was not the instances' fault";
            let (all, stored) = (self.records.len(), self.records.stored());
            let studies = of_studies(&self.records.studies());
            let what =
                format!("{} of {all} instances of an upload{studies} could not be stored", all - stored);
            let failure = Failure::new(FailureKind::NeedsPerson, words, remedy);
            shared.troubles.tell_in_part(store, &what, &failure, shared.world.now());
        }
        self.log();
        self.records.is_settled = items.iter().all(|item| item.outcome.is_stored());
        if self.records.is_settled {
            shared.troubles.mended(store, Act::Upload);
        }
        let stage = if self.records.is_settled { Stage::Succeeded } else { Stage::Failed };
        (self.merged(format, &items), Some(stage))
    }

    /// Instances that earlier uploads of the same job have read and not stored, and that the store still lacks.
    async fn still_missing(&mut self) -> Vec<answer::Item> {
        let Way { shared, store, .. } = self.way;
        let Some(job) = &self.records.job else { return Vec::new() };
        let mut missing = shared.remembered.missing(&store.name, job, shared.world.now());
        if missing.is_empty() {
            return Vec::new();
        }
        let stored = self.records.names();
        missing.retain(|missing| !stored.contains(&missing.name));
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
            shared.remembered.found(&store.name, found.iter().map(|found| &*found.name));
            items.extend(missing.into_iter().map(|Missing { name, why }| answer::Item {
                name: Some(name),
                outcome: Outcome::failed(match why {
                    Some(why) => format!("an earlier upload of this job could not store this instance: {why}"),
                    None => "an earlier upload of this job ended before this instance was stored; send the study again as a whole".to_owned(),
                }),
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
        let names: Vec<_> = items.iter().filter_map(|item| item.name.as_deref()).collect();
        for name in &names {
            self.transfer.lacks(name.instance.as_str());
        }
        let studies = of_studies(&names.iter().map(|name| name.study.clone()).collect());
        let cause =
            format!("an earlier upload of this job has read instances{studies} that are not in the store");
        self.transfer.failed(0, &cause);
        items
            .iter()
            .filter_map(|item| item.outcome.detail())
            .for_each(|words| self.transfer.failed(0, words));
        let remedy = "send the study again as a whole, with a new job: one that is resubmitted sends only what it had not read \
                      before; an instance that shall never be there is forgotten when it is deleted there by its own name";
        let what = format!("everything of an upload is stored, but {} instances are missing", items.len());
        let failure = Failure::new(FailureKind::NeedsPerson, cause, remedy);
        shared.troubles.tell_in_part(store, &what, &failure, shared.world.now());
    }

    fn merged(&self, format: AnswerFormat, items: &[answer::Item]) -> Response<ResponseBody> {
        let root = self.way.store.url(None, "");
        let merged = answer::merged(format, &root, self.way.study, items);
        let mut response = Response::new(body::whole(merged.body));
        *response.status_mut() = merged.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(merged.content_type));
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
