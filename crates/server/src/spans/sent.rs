//! Built with the feature: spans by the OpenTelemetry SDK.

use super::{SpansError, named};
use axum::http::HeaderMap;
use bytes::Bytes;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Tracer};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::time::{Duration, SystemTime};

const NAME: &str = "pond";
/// A collector gets so long to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends spans.
#[derive(Debug)]
pub struct Sending(Option<SdkTracerProvider>);

impl Sending {
    /// Begins to send, where the environment names a collector.
    ///
    /// # Errors
    /// The address is none.
    pub fn start() -> Result<Self, SpansError> {
        if named().is_none() {
            return Ok(Self(None));
        }
        let exporter = SpanExporter::builder().with_http().with_http_client(Sender::new()).build()?;
        let resource = Resource::builder()
            .with_service_name(std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_none| NAME.to_owned()))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        global::set_tracer_provider(provider.clone());
        Ok(Self(Some(provider)))
    }

    /// Sends what is left.
    pub fn end(self) {
        if let Some(provider) = &self.0 {
            // Whoever does not take the last spans goes without them.
            drop(provider.shutdown_with_timeout(PATIENCE));
        }
    }
}

/// The pool's own HTTP client, in the SDK's thread.
#[derive(Debug)]
struct Sender(ureq::Agent);

impl Sender {
    fn new() -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false);
        Self(config.build().into())
    }
}

#[async_trait::async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let answer = self.0.run(http::Request::from_parts(head, body.to_vec()))?;
        let (head, mut body) = answer.into_parts();
        Ok(http::Response::from_parts(head, body.read_to_vec()?.into()))
    }
}

/// Something that takes time.
pub struct Span(global::BoxedSpan);

impl Span {
    /// Says something about it.
    pub fn note(&mut self, key: &'static str, value: i64) {
        self.0.set_attribute(KeyValue::new(key, value));
    }
}

/// Begins one that ends when it is dropped.
#[must_use]
pub fn begin(name: &'static str) -> Span {
    Span(global::tracer(NAME).start(name))
}

/// Begins one for a request, below the span that its headers name.
#[must_use]
pub fn request(method: &str, route: &str, headers: &HeaderMap) -> Span {
    let above = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    let builder =
        SpanBuilder::from_name(format!("{method} {route}")).with_kind(SpanKind::Server).with_attributes([
            KeyValue::new("http.request.method", method.to_owned()),
            KeyValue::new("http.route", route.to_owned()),
        ]);
    Span(global::tracer(NAME).build_with_context(builder, &above))
}

/// One that is over, in milliseconds since 1970.
pub fn past(name: &'static str, from_ms: u64, to_ms: u64, subject: &dyn std::fmt::Display) {
    let moment = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
    let builder = SpanBuilder::from_name(name)
        .with_start_time(moment(from_ms))
        .with_attributes([KeyValue::new("pond.subject", subject.to_string())]);
    let mut span = global::tracer(NAME).build_with_context(builder, &Context::new());
    span.end_with_timestamp(moment(to_ms));
}
