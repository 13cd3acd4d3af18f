//! Ending.
