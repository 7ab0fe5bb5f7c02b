//! Browsers that are told by web push what needs somebody. One hears of nothing that who has subscribed
//! may not see, and ends with the login or token that it was made with.

use super::pass::Pass;
use super::secret::Digest;
use crate::push::Subscriber;
use crate::store::PushRow;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// One browser's subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Its id, which may be shown.
    pub id: Uuid,
    /// What it was made with.
    pub(super) pass: Pass,
    /// Where and how the browser is reached.
    pub subscriber: Subscriber,
    /// When it was made: it hears of nothing that was before.
    pub created_at: DateTime<Utc>,
}

impl Subscription {
    /// What a row says; `None`: it was made with nothing that is known.
    pub(super) fn of(row: PushRow) -> Option<Subscription> {
        let PushRow { id, subject, login, subscriber, created_at } = row;
        let pass = Pass { subject: subject.parse().ok()?, login: login.map(Digest) };
        Some(Subscription { id, pass, subscriber, created_at })
    }

    pub(super) fn row(&self) -> PushRow {
        let Subscription { id, pass, subscriber, created_at } = self.clone();
        let (subject, login) = (pass.subject.to_string(), pass.login.map(|login| login.0));
        PushRow { id, subject, login, subscriber, created_at }
    }
}
