//! Spans by OTLP over HTTP with protobuf. What the specification says of the environment holds: `OTEL_TRACES_SAMPLER`,
//! `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`, `OTEL_BSP_*`.

use std::pin::Pin;

use axum::http::HeaderMap;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

/// Where the specification has the spans below an endpoint.
const PATH: &str = "/v1/traces";
/// Most bytes of a collector's answer that are read; it says nothing in a few.
const LONGEST_ANSWER: usize = 1 << 20;
/// Name of the service unless `OTEL_SERVICE_NAME` has another.
const SERVICE: &str = "sidecarset-webhook";

/// Makes spans, if it was told where they go.
#[derive(Debug)]
pub struct Spans(Option<Exporting>);

#[derive(Debug)]
struct Exporting {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

impl Spans {
    /// Makes none.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Exports to the collector at `endpoint`, a URL without path such as `http://localhost:4318`. Calls are made on
    /// `background`; a thread of its own collects what is sent together. Spans that find its queue full are lost.
    ///
    /// # Errors
    ///
    /// The endpoint cannot be used.
    pub fn export(endpoint: &str, background: Handle) -> Result<Self, String> {
        let client = Collector { client: Client::builder(TokioExecutor::new()).build_http(), background };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(format!("{}{PATH}", endpoint.trim_end_matches('/')))
            .with_protocol(Protocol::HttpBinary)
            .build()
            .map_err(|error| format!("cannot export spans to {endpoint}: {error}"))?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let mut resource = Resource::builder().with_attributes([version]);
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(SERVICE);
        }
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_batch_exporter(exporter)
            .build();
        let tracer = provider.tracer("sidecarset");
        Ok(Self(Some(Exporting { provider, tracer, propagator: TraceContextPropagator::new() })))
    }

    /// Begins the span of an admission. It goes on where the caller's `traceparent` is; an API server sends one if its own
    /// traces are on.
    #[must_use]
    pub fn start(&self, headers: &HeaderMap) -> Span {
        let Some(Exporting { tracer, propagator, .. }) = &self.0 else { return Span(None) };
        let parent = propagator.extract_with_context(&Context::new(), &HeaderExtractor(headers));
        let builder = SpanBuilder::from_name("admission").with_kind(SpanKind::Server);
        Span(Some(tracer.build_with_context(builder, &parent)))
    }

    /// Sends what is waiting; blocks for some seconds at most.
    pub fn flush(&self) {
        if let Some(exporting) = &self.0
            && let Err(error) = exporting.provider.shutdown()
        {
            tracing::warn!(%error, "the last spans are lost: the collector does not take them");
        }
    }
}

/// The span of an admission; it ends when it is dropped.
#[derive(Debug)]
pub struct Span(Option<opentelemetry_sdk::trace::Span>);

impl Span {
    /// Says what the span is about. `attributes` is called only if somebody will see them.
    pub fn describe<const N: usize>(&mut self, attributes: impl FnOnce() -> [(&'static str, String); N]) {
        if let Some(span) = self.0.as_mut().filter(|span| span.is_recording()) {
            span.set_attributes(attributes().map(|(key, value)| KeyValue::new(key, value)));
        }
    }

    /// Says that there was no answer but an HTTP error.
    pub fn fail(&mut self, code: u16, reason: &'static str) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(code)));
            span.set_status(Status::error(reason));
        }
    }
}

/// Posts to the collector. The exporter has a thread without a runtime, so calls are handed to one that has it.
#[derive(Debug)]
struct Collector {
    client: Client<HttpConnector, Full<Bytes>>,
    background: Handle,
}

impl HttpClient for Collector {
    fn send_bytes<'client, 'call>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'call>>
    where
        'client: 'call,
    {
        let client = self.client.clone();
        let call = self.background.spawn(async move {
            let answer = client.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        });
        Box::pin(async move { call.await? })
    }
}
