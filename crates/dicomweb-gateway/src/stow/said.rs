//! What Google says of a store or update request, in the DICOM JSON Model (PS3.18 section 10.5.3 and annex F).

use serde_json::Value;

use super::instance::{Held, Name, Outcome, PROCESSING_FAILURE};
use crate::dicom_identity::Uid;

/// One item of `ReferencedSOPSequence` or `FailedSOPSequence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    class: Option<Uid>,
    instance: Option<Uid>,
    /// `RetrieveURL`
    url: Option<String>,
    outcome: Outcome,
}

/// All items; `None` where the answer is something else.
pub(super) fn items(body: &[u8]) -> Option<Vec<Item>> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let answer = answer.as_object()?;
    let sequence = |tag: &str| answer.get(tag).and_then(|found| found.get("Value")).and_then(Value::as_array);
    let stored = sequence("00081199").into_iter().flatten().map(|item| {
        let warning = number(item, "00081196");
        read(item, Outcome::Stored { warning, name: None })
    });
    let failed = ["00081198", "0008119A"].into_iter().filter_map(sequence).flatten().map(|item| {
        let reason = number(item, "00081197").unwrap_or(PROCESSING_FAILURE);
        read(item, Outcome::Failed { reason, detail: detail(item) })
    });
    Some(stored.chain(failed).collect())
}

/// What became of each instance that was sent together, where the items say so.
pub(super) fn outcomes<'a>(
    sent: impl ExactSizeIterator<Item = &'a Held>,
    items: &[Item],
) -> Vec<Option<Outcome>> {
    let is_one = sent.len() == 1;
    sent.map(|held| match (&held.name, items) {
        // Whatever it says is of this one.
        (None, [item]) if is_one => Some(item.named()),
        (Some(name), [item])
            if is_one && item.instance.as_ref().is_none_or(|found| *found == name.instance) =>
        {
            Some(item.outcome.clone())
        }
        (Some(name), items) => {
            let mut of_it = items.iter().filter(|item| item.instance.as_ref() == Some(&name.instance));
            let first = of_it.next()?;
            // Two opinions on one instance are none.
            of_it.next().is_none().then(|| first.outcome.clone())
        }
        (None, _) => None,
    })
    .collect()
}

impl Item {
    pub(super) fn is_stored(&self) -> bool {
        self.outcome.is_stored()
    }

    /// The outcome of an instance whose name only the store could tell.
    fn named(&self) -> Outcome {
        match &self.outcome {
            Outcome::Stored { warning, .. } => {
                Outcome::Stored { warning: *warning, name: self.name().map(Into::into) }
            }
            failed @ Outcome::Failed { .. } => failed.clone(),
        }
    }

    fn name(&self) -> Option<Name> {
        let mut segments = self.url.as_ref()?.rsplit('/');
        let (_, _, series, _, study) =
            (segments.next()?, segments.next()?, segments.next()?, segments.next()?, segments.next()?);
        Some(Name {
            class: self.class.clone()?,
            instance: self.instance.clone()?,
            study: Uid::parse(study.as_bytes())?,
            series: Uid::parse(series.as_bytes())?,
        })
    }
}

fn read(item: &Value, outcome: Outcome) -> Item {
    let uid = |tag| text(item, tag).and_then(|text| Uid::parse(text.as_bytes()));
    let url = text(item, "00081190").map(str::to_owned);
    Item { class: uid("00081150"), instance: uid("00081155"), url, outcome }
}

/// Google's private attributes for it: `FailureDetail`, and its sister in JSON.
fn detail(item: &Value) -> String {
    let Some(found) = ["00091097", "00090097"].into_iter().find_map(|tag| item.get(tag)) else {
        return String::new();
    };
    match found.get("Value").and_then(|values| values.get(0)) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn text<'a>(item: &'a Value, tag: &str) -> Option<&'a str> {
    item.get(tag)?.get("Value")?.get(0)?.as_str()
}

