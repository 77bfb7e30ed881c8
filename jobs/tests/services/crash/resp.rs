//! One connection with Redis in its own protocol: cheap enough to look all the time.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What the server answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Text(String),
    Number(i64),
    List(Vec<Reply>),
    Nothing,
    Refused(String),
}

/// A connection.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// To a server that is there, and answers everything in the end.
    pub fn open(address: &str) -> Connection {
        Connection(BufReader::new(TcpStream::connect(address).unwrap()))
    }

    /// To a server that may be away, and is given up after so long.
    pub fn open_within(address: &str, time: Duration) -> Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(time))?;
        Ok(Connection(BufReader::new(stream)))
    }

    /// Sends all commands at once and reads their answers.
    pub fn ask(&mut self, commands: &[Vec<String>]) -> Vec<Reply> {
        let replies = self.try_ask(commands).unwrap();
        let refused = replies.iter().find(|reply| matches!(reply, Reply::Refused(_)));
        assert_eq!(refused, None, "redis refuses");
        replies
    }

    /// The same of a server that may be away. After an error the connection is of no use.
    pub fn try_ask(&mut self, commands: &[Vec<String>]) -> Result<Vec<Reply>> {
        let mut text = String::new();
        for command in commands {
            text += &format!("*{}\r\n", command.len());
            command.iter().for_each(|word| text += &format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.get_mut().write_all(text.as_bytes())?;
        commands.iter().map(|_| self.reply()).collect()
    }

    fn reply(&mut self) -> Result<Reply> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(Error::from(ErrorKind::UnexpectedEof));
        }
        let (kind, rest) = line.trim_end().split_at(1);
        let number = || rest.parse::<i64>().unwrap();
        Ok(match kind {
            "+" => Reply::Text(rest.to_owned()),
            "-" => Reply::Refused(rest.to_owned()),
            ":" => Reply::Number(number()),
            "$" | "*" if number() < 0 => Reply::Nothing,
            "$" => {
                let mut bytes = vec![0; number() as usize + 2];
                self.0.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                Reply::Text(String::from_utf8(bytes).expect("what is kept is UTF-8"))
            }
            "*" => Reply::List((0..number()).map(|_| self.reply()).collect::<Result<_>>()?),
            _ => panic!("redis answers {line}"),
        })
    }
}

impl Reply {
    /// All texts of a list.
    pub fn texts(&self) -> Vec<String> {
        let Reply::List(list) = self else { panic!("{self:?} is no list") };
        let text = |reply: &'_ Reply| match reply {
            Reply::Text(text) => text.clone(),
            other => panic!("{other:?} is no text"),
        };
        list.iter().map(text).collect()
    }

    /// A hash as pairs.
    pub fn pairs(&self) -> Vec<(String, String)> {
        self.texts().chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }
}
