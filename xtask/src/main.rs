//! `cargo xtask`: chores of the repository.

use std::process::ExitCode;
use xtask::services::{Running, Service, StartError};
use xtask::{crash, shell};

const USAGE: &str = "usage: cargo xtask services [--only kafka,redis,cassandra,prometheus,s3] -- COMMAND [ARGUMENT…]
       cargo xtask crash [--runs N] [--seed S] [--row NAME]
       cargo xtask fetch";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["fetch"] {
        return fetch();
    }
    if let [verb, rest @ ..] = &arguments[..]
        && verb == "crash"
    {
        return match trials(rest).and_then(|settings| crash::crash(&settings)) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(mistake) => {
                eprintln!("{mistake}\n{USAGE}");
                ExitCode::from(2)
            }
        };
    }
    match parse(&arguments) {
        Ok((services, command)) => run(&services, command),
        Err(mistake) => {
            eprintln!("{mistake}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Reads what trials are asked for.
fn trials(arguments: &[String]) -> Result<crash::Settings, String> {
    let mut settings = crash::Settings { runs: None, seed: 1, row: None };
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
    for pair in arguments.chunks(2) {
        match pair {
            [flag, value] if flag == "--runs" => settings.runs = Some(number(value)?),
            [flag, value] if flag == "--seed" => settings.seed = number(value)?,
            [flag, value] if flag == "--row" => settings.row = Some(value.clone()),
            _ => return Err(format!("cannot read {}", pair.join(" "))),
        }
    }
    Ok(settings)
}

/// Splits the command line into the services wanted and the command to run with them.
fn parse(arguments: &[String]) -> Result<(Vec<Service>, &[String]), String> {
    let [verb, rest @ ..] = arguments else { return Err("no chore is named".to_owned()) };
    if verb != "services" {
        return Err(format!("unknown chore {verb}"));
    }
    let (services, rest) = match rest {
        [flag, names, rest @ ..] if flag == "--only" => (names.split(',').map(named).collect::<Result<_, _>>()?, rest),
        rest => (Service::ALL.to_vec(), rest),
    };
    match rest {
        [dashes, command @ ..] if dashes == "--" && !command.is_empty() => Ok((services, command)),
        _ => Err("the command to run comes after --".to_owned()),
    }
}

fn named(name: &str) -> Result<Service, String> {
    Service::ALL.into_iter().find(|service| service.name() == name).ok_or_else(|| format!("unknown service {name}"))
}

/// Fetches all that services need beside Debian packages.
fn fetch() -> ExitCode {
    match Service::ALL.into_iter().try_for_each(Service::fetch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the services, runs the command with their addresses in its environment, stops the services.
fn run(services: &[Service], command: &[String]) -> ExitCode {
    let running = match start(services) {
        Ok(running) => running,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let addresses = running.iter().map(|service| (service.variable, &service.address));
    let status = shell::command(&command[0]).args(&command[1..]).envs(addresses).status();
    drop(running);
    match status {
        Ok(status) => status.code().map_or(ExitCode::FAILURE, |code| ExitCode::from(u8::try_from(code).unwrap_or(1))),
        Err(cause) => {
            eprintln!("cannot run {}: {cause}", command[0]);
            ExitCode::from(127)
        }
    }
}

/// All of them at once: each takes seconds, and none needs another.
fn start(services: &[Service]) -> Result<Vec<Running>, StartError> {
    std::thread::scope(|scope| {
        let starts: Vec<_> = services.iter().map(|service| scope.spawn(|| service.start())).collect();
        starts.into_iter().map(|start| start.join().expect("starting a service does not panic")).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<(Vec<Service>, Vec<String>), String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&arguments).map(|(services, command)| (services, command.to_vec()))
    }

    #[test]
    fn services_and_command_are_told_apart() {
        assert_eq!(
            parsed("services -- a --only b").unwrap(),
            (Service::ALL.to_vec(), vec!["a".into(), "--only".into(), "b".into()])
        );
        assert_eq!(parsed("services --only kafka,redis -- a").unwrap().0, [Service::Kafka, Service::Redis]);
        for (line, mistake) in [
            ("", "no chore is named"),
            ("service -- a", "unknown chore service"),
            ("services --only mongo -- a", "unknown service mongo"),
            ("services a", "the command to run comes after --"),
            ("services --", "the command to run comes after --"),
        ] {
            assert_eq!(parsed(line).unwrap_err(), mistake, "{line}");
        }
    }
}
