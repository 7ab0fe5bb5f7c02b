//! Somebody else listens where the state directory says that its server is: what the verbs
//! send to them.

use crate::cli::{code_and_text, stayd, verb};
use crate::support::{DEADLINE, Server};
use nix::sys::socket::{Backlog, listen};
use nix::unistd::{Uid, geteuid, setfsuid};
use serde_json::json;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What the verbs say where no server runs.
const NO_SERVER: &str = "stayd serve";

/// Takes connections and everything that is sent.
struct Impostor {
    address: SocketAddr,
    connections: mpsc::Receiver<TcpStream>,
}

impl Impostor {
    fn listen(listener: TcpListener) -> Impostor {
        let address = listener.local_addr().expect("an address");
        let (sender, connections) = mpsc::channel();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if sender.send(connection).is_err() {
                    return;
                }
            }
        });
        Impostor { address, connections }
    }

    /// What the ones who have come have sent, once they have hung up.
    fn got(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for mut connection in self.connections.try_iter() {
            connection.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            // One that was hung up on with unread bytes is reset.
            let _ = connection.read_to_end(&mut all);
        }
        all
    }
}

/// The verbs that find their server in the state directory.
const VERBS: [&[&str]; 20] = [
    &["ls"],
    &["run", "-d", "--", "true"],
    &["run", "--", "true"],
    &["attach", "web"],
    &["info", "web"],
    &["history", "web"],
    &["profiles"],
    &["kill", "web"],
    &["restart", "web"],
    &["rename", "web", "other"],
    &["send", "web", "text"],
    &["screen", "web"],
    &["wait", "web", "--text", "x"],
    &["wait", "web", "--exit"],
    &["logs", "web"],
    &["logs", "-f", "web"],
    &["recording", "web"],
    &["url"],
    &["backup", "-"],
    &["doctor"],
];

