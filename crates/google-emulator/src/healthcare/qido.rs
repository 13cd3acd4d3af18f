//! Search (PS3.18 section 10.6), with Google's default attributes.

use super::{
    address::{Level, Scope},
    query::{Include, Query, vr},
};
use crate::{
    archive::{INDEXED, Instance, StoreName},
    google_error::GoogleError,
    media_type::accepted,
    settings::EmptySearch,
    world::World,
};
use axum::{
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Study attributes returned by default: what Google's own golden file shows. `RetrieveURL` is not among them.
const STUDY: [&str; 10] = [
    "00080020", "00080030", "00080050", "00080090", "00100010", "00100020", "00100030", "00100040",
    "0020000D", "00200010",
];
/// Series attributes returned by default (PS3.18 table 10.6.3-4, as far as they are not computed).
const SERIES: [&str; 4] = ["00080060", "0008103E", "0020000E", "00200011"];
/// Instance attributes returned by default (PS3.18 table 10.6.3-5).
const INSTANCE: [&str; 7] =
    ["00080016", "00080018", "00200013", "00280008", "00280010", "00280011", "00280100"];

/// Answers a search.
pub(crate) fn search(
    world: &World,
    store: &StoreName,
    level: Level,
    scope: &Scope,
    parts: &Parts,
) -> Result<Response, GoogleError> {
    let json = ["application/dicom+json", "application/json"];
    if !accepted(&parts.headers).iter().any(|range| json.iter().any(|json| range.covers(json))) {
        return Err(GoogleError::not_acceptable("unsupported Accept: use application/dicom+json"));
    }
    let query = Query::parse(level, parts.uri.query().unwrap_or_default())?;
    let mut found = world.archive.select(store, scope.study.as_deref(), scope.series.as_deref(), None);
    found.retain(|instance| query.matches(&instance.attributes));
    // Instances come ordered by study, series and instance: the first of each entity represents it.
    found.dedup_by(|next, first| match level {
        Level::Study => next.study == first.study,
        Level::Series => next.study == first.study && next.series == first.series,
        Level::Instance => false,
    });
    let settings = world.settings();
    let limit = settings.largest_page.map_or(query.limit, |largest| query.limit.min(largest));
    let page: Vec<&Arc<Instance>> = found.iter().skip(query.offset).take(limit).collect();
    if page.is_empty() && settings.empty_search == EmptySearch::NoContent {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let wanted = wanted(level, scope);
    let all = match &query.include {
        Include::Tags(tags) => {
            let tags: BTreeSet<&str> = wanted.into_iter().chain(tags.iter().map(String::as_str)).collect();
            some_attributes(&page, &tags)?
        }
        Include::All => all_attributes(&page, &wanted)?,
    };
    let mut response = all.into_response();
    let kind = HeaderValue::from_static("application/dicom+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// The attributes that are returned without being asked for.
fn wanted(level: Level, scope: &Scope) -> Vec<&'static str> {
    let mut wanted: Vec<&str> = Vec::new();
    // Attributes of outer levels are repeated unless the path has fixed them (PS3.18 section 10.6.3.3).
    if level == Level::Study || scope.study.is_none() {
        wanted.extend(STUDY);
    }
    if level >= Level::Series && (level == Level::Series || scope.series.is_none()) {
        wanted.extend(SERIES);
    }
    if level == Level::Instance {
        wanted.extend(INSTANCE);
    }
    wanted.extend(match level {
        Level::Study => &["0020000D"][..],
        Level::Series => &["0020000D", "0020000E"],
        Level::Instance => &["0020000D", "0020000E", "00080018"],
    });
    wanted
}

/// The attributes with these tags, in ascending order, as in a data set. A page has a thousand instances, so nothing is copied.
fn some_attributes(page: &[&Arc<Instance>], tags: &BTreeSet<&str>) -> Result<String, GoogleError> {
    let missing: BTreeMap<&str, Value> = tags.iter().map(|tag| (*tag, json!({ "vr": vr(tag) }))).collect();
    let beyond_index = tags.iter().any(|tag| !INDEXED.contains(tag));
    let whole: Result<Vec<Map<String, Value>>, GoogleError> =
        page.iter().filter(|_| beyond_index).map(|instance| whole(instance)).collect();
    let whole = whole?;
    let sources =
        page.iter().enumerate().map(|(number, instance)| whole.get(number).unwrap_or(&instance.attributes));
    let results: Vec<BTreeMap<&str, &Value>> = sources
        .map(|source| {
            missing.iter().map(|(tag, missing)| (*tag, source.get(*tag).unwrap_or(missing))).collect()
        })
        .collect();
    serde_json::to_string(&results).map_err(GoogleError::internal)
}

/// Every attribute but those that are bulk data, and those `wanted` in any case.
fn all_attributes(page: &[&Arc<Instance>], wanted: &[&str]) -> Result<String, GoogleError> {
    let mut results = Vec::new();
    for instance in page {
        let mut attributes: BTreeMap<String, Value> = whole(instance)?.into_iter().collect();
        attributes.retain(|_, attribute| attribute.get("BulkDataURI").is_none());
        for tag in wanted {
            attributes.entry((*tag).to_owned()).or_insert_with(|| json!({ "vr": vr(tag) }));
        }
        results.push(attributes);
    }
    serde_json::to_string(&results).map_err(GoogleError::internal)
}

fn whole(instance: &Instance) -> Result<Map<String, Value>, GoogleError> {
    instance.metadata().map_err(GoogleError::internal)
}
