//! The sink: rows in bounded pipelines, then the board.

use super::board::{self, How};
use super::config::Config;
use super::functions::Call;
use super::mark::{self, Outcome};
use super::member::RESERVED;
use super::servers::{self, Servers};
use super::{held, keys, rows};
use crate::context::SinkContext;
use caudal_pipeline::ports::sink::{Cut, HeldRow, SetAside, Sink, SinkError};
use caudal_pipeline::time::EventTime;

/// Calls sent before their replies are awaited.
const BATCH_CALLS_MAX: usize = 512;

/// How often a cut is written while slots move, before the sink begins anew.
const PASSES_MAX: usize = 4;

/// Bytes sent before replies are awaited; one call may be larger.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Rows and board of one job in Redis. The client blocks: a sink has a thread of its own.
pub struct RedisSink {
    config: Config,
    context: SinkContext,
    server: Option<Servers>,
}

impl RedisSink {
    /// A sink that connects when it is prepared.
    pub fn new(config: Config, context: SinkContext) -> RedisSink {
        RedisSink { config, context, server: None }
    }

    /// Everything about the job that this store cannot keep, in words: for checking before the start.
    pub fn refusals(context: &SinkContext) -> Vec<String> {
        let columns = context.views.iter().flat_map(|view| view.columns.iter().map(move |column| (&view.name, &column.name)));
        let clashing = columns.filter(|(_, column)| RESERVED.contains(&column.as_str()));
        clashing
            .map(|(view, column)| format!("views.{view}: every row in Redis has a `{column}` of its own: rename the column"))
            .collect()
    }

    /// What in the server's settings endangers what is kept there, in words. Connects, and changes nothing.
    pub fn warnings(config: &Config) -> Result<Vec<String>, SinkError> {
        servers::warnings(config)
    }

    fn connect(&self) -> Result<Servers, SinkError> {
        let refusals = Self::refusals(&self.context);
        if !refusals.is_empty() {
            return Err(SinkError::Stop(refusals.join("; ")));
        }
        Servers::connect(&self.config, &self.context.job)
    }

    fn write_cut(&self, server: &mut Servers, cut: &Cut) -> Result<Vec<SetAside>, SinkError> {
        let (calls, set_aside) = rows::calls(&self.context, &cut.rows, rows::MEMBER_BYTES_MAX);
        for _ in 0..PASSES_MAX {
            let moves = server.moves();
            self.pass(server, cut, &calls)?;
            // A primary that was replaced and does not know it yet takes what it is sent, which then is nowhere: the mark
            // of its successor says nothing of this cut. So a cut under which slots have moved is written again.
            if server.moves() == moves {
                return Ok(set_aside);
            }
        }
        Err(SinkError::Retry(format!("slots of the cluster at {} keep moving", self.config.place())))
    }

    /// Writes all of a cut; what is there already is left as it is.
    fn pass(&self, server: &mut Servers, cut: &Cut, calls: &[Call]) -> Result<(), SinkError> {
        if cut.begins() {
            // First of all: should we end now, whoever comes next finds that it has to begin.
            let job = &self.context.job;
            let marks = server.tags().into_iter().map(|tag| mark::lost(keys::mark(job, tag), cut, false));
            let lost: Vec<Call> = marks.chain([mark::lost(keys::asof(job), cut, true)]).collect();
            server.run::<i64>("note a loss", &lost)?;
        }
        for batch in batches(calls) {
            server.run::<i64>("write rows", batch)?;
        }
        self.mark(server, cut)?;
        if cut.more { Ok(()) } else { self.write_board(server, cut) }
    }

    /// Marks each primary of a cluster, and a page on the board.
    fn mark(&self, server: &mut Servers, cut: &Cut) -> Result<(), SinkError> {
        let job = &self.context.job;
        let marks = server.tags().into_iter().map(|tag| keys::mark(job, tag)).chain(cut.more.then(|| keys::asof(job)));
        let calls: Vec<Call> = marks.map(|key| mark::call(key, cut)).collect();
        for outcome in self.call_marking(server, &calls)? {
            if let Outcome::Lost(stored) = outcome {
                return Err(self.lost(cut, &stored));
            }
        }
        Ok(())
    }

