//! Every source of tokens against the pretend Google, through the real door to the outside.
//!
//! Whatever is said in these tests (every event of every library, with `HttpVerbose` on, every failure and every `Debug`)
//! is searched for the pretend Google's secrets.
#![forbid(unsafe_code)]

#[cfg(test)]
mod addresses;
#[cfg(test)]
mod application_default;
#[cfg(test)]
#[path = "differential/comparison.rs"]
mod comparison;
#[cfg(test)]
mod description;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod every_source;
#[cfg(test)]
mod executable;
#[cfg(test)]
#[path = "differential/facts.rs"]
mod facts;
#[cfg(test)]
mod impersonation;
#[cfg(test)]
mod kept_alive;
#[cfg(test)]
mod metadata_server;
#[cfg(test)]
mod odd_files;
#[cfg(test)]
mod options;
#[cfg(test)]
mod probe;
#[cfg(test)]
mod proxies;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod steering;
#[cfg(test)]
mod subject_tokens;
