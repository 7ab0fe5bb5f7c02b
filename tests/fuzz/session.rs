//! What a server reads of a session from a holder of another version.

use super::Blob;
use crate::fuzz::target;
use crate::holder::BLOB_MAX;

target!(blobs, |bytes: &[u8]| {
    let Ok(blob) = serde_json::from_slice::<Blob>(bytes) else { return };
    let _ = blob.deadline_in("boot");
    let _ = blob.ending();
    let kept = blob.to_bytes();
    assert!(kept.len() <= BLOB_MAX, "{} bytes", kept.len());
    serde_json::from_slice::<Blob>(&kept).expect("its own text");
});
