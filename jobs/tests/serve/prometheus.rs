//! A real Prometheus scrapes a running job, and its own query language finds that the counts add up.

use crate::harness::{FAULTY, Folder, Run, request, until};
use serde_json::Value as Json;
use std::net::SocketAddr;

const REST: &str = "caudal_events_received_total - caudal_events_accepted_total - caudal_events_filtered_total \
    - caudal_events_duplicate_total - sum without (reason) (caudal_events_rejected_total)";

/// The result of an instant query.
fn query(prometheus: SocketAddr, expression: &str) -> Vec<Json> {
    let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let answer = request(prometheus, "GET", &format!("/api/v1/query?query={encoded}"), &[], b"");
    let json = answer.json();
    assert_eq!(json["status"], "success", "{json}");
    json["data"]["result"].as_array().unwrap().clone()
}

fn value(result: &[Json]) -> Option<f64> {
    result.first()?["value"][1].as_str()?.parse().ok()
}

#[test]
fn prometheus_finds_that_received_is_the_sum_of_the_four() {
    let folder = Folder::new("prometheus");
    let run = Run::start(&folder.0, FAULTY);
    let server =
        xtask::services::prometheus::start(&[&run.operators.address().to_string()]).unwrap_or_else(|error| panic!("{error}"));
    let address: SocketAddr = server.address.parse().unwrap();
    until("Prometheus has seen the job at work in several scrapes", || {
        let result = query(address, "changes(caudal_events_received_total[1m])");
        value(&result).filter(|changes| *changes >= 4.0)
    });
    // A scrape may take too long on a busy machine; the next one does not.
    for up in ["up{job='caudal'}", "count(caudal_sink_up == 1)"] {
        until(up, || (value(&query(address, up)) == Some(1.0)).then_some(()));
    }
    assert_eq!(until("there are all figures", || value(&query(address, REST))), 0.0);
    // At every moment, not only now.
    let worst = format!("max_over_time(abs({REST})[1m:500ms])");
    assert_eq!(value(&query(address, &worst)), Some(0.0));
    let held = query(address, "scrape_samples_scraped{job='caudal'}");
    assert!(value(&held).is_some_and(|samples| samples > 30.0), "{held:?}");
}
