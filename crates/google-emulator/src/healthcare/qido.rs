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
use std::{collections::BTreeMap, sync::Arc};

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
    let page = found.iter().skip(query.offset).take(limit);
    let results: Result<Vec<Value>, GoogleError> =
        page.map(|instance| result(instance, level, scope, &query.include)).collect();
    let results = results?;
    if results.is_empty() && settings.empty_search == EmptySearch::NoContent {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(dicom_json(&Value::Array(results)))
}

/// A `application/dicom+json` answer.
fn dicom_json(body: &Value) -> Response {
    let mut response = body.to_string().into_response();
    let kind = HeaderValue::from_static("application/dicom+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn result(
    instance: &Arc<Instance>,
    level: Level,
    scope: &Scope,
    include: &Include,
) -> Result<Value, GoogleError> {
    let mut wanted: Vec<String> = Vec::new();
    let mut want = |tags: &[&str]| wanted.extend(tags.iter().map(|tag| (*tag).to_owned()));
    // Attributes of outer levels are repeated unless the path has fixed them (PS3.18 section 10.6.3.3).
    if level == Level::Study || scope.study.is_none() {
        want(&STUDY);
    }
    if level >= Level::Series && (level == Level::Series || scope.series.is_none()) {
        want(&SERIES);
    }
    if level == Level::Instance {
        want(&INSTANCE);
    }
    want(match level {
        Level::Study => &["0020000D"],
        Level::Series => &["0020000D", "0020000E"],
        Level::Instance => &["0020000D", "0020000E", "00080018"],
    });
    let mut attributes = Map::new();
    match include {
        Include::Tags(tags) => {
            let beyond_index = tags.iter().any(|tag| !INDEXED.contains(&tag.as_str()));
            let all = if beyond_index { Some(whole(instance)?) } else { None };
            let source = all.as_ref().unwrap_or(&instance.attributes);
            for tag in wanted.iter().chain(tags) {
                let found = source.get(tag).cloned().unwrap_or_else(|| json!({ "vr": vr(tag) }));
                attributes.insert(tag.clone(), found);
            }
        }
        Include::All => {
            attributes = whole(instance)?;
            attributes.retain(|_, attribute| attribute.get("BulkDataURI").is_none());
            for tag in wanted {
                let missing = json!({ "vr": vr(&tag) });
                attributes.entry(tag).or_insert(missing);
            }
        }
    }
    // Tags in ascending order, as in a data set.
    let ordered: BTreeMap<String, Value> = attributes.into_iter().collect();
    Ok(ordered.into_iter().collect::<Map<_, _>>().into())
}

fn whole(instance: &Instance) -> Result<Map<String, Value>, GoogleError> {
    instance.metadata().map_err(GoogleError::internal)
}
