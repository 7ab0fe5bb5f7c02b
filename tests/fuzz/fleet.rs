//! What other machines say: lines of the directory, and openings of streams.

use super::directory::Directory;
use super::opening;
use super::record::NodeRecord;
use crate::fuzz::target;
use crate::id::SessionId;
use crate::relay::NodeName;
use crate::rights::Role;

target!(openings, |bytes: &[u8]| {
    if let Some((principal, _)) = opening::hear(bytes, Role::Controller) {
        assert!(principal.role <= Role::Controller);
        assert!(!principal.name.is_empty() && principal.name.len() <= 128);
    }
});

target!(directory_lines, |bytes: &[u8]| {
    let (directory, node) = (Directory::default(), NodeName::new("attic").expect("a name"));
    let here = NodeName::new("desk").expect("a name");
    if let Ok(record) = serde_json::from_slice::<NodeRecord>(bytes) {
        directory.node_says(&node, record);
        assert_eq!(directory.nodes(&here).len(), 1);
    }
    let id: SessionId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id");
    if directory.session_says(&node, id, bytes) {
        assert_eq!(directory.locate(id, &here), Some(node));
    }
});
