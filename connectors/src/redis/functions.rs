//! The functions in the server: their text, their names, and how they are called.
//!
//! Library and functions carry a hash of their text in their names, so that several releases of caudal can work on one
//! server and a changed function is never called by an old name. Where a server has no functions, or does not let us
//! load any, the same text runs as a script.

use redis::{Cmd, Connection, RedisError};
use std::sync::LazyLock;

const CODE: &str = include_str!("functions.lua");

/// Changes when arguments or replies do.
const CALLING_VERSION: u32 = 2;

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Versioned rows of one group.
    Rows,
    /// Groups of one part of an index.
    Groups,
    /// The board.
    Board,
    /// What a cut has written so far, and whether that of earlier ones is still there.
    Mark,
    /// That writes were lost.
    Lost,
}

impl Operation {
    const ALL: [Operation; 5] = [Operation::Rows, Operation::Groups, Operation::Board, Operation::Mark, Operation::Lost];

    fn name(self) -> &'static str {
        match self {
            Operation::Rows => "rows",
            Operation::Groups => "groups",
            Operation::Board => "board",
            Operation::Mark => "mark",
            Operation::Lost => "lost",
        }
    }
}

/// One call of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which.
    pub operation: Operation,
    /// The keys it touches.
    pub keys: Vec<String>,
    /// Everything else.
    pub arguments: Vec<String>,
}

impl Call {
    /// Bytes sent, about.
    pub fn len_bytes(&self) -> usize {
        self.keys.iter().chain(&self.arguments).map(|part| part.len() + 16).sum()
    }
}

/// How this server runs our code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// FCALL of a loaded library.
    Function,
    /// EVALSHA of a loaded script.
    Script,
}

struct Text {
    hash: String,
    library: String,
    script: redis::Script,
}

static TEXT: LazyLock<Text> = LazyLock::new(|| {
    let hash = format!("{CALLING_VERSION}_{:016x}", xxhash_rust::xxh3::xxh3_64(CODE.as_bytes()));
    let registrations: String = Operation::ALL.iter().map(|operation| registration(operation.name(), &hash)).collect();
    let table: Vec<String> = Operation::ALL.iter().map(|operation| format!("{0} = {0}", operation.name())).collect();
    Text {
        library: format!("#!lua name=caudal_{hash}\n{CODE}\n{registrations}"),
        script: redis::Script::new(&format!("{CODE}\nreturn ({{{}}})[ARGV[1]](KEYS, ARGV, 2)\n", table.join(", "))),
        hash,
    }
});

fn registration(name: &str, hash: &str) -> String {
    format!("redis.register_function('caudal_{name}_{hash}', function(keys, args) return {name}(keys, args, 1) end)\n")
}

/// Puts the functions into the server unless they are there, and tells how they are called.
pub fn load(connection: &mut Connection) -> Result<Form, RedisError> {
    match redis::cmd("FUNCTION").arg("LOAD").arg(&TEXT.library).query::<String>(connection) {
        Ok(_) => Ok(Form::Function),
        Err(error) if error.to_string().contains("already exists") => Ok(Form::Function),
        Err(error) if error.is_io_error() => Err(error),
        // No such command, or not for us: the same code as a script, or else this error is the one to report.
        Err(_) => TEXT.script.load(connection).map(|_| Form::Script),
    }
}

/// The command that makes the call.
pub fn command(form: Form, call: &Call) -> Cmd {
    let mut command = match form {
        Form::Function => {
            let mut command = redis::cmd("FCALL");
            command.arg(format!("caudal_{}_{}", call.operation.name(), TEXT.hash)).arg(call.keys.len()).arg(&call.keys);
            command
        }
        Form::Script => {
            let mut command = redis::cmd("EVALSHA");
            command.arg(TEXT.script.get_hash()).arg(call.keys.len()).arg(&call.keys).arg(call.operation.name());
            command
        }
    };
    command.arg(&call.arguments);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_text() {
        assert!(TEXT.library.starts_with(&format!("#!lua name=caudal_{}\n", TEXT.hash)));
        assert!(TEXT.library.contains(&format!("'caudal_board_{}'", TEXT.hash)));
    }
}
