//! One connection that stays, for requests to a server that can accept no other.

use super::{DEADLINE, Server};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// Speaks HTTP/1.1, one request after the other.
pub struct Wire {
    host: String,
    socket: BufReader<TcpStream>,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    /// As they were sent.
    pub headers: Vec<String>,
    pub body: String,
}

impl Answer {
    /// The first value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let pairs = self.headers.iter().filter_map(|line| line.split_once(": "));
        let mut values = pairs.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value)
    }
}

impl Wire {
    pub fn open(server: &Server) -> Self {
        Wire::at(server.address())
    }

    /// At `127.0.0.1:PORT`.
    pub fn at(address: &str) -> Self {
        let socket = TcpStream::connect(address).expect("connected");
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Wire { host: address.to_owned(), socket: BufReader::new(socket) }
    }

    /// Sends a request without waiting; `more` are header lines.
    pub fn send(&mut self, method: &str, path: &str, more: &[&str], body: &str) {
        let more: String = more.iter().map(|line| format!("{line}\r\n")).collect();
        let host = &self.host;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{more}\r\n{body}",
            body.len()
        );
        self.socket.get_mut().write_all(request.as_bytes()).expect("sent");
    }

    /// The next answer.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let length = answer.header("content-length").map_or(0, |text| text.parse().expect("it"));
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).expect("a body");
        answer.body = String::from_utf8(body).expect("text");
        answer
    }

    /// The next answer without its body, which is left unread.
    pub fn head(&mut self) -> Answer {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.socket.read_line(&mut line).expect("an answer") > 0, "{lines:?}");
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let status = lines.remove(0).split(' ').nth(1).expect("a status").parse().expect("number");
        Answer { status, headers: lines, body: String::new() }
    }

    /// What follows the head of an answer.
    pub fn rest(&mut self) -> &mut impl Read {
        &mut self.socket
    }

    pub fn ask(&mut self, method: &str, path: &str, more: &[&str], body: &str) -> Answer {
        self.send(method, path, more, body);
        self.answer()
    }

    /// The status of a request with this token.
    pub fn status_with(&mut self, token: &str) -> u16 {
        let token = format!("Authorization: Bearer {token}");
        self.ask("GET", "/api/v1/profiles", &[&token], "").status
    }

    /// The status of a request with this login, a cookie `NAME=ID`.
    pub fn status_of(&mut self, cookie: &str) -> u16 {
        self.ask("GET", "/api/v1/profiles", &[&format!("Cookie: {cookie}")], "").status
    }

    /// Logs in; the cookie.
    pub fn log_in(&mut self, token: &str) -> String {
        let answer = self.ask("POST", "/api/v1/login", &[], &format!(r#"{{"token":"{token}"}}"#));
        assert_eq!(answer.status, 204, "{}", answer.body);
        let cookie = answer.header("set-cookie").expect("a cookie");
        cookie.split(';').next().expect("a pair").to_owned()
    }

    pub fn log_out(&mut self, cookie: &str) -> Answer {
        let (cookie, origin) =
            (format!("Cookie: {cookie}"), format!("Origin: http://{}", self.host));
        self.ask("POST", "/api/v1/logout", &[&cookie, &origin], "")
    }
}
