//! Actions: what requests and WebSocket messages do. Every route and every message names one;
//! `openapi.json` carries the route's as `x-stayd-action`.

use super::principal::Role;

macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident = $name:literal needs $role:ident;)*) => {
        /// What a request or message does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[$doc])* $action,)*
        }

        impl Action {
            /// All actions.
            pub const ALL: &'static [Action] = &[$(Action::$action,)*];

            /// The name in `openapi.json` and in the audit log.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Action::$action => $name,)* }
            }

            /// The least role that may do it.
            #[must_use]
            pub fn needs(self) -> Role {
                match self { $(Action::$action => Role::$role,)* }
            }
        }
    };
}

actions! {
    /// Asks who one is: `whoami`, the API's description, logging out.
    Identify = "identify" needs Viewer;
    /// Asks whether the server is well.
    Ready = "ready" needs Viewer;
    /// Lists and ends logins: one's own, and everybody's for who manages tokens.
    Logins = "logins" needs Viewer;
    /// Has a browser told what needs somebody, by web push.
    Push = "push" needs Viewer;
    /// Lists the machines of the fleet.
    Nodes = "nodes" needs Viewer;
    /// Lists sessions.
    List = "session.list" needs Viewer;
    /// Reads a session's record.
    Read = "session.read" needs Viewer;
    /// Reads a session's history.
    Transitions = "session.transitions" needs Viewer;
    /// Reads, or waits for something on, a session's screen.
    Screen = "session.screen" needs Viewer;
    /// Reads a session's output.
    Output = "session.output" needs Viewer;
    /// Reads a session's recording, without what was typed.
    Recording = "session.recording" needs Viewer;
    /// Follows what happens to sessions.
    Events = "events" needs Viewer;
    /// Attaches to a session, to look on.
    Attach = "session.attach" needs Viewer;
    /// Attaches to a session, to type.
    AttachWrite = "session.attach_write" needs Controller;
    /// Reads what was typed in a session's recording.
    RecordedInput = "session.recorded_input" needs Controller;
    /// Lists the commands that may be started by name.
    Profiles = "profiles" needs Controller;
    /// Starts a session.
    Create = "session.create" needs Controller;
    /// Types into a session.
    Input = "session.input" needs Controller;
    /// Says what a session's program does.
    Report = "session.report" needs Controller;
    /// Puts a file into a session's directory.
    Upload = "session.upload" needs Controller;
    /// Reads a file as the session's account does.
    Download = "session.download" needs Controller;
    /// Gives a session's terminal another size.
    Resize = "session.resize" needs Controller;
    /// Sends a signal to a session's processes.
    Signal = "session.signal" needs Controller;
    /// Changes a session's name, labels or policies.
    Change = "session.change" needs Controller;
    /// Starts a session's command again.
    Restart = "session.restart" needs Controller;
    /// Ends a session.
    End = "session.end" needs Controller;
    /// Makes, lists and ends the share links of a session.
    Share = "session.share" needs Controller;
    /// Lists the share links of all sessions that exist for one.
    Shares = "shares" needs Controller;
    /// Removes everything that is kept of a session.
    Purge = "session.purge" needs Admin;
    /// Makes, lists and removes tokens.
    Tokens = "tokens" needs Admin;
    /// Makes a one-time code to log in with.
    LoginCode = "login_code" needs Admin;
    /// Reads the audit log.
    Audit = "audit" needs Admin;
    /// Copies the database.
    Backup = "backup" needs Admin;
    /// Compares registry, holder and database now.
    Reconcile = "reconcile" needs Admin;
    /// Reads the server's counters.
    Metrics = "metrics" needs Admin;
}

impl Action {
    /// The action of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Action> {
        Action::ALL.iter().copied().find(|action| action.as_str() == name)
    }

    /// Whether it is done to one session.
    #[must_use]
    pub fn is_on_session(self) -> bool {
        self.as_str().starts_with("session.") && !matches!(self, Action::List | Action::Create)
    }
}
