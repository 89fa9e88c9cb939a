//! The routes: the table of the documentation.

use axum::Router;
use http::{Method, Request};
use http_body_util::BodyExt;
use profilesvc::{Endpoints, InMemory, routes};
use serde_json::{Value, json};
use tower::ServiceExt;

async fn call(app: &Router, method: Method, path: &str, body: &str) -> (u16, Value) {
    let request = Request::builder().method(method).uri(path);
    let request = request.body(body.to_owned()).unwrap();
    let Ok(response) = app.clone().oneshot(request).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// Table 2.5 of go-kit's examples, with the ids of paths and bodies checked for PUT as well.
#[tokio::test]
async fn every_row_of_the_table_has_its_response() {
    let app = routes(Endpoints::new(InMemory::new()));
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let (patch, delete) = (Method::PATCH, Method::DELETE);
    let ann = r#"{"id":"1","Name":"Ann"}"#;
    let home = r#"{"id":"a1","location":"x"}"#;
    let profile = json!({ "profile": { "id": "1", "name": "Ann" } });
    let address = json!({ "id": "a1", "location": "x" });
    for (method, path, body, status, expected) in [
        (&post, "/profiles/", ann, 200, json!({})),
        (&post, "/profiles/", ann, 409, json!("already exists")),
        (&get, "/profiles/1", "", 200, profile),
        (&get, "/profiles/2", "", 404, json!("not found")),
        (&put, "/profiles/2", ann, 400, json!("inconsistent IDs")),
        (&put, "/profiles/1", ann, 200, json!({})),
        (&patch, "/profiles/1", r#"{"name":"Bob"}"#, 200, json!({})),
        (
            &patch,
            "/profiles/1",
            r#"{"id":"2"}"#,
            400,
            json!("inconsistent IDs"),
        ),
        (&patch, "/profiles/3", "{}", 404, json!("not found")),
        (&post, "/profiles/1/addresses/", home, 200, json!({})),
        (
            &post,
            "/profiles/1/addresses/",
            home,
            409,
            json!("already exists"),
        ),
        (
            &get,
            "/profiles/1/addresses/",
            "",
            200,
            json!({ "addresses": [address] }),
        ),
        (
            &get,
            "/profiles/1/addresses/a1",
            "",
            200,
            json!({ "address": address }),
        ),
        (&delete, "/profiles/1/addresses/a1", "", 200, json!({})),
        (
            &delete,
            "/profiles/1/addresses/a1",
            "",
            404,
            json!("not found"),
        ),
        (&delete, "/profiles/1", "", 200, json!({})),
        (&delete, "/profiles/1", "", 404, json!("not found")),
    ] {
        let (got, json) = call(&app, method.clone(), path, body).await;
        assert_eq!(got, status, "{method} {path}: {json}");
        let json = if status < 400 {
            json
        } else {
            json["detail"].clone()
        };
        assert_eq!(json, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn bad_input_is_answered_with_problem_details() {
    let app = routes(Endpoints::new(InMemory::new()));
    for (method, path, body, status, code) in [
        (
            Method::POST,
            "/profiles/",
            "{",
            400,
            Some("invalid_argument"),
        ),
        (
            Method::POST,
            "/profiles/",
            r#"{"id":1}"#,
            400,
            Some("invalid_argument"),
        ),
        (
            Method::POST,
            "/profiles/",
            "",
            400,
            Some("invalid_argument"),
        ),
        (
            Method::GET,
            "/profiles/%ff",
            "",
            400,
            Some("invalid_argument"),
        ),
        (Method::POST, "/profiles/1", "{}", 405, None),
        (Method::GET, "/nowhere", "", 404, None),
    ] {
        let (got, json) = call(&app, method, path, body).await;
        assert_eq!(got, status, "{path} {body}: {json}");
        assert_eq!(json["status"], status);
        assert_eq!(json["code"].as_str(), code, "{json}");
        assert!(!json.to_string().contains("struct"), "{json}");
    }
}
