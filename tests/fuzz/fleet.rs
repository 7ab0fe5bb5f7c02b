//! What other machines say: lines of the directory, and openings of streams.

use super::directory::Directory;
use super::limits::hold_record;
use super::opening;
use super::record::NodeRecord;
use crate::fuzz::target;
use crate::id::SessionId;
use crate::protocol::LABELS_MAX;
use crate::relay::NodeName;
use crate::rights::Role;
use crate::screen::TITLE_MAX;

target!(openings, |bytes: &[u8]| {
    if let Some((principal, _)) = opening::hear(bytes, Role::Controller) {
        assert!(principal.role <= Role::Controller);
        assert!(!principal.name.is_empty() && principal.name.len() <= 128);
    }
});

target!(directory_lines, |bytes: &[u8]| {
    let (directory, node) = (Directory::default(), NodeName::new("attic").expect("a name"));
    let here = NodeName::new("desk").expect("a name");
    if let Ok(mut record) = serde_json::from_slice::<NodeRecord>(bytes) {
        hold_record(&mut record, &node);
        assert!(
            hold_record(&mut record, &node).is_none(),
            "what is held to its limits is within them"
        );
        directory.node_says(&node, record);
        assert_eq!(directory.nodes(&here).len(), 1);
    }
    let id: SessionId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id");
    if directory.session_says(&node, id, bytes, 0).is_ok() {
        let found = directory.find(&node, &id.to_string()).expect("the session");
        assert!(
            found.labels.len() <= LABELS_MAX && found.title.is_none_or(|it| it.len() <= TITLE_MAX)
        );
        assert_eq!(directory.locate(id, &here), Some(node));
    }
});