fn all_refuse(server: &Server, impostor: &Impostor, token: &str, said: &str) {
    // Where no server runs, `run` starts one.
    let starts = said == NO_SERVER;
    for args in VERBS.into_iter().filter(|args| !(starts && args[0] == "run")) {
        let mut child = stayd(server, args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("stayd runs");
        let start = Instant::now();
        while child.try_wait().expect("wait").is_none() {
            if start.elapsed() > DEADLINE {
                child.kill().expect("kill");
                child.wait().expect("wait");
                panic!("{args:?} goes on; the listener got {:?}", impostor.got().escape_ascii());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let (code, text) = code_and_text(&child.wait_with_output().expect("output"));
        let got = impostor.got();
        assert!(got.is_empty(), "{args:?} sent {}", got.escape_ascii());
        assert!(text.contains(said), "{args:?}: {text}");
        assert!(!text.contains(token), "{args:?} prints the token: {text}");
        let doctor = args == ["doctor"];
        assert!(doctor || code == Some(1), "{args:?}: {code:?} {text}");
    }
}

#[actix_web::test]
async fn who_has_the_port_of_a_killed_server_is_sent_nothing() {
    let mut server = Server::start().await;
    server.api().create(json!({ "name": "web", "profile": "bash" })).await;
    let (address, token) = (server.address().to_owned(), server.token());
    server.kill();
    let impostor = Impostor::listen(TcpListener::bind(&address).expect("its port is free"));
    all_refuse(&server, &impostor, &token, NO_SERVER);
    // Whoever has put a socket in the place of the one that was left behind is not asked either.
    let socket = server.state().join("server.sock");
    std::fs::remove_file(&socket).expect("left behind");
    let planted = UnixListener::bind(&socket).expect("a socket");
    planted.set_nonblocking(true).expect("no waiting");
    all_refuse(&server, &impostor, &token, NO_SERVER);
    assert_eq!(planted.accept().err().map(|e| e.kind()), Some(ErrorKind::WouldBlock));
    let mut run = stayd(&server, &["run", "-d", "--", "true"]);
    let run = run.env("STAYD_LISTEN", "127.0.0.1:0").output().expect("stayd runs");
    let (code, text) = code_and_text(&run);
    assert!(code == Some(0) && text.contains("started in the background"), "{text}");
    assert!(impostor.got().is_empty(), "its own server was asked");
    assert_eq!(planted.accept().err().map(|e| e.kind()), Some(ErrorKind::WouldBlock));
    assert_eq!(verb(&server, &["stop"]).status.code(), Some(0));
    drop(planted);

    // Where the user names the address, it is the user's word.
    let url = format!("http://{address}");
    let mut ls = stayd(&server, &["ls", "--url", &url]);
    let child = ls.env("STAYD_TOKEN", &token).spawn().expect("stayd runs");
    let asked = impostor.connections.recv_timeout(DEADLINE).expect("a connection");
    let mut beginning = [0; 4];
    (&asked).read_exact(&mut beginning).expect("a request");
    assert_eq!(&beginning, b"GET ");
    drop((asked, impostor));
    child.wait_with_output().expect("it ends");
    // A server that is there again is found, wherever it is.
    server.restart_anywhere().await;
    assert_eq!(verb(&server, &["ls"]).status.code(), Some(0));
}

#[actix_web::test]
async fn another_user_at_the_address_is_sent_nothing_while_the_server_lives() {
    if !geteuid().is_root() {
        eprintln!("skipped: only root can listen as somebody else");
        return;
    }
    let server = Server::start().await;
    server.api().create(json!({ "name": "web", "profile": "bash" })).await;
    // The owner of a socket is the file-system uid of the thread that makes it.
    let listener = std::thread::spawn(|| {
        setfsuid(Uid::from_raw(65534));
        TcpListener::bind("127.0.0.1:0")
    });
    let listener = listener.join().expect("the thread").expect("a port");
    let impostor = Impostor::listen(listener);
    let real = std::fs::read_to_string(server.state().join("listen")).expect("listen");
    // As while a server starts whose predecessor was killed.
    let planted = format!("{}\n", impostor.address);
    std::fs::write(server.state().join("listen"), planted).expect("written");
    let (socket, aside) = (server.state().join("server.sock"), server.state().join("aside"));
    std::fs::rename(&socket, &aside).expect("renamed");
    let got = socket_of_nobody(&socket);
    all_refuse(&server, &impostor, &server.token(), "another user (uid 65534)");
    let got: Vec<Vec<u8>> = got.try_iter().collect();
    assert!(got.len() > VERBS.len() / 2, "they came");
    assert!(got.iter().all(Vec::is_empty), "and sent nothing");
    std::fs::rename(&aside, &socket).expect("renamed");
    std::fs::write(server.state().join("listen"), real).expect("written");
    assert_eq!(verb(&server, &["ls"]).status.code(), Some(0));
}

/// Listens as another user at a socket whose file is ours, and hands out what each who comes has
/// sent once it has hung up.
#[allow(unsafe_code)]
fn socket_of_nobody(path: &Path) -> mpsc::Receiver<Vec<u8>> {
    let listener = UnixListener::bind(path).expect("a socket");
    let (sender, got) = mpsc::channel();
    let (ready, is_ready) = mpsc::channel();
    std::thread::spawn(move || {
        let nobody: libc::c_long = 65534;
        // SAFETY: it changes the ids of this thread alone, which does nothing else.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, nobody, nobody, nobody) };
        assert_eq!(changed, 0, "another user");
        // Those who connect see who has listened last.
        listen(&listener, Backlog::new(16).expect("a backlog")).expect("it listens");
        ready.send(()).expect("somebody waits");
        for mut connection in listener.incoming().flatten() {
            let mut all = Vec::new();
            connection.set_read_timeout(Some(DEADLINE)).expect("a timeout");
            let _ = connection.read_to_end(&mut all);
            if sender.send(all).is_err() {
                return;
            }
        }
    });
    is_ready.recv_timeout(DEADLINE).expect("it listens");
    got
}

/// Whoever looks whether a server runs takes its lock for a moment.
#[actix_web::test]
async fn a_server_starts_while_others_look_for_it() {
    let mut server = Server::start().await;
    server.kill();
    let lock = std::fs::File::open(server.state().join("lock")).expect("lock");
    lock.lock_shared().expect("nobody has it");
    server.begin_restart();
    let log = server.state().join("lock");
    let is_blocked = || {
        // It has been started and has opened the file.
        let fds = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).into_iter().flatten();
        fds.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == log))
    };
    let start = Instant::now();
    while !is_blocked() {
        assert!(start.elapsed() < DEADLINE, "it never opens its lock");
    }
    drop(lock);
    server.wait_until_listening().await;
}
