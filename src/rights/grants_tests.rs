//! Tests of the grants that need no server.

use super::*;
use crate::relay::NodeName;
use crate::rights::Kind;
use crate::rights::tables::{CODES_MAX, LOGINS_MAX, SHARES_MAX, SHARES_OF_ONE_MAX};
use crate::store::GrantRows;
use futures_util::future::join;
use std::collections::BTreeSet;

const ADMIN: &str = "secret-secret-secret";

fn new(name: &str, expires_s: Option<u64>) -> NewToken {
    NewToken { name: name.into(), role: Role::Viewer, scope: Scope::All, expires_s }
}

#[actix_web::test]
async fn a_token_opens_until_it_is_removed_and_its_logins_with_it() {
    let grants = Grants::in_memory(ADMIN);
    let (row, secret) = grants.add_token(new("anna", None), "owner").await.unwrap();
    assert!(!format!("{row:?}").contains(&secret));
    let (principal, pass) = grants.by_secret(&secret).unwrap();
    assert_eq!((principal.name.as_str(), principal.role), ("anna", Role::Viewer));
    let login = grants.log_in(&pass).await.unwrap();
    let (same, by_cookie) = grants.by_cookie(&login.cookie).unwrap();
    assert_eq!(same, principal);
    assert_eq!((grants.why_ended(&pass), grants.why_ended(&by_cookie)), (None, None));
    let taken = grants.add_token(new("anna", None), "owner").await;
    assert!(matches!(taken, Err(GrantsError::Taken(_))));
    grants.remove_token("anna").await.unwrap();
    assert!(grants.by_secret(&secret).is_none() && grants.by_cookie(&login.cookie).is_none());
    assert_eq!(grants.why_ended(&by_cookie), Some("the token is no longer valid"));
    let again = grants.add_token(new("anna", None), "owner").await.unwrap().1;
    assert!(grants.by_secret(&again).is_some() && grants.by_cookie(&login.cookie).is_none());
    assert!(matches!(grants.remove_token("ben").await, Err(GrantsError::Unknown(_))));
}

#[actix_web::test]
async fn the_operators_token_is_the_owners() {
    let grants = Grants::in_memory(ADMIN);
    let (principal, pass) = grants.by_secret(ADMIN).unwrap();
    assert_eq!(principal, Principal::owner());
    let login = grants.log_in(&pass).await.unwrap();
    assert!(grants.by_cookie(&login.cookie).is_some());
    grants.log_out(&login.cookie).await.unwrap();
    assert!(grants.by_cookie(&login.cookie).is_none());
    assert!(grants.by_secret("secret-secret-secre").is_none() && grants.by_secret("").is_none());
}

#[actix_web::test]
async fn a_share_is_a_principal_of_one_session() {
    let (grants, session) = (Grants::in_memory(ADMIN), SessionId::generate());
    let share = NewShare { node: None, session, mode: Mode::Ro, expires_s: Some(60) };
    let (row, secret) = grants.add_share(share.clone(), &Principal::owner()).await.unwrap();
    let (principal, pass) = grants.by_secret(&secret).unwrap();
    assert_eq!((principal.kind, principal.role), (Kind::Share, Role::Viewer));
    assert_eq!(principal.scope, Scope::Sessions(vec![session]));
    assert_eq!(grants.shares(session), std::slice::from_ref(&row));
    assert!(grants.shares(SessionId::generate()).is_empty());
    let other = grants.remove_share(SessionId::generate(), row.id).await;
    assert!(matches!(other, Err(GrantsError::Unknown(_))), "another session's");
    let login = grants.log_in(&pass).await.unwrap();
    assert!(login.age_s <= 60, "a login lasts no longer than its link");
    grants.remove_share(session, row.id).await.unwrap();
    assert_eq!(grants.why_ended(&pass), Some("the share link has ended"));
    assert!(grants.by_cookie(&login.cookie).is_none());
}

