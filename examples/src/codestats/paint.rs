//! Colours, if the reader can see them.

use std::env;
use std::io::{self, IsTerminal};

/// Puts terminal colours around text, or leaves it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Text as it is.
    Plain,
    /// Text between escape sequences.
    Colours,
}

impl Paint {
    /// Colours if stdout is a terminal and the user has not set `NO_COLOR` to something.
    pub(crate) fn for_stdout() -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if io::stdout().is_terminal() && !refused { Paint::Colours } else { Paint::Plain }
    }

    /// For headings.
    pub(crate) fn heading(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// For what is as it should be.
    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// For what is not.
    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("31", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Paint::Plain => text.to_owned(),
            Paint::Colours => format!("\x1B[{code}m{text}\x1B[0m"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(Paint::Plain.bad("lost"), "lost");
    }

    #[test]
    fn colours_end_behind_the_text() {
        assert_eq!(Paint::Colours.good("equal"), "\x1B[32mequal\x1B[0m");
    }
}
