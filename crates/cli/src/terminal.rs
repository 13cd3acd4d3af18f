//! Colours, where they are seen.

use std::{
    fmt,
    io::{self, IsTerminal},
};

use google_credentials::World;

/// Whether what is written is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colours {
    On,
    Off,
}

/// A colour, or emphasis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Red,
    Yellow,
    Green,
    Grey,
    Bold,
}

impl Colours {
    /// For standard output: on at a terminal, unless `NO_COLOR` (no-color.org) or a terminal that can none.
    pub(crate) fn of_output(world: &dyn World) -> Self {
        let unwanted = world.env("NO_COLOR").is_some_and(|text| !text.is_empty());
        let unable = world.env("TERM").is_some_and(|term| term == "dumb");
        if io::stdout().is_terminal() && !unwanted && !unable { Self::On } else { Self::Off }
    }

    /// The text in that colour.
    pub(crate) fn paint(self, colour: Colour, text: impl fmt::Display) -> String {
        // ECMA-48 section 8.3.117.
        let code = match colour {
            Colour::Red => "31",
            Colour::Yellow => "33",
            Colour::Green => "32",
            Colour::Grey => "90",
            Colour::Bold => "1",
        };
        match self {
            Self::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Off => text.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_added_where_colours_are_off() {
        assert_eq!(Colours::Off.paint(Colour::Red, "x"), "x");
        assert_eq!(Colours::On.paint(Colour::Red, "x"), "\x1b[31mx\x1b[0m");
    }
}
