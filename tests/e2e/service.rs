//! A small HTTP service that plans of these tests start: this test binary itself, with a port in its environment.

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};

/// The variable that makes the test below a service.
const PORT: &str = "E2E_SERVICE_PORT";
/// The token the service gives out; plans capture it as a secret.
pub const TOKEN: &str = "tok-5e11a7c0ffee5e11a7c0ffee";

/// The service of a plan, and its base as `env.BASE`.
pub fn of_a_plan(port: u16) -> String {
    let program = std::env::current_exe().unwrap();
    let program = serde_json::to_string(&program).unwrap();
    format!(
        "env: {{ BASE: \"http://127.0.0.1:{port}\" }}\nservices:\n  - id: web\n    run: [{program}, \
         service::serve_if_asked, --exact, --nocapture]\n    env: {{ {PORT}: \"{port}\" }}\n    ready: {{ http: \
         \"{{{{ env.BASE }}}}/\", timeout: 60s }}\n"
    )
}

/// A port of 127.0.0.1 that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn serve_if_asked() {
    let Some(port) = std::env::var(PORT).ok().and_then(|port| port.parse::<u16>().ok()) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let app = Router::new()
            .route("/", get(async || "up"))
            .route("/token", post(async || axum::Json(serde_json::json!({ "token": TOKEN, "user": "ada" }))))
            .route("/greet", get(greet))
            .route("/slow", get(slow));
        axum::serve(listener, app).await.unwrap();
    });
}

async fn greet(headers: HeaderMap) -> impl IntoResponse {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
    // As many servers do: who came, and with what.
    println!("GET /greet {bearer:?}");
    if bearer == Some(&format!("Bearer {TOKEN}")) {
        (StatusCode::OK, format!("hello ada, your token is {TOKEN}"))
    } else {
        (StatusCode::UNAUTHORIZED, "who are you?".to_owned())
    }
}

async fn slow() -> &'static str {
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    "late"
}
