//! A job without workers or logs: random records through the real operators into a real ledger, one epoch at a time.

use super::harness::Random;
use caudal_pipeline::aggregate::Aggregate;
use caudal_pipeline::decode::{Derivation, DerivationSpec};
use caudal_pipeline::ledger::{Batch, Ledger, RunEntry};
use caudal_pipeline::operators::collect::{Accepted, Collect, Counts, Effect, EpochPart, Retained};
use caudal_pipeline::operators::{Combine, EpochOperator, Tick, Windows};
use caudal_pipeline::plan::*;
use caudal_pipeline::ports::blobs::MemoryBlobs;
use caudal_pipeline::record::*;
use caudal_pipeline::state::{Save, SaveState, Saved, StateRows};
use caudal_pipeline::time::{Epoch, EventTime, Span, Version};
use caudal_pipeline::value::{Field, FieldType, Value};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

pub struct Job {
    pub plan: Arc<Plan>,
    pub ledger: Ledger,
    blobs: Arc<MemoryBlobs>,
    pub generation: u64,
    /// Every epoch so far, as it was bound.
    bound: Vec<Batch>,
    pub lateness: Span,
    combine: Combine,
    windows: Windows,
    collect: Collect<Nothing, Box<dyn FnMut(EpochPart)>>,
    part: Rc<RefCell<Option<EpochPart>>>,
    epoch: Epoch,
    opened: Version,
    watermark: EventTime,
    newest: EventTime,
    ids: u64,
}

/// No record is refused or archived here.
struct Nothing;

impl Retained for Nothing {
    fn dead_letter(&mut self, _: Epoch, _: u32, _: Origin, _: Rejection) -> DeadLetter {
        unreachable!("no record is refused")
    }
    fn event(&mut self, _: Epoch, _: Accepted, _: bool) -> Event {
        unreachable!("no stream is archived")
    }
    fn release(&mut self, _: Epoch) -> (Vec<DeadLetter>, Counts) {
        (vec![], Counts::new())
    }
}

pub fn plan(lateness: Span) -> Plan {
    let fields = vec![Field { name: "g".into(), field_type: FieldType::Decimal(0) }];
    let aggregate = Aggregate::parse("count()", &fields).unwrap();
    let view = |name: &str, window| ViewPlan {
        name: name.into(),
        from: ViewInput::Stream { stream: 0, group_by: vec![0] },
        stream: 0,
        window,
        group: fields.clone(),
        columns: aggregate.columns("n"),
        aggregates: vec![aggregate.clone()],
    };
    // The stream's input is never asked for here.
    let keep = DerivationSpec { parent: fields.clone(), fields: None, filter: None };
    let stream = StreamPlan {
        name: "events".into(),
        from: StreamInput::Stream(0, Arc::new(Derivation::new(&keep).unwrap())),
        fields: fields.clone(),
        deduplicate: None,
        watermark: WatermarkPlan {
            max_delay: Span(0),
            idle_after: Span(0),
            max_future: Span(0),
            max_ahead: Span(0),
            advance_when_all_idle: true,
        },
        lateness,
        archived: false,
    };
    let views = vec![
        view("tumbling", WindowPlan::Tumbling { size: Span::seconds(20) }),
        view("session", WindowPlan::Session { gap: Span::seconds(10) }),
        view("sliding", WindowPlan::Sliding { size: Span::seconds(30), every: Span::seconds(10) }),
        view("ever", WindowPlan::Unwindowed),
    ];
    Plan { name: "follower".into(), limits: Limits::default(), tables: vec![], streams: vec![stream], views }
}

