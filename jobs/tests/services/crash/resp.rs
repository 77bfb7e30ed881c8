//! One connection with Redis in its own protocol: cheap enough to look all the time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// What the server answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Text(String),
    Number(i64),
    List(Vec<Reply>),
    Nothing,
}

/// A connection.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub fn open(address: &str) -> Connection {
        Connection(BufReader::new(TcpStream::connect(address).unwrap()))
    }

    /// Sends all commands at once and reads their answers.
    pub fn ask(&mut self, commands: &[Vec<String>]) -> Vec<Reply> {
        let mut text = String::new();
        for command in commands {
            text += &format!("*{}\r\n", command.len());
            command.iter().for_each(|word| text += &format!("${}\r\n{word}\r\n", word.len()));
        }
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
        commands.iter().map(|_| self.reply()).collect()
    }

    fn reply(&mut self) -> Reply {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        let (kind, rest) = line.trim_end().split_at(1);
        let number = || rest.parse::<i64>().unwrap();
        match kind {
            "+" => Reply::Text(rest.to_owned()),
            ":" => Reply::Number(number()),
            "$" | "*" if number() < 0 => Reply::Nothing,
            "$" => {
                let mut bytes = vec![0; number() as usize + 2];
                self.0.read_exact(&mut bytes).unwrap();
                bytes.truncate(bytes.len() - 2);
                Reply::Text(String::from_utf8(bytes).expect("what is kept is UTF-8"))
            }
            "*" => Reply::List((0..number()).map(|_| self.reply()).collect()),
            _ => panic!("redis answers {line}"),
        }
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
