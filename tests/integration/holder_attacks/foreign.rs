//! Somebody else's process on its socket.

use super::accomplice;
use super::house::House;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

#[test]
fn another_user_is_refused_and_counted() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: becoming another user needs root");
        return;
    }
    let mut house = House::new();
    let witness = house.witness();
    // The modes that keep others out are taken away: what is left is the check itself.
    let open = |path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode));
    open(house.dir().to_owned(), 0o755).unwrap();
    open(house.dir().join("holder.sock"), 0o666).unwrap();
    let mut command = accomplice::command("stranger", house.dir());
    let spawned = command.uid(65_534).gid(65_534).spawn();
    let Ok(mut child) = spawned else {
        eprintln!("skipped: another user cannot execute this program: {spawned:?}");
        return;
    };
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    assert!(said.contains("<refused>"), "{said}");
    let stats = house.serve(async |holder| holder.stats().await.unwrap());
    assert_eq!((stats.refused, stats.malformed), (1, 0));
    witness.check(&mut house);
}