#[actix_web::test]
async fn what_has_expired_opens_nothing() {
    let grants = Grants::in_memory(ADMIN);
    let (row, secret) = grants.add_token(new("anna", Some(3600)), "owner").await.unwrap();
    let (_, pass) = grants.by_secret(&secret).unwrap();
    let cookie = grants.log_in(&pass).await.unwrap().cookie;
    assert!(grants.by_cookie(&cookie).is_some());
    let past = Some(Utc::now());
    grants.tables().tokens.get_mut(&Digest(row.digest)).unwrap().expires_at = past;
    assert!(grants.by_secret(&secret).is_none() && grants.by_cookie(&cookie).is_none());
    assert!(grants.why_ended(&pass).is_some());
    assert_eq!(grants.tokens().len(), 1, "it is listed all the same");
    assert!(grants.add_token(new("anna", None), "owner").await.is_ok(), "and replaced");
    for wrong in [0, EXPIRES_S_MAX + 1, u64::MAX] {
        let refused = grants.add_token(new("ben", Some(wrong)), "owner").await;
        assert!(matches!(refused, Err(GrantsError::Invalid(_))), "{wrong}");
    }
}

#[actix_web::test]
async fn logins_are_bounded_for_each_secret() {
    let grants = Grants::in_memory(ADMIN);
    let (_, secret) = grants.add_token(new("anna", None), "owner").await.unwrap();
    let (_, anna) = grants.by_secret(&secret).unwrap();
    let (_, owner) = grants.by_secret(ADMIN).unwrap();
    let first = grants.log_in(&anna).await.unwrap().cookie;
    let other = grants.log_in(&owner).await.unwrap().cookie;
    for _ in 0..LOGINS_MAX {
        grants.log_in(&anna).await.unwrap();
    }
    assert!(grants.by_cookie(&first).is_none() && grants.by_cookie(&other).is_some());
    assert_eq!(grants.tables().logins.len(), LOGINS_MAX + 1);
}

#[test]
fn a_code_is_used_once_in_time() {
    let grants = Grants::in_memory(ADMIN);
    let (_, owner) = Grants::owner();
    let (code, _) = grants.issue_code(&owner).unwrap();
    assert!(grants.redeem("another").is_none());
    assert_eq!(grants.redeem(&code).unwrap().0, Principal::owner());
    assert!(grants.redeem(&code).is_none());
    let (late, _) = grants.issue_code(&owner).unwrap();
    grants.tables().codes[0].expires_at = Utc::now();
    assert!(grants.redeem(&late).is_none());
    let codes: Vec<_> = (0..=CODES_MAX).map(|_| grants.issue_code(&owner).unwrap().0).collect();
    assert!(grants.redeem(&codes[0]).is_none() && grants.redeem(&codes[1]).is_some());
}

#[actix_web::test]
async fn a_login_by_a_code_ends_with_the_token_that_has_made_the_code() {
    let grants = Grants::in_memory(ADMIN);
    let (_, secret) = grants.add_token(new("anna", None), "owner").await.unwrap();
    let (_, anna) = grants.by_secret(&secret).unwrap();
    let (used, unused) = (grants.issue_code(&anna).unwrap().0, grants.issue_code(&anna).unwrap().0);
    let (principal, pass) = grants.redeem(&used).unwrap();
    assert_eq!(principal.name, "anna");
    let login = grants.log_in(&pass).await.unwrap();
    grants.remove_token("anna").await.unwrap();
    assert!(grants.by_cookie(&login.cookie).is_none() && grants.redeem(&unused).is_none());
}

#[actix_web::test]
async fn links_end_with_the_token_of_who_has_made_them() {
    let (grants, session) = (Grants::in_memory(ADMIN), SessionId::generate());
    let share = NewShare { node: None, session, mode: Mode::Rw, expires_s: None };
    let (row, secret) = grants.add_token(new("anna", Some(3600)), "owner").await.unwrap();
    let (anna, _) = grants.by_secret(&secret).unwrap();
    let link = grants.add_share(share.clone(), &anna).await.unwrap().1;
    let owners = grants.add_share(share.clone(), &Principal::owner()).await.unwrap().1;
    assert!(grants.by_secret(&link).is_some());
    grants.tables().tokens.get_mut(&Digest(row.digest)).unwrap().expires_at = Some(Utc::now());
    assert!(grants.by_secret(&link).is_none(), "it has expired");
    assert!(grants.has_ended(&link), "whoever comes with it does not guess");
    let listed: Vec<_> = grants.shares(session).into_iter().map(|row| row.created_by).collect();
    assert_eq!(listed, ["owner"]);
    let (_, secret) = grants.add_token(new("anna", None), "owner").await.unwrap();
    assert!(grants.by_secret(&link).is_none(), "another has its name");
    let expired = grants.add_share(share.clone(), &anna).await;
    assert!(matches!(expired, Err(GrantsError::MakerEnded(_))), "it is not the one with this name");
    let (anna, _) = grants.by_secret(&secret).unwrap();
    let link = grants.add_share(share.clone(), &anna).await.unwrap().1;
    grants.remove_token("anna").await.unwrap();
    assert!(grants.by_secret(&link).is_none() && grants.by_secret(&owners).is_some());
    assert_eq!(grants.shares(session).len(), 1);
}

