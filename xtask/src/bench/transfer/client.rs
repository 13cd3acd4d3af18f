//! The bound: plain clients, each with one kept-alive TLS connection, straight from memory and into nothing.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use reqwest::{
    Body, Client,
    header::{ACCEPT, CONTENT_TYPE},
    redirect,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::task::JoinSet;

use super::{
    body::{BOUNDARY, Parts, Pieces},
    studies::{Instance, Study},
};

/// A batch of a store request is closed when it has so many bytes.
const BATCH: usize = 4_000_000;

/// A client that trusts the CA of this file.
pub(super) fn of(ca: &Path) -> Result<Client> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .http1_only()
        .build()?;
    Ok(client)
}

/// Stores all instances in one request.
pub(super) async fn store(
    client: &Client,
    dicom_web: &str,
    token: &str,
    instances: &[&Instance],
) -> Result<()> {
    let answer = client
        .post(format!("{dicom_web}/studies"))
        .bearer_auth(token)
        .header(ACCEPT, "application/dicom+json")
        .header(CONTENT_TYPE, format!("multipart/related; type=\"application/dicom\"; boundary={BOUNDARY}"))
        .body(Body::wrap(Pieces::multipart(instances.iter().copied())))
        .send()
        .await?;
    let status = answer.status();
    let text = answer.bytes().await?;
    ensure!(status == 200, "the store answered {status}: {}", String::from_utf8_lossy(&text));
    Ok(())
}

/// Where the clients go.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) client: Client,
    /// The DICOMweb root, without a final slash.
    pub(super) dicom_web: String,
    pub(super) token: String,
}

/// Stores the study in batches over so many connections.
pub(super) async fn stow(place: &Place, study: &Arc<Study>, connections: usize) -> Result<()> {
    let batches = Arc::new(batches(study));
    let (place, study) = (place.clone(), Arc::clone(study));
    in_parallel(connections, batches.len(), move |number| {
        let (place, study, batches) = (place.clone(), Arc::clone(&study), Arc::clone(&batches));
        async move {
            let range = batches.get(number).context("no such batch")?.clone();
            let instances: Vec<&Instance> = study.instances.get(range).unwrap_or_default().iter().collect();
            store(&place.client, &place.dicom_web, &place.token, &instances).await
        }
    })
    .await
}

/// Retrieves the study's instances, each by a request of its own, over so many connections.
pub(super) async fn instances(place: &Place, study: &Arc<Study>, connections: usize) -> Result<()> {
    let (place, study) = (place.clone(), Arc::clone(study));
    in_parallel(connections, study.instances.len(), move |number| {
        let (place, study) = (place.clone(), Arc::clone(&study));
        async move {
            let instance = study.instances.get(number).context("no such instance")?;
            let (series, uid) = (&instance.series, &instance.uid);
            retrieve(
                &place,
                &study,
                &format!("/series/{series}/instances/{uid}"),
                (instance.file.len() as u64, 1),
            )
            .await
        }
    })
    .await
}

/// Retrieves the study's series at the same time, each as one stream.
pub(super) async fn series(place: &Place, study: &Arc<Study>) -> Result<()> {
    let all: Vec<(String, (u64, usize))> =
        study.series().into_iter().map(|(uid, whole)| (uid.to_owned(), whole)).collect();
    let (place, study) = (place.clone(), Arc::clone(study));
    in_parallel(all.len(), all.len(), move |number| {
        let (place, study, series) = (place.clone(), Arc::clone(&study), all.get(number).cloned());
        async move {
            let (uid, whole) = series.context("no such series")?;
            retrieve(&place, &study, &format!("/series/{uid}"), whole).await
        }
    })
    .await
}

/// Reads an answer to its end and fails unless it has as many bytes and parts as it should.
async fn retrieve(place: &Place, study: &Study, path: &str, whole: (u64, usize)) -> Result<()> {
    let answer = place
        .client
        .get(format!("{}/studies/{}{path}", place.dicom_web, study.uid))
        .bearer_auth(&place.token)
        .header(ACCEPT, "multipart/related; type=\"application/dicom\"; transfer-syntax=*")
        .send()
        .await?;
    ensure!(answer.status() == 200, "the store answered {}", answer.status());
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let (_, boundary) = kind.split_once("boundary=").context("the answer has no boundary")?;
    let mut parts = Parts::new(boundary.trim_matches('"'));
    let mut answer = answer;
    let mut bytes = 0;
    while let Some(chunk) = answer.chunk().await? {
        parts.feed(&chunk);
        bytes += chunk.len() as u64;
    }
    ensure!(
        bytes >= whole.0 && parts.count == whole.1,
        "the answer had {bytes} bytes and {} parts instead of {whole:?}",
        parts.count
    );
    Ok(())
}

/// So many tasks that take the next of `count` pieces of work until none is left.
async fn in_parallel<F: Future<Output = Result<()>> + Send + 'static>(
    tasks: usize,
    count: usize,
    work: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut running = JoinSet::new();
    for _ in 0..tasks.min(count) {
        let (next, work) = (Arc::clone(&next), work.clone());
        running.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(());
                }
                work(number).await?;
            }
        });
    }
    while let Some(ended) = running.join_next().await {
        // Dropping the others ends them.
        ended??;
    }
    Ok(())
}

/// Where the study is cut for store requests.
pub(super) fn batches(study: &Study) -> Vec<std::ops::Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (number, instance) in study.instances.iter().enumerate() {
        bytes += instance.file.len();
        if bytes >= BATCH || number + 1 == study.instances.len() {
            batches.push(start..number + 1);
            (start, bytes) = (number + 1, 0);
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::{super::studies::Size, *};

    #[test]
    fn batches_hold_every_instance_once_and_are_about_4_mb() {
        let study = Study::generate(Size::Ct, true).unwrap();
        let batches = batches(&study);
        assert_eq!(batches, [0..8, 8..16, 16..20]);
    }
}
