//! Colours: few, and never the only sign.

use pond_server::api::types::State;

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    #[default]
    Plain,
    /// Headings.
    Bold,
    /// Of less weight.
    Dim,
    /// Good.
    Green,
    /// Bad.
    Red,
    /// Take care.
    Yellow,
    /// On its way.
    Blue,
    /// Something else.
    Cyan,
    /// Something else again.
    Magenta,
}

impl Style {
    /// `text` in this style, or as it is.
    #[must_use]
    pub fn paint(self, color: bool, text: &str) -> String {
        let code = match self {
            Self::Plain => return text.to_owned(),
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Red => "31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Blue => "34",
            Self::Magenta => "35",
            Self::Cyan => "36",
        };
        if color && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A colour of its own for each rank.
    #[must_use]
    pub const fn of_rank(rank: u32) -> Self {
        match rank % 6 {
            0 => Self::Cyan,
            1 => Self::Green,
            2 => Self::Yellow,
            3 => Self::Magenta,
            4 => Self::Blue,
            _ => Self::Red,
        }
    }
}

/// The colour of a state.
#[must_use]
pub const fn state_style(state: State) -> Style {
    match state {
        State::Running => Style::Green,
        State::Starting | State::Stopping => Style::Blue,
        State::Frozen | State::Waiting | State::Paused => Style::Yellow,
        State::Infeasible | State::Failed => Style::Red,
        State::Stopped | State::Succeeded => Style::Dim,
    }
}