#[actix_web::test]
async fn who_logs_in_by_a_link_logs_nobody_else_out_who_has_it() {
    let grants = Grants::in_memory(ADMIN);
    let share =
        NewShare { node: None, session: SessionId::generate(), mode: Mode::Ro, expires_s: None };
    let secret = grants.add_share(share.clone(), &Principal::owner()).await.unwrap().1;
    let (_, link) = grants.by_secret(&secret).unwrap();
    let first = grants.log_in(&link).await.unwrap().cookie;
    for _ in 1..LOGINS_MAX {
        grants.log_in(&link).await.unwrap();
    }
    let refused = grants.log_in(&link).await;
    assert!(matches!(refused, Err(GrantsError::TooManyLogins)), "{refused:?}");
    assert!(grants.by_cookie(&first).is_some());
    grants.log_out(&first).await.unwrap();
    grants.log_in(&link).await.unwrap();
    // Another link has its own.
    let other = grants.add_share(share.clone(), &Principal::owner()).await.unwrap().1;
    let (_, other) = grants.by_secret(&other).unwrap();
    grants.log_in(&other).await.unwrap();
}

#[actix_web::test]
async fn a_token_makes_no_more_than_its_share_of_links() {
    let (grants, session) = (Grants::in_memory(ADMIN), SessionId::generate());
    let share = NewShare { node: None, session, mode: Mode::Ro, expires_s: None };
    let (_, secret) = grants.add_token(new("anna", None), "owner").await.unwrap();
    let (anna, _) = grants.by_secret(&secret).unwrap();
    let mut last = None;
    for _ in 0..SHARES_OF_ONE_MAX {
        last = Some(grants.add_share(share.clone(), &anna).await.unwrap().0);
    }
    let refused = grants.add_share(share.clone(), &anna).await.unwrap_err();
    assert!(matches!(&refused, GrantsError::TooMany(why) if why.contains("anna")), "{refused}");
    grants.remove_share(session, last.unwrap().id).await.unwrap();
    grants.add_share(share.clone(), &anna).await.unwrap();
    // The owner has all others.
    for _ in SHARES_OF_ONE_MAX..SHARES_MAX {
        grants.add_share(share.clone(), &Principal::owner()).await.unwrap();
    }
    let refused = grants.add_share(share.clone(), &Principal::owner()).await;
    assert!(matches!(refused, Err(GrantsError::TooMany(_))));
}

/// Its row is being written while the token is removed.
#[actix_web::test]
async fn a_link_that_is_made_while_its_makers_token_is_removed_is_not_made() {
    let (grants, session) = (Grants::in_memory(ADMIN), SessionId::generate());
    let share = NewShare { node: None, session, mode: Mode::Rw, expires_s: None };
    let (_, secret) = grants.add_token(new("anna", None), "owner").await.unwrap();
    let (anna, _) = grants.by_secret(&secret).unwrap();
    let (made, removed) =
        join(grants.add_share(share.clone(), &anna), grants.remove_token("anna")).await;
    removed.unwrap();
    assert!(matches!(made, Err(GrantsError::MakerEnded(name)) if name == "anna"));
    assert!(grants.tables().shares.is_empty());
    grants.add_token(new("anna", None), "owner").await.unwrap();
    assert!(grants.shares(session).is_empty(), "the next token of the name has not made it");
}

/// A row that a killed server has left.
#[actix_web::test]
async fn a_link_in_the_database_is_that_of_one_token_and_not_of_a_name() {
    let grants = Grants::in_memory(ADMIN);
    let (token, secret) = grants.add_token(new("anna", None), "owner").await.unwrap();
    let (anna, _) = grants.by_secret(&secret).unwrap();
    let session = SessionId::generate();
    let share = NewShare { node: None, session, mode: Mode::Rw, expires_s: None };
    let (row, link) = grants.add_share(share.clone(), &anna).await.unwrap();
    let after = |created_by_token| {
        let shares = vec![ShareRow { created_by_token, ..row.clone() }];
        let rows = GrantRows { tokens: vec![token.clone()], shares, ..GrantRows::default() };
        let tables = Mutex::new(Tables::new(None, rows));
        Grants { store: None, tables, visits: Arc::default() }
    };
    assert!(after(anna.token).by_secret(&link).is_some());
    for another in [None, Some(Uuid::now_v7())] {
        let grants = after(another);
        assert!(grants.by_secret(&link).is_none() && grants.shares(session).is_empty());
    }
}

