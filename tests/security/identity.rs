//! Who comes in, and how far: every route and method, as everybody.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use bifrost::api::{self, Access};
use bifrost_model::Timestamp;
use bifrost_security::accounts::{
    ADMIN, Account, ENGINEER, NewToken, OPERATOR, Permission, Roles, Scope, Secret, Store, Use, VIEWER,
};
use serde_json::{Value, json};

use crate::harness::{Answer, Feed, Gateway, Process, Site, ask_as, until_true};

/// What each role may do, written down a second time: who changes one has to mean it.
const MAY: [(&str, &[&str]); 4] = [
    (VIEWER, &["tags:read", "devices:read", "events:read", "actors:read", "spool:read", "metrics:read"]),
    (OPERATOR, &["tags:write", "alarms:acknowledge"]),
    (ENGINEER, &["devices:configure", "actors:order", "config:reload", "spool:manage", "security:read"]),
    (ADMIN, &["audit:read", "accounts:manage"]),
];

fn may(role: &str, permission: Permission) -> bool {
    let at = MAY.iter().position(|(name, _)| *name == role).unwrap();
    MAY[..=at].iter().any(|(_, names)| names.contains(&permission.name()))
}

/// Tokens by what they are good for.
struct Tokens(BTreeMap<&'static str, String>);

/// A site whose data directory knows a token for each role, an expired and a revoked one.
fn site() -> (Arc<Site>, Tokens) {
    let site = Site::new(&json!([]));
    let mut tokens = BTreeMap::new();
    for role in [VIEWER, OPERATOR, ENGINEER, ADMIN, "revoked", "expired"] {
        let secret = Secret::generate(Use::Token).unwrap();
        issue(&site.data_dir(), role, &secret);
        tokens.insert(role, secret.reveal().to_owned());
    }
    tokens.insert("forged", Secret::generate(Use::Token).unwrap().reveal().to_owned());
    tokens.insert("nonsense", "bft_x".to_owned());
    until_true("the token to expire", || Timestamp::now() > expiry(&site));
    (site, Tokens(tokens))
}

fn expiry(site: &Site) -> Timestamp {
    let book = Store::within(&site.data_dir()).read().unwrap();
    book.tokens().iter().find_map(|token| token.expires).unwrap()
}

fn issue(data_dir: &Path, role: &str, secret: &Secret) {
    let roles = Roles::default();
    let issued = Store::within(data_dir).change(|book| {
        if book.accounts().is_empty() {
            book.add(Account::new("nobody", VIEWER), &roles)?;
        }
        let soon = Timestamp::from_micros(Timestamp::now().as_micros() + 50_000);
        let expires = (role == "expired").then_some(soon);
        let scope = if ["revoked", "expired"].contains(&role) { ADMIN } else { role };
        let scope = Scope::Role(scope.into());
        let token =
            book.issue(NewToken { name: role.to_owned(), scope, owner: None, expires }, secret, &roles)?;
        if role == "revoked" { book.revoke(&token.id) } else { Ok(()) }
    });
    issued.unwrap();
}

fn ask(gateway: &Gateway, token: Option<&str>, method: &str, path: &str) -> Answer {
    // Nothing that would be done: names that don't exist, bodies that don't fit.
    let path = path
        .replace("{id}", "nobody")
        .replace("{name}", "nobody-else")
        .replace("{path}", "devices/nobody")
        .replace("{action}", "stop");
    let path = if path == "/api/config/reload" { format!("{path}?dry_run=true") } else { path };
    let path = if path == "/api/dead-letters" && method == "DELETE" { format!("{path}?x=1") } else { path };
    let body = if ["POST", "PUT"].contains(&method) { json!({"nothing": 1}) } else { Value::Null };
    ask_as(token, method, &format!("{}{path}", gateway.url), &body)
}

#[test]
fn every_route_is_closed_to_strangers_and_to_tokens_that_dont_hold() {
    let (site, tokens) = site();
    let gateway = site.start();
    let bad = ["revoked", "expired", "forged", "nonsense"].map(|name| Some(tokens.0[name].as_str()));
    for (method, path, access) in api::access() {
        for token in [None].into_iter().chain(bad) {
            let answer = ask(&gateway, token, method.as_str(), path);
            let refused = answer.body["type"] == "urn:bifrost:problem:unauthenticated";
            let open = access == Access::Public;
            // A refresh token that isn't one is refused too, but after the body.
            assert_eq!(refused && answer.status == 401, !open, "{method} {path} {token:?}: {answer:?}");
        }
    }
    for path in ["/nowhere", "/api/nothing", "/api/devices/x/y"] {
        assert_eq!(ask(&gateway, None, "GET", path).status, 401, "{path} tells what there is");
    }
}

#[test]
fn every_role_gets_as_far_as_its_permissions_and_no_further() {
    let (site, tokens) = site();
    let gateway = site.start();
    for (role, _) in MAY {
        for (method, path, access) in api::access() {
            let answer = ask(&gateway, Some(&tokens.0[role]), method.as_str(), path);
            let refused = answer.body["type"] == "urn:bifrost:problem:permission-missing";
            let expected = matches!(access, Access::Needs(permission) if !may(role, permission));
            assert_eq!(refused, expected, "{role} {method} {path}: {answer:?}");
            assert_ne!(answer.status, 401, "{role} {method} {path}: {answer:?}");
        }
    }
}

#[test]
fn a_token_that_is_revoked_on_disk_ends_within_a_second_and_its_feed_with_it() {
    let site = Site::new(&json!([]));
    let gateway = site.start();
    let mut feed = gateway.feed(json!({"topics": ["events"]}));
    let store = Store::within(&site.data_dir());
    let id = store.read().unwrap().tokens()[0].id.clone();
    store.change(|book| book.revoke(&id)).unwrap();
    until_true("401", || gateway.get("/api/devices").status == 401);
    until_true("the end of the feed", || feed.look().is_err());
}

#[test]
fn the_first_password_is_to_be_changed_before_anything_else() {
    let site = Site::new(&json!([]));
    let mut process = site.launch();
    let said = process.error_line("the password", |line| line.contains("no account yet"));
    let password = said.split("admin with ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let hello = process.error_line("`gateway runs`", |line| line.contains(r#""gateway runs""#));
    let url = serde_json::from_str::<Value>(&hello).unwrap()["url"].as_str().unwrap().to_owned();
    let post = |token: Option<&str>, path: &str, body: &Value| {
        ask_as(token, "POST", &format!("{url}/api/auth/{path}"), body)
    };
    let login = |password: &str| post(None, "login", &json!({"username": "admin", "password": password}));
    let wrong = login("no password");
    let nobody = post(None, "login", &json!({"username": "nobody", "password": "no password"}));
    assert_eq!((wrong.status, &wrong.body["detail"]), (401, &nobody.body["detail"]));
    let first = login(&password).body;
    assert_eq!(first["must_change_password"], true, "{first}");
    let token = first["token"].as_str();
    let devices = |token| ask_as(token, "GET", &format!("{url}/api/devices"), &Value::Null);
    assert_eq!(devices(token).body["type"], "urn:bifrost:problem:password-change-due");
    let short = post(token, "password", &json!({"current": password, "new": "short"}));
    assert_eq!((short.status, &short.body["errors"][0]["key"]), (400, &json!("new")));
    let chosen = "a password of my own";
    assert_eq!(post(token, "password", &json!({"current": password, "new": chosen})).status, 204);
    assert_eq!(devices(token).status, 401, "the old session has ended");
    assert_eq!(login(&password).status, 401);
    let second = login(chosen).body;
    let token = second["token"].as_str();
    assert_eq!(devices(token).status, 200);
    let refresh = json!({"refresh_token": second["refresh_token"]});
    let renewed = post(None, "refresh", &refresh).body;
    assert_eq!(devices(renewed["token"].as_str()).status, 200);
    assert_eq!(post(None, "refresh", &refresh).status, 401, "used once");
    assert_eq!(devices(renewed["token"].as_str()).status, 401, "reuse ends the session");
    let last = login(chosen).body;
    assert_eq!(post(last["token"].as_str(), "logout", &Value::Null).status, 204);
    assert_eq!(devices(last["token"].as_str()).status, 401);
    process.signal("TERM");
    process.wait();
}

#[test]
fn an_account_is_locked_after_its_attempts_and_opens_by_itself() {
    let site = Site::new(&json!([]));
    let secret = site.data_dir().with_extension("password");
    fs::write(&secret, "a first password\n").unwrap();
    let security = json!({
        "security": {"bootstrap_password_file": secret, "lockout": {"attempts": 2, "duration": "2s"}}
    });
    site.configure(&security, &json!([]));
    let mut process = site.launch();
    let hello = process.error_line("`gateway runs`", |line| line.contains(r#""gateway runs""#));
    let url = serde_json::from_str::<Value>(&hello).unwrap()["url"].as_str().unwrap().to_owned();
    let login = |password: &str| {
        let body = json!({"username": "admin", "password": password});
        ask_as(None, "POST", &format!("{url}/api/auth/login"), &body).status
    };
    assert_eq!(login("a first password"), 200);
    assert_eq!([login("wrong"), login("wrong"), login("a first password")], [401; 3]);
    until_true("the account to open", || login("a first password") == 200);
}

#[test]
fn each_topic_of_the_feed_needs_its_permission() {
    let site = Site::new(&json!([]));
    let secret = Secret::generate(Use::Token).unwrap();
    let store = Store::within(&site.data_dir());
    let gateway = site.start();
    let scope = Scope::Permissions([Permission::EventsRead].into_iter().collect());
    let new = NewToken { name: "events".to_owned(), scope, owner: None, expires: None };
    store.change(|book| book.issue(new, &secret, &Roles::default())).unwrap();
    let alarms = format!("{}/api/alarms", gateway.url);
    until_true("the token", || ask_as(Some(secret.reveal()), "GET", &alarms, &Value::Null).status == 200);
    let mut feed = Feed::connect_as(secret.reveal(), &gateway.url);
    for (topic, allowed) in
        [("device_data", false), ("device_status", false), ("events", true), ("alarms", true)]
    {
        feed.subscribe(json!({"topics": ["events", topic]}));
        feed.send(r#"{"type":"ping"}"#);
        let answer = feed.find("an answer", |frame| frame["type"] == "pong" || frame["type"] == "error");
        assert_eq!(answer["type"] == "pong", allowed, "{topic}: {answer}");
        if !allowed {
            assert!(answer["message"].as_str().unwrap().contains(topic), "{answer}");
            feed.of_type("pong");
        }
    }
}

#[test]
fn the_command_line_manages_accounts_and_tokens_of_a_running_gateway() {
    // Ann is asked for before she is known, again and again.
    let patient = json!({"security": {"lockout": {"attempts": 10_000, "source_attempts": 10_000}}});
    let site = Site::with(&patient, &json!([]));
    let gateway = site.start();
    let file = site.data_dir().with_extension("password");
    fs::write(&file, "a password for ann\n").unwrap();
    let run = |args: &[&str]| {
        let config = site.config();
        let place = ["--config", config.to_str().unwrap()];
        let mut process = Process::bifrost(&[args, &place].concat());
        let status = process.wait();
        (status.code(), process.stdout().join("\n"), process.stderr().join("\n"))
    };
    let file = file.to_str().unwrap();
    let added = run(&["user", "add", "ann", "--role", "operator", "--password-file", file]);
    assert_eq!(added.0, Some(0), "{added:?}");
    let again = run(&["user", "add", "Ann", "--role", "operator", "--password-file", file]);
    assert_eq!(
        (again.0, again.2.contains("there is an account \"ann\" already")),
        (Some(1), true),
        "{again:?}"
    );
    let login = json!({"username": "ann", "password": "a password for ann"});
    let url = format!("{}/api/auth/login", gateway.url);
    until_true("ann to log in", || ask_as(None, "POST", &url, &login).status == 200);
    assert!(run(&["user", "list"]).1.contains("\"ann\""));
    let issued = run(&["token", "issue", "--json", "scada", "--role", "viewer", "--expires", "1h"]);
    let issued: Value = serde_json::from_str(&issued.1).unwrap();
    let devices = format!("{}/api/devices", gateway.url);
    let status = || ask_as(issued["token"].as_str(), "GET", &devices, &Value::Null).status;
    until_true("the token holds", || status() == 200);
    assert_eq!(run(&["token", "revoke", issued["id"].as_str().unwrap()]).0, Some(0));
    until_true("the token ends", || status() == 401);
    assert_eq!(run(&["user", "remove", "ann"]).0, Some(0));
    until_true("ann to be gone", || ask_as(None, "POST", &url, &login).status == 401);
}

/// An admin with a password, and the token of a session of theirs.
fn with_admin() -> (Arc<Site>, Gateway, String) {
    let site = Site::new(&json!([]));
    fs::create_dir_all(site.data_dir()).unwrap();
    let password = site.data_dir().join("password");
    fs::write(&password, "a password of the admin").unwrap();
    let (dir, file) = (site.data_dir(), password.to_str().unwrap().to_owned());
    let add = [
        "user",
        "add",
        "root",
        "--role",
        "admin",
        "--password-file",
        &file,
        "--data-dir",
        dir.to_str().unwrap(),
    ];
    assert_eq!(Process::bifrost(&add).wait().code(), Some(0));
    let gateway = site.start();
    let token = log_in(&gateway, "root", "a password of the admin").expect("the admin comes in");
    (site, gateway, token)
}

fn log_in(gateway: &Gateway, name: &str, password: &str) -> Option<String> {
    let body = json!({"username": name, "password": password});
    let answer = ask_as(None, "POST", &format!("{}/api/auth/login", gateway.url), &body);
    answer.body["token"].as_str().map(str::to_owned)
}

fn as_who(gateway: &Gateway, token: &str, method: &str, path: &str, body: &Value) -> Answer {
    ask_as(Some(token), method, &format!("{}{path}", gateway.url), body)
}

#[test]
fn accounts_are_managed_by_rest_and_what_is_taken_from_one_ends_its_sessions() {
    let (_site, gateway, admin) = with_admin();
    let ask = |method: &str, path: &str, body: &Value| as_who(&gateway, &admin, method, path, body);
    let bob = json!({"name": "bob", "role": "operator", "password": "a password for bob"});
    assert_eq!(ask("POST", "/api/accounts", &bob).status, 201);
    assert_eq!(ask("POST", "/api/accounts", &bob).status, 409);
    let token = log_in(&gateway, "bob", "a password for bob").expect("bob comes in");
    assert_eq!(
        as_who(&gateway, &token, "GET", "/api/devices", &Value::Null).status,
        403,
        "a new password is due"
    );
    let chosen = json!({"current": "a password for bob", "new": "a password by bob"});
    assert_eq!(as_who(&gateway, &token, "POST", "/api/auth/password", &chosen).status, 204);
    let token = log_in(&gateway, "bob", "a password by bob").expect("bob comes in again");
    assert_eq!(as_who(&gateway, &token, "GET", "/api/devices", &Value::Null).status, 200);
    let listed = ask("GET", "/api/auth/sessions", &Value::Null).body;
    let sessions = listed["sessions"].as_array().unwrap();
    assert_eq!(sessions.iter().filter(|it| it["account"] == "bob").count(), 1, "{listed:#}");
    assert_eq!(sessions.iter().filter(|it| it["own"] == true).count(), 1);
    let own = as_who(&gateway, &token, "GET", "/api/auth/sessions", &Value::Null).body;
    assert_eq!(own["count"], 1, "bob sees his own alone: {own:#}");
    assert_eq!(ask("PUT", "/api/accounts/bob", &json!({"disabled": true})).status, 200);
    assert_eq!(as_who(&gateway, &token, "GET", "/api/devices", &Value::Null).status, 401);
    assert!(log_in(&gateway, "bob", "a password by bob").is_none());
    assert_eq!(ask("DELETE", "/api/accounts/bob", &Value::Null).status, 204);
    assert_eq!(ask("DELETE", "/api/accounts/bob", &Value::Null).status, 404);
    assert_eq!(
        ask("DELETE", "/api/accounts/root", &Value::Null).status,
        409,
        "nobody could manage accounts any more"
    );
    let kinds = |records: &Value| -> Vec<String> {
        records["records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| format!("{} {}", it["type"], it["result"]))
            .collect()
    };
    let told = until_records(&gateway, "account_remove", 4);
    assert!(kinds(&told).contains(&r#""account_remove" "failure""#.to_owned()), "{:?}", kinds(&told));
    assert!(gateway.stop().success());
}

fn until_records(gateway: &Gateway, kind: &str, count: usize) -> Value {
    let listed = || gateway.json(&format!("/api/audit?type={kind}"));
    until_true("the records", || listed()["count"].as_u64() >= Some(count as u64));
    listed()
}

#[test]
fn a_session_that_is_ended_by_hand_is_over_at_once() {
    let (_site, gateway, admin) = with_admin();
    let other = log_in(&gateway, "root", "a password of the admin").unwrap();
    let listed = as_who(&gateway, &admin, "GET", "/api/auth/sessions", &Value::Null).body;
    let session =
        listed["sessions"].as_array().unwrap().iter().find(|it| it["own"] == false).unwrap()["id"].clone();
    let path = format!("/api/auth/sessions/{}", session.as_str().unwrap());
    assert_eq!(as_who(&gateway, &admin, "DELETE", &path, &Value::Null).status, 204);
    assert_eq!(as_who(&gateway, &other, "GET", "/api/auth/me", &Value::Null).status, 401);
    assert_eq!(as_who(&gateway, &admin, "DELETE", &path, &Value::Null).status, 404);
    assert!(gateway.stop().success());
}

#[test]
fn tokens_are_issued_with_no_more_than_their_owner_may_and_end_when_they_are_revoked() {
    let (_site, gateway, admin) = with_admin();
    let reader = json!({"name": "scada", "permissions": ["tags:read"], "expires_in": 3600});
    let issued = as_who(&gateway, &admin, "POST", "/api/tokens", &reader);
    assert_eq!(issued.status, 201, "{issued:?}");
    let token = issued.body["token"].as_str().unwrap().to_owned();
    assert_eq!(as_who(&gateway, &token, "GET", "/api/tags/read?device_id=x", &Value::Null).status, 404);
    assert_eq!(as_who(&gateway, &token, "GET", "/api/devices", &Value::Null).status, 403);
    let listed = as_who(&gateway, &admin, "GET", "/api/tokens", &Value::Null).body.to_string();
    assert!(listed.contains("scada") && !listed.contains(&token), "the secret is shown once");
    let path = format!("/api/tokens/{}", issued.body["id"].as_str().unwrap());
    assert_eq!(as_who(&gateway, &admin, "DELETE", &path, &Value::Null).status, 204);
    assert_eq!(as_who(&gateway, &token, "GET", "/api/auth/me", &Value::Null).status, 401);
    // A token makes no tokens, whatever it may.
    let by_token = as_who(&gateway, crate::harness::identity::TOKEN, "POST", "/api/tokens", &reader);
    assert_eq!(by_token.status, 403);
    assert!(gateway.stop().success());
}
