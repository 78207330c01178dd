//! The HTTP API.
//!
//! | method and path below `/api/v1` | body | answer |
//! |---|---|---|
//! | POST `jobs` | job file: JSON, YAML, TOML, script, or a complete spec | 201 [`types::Submitted`] |
//! | POST `plan` | the same | [`types::Preview`] |
//! | GET `jobs` | [`types::JobQuery`] | [`types::JobPage`] |
//! | GET `jobs/{id}` | | [`types::JobDetail`] |
//! | POST `jobs/{id}/stop` `pause` `resume` `retry` | [`types::ActionBody`] or nothing | [`types::JobSummary`] |
//! | POST `jobs/{id}/resize` | [`types::ResizeBody`] | [`types::JobSummary`] |
//! | DELETE `jobs/{id}` | | 204 |
//! | GET `jobs/{id}/why` | [`types::WhyQuery`] | [`types::WhyView`] |
//! | GET `jobs/{id}/logs` | [`types::LogQuery`] | text, or lines of [`types::LogLine`] |
//! | GET `jobs/{id}/events` | [`types::EventQuery`] | [`types::EventPage`] |
//! | WS `tasks/{id}/exec` `attach` | [`types::ExecQuery`] | frames of `pond_core::frame` |
//! | WS `tasks/{id}/forward` | [`types::ForwardQuery`] | bytes |
//! | GET, PUT `tasks/{id}/files` | [`types::FileQuery`] | a tar stream; 204 |
//! | GET `status` | | [`types::StatusView`] |
//! | GET `nodes` | | list of [`types::NodeView`] |
//! | GET `nodes/{node}` | | [`types::NodeView`] |
//! | POST `nodes/{node}/drain` `resume` | | [`types::NodeView`] |
//! | POST `nodes/{node}/label` | [`types::LabelBody`] | [`types::NodeView`] |
//! | GET `devices` | | list of [`types::DeviceView`] |
//! | GET `queues` | | list of [`types::QueueView`] |
//! | GET, PUT, DELETE `queues/{path}` | [`types::QueueBody`] | [`types::QueueView`]; 204 |
//! | GET `usage` | [`types::UsageQuery`] | [`types::UsageReport`] |
//! | GET `events` | [`types::EventQuery`] | [`types::EventPage`], or `text/event-stream` of [`types::EventView`] when asked for |
//! | GET `secrets` | | list of [`types::SecretView`] |
//! | GET, PUT, DELETE `secrets/{name}` | [`types::SecretBody`] | [`types::SecretView`]; 204 |
//! | GET `tokens` | | list of [`types::TokenView`] |
//! | PUT, DELETE `tokens/{name}` | [`types::TokenBody`] | 201 [`types::NewToken`]; 204 |
//! | GET `health` (no token) | | [`types::Health`] |
//! | GET `version` | | [`types::Version`] |
//! | POST `shutdown` | [`types::ShutdownBody`] | 202 |
//!
//! Beside it: `/metrics`, `/api/v1/openapi.json`, and `/`, a plain page that needs no token on loopback.
//! Every error is a [`types::Problem`].

pub mod types;