    fn write_board(&self, server: &mut Servers, cut: &Cut) -> Result<(), SinkError> {
        let mut outcome = self.call_board(server, cut, How::at_first(cut))?;
        if let Outcome::Other(stored) = outcome {
            let how = How::after_refusal(cut);
            tracing::warn!(
                job = self.context.job,
                stored,
                follows = cut.previous_version.0,
                ?how,
                "the board holds another version"
            );
            outcome = self.call_board(server, cut, how)?;
        }
        match outcome {
            Outcome::Written => Ok(()),
            Outcome::Newer(stored) => {
                tracing::warn!(
                    job = self.context.job,
                    stored,
                    ours = cut.version.0,
                    "the board is newer than this cut and stays"
                );
                Ok(())
            }
            Outcome::Other(stored) => {
                Err(SinkError::Retry(format!("the board at {} moved to {stored} meanwhile", self.config.place())))
            }
            Outcome::Lost(stored) => Err(self.lost(cut, &stored)),
        }
    }

    fn call_board(&self, server: &mut Servers, cut: &Cut, how: How) -> Result<Outcome, SinkError> {
        let call = board::call(&self.context, cut, self.config.board_groups_max, how);
        let outcomes = self.call_marking(server, &[call])?;
        Ok(outcomes.into_iter().next().expect("a reply for each call"))
    }

    fn call_marking(&self, server: &mut Servers, calls: &[Call]) -> Result<Vec<Outcome>, SinkError> {
        let replies = server.run::<Vec<String>>("write the board", calls)?;
        let place = || self.config.place();
        let outcome = |reply: Vec<String>| {
            Outcome::of(&reply).ok_or_else(|| SinkError::Stop(format!("{} answered the board with {reply:?}", place())))
        };
        replies.into_iter().map(outcome).collect()
    }

    fn lost(&self, cut: &Cut, stored: &str) -> SinkError {
        let (place, written) = (self.config.place(), cut.previous_version.0);
        SinkError::Lost(match stored.parse::<i64>() {
            Err(_) => format!("{place} has lost writes: it holds nothing of this job, and {written} was written"),
            Ok(stored) if stored < written => format!("{place} has lost writes: it holds {stored}, and {written} was written"),
            Ok(_) => format!("{place} has lost writes: it does not hold all that was written up to {written}"),
        })
    }
}

impl Sink for RedisSink {
    fn prepare(&mut self) -> Result<(), SinkError> {
        self.server = None;
        self.server = Some(self.connect()?);
        Ok(())
    }

    fn write(&mut self, cut: &Cut) -> Result<Vec<SetAside>, SinkError> {
        let mut server = match self.server.take() {
            Some(server) => server,
            None => self.connect()?,
        };
        let set_aside = self.write_cut(&mut server, cut)?;
        // A connection that failed is not kept: replies of a broken pipeline may still be under way on it.
        self.server = Some(server);
        Ok(set_aside)
    }

    fn held(&mut self, view: usize, from: EventTime, take: &mut dyn FnMut(HeldRow)) -> Result<bool, SinkError> {
        held::read(&self.config, &held::Wanted { job: &self.context.job, view: &self.context.views[view], from }, take)?;
        Ok(true)
    }
}

/// Cuts the calls into pipelines of bounded size.
fn batches(calls: &[Call]) -> impl Iterator<Item = &[Call]> {
    let mut rest = calls;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |call: &&Call| {
            bytes += call.len_bytes();
            bytes <= BATCH_BYTES_MAX
        };
        let count = rest.iter().take(BATCH_CALLS_MAX).take_while(fits).count().max(1).min(rest.len());
        let (batch, later) = rest.split_at(count);
        rest = later;
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::functions::Operation;

    #[test]
    fn batches_are_bounded_and_lose_nothing() {
        let call = |bytes: usize| Call { operation: Operation::Rows, keys: vec![], arguments: vec!["x".repeat(bytes)] };
        let calls: Vec<Call> = [900_000, 200_000, 3_000_000, 1].into_iter().map(call).chain((0..1000).map(call)).collect();
        let sizes: Vec<usize> = batches(&calls).map(<[Call]>::len).collect();
        assert_eq!(sizes.iter().sum::<usize>(), calls.len());
        assert_eq!(sizes[..3], [1, 1, 1]);
        assert!(sizes.iter().all(|size| *size <= BATCH_CALLS_MAX));
        assert_eq!(batches(&[]).count(), 0);
    }
}