#[actix_web::test]
async fn a_code_ends_with_the_login_that_has_made_it_and_a_logout_ends_no_other_secret() {
    let grants = Grants::in_memory(ADMIN);
    let (_, owner) = grants.by_secret(ADMIN).unwrap();
    let cookie = grants.log_in(&owner).await.unwrap().cookie;
    let code = grants.issue_code(&grants.by_cookie(&cookie).unwrap().1).unwrap().0;
    let (_, secret) = grants.add_token(new("anna", None), "owner").await.unwrap();
    grants.log_out(&secret).await.unwrap();
    assert!(grants.by_secret(&secret).is_some());
    grants.log_out(&cookie).await.unwrap();
    assert!(grants.redeem(&code).is_none());
}

#[actix_web::test]
async fn logins_are_listed_and_ended_by_ids_that_are_no_secrets() {
    let grants = Grants::in_memory(ADMIN);
    let (_, secret) = grants.add_token(new("anna", None), "owner").await.unwrap();
    let (_, anna) = grants.by_secret(&secret).unwrap();
    let (_, owner) = grants.by_secret(ADMIN).unwrap();
    let cookies = [
        grants.log_in(&anna).await.unwrap().cookie,
        grants.log_in(&anna).await.unwrap().cookie,
        grants.log_in(&owner).await.unwrap().cookie,
    ];
    let ids = cookies.each_ref().map(|cookie| {
        let (_, pass) = grants.by_cookie(cookie).unwrap();
        pass.login_id().unwrap()
    });
    let listed = |of| grants.logins(of).into_iter().map(|login| login.id).collect::<BTreeSet<_>>();
    assert_eq!(listed(LoginsOf::All), ids.into());
    assert_eq!(listed(LoginsOf::Same(anna)), ids[..2].iter().copied().collect());
    assert!(ids.iter().all(|id| grants.by_cookie(&id.to_string()).is_none()));
    let anothers = grants.end_login(ids[2], LoginsOf::Same(anna)).await;
    assert!(matches!(anothers, Err(GrantsError::Unknown(_))));
    grants.end_login(ids[0], LoginsOf::Same(anna)).await.unwrap();
    grants.end_login(ids[2], LoginsOf::All).await.unwrap();
    assert!(grants.by_cookie(&cookies[0]).is_none() && grants.by_cookie(&cookies[2]).is_none());
    assert!(grants.by_cookie(&cookies[1]).is_some() && grants.by_secret(&secret).is_some());
    let again = grants.end_login(ids[0], LoginsOf::All).await;
    assert!(matches!(again, Err(GrantsError::Unknown(_))));
    grants.remove_token("anna").await.unwrap();
    assert!(grants.logins(LoginsOf::All).is_empty());
}

#[actix_web::test]
async fn a_link_of_another_machines_session_ends_when_that_machine_says_so() {
    let (grants, session) = (Arc::new(Grants::in_memory(ADMIN)), SessionId::generate());
    let node = NodeName::new("attic").ok();
    let mut links = Vec::new();
    for node in [None, node.clone()] {
        let share = NewShare { node, session, mode: Mode::Ro, expires_s: None };
        links.push(grants.add_share(share, &Principal::owner()).await.unwrap().1);
    }
    let (_, pass) = grants.by_secret(&links[1]).unwrap();
    let login = grants.log_in(&pass).await.unwrap().cookie;
    grants.end_shares_elsewhere(|_, share| share.session != session);
    grants.end_shares_elsewhere(|node, _| node.as_str() != "attic");
    assert_eq!(grants.shares(session).len(), 2);
    grants.end_shares_elsewhere(|node, share| node.as_str() == "attic" && share.session == session);
    assert!(grants.by_secret(&links[0]).is_some(), "this machine's own");
    assert!(grants.by_secret(&links[1]).is_none() && grants.by_cookie(&login).is_none());
    assert_eq!(grants.why_ended(&pass), Some("the share link has ended"));
}
