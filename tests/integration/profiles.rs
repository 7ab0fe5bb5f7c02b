//! What clients may start by name.

use crate::support::Server;
use serde_json::json;

#[actix_web::test]
async fn profiles_are_shown_as_they_take_effect_and_without_their_environment() {
    let dir = Server::dir();
    let home = dir.path().to_str().unwrap().to_owned();
    let server = Server::start_in(dir, Vec::new()).await;
    let api = server.api();
    let shown = api.get("/api/v1/profiles").await.ok(200);
    let profiles = shown["profiles"].as_array().unwrap();
    let names: Vec<_> = profiles.iter().map(|profile| profile["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["bash", "claude", "shell"], "sorted, the built-in ones among them");
    let expected = json!({
        "name": "bash", "command": ["bash", "--norc", "--noprofile"], "login": false, "cwd": home,
        "idle_timeout_s": 1800, "idle_when": "detached", "size_policy": "latest",
        "restart": "never", "recording": "off", "limits": {},
    });
    assert_eq!(profiles[0], expected);

    // Another file, and other defaults.
    let settings = "idle_timeout_s = \"never\"\n[profile.bash]\ncommand = [\"bash\"]\ncwd = \"/\"\n\
        idle_when = \"detached_and_quiet\"\ncontrol = \"controller\"\n\
        size_policy = \"smallest\"\nrestart = \"always\"\nrecording = \"output\"\n\
        env = { SECRET = \"hush\" }\n[profile.short]\ncommand = [\"sh\"]\nidle_timeout_s = 7\n";
    let mut server = server;
    server.kill();
    std::fs::write(server.state().join("../stayd.toml"), settings).unwrap();
    server.restart().await;
    let api = server.api();
    let reply = api.get("/api/v1/profiles").await;
    let shown = reply.ok(200);
    let expected = json!({
        "name": "bash", "command": ["bash"], "login": false, "cwd": "/", "idle_timeout_s": null,
        "idle_when": "detached_and_quiet", "size_policy": "smallest", "restart": "always",
        "recording": "output", "control": "controller", "limits": {},
    });
    assert_eq!(shown["profiles"][0], expected);
    assert_eq!(shown["profiles"][3]["idle_timeout_s"], 7);
    assert!(!String::from_utf8_lossy(&reply.bytes).contains("hush"));
    let session = api.create(json!({ "profile": "bash" })).await;
    for field in
        ["command", "cwd", "idle_timeout_s", "idle_when", "size_policy", "restart", "recording"]
    {
        assert_eq!(session[field], shown["profiles"][0][field], "{field}: as it was shown");
    }
    api.post("/api/v1/profiles", "").await.problem(405, "method_not_allowed");
}