/// A number, which may also be written as text (PS3.18 table F.2.3-1).
fn number(item: &Value, tag: &str) -> Option<u16> {
    let value = item.get(tag)?.get("Value")?.get(0)?;
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
    u16::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{memory::Memory, multipart, stow::instance::Kept};

    fn uid(text: &str) -> Uid {
        Uid::parse(text.as_bytes()).unwrap()
    }

    fn held(instance: Option<&str>) -> Held {
        let name =
            |instance| Name { class: uid("1"), instance: uid(instance), study: uid("2"), series: uid("3") };
        Held {
            index: 0,
            name: instance.map(|instance| Arc::new(name(instance))),
            content_type: multipart::DICOM,
            kept: Kept::Memory(Vec::new(), Memory::new(1).share()),
            whole: None,
        }
    }

    /// What the answer says of instances that were sent together.
    fn check(answer: &str, sent: &[Option<&str>], expected: &[Option<Outcome>]) {
        let sent: Vec<Held> = sent.iter().map(|instance| held(*instance)).collect();
        let items = items(answer.as_bytes()).unwrap_or_default();
        assert_eq!(outcomes(sent.iter(), &items), expected, "{answer}");
    }

    fn failed(reason: u16, detail: &str) -> Outcome {
        Outcome::Failed { reason, detail: detail.to_owned() }
    }

    #[test]
    fn each_instance_is_found_by_its_name() {
        let answer = r#"{
            "00081199": { "vr": "SQ", "Value": [
                { "00081150": { "vr": "UI", "Value": ["1"] }, "00081155": { "vr": "UI", "Value": ["2.1"] } },
                { "00081155": { "vr": "UI", "Value": ["2.2"] }, "00081196": { "vr": "US", "Value": [45056] } },
                { "00081155": { "vr": "UI", "Value": ["2.5"] } }, { "00081155": { "vr": "UI", "Value": ["2.5"] } } ] },
            "00081198": { "vr": "SQ", "Value": [
                { "00081155": { "vr": "UI", "Value": ["2.3"] }, "00081197": { "vr": "US", "Value": ["290"] },
                  "00091097": { "vr": "LT", "Value": ["why"] } } ] } }"#;
        let warned = Some(Outcome::Stored { warning: Some(45056), name: None });
        check(
            answer,
            &[Some("2.3"), Some("2.1"), Some("2.4"), Some("2.2"), Some("2.5"), None],
            &[Some(failed(290, "why")), Some(Outcome::STORED), None, warned, None, None],
        );
    }

    #[test]
    fn one_alone_is_meant_unless_another_is_named() {
        let nameless = r#"{"00081198":{"vr":"SQ","Value":[{"00081197":{"vr":"US","Value":[272]}}]}}"#;
        check(nameless, &[None], &[Some(failed(272, ""))]);
        check(nameless, &[Some("2.1")], &[Some(failed(272, ""))]);
        check(nameless, &[Some("2.1"), Some("2.2")], &[None, None]);
        let other = r#"{"00081199":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["2.9"]}}]}}"#;
        check(other, &[Some("2.1")], &[None]);
    }

    #[test]
    fn what_the_store_calls_a_nameless_instance_is_learnt() {
        let answer = r#"{"00081199":{"vr":"SQ","Value":[{"00081150":{"Value":["1"]},"00081155":{"Value":["2.1"]},
            "00081190":{"Value":["https://x/dicomWeb/studies/2/series/3/instances/2.1"]}}]}}"#;
        let name = Name { class: uid("1"), instance: uid("2.1"), study: uid("2"), series: uid("3") };
        check(answer, &[None], &[Some(Outcome::Stored { warning: None, name: Some(Arc::new(name)) })]);
    }

    #[test]
    fn what_is_no_answer_says_nothing() {
        for answer in ["", "<html>", "[]", "{}", r#"{"00081199":7}"#, r#"{"00081199":{"Value":[7,{}]}}"#] {
            check(answer, &[Some("2.1"), Some("2.2")], &[None, None]);
        }
    }
}
