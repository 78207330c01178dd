//! Built with the feature: spans by the OpenTelemetry SDK.

use super::{Note, Part, SpansError, named};
use axum::http::HeaderMap;
use bytes::Bytes;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceId, TraceState,
    Tracer, TracerProvider,
};
use opentelemetry::{Array, Context, KeyValue, Value, global};
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracerProvider};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::OnceLock;
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
        let named = || SdkTracerProvider::builder().with_id_generator(Named::default());
        let provider = named().with_batch_exporter(exporter).with_resource(resource).build();
        _ = JUDGE.get_or_init(|| named().build());
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

/// The span that a request's headers name, in W3C's words.
#[must_use]
pub fn above(headers: &HeaderMap) -> Option<Box<str>> {
    let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    let span = context.span();
    let above = span.span_context();
    let flags = above.trace_flags().to_u8();
    above.is_valid().then(|| format!("00-{}-{}-{flags:02x}", above.trace_id(), above.span_id()).into())
}

/// The context of a span that [`above`] gave.
fn remote(above: &str) -> Context {
    TraceContextPropagator::new().extract(&HashMap::from([("traceparent".to_owned(), above.to_owned())]))
}

/// Sends a span of a job, if the trace is one of those that are sent: what the first span is, all are.
pub fn part(part: Part) {
    let Some(judge) = JUDGE.get() else { return };
    let Part { trace, id, above, name, from_us, to_us, notes, error } = part;
    let over = trace.above.as_deref().map_or_else(Context::new, remote);
    let first = Named::with(trace.id, trace.root, || {
        judge.tracer(NAME).build_with_context(SpanBuilder::from_name("job"), &over)
    });
    let first = first.span_context().clone();
    if !first.is_sampled() {
        return;
    }
    let over = match above {
        None => over,
        Some(above) => Context::new().with_remote_span_context(SpanContext::new(
            first.trace_id(),
            SpanId::from(above),
            first.trace_flags(),
            false,
            TraceState::NONE,
        )),
    };
    let moment = |us| SystemTime::UNIX_EPOCH + Duration::from_micros(us);
    let builder = SpanBuilder::from_name(name)
        .with_start_time(moment(from_us))
        .with_attributes(notes.into_iter().map(|(key, note)| KeyValue::new(key, Value::from(note))));
    let mut span = Named::with(trace.id, id, || global::tracer(NAME).build_with_context(builder, &over));
    if let Some(error) = error {
        span.set_status(Status::error(error));
    }
    span.end_with_timestamp(moment(to_us));
}

impl From<Note> for Value {
    fn from(note: Note) -> Self {
        match note {
            Note::Number(number) => Self::I64(number),
            Note::Word(word) => Self::String(word.into()),
            Note::Words(words) => Self::Array(Array::String(words.into_iter().map(Into::into).collect())),
        }
    }
}

/// Says of a trace, by its first span, whether it is sent; sends nothing itself.
static JUDGE: OnceLock<SdkTracerProvider> = OnceLock::new();

thread_local! {
    /// What the next span of this thread is called.
    static NEXT: Cell<Option<(u128, u64)>> = const { Cell::new(None) };
}

/// Numbers of traces and spans: those that are given, random ones otherwise.
#[derive(Debug, Default)]
struct Named(RandomIdGenerator);

impl Named {
    /// Builds one span of this number, in a trace of this number if it has none above.
    fn with<T>(trace: u128, span: u64, build: impl FnOnce() -> T) -> T {
        NEXT.set(Some((trace, span)));
        let built = build();
        NEXT.set(None);
        built
    }
}

impl IdGenerator for Named {
    fn new_trace_id(&self) -> TraceId {
        NEXT.get().map_or_else(|| self.0.new_trace_id(), |(trace, _)| TraceId::from(trace))
    }

    fn new_span_id(&self) -> SpanId {
        NEXT.get().map_or_else(|| self.0.new_span_id(), |(_, span)| SpanId::from(span))
    }
}
