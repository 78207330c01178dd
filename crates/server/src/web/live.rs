//! The stream that tells open pages to refresh: at most one tick a second, when something happened.

use super::Oops;
use crate::api::Shared;
use axum::extract::State as Extract;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// The shortest time between two ticks.
const PACE: Duration = Duration::from_secs(1);
/// Samples and ages change without an entry in the event log.
const AT_LEAST: Duration = Duration::from_secs(5);

/// Ticks, each with the number of the last entry of the event log.
pub async fn stream(Extract(shared): Extract<Shared>) -> Result<Response, Oops> {
    let room = shared.room_for_a_stream()?;
    let (sender, receiver) = mpsc::channel::<Result<Event, Infallible>>(2);
    tokio::spawn(async move {
        let _room = room;
        let mut news = shared.feed.follow();
        // What becomes of a message is no entry of the event log.
        let mut told = shared.notices.follow();
        let mut stop = shared.stop.clone();
        loop {
            let seq = *news.borrow_and_update();
            told.mark_unchanged();
            if sender.send(Ok(Event::default().data(seq.to_string()))).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(PACE) => {}
                () = sender.closed() => return,
            }
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return },
                changed = told.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(AT_LEAST) => {}
                () = sender.closed() => return,
                _ = stop.wait_for(|&stop| stop) => return,
            }
        }
    });
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(alive).into_response())
}