impl Job {
    pub fn new() -> Job {
        let lateness = Span::seconds(60);
        let plan = Arc::new(plan(lateness));
        let (save, part, blobs) = (SaveState::default(), Rc::new(RefCell::new(None)), Arc::new(MemoryBlobs::default()));
        let to = part.clone();
        let send: Box<dyn FnMut(EpochPart)> = Box::new(move |part| *to.borrow_mut() = Some(part));
        Job {
            ledger: Ledger::open(blobs.clone(), 1, Epoch(0), &[]).unwrap(),
            blobs,
            generation: 1,
            bound: vec![],
            lateness,
            combine: Combine::new(&plan, 0),
            windows: Windows::new(
                &plan,
                0,
                &StateRows::new(Arc::new(Saved::nothing(Arc::new(MemoryBlobs::default()))), 0, 1),
                save.clone(),
            ),
            collect: Collect::new(plan.clone(), Nothing, save, send),
            part,
            epoch: Epoch(0),
            opened: Version(1_000),
            watermark: EventTime::MIN,
            newest: EventTime(0),
            ids: 0,
            plan,
        }
    }

    /// Another process goes on, from what had been saved; what was bound since is repeated as it was.
    pub fn crash(&mut self, saved: Epoch, runs: &[RunEntry], generation: u64) {
        self.generation = generation;
        let ledger = Ledger::open(self.blobs.clone(), self.generation, saved, runs).unwrap();
        self.ledger = ledger.repeating(self.bound.last().map_or(Epoch(0), |batch| batch.epoch));
    }

    /// The next epoch: one that was bound before a crash, or a new one.
    pub fn epoch(&mut self, random: &mut Random) {
        let next = self.ledger.end().next();
        if !self.bound.iter().any(|batch| batch.epoch == next) {
            let batch = self.new_epoch(random);
            self.bound.push(batch);
        }
        let batch = self.bound.iter().find(|batch| batch.epoch == next).expect("it is bound");
        self.ledger.append(batch.clone());
    }

    /// A few records, some of them late, and a watermark that follows, stands, or leaps.
    fn new_epoch(&mut self, random: &mut Random) -> Batch {
        self.epoch = self.epoch.next();
        self.opened = Version(self.opened.0 + 100_000 + random.below(1_400_000) as i64);
        let mut records: Vec<Record> = (0..random.below(6)).map(|_| self.record(random)).collect();
        records.retain(|record| record.event_time.plus(self.lateness) > self.watermark);
        let newest = records.iter().map(|record| record.event_time).max();
        self.newest = self.newest.max(newest.unwrap_or(EventTime::MIN));
        let claim = match random.below(10) {
            0 => self.newest.plus(Span::seconds(random.below(100) as i64)),
            1..4 => self.watermark,
            _ => self.newest.minus(Span::seconds(5)),
        };
        let before = self.watermark;
        self.watermark = before.max(claim);
        // After a leap producers go on from there.
        self.newest = self.newest.max(self.watermark);
        let tick = Tick {
            epoch: self.epoch,
            opened: self.opened,
            before: [before].into(),
            after: [self.watermark].into(),
            save: Save::Nothing,
        };
        self.run(&tick, records)
    }

    fn run(&mut self, tick: &Tick, mut records: Vec<Record>) -> Batch {
        let (mut partials, mut changes) = (vec![], vec![]);
        self.combine.take(tick.epoch, &mut records);
        self.combine.close(tick, &mut partials);
        self.windows.take(tick.epoch, &mut partials);
        self.windows.close(tick, &mut changes);
        self.collect.take(tick.epoch, &mut changes.into_iter().map(Effect::Row).collect());
        self.collect.close(tick, &mut vec![]);
        let mut parts = [self.part.take().expect("the collector sends a part")];
        Batch::of(tick.opened, tick.after.to_vec(), tick.epoch, &mut parts)
    }

    fn record(&mut self, random: &mut Random) -> Record {
        self.ids += 1;
        let late = random.chance(35);
        let at = self.newest.0 + if late { -(random.below(90) as i64) } else { random.below(25) as i64 } * 1_000_000;
        Record {
            event_time: EventTime(at),
            origin: Origin { offset: Offset(self.ids), ..Origin::default() },
            id: Id::Given(self.ids.to_string().into()),
            content: 0,
            passes: true,
            values: [Value::Decimal(random.below(3) as i64)].into(),
        }
    }
}
