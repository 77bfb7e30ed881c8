//! A way to the server on which single requests fare as planned.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is answered by the server.
    Passed,
    /// It reaches the server, and the connection breaks before the answer.
    AnswerLost,
    /// It reaches the server; a gateway answers with this status.
    PassedAndAnswered(u16),
    /// It does not reach the server; a gateway answers with this status.
    Answered(u16),
    /// The connection breaks before it reaches the server.
    Lost,
}

/// Requests that are under way, and what they come to.
pub struct Flaky {
    /// `127.0.0.1:port`.
    pub address: String,
    fates: Arc<Mutex<VecDeque<Fate>>>,
}

impl Flaky {
    /// A way to `server`, on which every request passes.
    pub fn to(server: &str) -> Flaky {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let fates = Arc::new(Mutex::new(VecDeque::new()));
        let (server, planned) = (server.to_owned(), fates.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (server, planned) = (server.clone(), planned.clone());
                // The client breaks off as it likes.
                std::thread::spawn(move || client.and_then(|client| carry(client, &server, &planned)));
            }
        });
        Flaky { address, fates }
    }

    /// The next requests fare so, in this order; all after them pass.
    pub fn plan(&self, fates: impl IntoIterator<Item = Fate>) {
        *self.fates.lock().unwrap() = fates.into_iter().collect();
    }

    /// Nothing is planned that has not happened.
    pub fn assert_all_happened(&self) {
        assert_eq!(*self.fates.lock().unwrap(), []);
    }
}

/// One request and its answer; the connection is closed then.
fn carry(mut client: TcpStream, server: &str, fates: &Mutex<VecDeque<Fate>>) -> io::Result<()> {
    let request = request(&mut client)?;
    let fate = fates.lock().unwrap().pop_front().unwrap_or(Fate::Passed);
    let answer = match fate {
        Fate::Answered(_) | Fate::Lost => Vec::new(),
        Fate::Passed | Fate::AnswerLost | Fate::PassedAndAnswered(_) => ask(server, &request)?,
    };
    match fate {
        Fate::Passed => client.write_all(&answer),
        Fate::AnswerLost | Fate::Lost => Ok(()),
        Fate::Answered(status) | Fate::PassedAndAnswered(status) => {
            write!(client, "HTTP/1.1 {status} Planned\r\netag: \"planned\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        }
    }
}

/// Head and body of what comes, such that its answer ends with the connection.
fn request(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut reader = BufReader::new(client);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
        head += &format!("{line}\r\n");
    }
    let mut bytes = format!("{head}connection: close\r\n\r\n").into_bytes();
    reader.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn ask(server: &str, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(server)?;
    server.write_all(request)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    Ok(answer)
}
