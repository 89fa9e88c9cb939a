//! What is sent to those who watch.

use std::io::{Read, Write};

use tokio::net::{TcpListener, UdpSocket};
use towerkit_log::{Background, Format, Redaction, subscriber};
use towerkit_metrics::Registry;
use towerkit_metrics_push::{
    Destination, Format as Lines, Graphite, Influx, InfluxHttp, Pusher, Statsd,
};
use towerkit_opentelemetry::{MetricPipeline, SpanPipeline};
use towerkit_trace::{Propagation, extract};

use super::secrets::{CANARY, Outputs, url};

/// Pushes by each format and transport; the fields by which a pusher says who it is are left out.
pub(super) async fn push(outputs: &mut Outputs, registry: &Registry) {
    let formats: [(&str, Lines); 5] = [
        ("statsd", Statsd::new().into()),
        ("dogstatsd", Statsd::dogstatsd().into()),
        ("influx statsd", Statsd::influx().into()),
        ("graphite", Graphite::new().into()),
        ("influx", Influx::new().into()),
    ];
    for (name, format) in formats {
        let receiver = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target = Destination::udp(receiver.local_addr().unwrap().to_string());
        let mut pusher = Pusher::new(registry.clone(), format, target);
        pusher.flush().await.unwrap();
        let mut packet = vec![0; 65536];
        let mut text = String::new();
        while let Ok(length) = receiver.try_recv(&mut packet) {
            text.push_str(&String::from_utf8_lossy(&packet[..length]));
        }
        outputs.add(name, text);
        outputs.debug(
            name,
            &(&pusher, pusher.handle(), pusher.handle().snapshot()),
        );
    }
    influx_over_http(outputs, registry).await;
}

/// A server that says what it was told, credentials and all, as a reason to reject it.
async fn influx_over_http(outputs: &mut Outputs, registry: &Registry) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = listener.into_std().unwrap();
    listener.set_nonblocking(false).unwrap();
    let server = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = vec![0; 256 * 1024];
        let length = connection.read(&mut request).unwrap();
        connection
            .write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let influx = InfluxHttp::v1(&format!("http://{address}"), "shop").unwrap();
    let influx = influx.basic("ann", CANARY).unwrap();
    outputs.add("influx over http", format!("{influx} {influx:?}"));
    let target = Destination::from(influx);
    outputs.add("its target", format!("{target} {target:?}"));
    let mut pusher = Pusher::new(registry.clone(), Influx::new(), target);
    let error = pusher.flush().await.unwrap_err();
    outputs.error("its error", &error);
    outputs.debug(
        "its pusher",
        &(&pusher, pusher.handle(), pusher.handle().snapshot()),
    );
    let request = server.join().unwrap();
    assert!(
        request.to_lowercase().contains("authorization: basic "),
        "{request}"
    );
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    outputs.add("its body", format!("body {body}"));
    let error = InfluxHttp::v1(&url("http", "localhost"), "shop").unwrap_err();
    outputs.error("its address", &error);
}

/// Settings with secrets, and what is said of those that make no sense.
pub(super) fn pipelines(outputs: &mut Outputs) {
    let (http, with_query) = (
        url("http", "127.0.0.1:1"),
        format!("http://127.0.0.1:1/?token={CANARY}"),
    );
    for (name, endpoint) in [("userinfo", &http), ("query", &with_query)] {
        let made = [
            SpanPipeline::new("shop").otlp_grpc(endpoint),
            SpanPipeline::new("shop").otlp_http(endpoint),
            SpanPipeline::new("shop").zipkin(endpoint),
        ];
        for made in made {
            match made {
                Ok(spans) => outputs.debug(name, &(&spans, spans.snapshot())),
                Err(error) => outputs.error(name, &error),
            }
        }
        let made = [
            MetricPipeline::new("shop").otlp_grpc(endpoint),
            MetricPipeline::new("shop").otlp_http(endpoint),
        ];
        for made in made {
            match made {
                Ok(meters) => outputs.debug(name, &meters),
                Err(error) => outputs.error(name, &error),
            }
        }
    }
    let log = subscriber(Format::Json).redaction(Redaction::new().field("pin"));
    outputs.debug("subscriber", &log);
    let (queue, guard) = Background::new()
        .start(Format::Json, std::io::sink)
        .unwrap();
    outputs.debug("queue", &(queue, guard));
    context(outputs);
}

/// Baggage is passed on, and not shown.
fn context(outputs: &mut Outputs) {
    use std::collections::HashMap;
    struct Message(HashMap<&'static str, String>);
    impl towerkit_trace::Carrier for Message {
        fn for_each_value<'a>(&'a self, name: &str, visit: &mut dyn FnMut(&'a [u8])) {
            if let Some(value) = self.0.get(name) {
                visit(value.as_bytes());
            }
        }
        fn set(&mut self, name: &'static str, value: &str) {
            self.0.insert(name, value.to_owned());
        }
        fn remove(&mut self, name: &'static str) {
            self.0.remove(name);
        }
    }
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned();
    let message = Message(HashMap::from([
        ("traceparent", parent),
        ("baggage", format!("user={CANARY}")),
    ]));
    let context = extract(&[Propagation::W3c], &message).unwrap();
    assert!(context.baggage().unwrap().as_str().contains(CANARY));
    outputs.debug("context", &context);
}
