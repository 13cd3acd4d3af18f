//! Holds what two clients did against each other, and the differences against a list of those that are intended.

use std::collections::BTreeSet;

use crate::facts::Facts;

/// One difference, with its reason. A value of `*` stands for any.
pub(crate) struct Intended {
    /// The end of the fact's name.
    pub(crate) fact: &'static str,
    /// Our value; `-` where there is none.
    pub(crate) ours: &'static str,
    /// The other library's.
    pub(crate) theirs: &'static str,
    /// Why both are right, or ours is.
    pub(crate) reason: &'static str,
}

/// One line of a list.
pub(crate) const fn intended(
    fact: &'static str,
    ours: &'static str,
    theirs: &'static str,
    reason: &'static str,
) -> Intended {
    Intended { fact, ours, theirs, reason }
}

/// The cases compared so far.
pub(crate) struct Comparison {
    list: &'static [Intended],
    occurred: BTreeSet<usize>,
    unlisted: Vec<String>,
}

impl Comparison {
    pub(crate) fn new(list: &'static [Intended]) -> Self {
        Self { list, occurred: BTreeSet::new(), unlisted: Vec::new() }
    }

    pub(crate) fn add(&mut self, case: &str, ours: &Facts, theirs: &Facts) {
        for (fact, ours, theirs) in differences(ours, theirs) {
            let fits = |value: &str, pattern: &str| pattern == "*" || pattern == value;
            let listed = self.list.iter().position(|intended| {
                fact.ends_with(intended.fact) && fits(&ours, intended.ours) && fits(&theirs, intended.theirs)
            });
            match listed {
                Some(number) => drop(self.occurred.insert(number)),
                None => {
                    self.unlisted.push(format!("{case}: {fact}\n    ours:   {ours}\n    theirs: {theirs}"));
                }
            }
        }
    }

    /// Fails if there is a difference that is not in the list, or none where the list has one.
    pub(crate) fn assert_as_intended(&self) {
        assert!(self.unlisted.is_empty(), "not intended:\n{}", self.unlisted.join("\n"));
        for (number, intended) in self.list.iter().enumerate() {
            assert!(self.occurred.contains(&number), "no longer so: {} ({})", intended.fact, intended.reason);
        }
    }
}

/// The facts that differ, with both values, `-` where there is none. Of a request that one side does not send, that.
fn differences(ours: &Facts, theirs: &Facts) -> Vec<(String, String, String)> {
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let both_sent = |name: &str| {
        let Some((request, fact)) = name.split_once(" | ") else { return true };
        let sent = format!("{request} | sent");
        fact == "sent" || (ours.contains_key(&sent) && theirs.contains_key(&sent))
    };
    let value = |facts: &Facts, name: &str| facts.get(name).cloned().unwrap_or_else(|| "-".to_owned());
    let values = names.into_iter().filter(|name| both_sent(name));
    let values = values.map(|name| (name.clone(), value(ours, name), value(theirs, name)));
    values.filter(|(_, ours, theirs)| ours != theirs).collect()
}
