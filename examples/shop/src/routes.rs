//! What the shop answers.

/// What a client asks for.
pub struct Request {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The bearer token, if there is one.
    pub token: Option<String>,
    /// The body.
    pub body: String,
}

/// Status line and JSON body for a request.
pub fn answer(request: &Request) -> (&'static str, String) {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/health") => ("200 OK", r#"{"status":"open"}"#.to_owned()),
        ("GET", "/items") => {
            ("200 OK", r#"{"items":[{"name":"ledger","price":1250},{"name":"ink","price":399}]}"#.to_owned())
        }
        ("POST", "/token") => match user(&request.body) {
            Some(user) => ("200 OK", format!(r#"{{"token":"{}","user":"{user}"}}"#, token_of(user))),
            None => ("400 Bad Request", r#"{"error":"who are you?"}"#.to_owned()),
        },
        ("GET", "/cart") => match &request.token {
            Some(token) if token.starts_with("shop-") => ("200 OK", r#"{"items":[],"total":0}"#.to_owned()),
            Some(_) | None => ("401 Unauthorized", r#"{"error":"a token is needed"}"#.to_owned()),
        },
        _ => ("404 Not Found", r#"{"error":"no such page"}"#.to_owned()),
    }
}

/// The user's name in `{"user": "NAME"}`: letters only, so that it needs no JSON reader.
fn user(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once("\"user\"")?;
    let name = rest.split('"').nth(1)?;
    (!name.is_empty() && name.chars().all(char::is_alphanumeric)).then_some(name)
}

fn token_of(user: &str) -> String {
    let sum = user.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    format!("shop-{sum:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, path: &str, token: Option<&str>, body: &str) -> (&'static str, String) {
        let token = token.map(str::to_owned);
        answer(&Request { method: method.into(), path: path.into(), token, body: body.into() })
    }

    #[test]
    fn a_token_opens_the_cart() {
        let (status, body) = ask("POST", "/token", None, r#"{"user": "ada"}"#);
        assert_eq!(status, "200 OK");
        let token = body.split('"').nth(3);
        assert_eq!(ask("GET", "/cart", token, "").0, "200 OK");
        assert_eq!(ask("GET", "/cart", None, "").0, "401 Unauthorized");
    }

    #[test]
    fn strangers_are_turned_away() {
        assert_eq!(ask("POST", "/token", None, "{}").0, "400 Bad Request");
        assert_eq!(ask("GET", "/nowhere", None, "").0, "404 Not Found");
    }
}
