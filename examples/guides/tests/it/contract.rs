//! The tables of `docs/contract.md` say what the code does.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt};
use towerkit_circuitbreaker::CountAs;
use towerkit_core::{
    Call, CallEnd, Guard, Observer, Outcome, Policy, Rejection, RejectionReason, Status, guard,
    observe, stack,
};
use towerkit_http::HttpExt;

const CONTRACT: &str = include_str!("../../../../docs/contract.md");

/// Returns the rows of the table whose head begins with this word, cell by cell and without backticks.
fn table(head: &str) -> Vec<Vec<String>> {
    let lines = CONTRACT
        .lines()
        .skip_while(|line| !line.starts_with(&format!("| {head} |")));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    })
    .collect()
}

/// The number that a cell begins with.
fn number(cell: &str) -> u16 {
    cell.split(' ').next().unwrap().parse().unwrap()
}

#[derive(Default)]
struct Last(Mutex<Option<CallEnd>>);

impl Policy for Last {
    type CallState = ();

    fn finish(&self, _state: (), end: &CallEnd) {
        *self.0.lock().unwrap() = Some(end.clone());
    }
}

impl<Req> Observer<Req> for Last {
    fn start(&self, _call: &mut Call<'_, Req>) {}
}

struct Rejects(RejectionReason);

impl Policy for Rejects {
    type CallState = ();

    fn finish(&self, _state: (), _end: &CallEnd) {}
}

impl<Req> Guard<Req> for Rejects {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        Err(Rejection::new(self.0, "guides"))
    }
}

fn http() -> Request<()> {
    Request::new(())
}

fn grpc() -> Request<()> {
    let request = Request::post("/a.B/C").header("content-type", "application/grpc");
    request.body(()).unwrap()
}

/// Calls a service that answers so, and returns the end that an observer sees.
async fn ended(request: Request<()>, answer: Response<Full<Bytes>>) -> CallEnd {
    let last = Arc::new(Last::default());
    let service = ServiceBuilder::new()
        .layer(observe(last.clone()).http())
        .service_fn(move |_| std::future::ready(Ok::<_, Infallible>(answer.clone())));
    let response = service.oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
    last.0.lock().unwrap().take().unwrap()
}

/// Calls through a guard that rejects, and returns the status, the code, and the end that an observer sees.
async fn rejected(
    request: Request<()>,
    reason: RejectionReason,
) -> (StatusCode, Option<u16>, CallEnd) {
    let last = Arc::new(Last::default());
    let service = ServiceBuilder::new()
        .layer(stack((observe(last.clone()), guard(Rejects(reason)))).http())
        .service_fn(|_| {
            std::future::ready(Ok::<_, Infallible>(Response::<Full<Bytes>>::default()))
        });
    let response = service.oneshot(request).await.unwrap();
    let code = response.headers().get("grpc-status");
    let code = code.map(|code| code.to_str().unwrap().parse().unwrap());
    let end = last.0.lock().unwrap().take().unwrap();
    (response.status(), code, end)
}

#[tokio::test]
async fn every_reason_is_answered_as_the_table_says() {
    let rows = table("reason");
    assert_eq!(rows.len(), RejectionReason::ALL.len());
    for (row, reason) in rows.iter().zip(RejectionReason::ALL) {
        let [name, _meaning, status, code, outcome] = row.as_slice() else {
            panic!("{row:?}");
        };
        assert_eq!(name, reason.as_str());
        assert_eq!(outcome, reason.outcome().as_str(), "{reason}");
        let (answered, _, end) = rejected(http(), reason).await;
        assert_eq!(answered, number(status), "{reason}");
        assert_eq!(end.status(), Some(Status::Http(number(status))), "{reason}");
        let (_, answered, end) = rejected(grpc(), reason).await;
        assert_eq!(answered, Some(number(code)), "{reason}");
        assert_eq!(end.status(), Some(Status::Grpc(number(code))), "{reason}");
    }
}

#[test]
fn every_outcome_is_in_the_table() {
    let rows = table("outcome");
    let names = rows.iter().map(|row| row[0].as_str());
    assert!(names.eq(Outcome::ALL.map(Outcome::as_str)));
}

#[tokio::test]
async fn every_status_has_the_outcome_of_the_table() {
    let rows = table("status");
    for status in 200..=999 {
        let is_named = |row: &&Vec<String>| row[0].parse() == Ok(status);
        let spans = |row: &&Vec<String>| {
            let mut ends = row[0]
                .split([' ', ','])
                .filter_map(|word| word.parse::<u16>().ok());
            (ends.next()..=ends.next()).contains(&Some(status))
        };
        let row = rows
            .iter()
            .find(is_named)
            .or_else(|| rows.iter().rfind(spans));
        let mut answer = Response::default();
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        let end = ended(http(), answer).await;
        assert_eq!(end.outcome().as_str(), row.unwrap()[1], "{status}");
    }
}

#[tokio::test]
async fn every_code_has_the_outcome_of_the_table() {
    let rows = table("code");
    assert_eq!(rows.len(), 17);
    for row in rows {
        let code = HeaderValue::from(number(&row[0]));
        let mut answer = Response::default();
        answer.headers_mut().insert("grpc-status", code);
        let end = ended(grpc(), answer.clone()).await;
        assert_eq!(end.outcome(), Outcome::Success, "not gRPC: {row:?}");
        let grpc_type = HeaderValue::from_static("application/grpc");
        answer.headers_mut().insert("content-type", grpc_type);
        let end = ended(grpc(), answer).await;
        assert_eq!(end.outcome().as_str(), row[1], "{row:?}");
    }
}

#[test]
fn a_breaker_judges_as_the_table_says() {
    let blamed = |outcome| CallEnd::new(outcome).with_status(Some(Status::Http(429)));
    let after = |head| CallEnd::cancelled().with_head_outcome(Some(head));
    let troubles = [Outcome::Failure, Outcome::Overloaded, Outcome::TimedOut];
    let table = [
        (vec![CallEnd::new(Outcome::Success)], CountAs::Success),
        (vec![CallEnd::new(Outcome::ClientError)], CountAs::Success),
        (troubles.map(CallEnd::new).to_vec(), CountAs::Failure),
        (troubles.map(blamed).to_vec(), CountAs::Success),
        (
            vec![CallEnd::rejected_for(RejectionReason::RateLimited)],
            CountAs::Ignored,
        ),
        (
            vec![CallEnd::rejected_for(RejectionReason::DeadlineExceeded)],
            CountAs::Failure,
        ),
        (vec![CallEnd::cancelled()], CountAs::Ignored),
        (vec![after(Outcome::Success)], CountAs::Success),
        (vec![after(Outcome::Failure)], CountAs::Failure),
    ];
    for (ends, expected) in table {
        for end in ends {
            assert_eq!(CountAs::of(&end), expected, "{end:?}");
        }
    }
}
