//! Server-sent events, read off a stream.

use crate::client::Client;
use crate::error::CliError;
use pond_server::api::types::{EventQuery, EventView};
use std::io::{BufRead, BufReader, Read};

/// Events as they happen. When the connection breaks, it is made again from the last one seen.
pub struct EventStream {
    client: Client,
    query: EventQuery,
    last: Option<u64>,
    lines: Option<BufReader<Box<dyn Read + Send>>>,
}

impl EventStream {
    /// Those that fit `query`, from `query.since` on, or from now.
    ///
    /// # Errors
    /// The first connection cannot be made.
    pub fn open(client: &Client, query: EventQuery) -> Result<Self, CliError> {
        let mut stream = Self { client: client.clone(), last: query.since, query, lines: None };
        stream.connect()?;
        Ok(stream)
    }

    fn connect(&mut self) -> Result<(), CliError> {
        let query = EventQuery { since: self.last, limit: None, ..self.query.clone() };
        let reader = self.client.stream("/events", &query, &[("accept", "text/event-stream")])?;
        self.lines = Some(BufReader::new(Box::new(reader)));
        Ok(())
    }

    /// The next event.
    ///
    /// # Errors
    /// The connection broke and cannot be made again.
    pub fn next_event(&mut self) -> Result<EventView, CliError> {
        loop {
            let Some(lines) = &mut self.lines else {
                self.connect()?;
                continue;
            };
            match read_event(lines) {
                Some(event) => {
                    self.last = Some(event.seq);
                    return Ok(event);
                }
                None => self.lines = None,
            }
        }
    }
}

/// Reads up to the next event that can be read; `None` at the end of the stream.
fn read_event(lines: &mut impl BufRead) -> Option<EventView> {
    let mut data = String::new();
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let text = line.trim_end_matches(['\r', '\n']);
        if let Some(part) = text.strip_prefix("data:") {
            data.push_str(part.strip_prefix(' ').unwrap_or(part));
            data.push('\n');
        } else if text.is_empty() && !data.is_empty() {
            if let Ok(event) = serde_json::from_str(&data) {
                return Some(event);
            }
            data.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_around_comments_and_other_fields() {
        let text = ": hello\n\nid: 7\nevent: job\ndata: {\"seq\":7,\"at_ms\":1,\"actor\":\"pool\",\ndata: \"kind\":\"k\",\"text\":\"t\"}\n\ndata: nonsense\n\n";
        let mut lines = text.as_bytes();
        assert_eq!(read_event(&mut lines).unwrap().seq, 7);
        assert_eq!(read_event(&mut lines), None);
    }
}
