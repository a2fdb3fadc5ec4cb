//! A store at work on a simulated disk, beside the model: what it answers and what it shows must be the model's, in
//! every moment and after every crash.

mod compare;
mod counts;
mod crash;

pub use counts::Counts;

use crate::{
    act::Act,
    disk::{
        Disk, FULL, Fault,
        image::Image,
        log::{Call, Kind, Record, class},
        scratch,
    },
    look::{self, Known},
    model::{Answer, Model, Seen},
    rng::Rng,
    script::{Op, Step},
    store::{self, FAILED, HandClock},
};
use compare::{difference, fewer, same};
use crash::Lies;
use sealpost_store::sqlite::SqliteStore;
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// When scripts begin.
const START: i64 = 1_795_000_000;

/// How crashes between the steps are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crashes {
    /// At every access to the disk.
    Every,
    /// At so many of them.
    Some(usize),
}

/// What is broken on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breakage {
    /// Answers come before the commit.
    ReplyBeforeCommit,
    /// Syncs of files of this class do nothing ([`class`]): what leaving them out would be.
    NoSync(u32),
}

/// What went wrong.
#[derive(Debug, Clone)]
pub struct Failure {
    /// In which step, counted from 0.
    pub step: usize,
    /// What.
    pub what: String,
    /// What was done until then, in words.
    pub story: Vec<String>,
}

/// A state that the store had, or would have had.
struct Version {
    model: Model,
    /// Disk accesses before it was begun.
    began: usize,
    /// And when it was answered with success.
    answered: Option<usize>,
    /// For a change that was told to have failed and is not to be seen: the version it was begun on.
    dead_on: Option<usize>,
}

impl Version {
    /// The same after a start of the store.
    fn restarted(&self) -> Model {
        let mut model = self.model.clone();
        model.restart();
        model
    }
}

/// Since the disk was last mounted.
struct Life {
    // Before the disk that it lies on.
    store: Option<Arc<SqliteStore>>,
    disk: Disk,
    known: Known,
    /// The disk as it was when this life began.
    start: Image,
    log: Vec<Record>,
    versions: Vec<Version>,
    /// Index of the version that is to be seen.
    now: usize,
    /// What was in doubt when this life began.
    lies: Lies,
    /// Accesses up to which crashes were looked for, and the disk after them.
    looked: usize,
    looked_image: Option<Image>,
}

/// A run of one script.
pub struct World {
    life: Life,
    clock: Arc<HandClock>,
    rng: Rng,
    crashes: Crashes,
    broken: Option<Breakage>,
    faults: Vec<Fault>,
    full: Option<u32>,
    tag: u64,
    counts: Counts,
    story: Vec<String>,
    trace: Vec<String>,
}

type Found<T> = Result<T, String>;

/// Everything of a run: what it counted, and its trace.
pub type Outcome = Result<(Counts, Vec<String>), Box<Failure>>;

/// Runs a script from `seed`.
pub fn run(script: &[Step], seed: u64, crashes: Crashes, broken: Option<Breakage>) -> Outcome {
    let mut at = 0;
    let mut world = match World::new(seed, crashes, broken) {
        Ok(world) => world,
        Err(what) => return Err(Box::new(Failure { step: 0, what, story: Vec::new() })),
    };
    let done = (|| {
        for (index, step) in script.iter().enumerate() {
            at = index;
            world.step(step)?;
        }
        at = script.len();
        world.end()
    })();
    match done {
        Ok(()) => Ok((world.counts, world.trace)),
        Err(what) => Err(Box::new(Failure { step: at, what, story: world.story })),
    }
}

/// Runs a future of the store to its end: nothing but the store itself can hold it up.
fn finish<T>(store: &SqliteStore, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
        assert!(store.commit_waiting(), "the store waits for something that nobody does");
    }
}

impl World {
    fn new(seed: u64, crashes: Crashes, broken: Option<Breakage>) -> Found<Self> {
        let mut rng = Rng::new(seed);
        let clock = Arc::new(HandClock(AtomicI64::new(START)));
        let life = Life::new(Model::default())?;
        let mut world = Self {
            life,
            clock,
            rng: rng.fork(),
            crashes,
            broken,
            faults: Vec::new(),
            full: None,
            tag: 0,
            counts: Counts::default(),
            story: Vec::new(),
            trace: Vec::new(),
        };
        world.arm_breakage()?;
        world.open()?;
        Ok(world)
    }

    fn now(&self) -> i64 {
        self.clock.0.load(Ordering::SeqCst)
    }

