//! The gateway in front of instances of addsvc and stringsvc.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use addsvc::{Adder, Endpoints, Options, grpc_app};
use axum::Router;
use stringsvc::Strings;
use tokio::{net::TcpListener, runtime::Runtime};
use towerkit::{metrics::Registry, server::Health};
use towerkit_programs::Service;

/// An instance on a runtime of its own, which ends as a killed process does.
struct Instance {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Instance {
    fn start(app: Router) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(axum::serve(listener, app).into_future());
        Self {
            address,
            runtime: Some(runtime),
        }
    }

    fn add() -> Self {
        let options = Options {
            rate: 1000,
            timeout: Duration::from_secs(2),
            go_kit_errors: false,
            auth: None,
        };
        let endpoints = Endpoints::new(Adder);
        let app = grpc_app(endpoints, &options, &Registry::new(), &Health::new());
        Self::start(app.unwrap())
    }

    fn strings() -> Self {
        Self::start(stringsvc::routes(Arc::new(Strings)))
    }

    fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

fn gateway(add: &[Instance], strings: &[Instance]) -> Service {
    let url = |instances: &[Instance]| {
        let addresses: Vec<_> = instances
            .iter()
            .map(|instance| instance.address.to_string())
            .collect();
        format!("static:{}", addresses.join(","))
    };
    let flags = ["--addsvc", &url(add), "--stringsvc", &url(strings)];
    Service::start(env!("CARGO_BIN_EXE_apigateway"), &flags)
}

/// go-kit 2.7
#[test]
fn both_services_are_behind_it() {
    let (add, strings) = ([Instance::add()], [Instance::strings()]);
    let gateway = gateway(&add, &strings);
    let mut client = gateway.client();
    for (path, body, status, expected) in [
        ("/addsvc/sum", r#"{"a":1,"b":2}"#, 200, r#"{"v":3}"#),
        (
            "/addsvc/concat",
            r#"{"a":"1","b":"2"}"#,
            200,
            r#"{"v":"12"}"#,
        ),
        (
            "/addsvc/sum",
            r#"{"a":0,"b":0}"#,
            400,
            "can't sum two zeroes",
        ),
        ("/addsvc/sum", "no json", 400, "detail"),
        (
            "/stringsvc/uppercase",
            r#"{"s":"foo"}"#,
            200,
            r#"{"v":"FOO"}"#,
        ),
        (
            "/stringsvc/uppercase",
            r#"{"s":""}"#,
            200,
            r#"{"v":"","err":"empty string"}"#,
        ),
        ("/stringsvc/count", r#"{"s":"foo"}"#, 200, r#"{"v":3}"#),
        ("/nope", "", 404, "Not Found"),
    ] {
        let answer = client.post(path, body);
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
        assert!(
            answer.body.contains(expected),
            "{path} {body}: {}",
            answer.body
        );
    }
}

/// LB-05: over HTTP and over gRPC, a killed instance costs no call.
#[test]
fn a_killed_instance_costs_no_call_and_without_instances_the_answer_is_503() {
    let mut add = [Instance::add(), Instance::add(), Instance::add()];
    let mut strings = [
        Instance::strings(),
        Instance::strings(),
        Instance::strings(),
    ];
    let gateway = gateway(&add, &strings);
    let mut client = gateway.client();
    let calls = [
        ("/addsvc/sum", r#"{"a":1,"b":2}"#),
        ("/stringsvc/count", r#"{"s":"foo"}"#),
    ];
    let mut statuses = |times: usize| -> Vec<u16> {
        (0..times)
            .flat_map(|_| calls)
            .map(|(path, body)| client.post(path, body).status)
            .collect()
    };
    assert_eq!(statuses(10), [200; 20]);
    add[0].kill();
    strings[0].kill();
    assert_eq!(statuses(100), [200; 200]);
    for instance in add[1..].iter_mut().chain(&mut strings[1..]) {
        instance.kill();
    }
    assert_eq!(statuses(1), [503; 2]);
}
