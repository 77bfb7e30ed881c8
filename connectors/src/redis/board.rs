//! The board: newest rows and frontiers of a cut in one atomic call.

use super::functions::{Call, Operation};
use super::rows::expires_text;
use super::{keys, mark, member};
use crate::context::SinkContext;
use caudal_pipeline::ports::sink::{Cut, Latest, ViewProgress};
use caudal_pipeline::time::{Epoch, EventTime};

/// What is done about a board that holds another version than the cut follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Nothing: the call is refused.
    Follow,
    /// The cut's rows are laid over what is there.
    LayOver,
    /// The cut has the whole board: it begins at the beginning, or follows a loss.
    Replace,
}

impl How {
    /// The first attempt.
    pub fn at_first(cut: &Cut) -> How {
        if cut.begins() { How::Replace } else { How::Follow }
    }

    /// The second attempt, after a refusal.
    pub fn after_refusal(cut: &Cut) -> How {
        if cut.from == Epoch(0) { How::Replace } else { How::LayOver }
    }

    fn name(self) -> &'static str {
        match self {
            How::Follow => "follow",
            How::LayOver => "lay_over",
            How::Replace => "replace",
        }
    }
}

/// The call that brings the board to `cut`.
pub fn call(context: &SinkContext, cut: &Cut, groups_max: usize, how: How) -> Call {
    let latest = context.views.iter().map(|view| keys::latest(&context.job, &view.name));
    let all_keys = std::iter::once(keys::asof(&context.job)).chain(latest).collect();
    let frontiers = frontiers(context, cut);
    let mut arguments = mark::arguments(cut).to_vec();
    arguments.extend([how.name().to_owned(), groups_max.to_string(), frontiers.len().to_string()]);
    arguments.extend(frontiers.into_iter().flat_map(|(field, value)| [field, value]));
    arguments.extend(cut.latest.iter().flat_map(|latest| entry(context, latest)));
    Call { operation: Operation::Board, keys: all_keys, arguments }
}

fn frontiers(context: &SinkContext, cut: &Cut) -> Vec<(String, String)> {
    let mut fields = vec![("v".to_owned(), member::version_text(cut.version)), ("epoch".to_owned(), cut.to.0.to_string())];
    for (view, ViewProgress { complete_until, final_until }) in context.views.iter().zip(&cut.progress) {
        fields.push((format!("complete_until:{}", view.name), frontier_text(*complete_until)));
        fields.push((format!("final_until:{}", view.name), frontier_text(*final_until)));
    }
    fields
}

fn frontier_text(frontier: EventTime) -> String {
    match frontier {
        EventTime::MIN => "-inf".to_owned(),
        EventTime::MAX => "+inf".to_owned(),
        finite => finite.to_string(),
    }
}

/// Which key, the view, the group, the expiry, the row; a group without a row leaves the board.
fn entry(context: &SinkContext, latest: &Latest) -> [String; 5] {
    let view = &context.views[latest.view];
    // Lua counts from 1, and the first key is that of the frontiers.
    let key = (latest.view + 2).to_string();
    let group = keys::group_text(&view.group, &latest.group);
    let (expires, member) = match &latest.row {
        Some(row) => (expires_text(row), member::member(view, row)),
        None => (String::new(), String::new()),
    };
    [key, view.name.clone(), group, expires, member]
}

#[cfg(test)]
mod tests {
    use super::*;
    use caudal_pipeline::time::Version;

    #[test]
    fn an_empty_cut_still_moves_the_frontiers() {
        let context = SinkContext { job: "j".to_owned(), views: vec![], streams: vec![] };
        let cut = Cut { from: Epoch(1), to: Epoch(3), version: Version(9), previous_version: Version(4), ..Cut::default() };
        let call = call(&context, &cut, 10, How::after_refusal(&cut));
        assert_eq!(call.keys, ["{j}:asof"]);
        assert_eq!(
            call.arguments,
            [&mark::arguments(&cut)[..], &["lay_over", "10", "2", "v", "0000000000000000009", "epoch", "3"].map(str::to_owned)]
                .concat()
        );
    }
}