    fn arm_breakage(&mut self) -> Found<()> {
        if let Some(Breakage::NoSync(classes)) = self.broken {
            let calls = Call::Sync.bit();
            let fault = Fault { calls, classes, nth: 1, kind: Kind::Lies, error: 0, count: 0 };
            self.life.disk.fault(fault).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn open(&mut self) -> Found<()> {
        let path = self.life.disk.store();
        let opened = store::open(&path, &self.clock, &mut self.rng);
        self.life.store = Some(opened.map_err(|error| format!("the store does not open: {error}"))?);
        self.take_log()
    }

    fn take_log(&mut self) -> Found<()> {
        let records = self.life.disk.take_log().map_err(|error| error.to_string())?;
        for record in &records {
            self.trace.push(record.line());
            self.counts.accesses += 1;
            if let Some(kind) = record.kind {
                let error = if kind == Kind::Lies { 0 } else { record.error };
                *self.counts.faults.entry((record.call, kind, error)).or_default() += 1;
            }
        }
        self.life.log.extend(records);
        Ok(())
    }

    fn store(&self) -> Arc<SqliteStore> {
        Arc::clone(self.life.store.as_ref().expect("it is open between the steps"))
    }

    fn model(&self) -> &Model {
        &self.life.versions[self.life.now].model
    }

    fn step(&mut self, step: &Step) -> Found<()> {
        match step {
            Step::Round(ops) => self.round(ops)?,
            Step::Fault(fault) => {
                self.story.push(format!("in the next round: {fault:?}"));
                self.faults.push(*fault);
            }
            Step::Full { after } => {
                self.story.push(format!("the disk is full after {after} more writes"));
                self.full = Some(*after);
            }
            Step::Space => {
                self.story.push("the disk has room again".into());
                self.full = None;
            }
            Step::Clock(seconds) => {
                self.story.push(format!("the clock jumps by {seconds} s"));
                self.clock.0.fetch_add(*seconds, Ordering::SeqCst);
            }
            Step::Collect => self.collect()?,
            Step::Restart => self.restart()?,
            Step::Kill { at } => self.kill(*at)?,
            Step::Crash { seed } => self.crash(*seed)?,
        }
        self.trace.push(format!("-- {:?}", self.model().seen.mailboxes.len()));
        Ok(())
    }

    /// Operations that are begun together: what the store answers and then shows is the model's.
    fn round(&mut self, ops: &[Op]) -> Found<()> {
        let now = self.now();
        let mut acts = Vec::new();
        for op in ops {
            self.tag += 1;
            acts.extend(op.settle(self.model(), now, self.tag));
        }
        for act in &acts {
            self.story.push(format!("{act:?}"));
        }
        let began = self.life.log.len();
        for fault in std::mem::take(&mut self.faults) {
            self.life.disk.fault(fault).map_err(|error| error.to_string())?;
        }
        if let Some(after) = self.full {
            let calls = Call::Write.bit() | Call::Create.bit() | Call::MakeFolder.bit() | Call::Link.bit();
            let fault = Fault {
                calls,
                classes: class::ALL,
                nth: after + 1,
                kind: Kind::Fails,
                error: FULL,
                count: 0,
            };
            self.life.disk.fault(fault).map_err(|error| error.to_string())?;
            self.full = Some(0);
        }
        let answers = self.perform(&acts, now);
        self.life.disk.calm().map_err(|error| error.to_string())?;
        self.arm_breakage()?;
        self.take_log()?;
        self.counts.operations += acts.len() as u64;
        self.counts.failed += answers.iter().filter(|answer| **answer == Err(FAILED)).count() as u64;
        for (act, answer) in acts.iter().zip(&answers) {
            if answer.as_ref() == Err(&FAILED) {
                self.story.push(format!("  failed: {act:?}"));
            }
        }
        let answered = self.life.log.len();
        let mut told = false;
        for (act, answer) in acts.iter_mut().zip(&answers) {
            if let (Act::Secret { told: word }, Ok(answer)) = (act, answer) {
                word.clone_from(answer);
                told = true;
            }
        }
        let seen = self.observe(told)?;
        self.settle_round(&acts, &answers, &seen, now, began, answered)?;
        self.look_for_crashes()
    }

    /// Polls all of them in turn; what waits for the writer is then committed together.
    fn perform(&mut self, acts: &[Act], now: i64) -> Vec<Answer> {
        let store = self.store();
        let mut futures: Vec<Pin<Box<dyn Future<Output = Answer>>>> = Vec::new();
        for act in acts {
            futures.push(Box::pin(store::run(Arc::clone(&store), act.clone(), now)));
        }
        let mut context = Context::from_waker(Waker::noop());
        let mut answers: Vec<Option<Answer>> = acts.iter().map(|_| None).collect();
        loop {
            for (future, answer) in futures.iter_mut().zip(&mut answers) {
                if answer.is_none()
                    && let Poll::Ready(done) = future.as_mut().poll(&mut context)
                {
                    *answer = Some(done);
                }
            }
            if answers.iter().all(Option::is_some) {
                return answers.into_iter().flatten().collect();
            }
            assert!(store.commit_waiting(), "operations wait for something that nobody does");
        }
    }

    /// Which of the operations that were told to have failed has happened all the same? Each wholly or not at all.
    fn settle_round(
        &mut self,
        acts: &[Act],
        answers: &[Answer],
        seen: &Seen,
        now: i64,
        began: usize,
        answered: usize,
    ) -> Found<()> {
        let failed: Vec<usize> = (0..acts.len()).filter(|at| answers[*at] == Err(FAILED)).collect();
        let faulty = self.life.log[began..answered].iter().any(|record| record.kind.is_some());
        if !failed.is_empty() && !faulty {
            return Err(format!("failed without a fault of the disk: {:?}", acts[failed[0]]));
        }
        let base = self.life.now;
        let mut chosen = None;
        let mut others = Vec::new();
        let mut first = None;
        for subset in 0..1_usize << failed.len() {
            let mut model = self.model().clone();
            let mut wrong = None;
            for (at, act) in acts.iter().enumerate() {
                if let Some(nth) = failed.iter().position(|failed| *failed == at) {
                    if subset >> nth & 1 == 1 && model.apply(act, now).is_err() {
                        wrong = Some(String::new());
                    }
                    continue;
                }
                let expected = model.apply(act, now);
                if expected != answers[at] && !(faulty && fewer(&answers[at], &expected)) {
                    wrong = Some(format!("{act:?} was answered {:?}, not {expected:?}", answers[at]));
                }
            }
            let fits = wrong.is_none() && same(&model.seen, seen);
            first = first.or_else(|| {
                wrong
                    .filter(|wrong| !wrong.is_empty())
                    .or_else(|| (!fits).then(|| difference(&model.seen, seen)))
            });
            if fits && chosen.is_none() {
                chosen = Some((subset, model));
            } else {
                others.push(model);
            }
        }
        let Some((subset, model)) = chosen else {
            return Err(first.unwrap_or_else(|| "the store shows something else than the model".into()));
        };
        // What is told to have failed may come out of the log after a crash, until something else is committed.
        for model in others {
            self.life.versions.push(Version { model, began, answered: None, dead_on: Some(base) });
        }
        // With an answer for somebody, what the others did is as safe as his.
        let sure = failed.len() < acts.len() && (subset == 0 || failed.is_empty());
        let end = answered;
        let answered = match self.broken {
            Some(Breakage::ReplyBeforeCommit) => Some(began),
            _ => sure.then_some(answered),
        };
        // Where nothing was committed, what failed before may still come.
        if model != *self.model() {
            let learned = only_learned(self.model(), &model);
            self.life.versions.push(Version { model, began, answered, dead_on: None });
            self.life.now = self.life.versions.len() - 1;
            if learned {
                self.rebase(base, end);
            }
        }
        Ok(())
    }

    /// The server's secret was told, which may have been there since before a crash, unasked: then nothing was committed,
    /// and after the answer, too, what had failed on the version before may come.
    fn rebase(&mut self, base: usize, answered: usize) {
        let now = self.life.now;
        let secret = &self.life.versions[now].model.seen.secret;
        let failed = self.life.versions.iter().filter(|version| version.dead_on == Some(base));
        let again = failed.map(|version| {
            let mut model = version.model.clone();
            model.seen.secret.clone_from(secret);
            Version { model, began: answered, answered: None, dead_on: Some(now) }
        });
        let again: Vec<Version> = again.collect();
        self.life.versions.extend(again);
    }

    fn observe(&mut self, secret: bool) -> Found<Seen> {
        let store = self.store();
        let secret = secret || self.model().seen.secret.is_some();
        let seen = finish(&store, look::observe(&store, &mut self.life.known, secret))?;
        self.take_log()?;
        Ok(seen)
    }

    /// What is to be seen is what the model says.
    fn compare(&mut self) -> Found<()> {
        let seen = self.observe(false)?;
        if !same(&self.model().seen, &seen) {
            return Err(difference(&self.model().seen, &seen));
        }
        Ok(())
    }

    fn collect(&mut self) -> Found<()> {
        self.story.push("what is gone is cleared away".into());
        let store = self.store();
        finish(&store, store.collect_garbage()).map_err(|error| format!("collecting failed: {error}"))?;
        self.compare()?;
        self.look_for_crashes()
    }

    /// After a start: claims are free, and what is there now stays, answered or not, for people see it.
    fn started(&mut self, floor: usize) -> Found<()> {
        let seen = self.observe(false)?;
        let numbers = look::numbers(&self.life.disk.store())?;
        let Some(index) = self.find_version(&seen, numbers, floor, usize::MAX) else {
            let wanted = self.life.versions[floor].restarted();
            return Err(format!("after the start: {}", difference(&wanted.seen, &seen)));
        };
        let model = self.life.versions[index].restarted();
        let at = self.life.log.len();
        self.life.versions.push(Version { model, began: at, answered: Some(at), dead_on: None });
        self.life.now = self.life.versions.len() - 1;
        self.look_for_crashes()
    }

    fn restart(&mut self) -> Found<()> {
        self.story.push("restart".into());
        let floor = self.life.now;
        self.life.store = None;
        self.take_log()?;
        self.open()?;
        self.started(floor)?;
        self.check_files(false)
    }

    /// The process ends somewhere in the last round; the system keeps what it was given.
    fn kill(&mut self, at: Option<usize>) -> Found<()> {
        self.story.push("kill -9".into());
        self.counts.kills += 1;
        self.look_for_crashes()?;
        let end = self.life.log.len();
        let began = self.life.versions[self.life.now].began.min(end);
        let at = match at {
            Some(at) => (began + at).min(end),
            None if self.rng.one_in(2) => end,
            None => began + self.rng.below(end - began + 1),
        };
        let mut image = self.image(at);
        self.life.store = None;
        let mut life = Life::new(Model::default())?;
        image.kill(life.disk.path()).map_err(|error| error.to_string())?;
        life.disk.take_log().map_err(|error| error.to_string())?;
        image.renumber(life.disk.path()).map_err(|error| error.to_string())?;
        life.start = image;
        // What could be lost before can still be lost.
        let floor = self.promise(at);
        let lies = self.lies(at);
        life.lies = Lies { uncovered: lies.uncovered.map(|_| 0), ..lies };
        let possible = |version: &Version| version.began < at || version.answered.is_some_and(|at| at == 0);
        life.versions = Vec::new();
        let mut floor_now = 0;
        for (index, version) in std::mem::take(&mut self.life.versions).into_iter().enumerate() {
            if Some(index) == floor || possible(&version) {
                if Some(index) == floor {
                    floor_now = life.versions.len();
                }
                let answered = version.answered.filter(|_| Some(index) <= floor).map(|_| 0);
                life.versions.push(Version { began: 0, answered, dead_on: version.dead_on, ..version });
            }
        }
        self.life = life;
        if floor.is_none() {
            return self.start_over();
        }
        self.arm_breakage()?;
        self.open()?;
        self.started(floor_now)
    }

    fn crash(&mut self, seed: u64) -> Found<()> {
        self.story.push("the power fails".into());
        self.look_for_crashes()?;
        let at = self.life.log.len();
        let image = self.image(at);
        let folder = scratch().map_err(|error| error.to_string())?;
        let Some(model) = self.check_crash(&image, at, seed, folder.path())? else {
            // A disk that lied may have lost anything; such a script begins anew.
            return self.start_over();
        };
        let life = Life::new(model)?;
        image.crash(&mut Rng::new(seed), life.disk.path()).map_err(|error| error.to_string())?;
        self.life = life;
        self.life.disk.take_log().map_err(|error| error.to_string())?;
        self.life.start = Image::of(self.life.disk.path()).map_err(|error| error.to_string())?;
        self.arm_breakage()?;
        self.open()?;
        self.started(0)
    }

    fn start_over(&mut self) -> Found<()> {
        self.life = Life::new(Model::default())?;
        self.arm_breakage()?;
        self.open()
    }

    fn check_files(&self, tidy: bool) -> Found<()> {
        crate::inspect::inspect(&self.life.disk.store(), tidy)
    }

    /// In the end everything that is gone is cleared away, and the rest is whole.
    fn end(&mut self) -> Found<()> {
        self.full = None;
        // What was told to have failed may come with this start, and be garbage then.
        self.restart()?;
        // Removed mailboxes are emptied first; what was in them has its grace then.
        for _ in 0..2 {
            self.clock.0.fetch_add(20 * 86_400, Ordering::SeqCst);
            self.collect()?;
        }
        self.restart()?;
        self.check_files(true)
    }
}

/// Whether the one model differs from the other in the server's secret alone.
fn only_learned(before: &Model, after: &Model) -> bool {
    let mut before = before.clone();
    before.seen.secret.clone_from(&after.seen.secret);
    before == *after
}

impl Life {
    fn new(model: Model) -> Found<Self> {
        let disk = Disk::new().map_err(|error| format!("no folder for a disk: {error}"))?;
        let first = Version { model, began: 0, answered: Some(0), dead_on: None };
        Ok(Self {
            disk,
            store: None,
            known: Known::default(),
            start: Image::default(),
            log: Vec::new(),
            versions: vec![first],
            now: 0,
            lies: Lies::default(),
            looked: 0,
            looked_image: None,
        })
    }
}
