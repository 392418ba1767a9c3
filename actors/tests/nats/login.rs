//! Ways to log in.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde_json::{Value, json};

use super::{
    Gateway, in_universe, scans,
    server::{Server, Version},
    settings,
};

fn secret(server: &Server, text: &str) -> String {
    let path = server.folder().join("secret");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn logs_in(universe: &super::Universe, config: &Value) {
    let gateway = Gateway::start(universe, settings(config)).await;
    gateway.until_up().await;
    gateway.spool.send(scans(1, 10));
    gateway.until_settled(10).await;
}

#[test]
fn with_a_password_that_is_right_and_not_with_a_wrong_one() {
    for version in Version::BOTH {
        in_universe(async |universe| {
            let server =
                Server::start(version, r#"authorization { user: gateway, password: "right" }"#).await;
            let path = secret(&server, "wrong\n");
            let config = json!({"servers": [server.url()], "username": "gateway", "password_file": path});
            let gateway = Gateway::start(&universe, settings(&config)).await;
            gateway.until_error(&[&server.url(), "refuses the login (username and password)"]).await;
            assert!(!gateway.node().await.last_error.unwrap().contains("wrong"));
            // Read anew at each attempt.
            secret(&server, "right\n");
            gateway.until_up().await;
        });
    }
}

#[test]
fn with_a_token_that_is_right_and_not_with_a_wrong_one() {
    for version in Version::BOTH {
        in_universe(async |universe| {
            let server = Server::start(version, r#"authorization { token: "right" }"#).await;
            let path = secret(&server, "wrong");
            let config = json!({"servers": [server.url()], "token_file": path});
            let gateway = Gateway::start(&universe, settings(&config)).await;
            gateway.until_error(&["refuses the login (a token)"]).await;
            secret(&server, "right");
            gateway.until_up().await;
        });
    }
}

#[test]
fn who_has_no_login_learns_which_there_are() {
    in_universe(async |universe| {
        let server = Server::start(Version::Debian, r#"authorization { token: "right" }"#).await;
        let gateway = Gateway::start(&universe, settings(&json!({"servers": [server.url()]}))).await;
        gateway.until_error(&["refuses the login", "none is set", "nkey_file"]).await;
    });
}

#[test]
fn with_an_nkey() {
    for version in Version::BOTH {
        in_universe(async |universe| {
            let (own, other) = (KeyPair::new_user(), KeyPair::new_user());
            let users = format!("authorization {{ users: [{{ nkey: {} }}] }}", own.public_key());
            let server = Server::start(version, &users).await;
            let path = secret(&server, &other.seed().unwrap());
            let config = json!({"servers": [server.url()], "nkey_file": path});
            let gateway = Gateway::start(&universe, settings(&config)).await;
            gateway.until_error(&["refuses the login (an NKEY)"]).await;
            secret(&server, "this is no seed");
            gateway.until_error(&["nkey_file: holds no seed"]).await;
            secret(&server, &format!("{}\n", own.seed().unwrap()));
            gateway.until_up().await;
        });
    }
}

/// A JWT as `nsc` makes it, signed by an NKEY.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let mut nats = nats;
    nats["version"] = json!(2);
    let claims = json!({
        "jti": "A", "iat": 1_700_000_000, "iss": issuer.public_key(), "name": "x", "sub": subject.public_key(),
        "nats": nats,
    });
    let text = format!("{}.{}", part(&json!({"typ": "JWT", "alg": "ed25519-nkey"})), part(&claims));
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(issuer.sign(text.as_bytes()).unwrap()))
}

fn credentials(jwt: &str, user: &KeyPair) -> String {
    let seed = user.seed().unwrap();
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

#[test]
fn with_credentials_that_an_operator_vouches_for() {
    for version in Version::BOTH {
        in_universe(async |universe| {
            let (operator, account, user) =
                (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
            let operator_jwt = jwt(&operator, &operator, json!({"type": "operator"}));
            let unlimited = json!({"subs": -1, "conn": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true});
            let account_jwt = jwt(&operator, &account, json!({"type": "account", "limits": unlimited}));
            let user_limits = json!({"type": "user", "subs": -1, "data": -1, "payload": -1});
            let user_jwt = jwt(&account, &user, user_limits.clone());
            let config = format!(
                "operator: {operator_jwt}\nresolver: MEMORY\nresolver_preload: {{ {}: {account_jwt} }}",
                account.public_key()
            );
            let server = Server::start(version, &config).await;
            let path = secret(&server, &credentials(&user_jwt, &user));
            logs_in(&universe, &json!({"servers": [server.url()], "credentials_file": path})).await;
        });
    }
}

#[test]
fn credentials_of_somebody_else_are_refused() {
    in_universe(async |universe| {
        let (operator, account, user) =
            (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
        let operator_jwt = jwt(&operator, &operator, json!({"type": "operator"}));
        let server =
            Server::start(Version::New, &format!("operator: {operator_jwt}\nresolver: MEMORY")).await;
        let user_jwt = jwt(&account, &user, json!({"type": "user", "subs": -1, "data": -1, "payload": -1}));
        let path = secret(&server, &credentials(&user_jwt, &user));
        let config = json!({"servers": [server.url()], "credentials_file": path});
        let gateway = Gateway::start(&universe, settings(&config)).await;
        gateway.until_error(&["refuses the login (credentials)"]).await;
    });
}
