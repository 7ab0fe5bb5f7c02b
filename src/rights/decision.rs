//! The one rule: may this principal do this, with this session?

use super::action::Action;
use super::principal::{Facts, Kind, Principal, Role, Scope};

/// The answer of the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is done.
    Allowed,
    /// The session does not exist for this principal: 404, no list entry, no event.
    Hidden,
    /// It is refused. `needs` is the least role that may do it; `None`: no role of this
    /// principal's kind and scope may.
    Forbidden {
        /// The role.
        needs: Option<Role>,
    },
}

/// Decides. `session` is the one that the action is done to, or that it would create; `None` where
/// the action is done to no single session.
#[must_use]
pub fn decide(principal: &Principal, action: Action, session: Option<Facts<'_>>) -> Decision {
    let Principal { kind, role, scope, .. } = principal;
    let creates = action == Action::Create;
    if session.is_some_and(|session| !creates && !principal.sees(session)) {
        return Decision::Hidden;
    }
    if *role < action.needs() {
        return Decision::Forbidden { needs: Some(action.needs()) };
    }
    // A link opens its session and nothing else, and makes no links that would outlive it. Whoever
    // has it is not to end what others have opened by it.
    let of_link = match action {
        Action::Identify | Action::List | Action::Events => true,
        Action::Share => false,
        action => action.is_on_session(),
    };
    if *kind == Kind::Share && !of_link {
        return Decision::Forbidden { needs: None };
    }
    // A principal that may start commands has the account's files anyway. One that has a single
    // session, which may run no shell, gets none of them.
    let of_files = matches!(action, Action::Upload | Action::Download);
    if of_files && (*kind == Kind::Share || matches!(scope, Scope::Sessions(_))) {
        return Decision::Forbidden { needs: None };
    }
    // A program in a session makes no links, which would leave the session by them. It has no logins and
    // no browser, and those of the owner, on whose socket it comes, are not its own.
    let of_people =
        matches!(action, Action::Share | Action::Shares | Action::Logins | Action::Push);
    if *kind == Kind::Session && of_people {
        return Decision::Forbidden { needs: None };
    }
    // An admin of some sessions is no admin of the server.
    let of_server = action.needs() == Role::Admin && !action.is_on_session();
    if of_server && *scope != Scope::All {
        return Decision::Forbidden { needs: None };
    }
    // What a principal creates must exist for it afterwards.
    let creates_unseen = match scope {
        Scope::All | Scope::Own => false,
        Scope::Sessions(_) => true,
        Scope::Labels(_) => session.is_none_or(|session| !principal.sees(session)),
    };
    if creates && creates_unseen {
        return Decision::Forbidden { needs: None };
    }
    Decision::Allowed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;
    use std::collections::BTreeMap;

    fn principal(kind: Kind, role: Role, scope: Scope) -> Principal {
        Principal { name: "anna".into(), kind, token: None, role, scope, maker: None }
    }

    #[test]
    fn roles_need_what_the_design_says_and_each_includes_the_one_before() {
        for (role, may) in [(Role::Viewer, 13), (Role::Controller, 28), (Role::Admin, 35)] {
            let principal = principal(Kind::Token, role, Scope::All);
            let allowed =
                |action: &&Action| decide(&principal, **action, None) == Decision::Allowed;
            assert_eq!(Action::ALL.iter().filter(allowed).count(), may, "{role:?}");
        }
        let viewer = principal(Kind::Token, Role::Viewer, Scope::All);
        let refused = Decision::Forbidden { needs: Some(Role::Controller) };
        assert_eq!(decide(&viewer, Action::Input, None), refused);
    }

    #[test]
    fn what_is_out_of_scope_does_not_exist_whatever_the_role() {
        let (here, there) = (SessionId::generate(), SessionId::generate());
        let labels = BTreeMap::new();
        let facts = |id| Some(Facts { id, owner: None, owner_token: None, labels: &labels });
        for role in [Role::Viewer, Role::Controller, Role::Admin] {
            let principal = principal(Kind::Token, role, Scope::Sessions(vec![here]));
            for action in Action::ALL.iter().filter(|action| action.is_on_session()) {
                assert_eq!(decide(&principal, *action, facts(there)), Decision::Hidden);
                let allowed = decide(&principal, *action, facts(here)) == Decision::Allowed;
                let of_files = matches!(action, Action::Upload | Action::Download);
                assert_eq!(allowed, role >= action.needs() && !of_files, "{action:?}");
            }
        }
    }

    #[test]
    fn a_scoped_admin_does_not_manage_the_server() {
        let scoped = principal(Kind::Token, Role::Admin, Scope::Own);
        for action in [Action::Tokens, Action::Audit, Action::Backup, Action::Metrics] {
            assert_eq!(decide(&scoped, action, None), Decision::Forbidden { needs: None });
        }
    }

    #[test]
    fn one_creates_only_what_one_sees() {
        let team = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
        let none = BTreeMap::new();
        let id = SessionId::generate();
        let facts = |labels| Some(Facts { id, owner: Some("anna"), owner_token: None, labels });
        let no = Decision::Forbidden { needs: None };
        for (scope, labels, decision) in [
            (Scope::All, &none, Decision::Allowed),
            (Scope::Own, &none, Decision::Allowed),
            (Scope::Labels(team.clone()), &team, Decision::Allowed),
            (Scope::Labels(team.clone()), &none, no),
            (Scope::Sessions(vec![id]), &none, no),
        ] {
            let principal = principal(Kind::Token, Role::Controller, scope.clone());
            assert_eq!(decide(&principal, Action::Create, facts(labels)), decision, "{scope:?}");
        }
    }

    #[test]
    fn a_program_in_a_session_has_neither_links_nor_logins() {
        let program = principal(Kind::Session, Role::Controller, Scope::All);
        for action in [Action::Share, Action::Logins, Action::Push] {
            assert_eq!(decide(&program, action, None), Decision::Forbidden { needs: None });
        }
        assert_eq!(decide(&program, Action::Input, None), Decision::Allowed);
    }

    #[test]
    fn a_share_makes_no_share() {
        let id = SessionId::generate();
        let share = principal(Kind::Share, Role::Controller, Scope::Sessions(vec![id]));
        let labels = BTreeMap::new();
        let facts = Some(Facts { id, owner: None, owner_token: None, labels: &labels });
        assert_eq!(decide(&share, Action::Input, facts), Decision::Allowed);
        assert_eq!(decide(&share, Action::Share, facts), Decision::Forbidden { needs: None });
        assert_eq!(decide(&share, Action::Create, None), Decision::Forbidden { needs: None });
        assert_eq!(decide(&share, Action::Logins, None), Decision::Forbidden { needs: None });
        assert_eq!(decide(&share, Action::Push, None), Decision::Forbidden { needs: None });
    }
}
