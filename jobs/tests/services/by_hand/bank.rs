//! bank by hand: what is on each account, in cents, and what was booked on each day of Madrid.

use super::figures::{exact, madrid_day, micros};
use super::judge::{Judged, Place, Read, judge};
use super::wind_farm::is_uuid;
use super::{Column, Row};
use caudal_pipeline::record::{Message, Partition};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// The lateness of the job and its `max_delay`.
const BEHIND_US: i64 = 3 * 86_400_000_000 + 5_000_000;

/// Half of a transfer.
#[derive(Clone, Debug)]
pub struct Entry {
    account: String,
    currency: String,
    cents: i128,
    is_credit: bool,
}

/// Every entry of the topic, judged. A transfer that is refused is refused with both its entries.
pub fn judged(messages: &[(Partition, Vec<Message>)], told: &BTreeMap<Place, &'static str>) -> Judged<Entry> {
    judge(messages, told, BEHIND_US, |payload| {
        let transfer: Json = serde_json::from_slice(payload).map_err(|_| (1, "malformed"))?;
        read(&transfer).ok_or((2, "schema"))
    })
}

/// Both entries of a transfer, if it is as `schemas/transfer.json` asks.
fn read(transfer: &Json) -> Option<Vec<Read<Entry>>> {
    let id = transfer["transfer_id"].as_str().filter(|id| is_uuid(id))?;
    let at = micros(transfer["booked_at"].as_str()?)?;
    let cents = Some(&transfer["amount"]).filter(|amount| amount.is_number())?;
    let cents = exact(&cents.to_string(), 2).filter(|cents| (1..=100_000_000).contains(cents))?;
    let currency = transfer["currency"].as_str().filter(|currency| ["EUR", "USD"].contains(currency))?;
    let [debit, credit] = &transfer["entries"].as_array()?[..] else { return None };
    let entry = |entry: &Json, side: &str| {
        let account = entry["account"].as_str().filter(|account| is_account(account) && entry["side"] == side)?;
        let it = Entry { account: account.to_owned(), currency: currency.to_owned(), cents, is_credit: side == "credit" };
        Some(Read { id: format!("{id} {side}"), at, passes: true, it })
    };
    Some(vec![entry(debit, "debit")?, entry(credit, "credit")?])
}

/// Two capital letters and four to thirty digits.
fn is_account(text: &str) -> bool {
    let digits = text.trim_start_matches(|letter: char| letter.is_ascii_uppercase());
    text.len() - digits.len() == 2 && (4..=30).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Every row of every view.
pub fn rows(counted: &[Read<Entry>]) -> Vec<Row> {
    let account = |entry: &Entry| vec![entry.account.clone(), entry.currency.clone()];
    let balances = grouped(counted, account, |_| None).into_iter().map(|((group, window), entries)| {
        let last = entries.iter().map(|entry| entry.at).max().expect("an account has an entry");
        let columns = vec![
            ("balance", Column::Decimal(net(&entries), 2)),
            ("entries", Column::Count(entries.len())),
            ("last_booking", Column::Time(last)),
        ];
        Row { view: "balance", group, window, columns }
    });
    let currency = |entry: &Entry| vec![entry.currency.clone()];
    let totals = grouped(counted, currency, |_| None).into_iter().map(|((group, window), entries)| {
        let columns = vec![("total", Column::Decimal(net(&entries), 2)), ("entries", Column::Count(entries.len()))];
        Row { view: "total", group, window, columns }
    });
    let days = grouped(counted, account, |at| Some(madrid_day(at))).into_iter().map(|((group, window), entries)| {
        let largest = entries.iter().map(|entry| entry.it.cents).max().expect("a day has an entry");
        let columns = vec![
            ("net", Column::Decimal(net(&entries), 2)),
            ("entries", Column::Count(entries.len())),
            ("largest", Column::Decimal(largest, 2)),
        ];
        Row { view: "per_day", group, window, columns }
    });
    balances.chain(totals).chain(days).collect()
}

type Windows<'a> = BTreeMap<(Vec<String>, Option<(i64, i64)>), Vec<&'a Read<Entry>>>;

fn grouped(
    entries: &[Read<Entry>],
    group_of: impl Fn(&Entry) -> Vec<String>,
    window_of: impl Fn(i64) -> Option<(i64, i64)>,
) -> Windows<'_> {
    let mut windows = Windows::new();
    for entry in entries {
        windows.entry((group_of(&entry.it), window_of(entry.at))).or_default().push(entry);
    }
    windows
}

fn net(entries: &[&Read<Entry>]) -> i128 {
    entries.iter().map(|entry| if entry.it.is_credit { entry.it.cents } else { -entry.it.cents }).sum()
}
