//! A session that is shown inside itself would print for ever.

use crate::support::{Event, Server, Terminal};
use serde_json::json;

/// Attaches to one session from inside another; `None`: it was refused, as a circle is.
async fn attach(server: &Server, shown: &str, inside: &str, query: &str) -> Option<Terminal> {
    let path = format!("/api/v1/sessions/{shown}/attach?from={inside}&{query}");
    let mut terminal = Terminal::open(&server.api(), &path, Some("stayd.v1")).await;
    match terminal.next().await {
        Event::Control(attached) if attached["type"] == "attached" => Some(terminal),
        Event::Control(error) => {
            assert_eq!(error["code"], "attached_to_itself", "{error}");
            let (code, reason) = terminal.closed().await;
            assert_eq!(code, 1008, "{reason}");
            assert!(reason.ends_with("do not retry"), "{reason}");
            None
        }
        other => panic!("{other:?}"),
    }
}

#[actix_web::test]
async fn a_session_is_not_attached_to_itself_through_any_number_of_others() {
    let server = Server::start().await;
    let api = server.api();
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(api.run("sleep 1000").await);
    }
    let [a, b, c, d] = &ids[..] else { unreachable!() };
    for query in ["", "mode=ro", "lag=skip", &format!("session={a}&offset=0")] {
        assert!(attach(&server, a, a, query).await.is_none(), "{query}");
    }
    // a is shown inside b, b inside c, c inside d.
    let in_b = attach(&server, a, b, "").await.expect("attached");
    let in_c = attach(&server, b, c, "mode=ro").await.expect("attached");
    let _in_d = attach(&server, c, d, "").await.expect("attached");
    for (shown, inside) in [(b, a), (c, a), (d, a), (c, b), (d, b), (d, c), (d, d)] {
        assert!(attach(&server, shown, inside, "").await.is_none());
    }
    // What is no circle is none: twice the same, another way, from outside, from elsewhere.
    let elsewhere = uuid::Uuid::now_v7().to_string();
    for (shown, inside) in [(a, b), (a, d), (b, d), (a, &elsewhere), (d, &elsewhere)] {
        attach(&server, shown, inside, "").await.expect("attached").leave().await;
    }
    Terminal::attach(&server, d, "").await.0.leave().await;
    // A link that is gone is none, however it went.
    in_b.leave().await;
    attach(&server, d, a, "").await.expect("a is shown nowhere").leave().await;
    drop(in_c);
    let mut again = None;
    crate::support::soon("the server notices", async {
        while again.is_none() {
            again = attach(&server, d, b, "").await;
        }
    })
    .await;
    assert!(attach(&server, b, c, "").await.is_none(), "b inside c inside d inside b");
    // The other dialects are told too, as far as they can be.
    for protocol in ["raw.v1", "json.v1"] {
        let path = format!("/api/v1/sessions/{a}/attach?from={a}");
        let mut terminal = Terminal::open(&api, &path, Some(protocol)).await;
        assert_eq!(terminal.closed().await.0, 1008, "{protocol}");
    }
    let path = format!("/api/v1/sessions/{a}/attach?from=nonsense");
    let mut terminal = Terminal::open(&api, &path, Some("stayd.v1")).await;
    assert_eq!(terminal.control("error").await["code"], "invalid_request");
    assert_eq!(terminal.closed().await.0, 1008);
    assert_eq!(api.session(a).await["clients"], json!([]));
}

#[actix_web::test]
async fn of_two_that_would_close_a_circle_together_one_is_refused() {
    let server = Server::start().await;
    let api = server.api();
    let (a, b) = (api.run("sleep 1000").await, api.run("sleep 1000").await);
    for _ in 0..20 {
        let both = tokio::join!(attach(&server, &a, &b, ""), attach(&server, &b, &a, ""));
        assert_eq!(usize::from(both.0.is_some()) + usize::from(both.1.is_some()), 1);
        for terminal in [both.0, both.1].into_iter().flatten() {
            terminal.leave().await;
        }
    }
}
