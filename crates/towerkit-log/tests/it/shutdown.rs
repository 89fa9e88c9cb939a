//! A process that ends while calls are under way.

use std::{env, future::pending, process::Command};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Channel};
use serde_json::Value;
use tokio::runtime::Builder;
use tower::{Layer, ServiceExt, service_fn};
use towerkit_core::BoxError;
use towerkit_http::HttpExt;
use towerkit_log::{Background, Format, LogLayer, subscriber};

/// Tells this test that it is the process that ends, and how it logs.
const VARIABLE: &str = "TOWERKIT_CUT_OFF";
const NAME: &str = "shutdown::a_call_in_flight_at_the_end_of_the_process_is_logged";

async fn answer(request: Request<()>) -> Result<Response<Channel<Bytes>>, BoxError> {
    if request.uri().path() == "/head" {
        pending::<()>().await;
    }
    let (mut sender, body) = Channel::new(1);
    sender.send_data(Bytes::from_static(b"hello")).await?;
    // The body has no end.
    tokio::spawn(async move {
        pending::<()>().await;
        drop(sender);
    });
    Ok(Response::new(body))
}

/// Calls that hang, one before its head and one in its body, as a server's connections do, while `main` returns.
async fn main(in_background: bool) {
    let lines = subscriber(Format::Json);
    let _guard = if in_background {
        let (lines, guard) = lines.background(Background::new()).unwrap();
        lines.try_init().unwrap();
        Some(guard)
    } else {
        lines.try_init().unwrap();
        None
    };
    let service = LogLayer::new().http().layer(service_fn(answer));
    for path in ["/head", "/body"] {
        let call = service
            .clone()
            .oneshot(Request::get(path).body(()).unwrap());
        tokio::spawn(async move {
            let mut body = call.await.unwrap().into_body();
            while body.frame().await.is_some() {}
        });
    }
    // Until both hang.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_call_in_flight_at_the_end_of_the_process_is_logged() {
    if let Ok(how) = env::var(VARIABLE) {
        let runtime = Builder::new_current_thread().build().unwrap();
        // As `#[tokio::main]` does: the guard is dropped with the future, and the calls with the runtime, after it.
        runtime.block_on(main(how == "background"));
        return;
    }
    for how in ["background", "direct"] {
        let process = Command::new(env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(VARIABLE, how)
            .output()
            .unwrap();
        let log = String::from_utf8(process.stderr).unwrap();
        assert!(process.status.success(), "{log}");
        let mut lines: Vec<Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        lines.sort_by_key(|line| line["path"].as_str().unwrap().to_owned());
        assert_eq!(lines.len(), 2, "{how}: {log}");
        for (line, (path, status)) in lines
            .iter()
            .zip([("/body", Value::from(200)), ("/head", Value::Null)])
        {
            assert_eq!(line["path"], path);
            assert_eq!(
                (&line["status"], &line["outcome"]),
                (&status, &Value::from("cancelled"))
            );
        }
    }
}
