//! Writing cuts to files: append, sync, then replace `as_of.json`.
//!
//! What an interrupted cut left beyond the lengths in `as_of.json` is cut off before going on. A restored job may bring
//! rows again that an earlier cut held, since cuts need not end where they ended before the crash: then the end of
//! each file is read once, and lines which are there are not written again.

use super::config::{Framing, OutputFormat, SinkConfig};
use super::csv_text;
use super::progress::{self, Progress, ViewUntil};
use super::repeats::Repeats;
use crate::context::{SinkContext, row_json};
use caudal_pipeline::ports::sink::{self, Cut, DeadLetterRow, SetAside, SinkError, ViewProgress};
use caudal_pipeline::time::{Epoch, EventTime};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::PathBuf;

/// Results as files in a folder.
pub struct Sink {
    config: SinkConfig,
    context: SinkContext,
    folder: PathBuf,
    /// Held while this process writes: two would overwrite each other.
    lock: Option<File>,
    progress: Option<Progress>,
    /// Pages of a cut may come again that are in the files already.
    pages_repeat: bool,
}

/// What a cut adds to a file.
struct Addition {
    file: String,
    framing: Framing,
    /// The first line of a file that is empty yet.
    header: String,
    lines: Vec<String>,
}

impl Sink {
    /// A sink that has not touched the disk yet.
    pub fn new(config: SinkConfig, context: SinkContext) -> Sink {
        let folder = PathBuf::from(&config.folder);
        Sink { config, context, folder, lock: None, progress: None, pages_repeat: false }
    }

    fn file_of_view(&self, view: usize) -> String {
        let extension = match self.config.format {
            OutputFormat::Ndjson => "ndjson",
            OutputFormat::Csv => "csv",
        };
        self.named(&self.context.views[view].name, extension)
    }

    fn file_of_dead_letters(&self) -> String {
        self.named("dead_letters", "ndjson")
    }

    fn named(&self, stem: &str, extension: &str) -> String {
        format!("{stem}.{extension}{}", if self.config.gzip { ".gz" } else { "" })
    }

    /// The columns of each CSV file: a file has one header for ever.
    fn columns(&self) -> BTreeMap<String, Vec<String>> {
        let of_view = |i| csv_text::names(&self.context.views[i]).into_iter().map(str::to_owned).collect();
        match self.config.format {
            OutputFormat::Ndjson => BTreeMap::new(),
            OutputFormat::Csv => (0..self.context.views.len()).map(|i| (self.file_of_view(i), of_view(i))).collect(),
        }
    }

    /// The right to write here; another process that has it may end, so it is worth waiting for.
    fn acquire(&self) -> Result<File, SinkError> {
        let path = self.folder.join(".lock");
        let open = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = open.map_err(|e| self.failed("lock", &e))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(SinkError::Retry(format!("another process writes to {}: waiting for it to end", self.folder.display())))
            }
            Err(TryLockError::Error(e)) => Err(self.failed("lock", &e)),
        }
    }

    /// Takes over where the last cut ended, or begins.
    fn settle(&self) -> Result<Progress, SinkError> {
        let mut progress = progress::read(&self.folder).map_err(|e| self.failed("read", &e))?.unwrap_or_default();
        if progress.job.is_empty() {
            progress.job.clone_from(&self.context.job);
        }
        if progress.job != self.context.job {
            return Err(SinkError::Stop(format!(
                "{} holds the files of the job `{}`, not `{}`: name another folder",
                self.folder.display(),
                progress.job,
                self.context.job
            )));
        }
        let files = (0..self.context.views.len()).map(|i| self.file_of_view(i)).chain([self.file_of_dead_letters()]);
        for file in files {
            let counted = progress.bytes.get(&file).copied();
            progress.bytes.insert(file.clone(), self.settle_file(&file, counted)?);
        }
        for (file, columns) in self.columns() {
            if *progress.columns.entry(file.clone()).or_insert_with(|| columns.clone()) != columns {
                let path = self.folder.join(&file);
                return Err(SinkError::Stop(format!(
                    "{} has other columns than the job: move it away or name another folder",
                    path.display()
                )));
            }
        }
        progress::replace(&self.folder, &progress).map_err(|e| self.failed("write", &e))?;
        Ok(progress)
    }

    /// Makes a file as long as the last cut left it.
    fn settle_file(&self, file: &str, counted: Option<u64>) -> Result<u64, SinkError> {
        let path = self.folder.join(file);
        let held = fs::metadata(&path).map_or(0, |m| m.len());
        match counted {
            None if held > 0 => Err(SinkError::Stop(format!(
                "{} is there already and was not written by this job: name another folder",
                path.display()
            ))),
            Some(counted) if held < counted => Err(SinkError::Stop(format!(
                "{} has {held} bytes, but {counted} were written: put it back as it was, or name a new folder",
                path.display()
            ))),
            Some(counted) if held > counted => {
                let cut =
                    || OpenOptions::new().write(true).open(&path).and_then(|f| f.set_len(counted).and_then(|()| f.sync_all()));
                cut().map_err(|e| self.failed("shorten", &e))?;
                Ok(counted)
            }
            _ => Ok(held),
        }
    }

    /// Appends all lines of a cut and returns what then counts.
    fn append_all(&self, progress: &Progress, cut: &Cut) -> io::Result<Progress> {
        let mut after = progress.clone();
        for (view, lines) in self.view_lines(cut) {
            let (framing, header) = match self.config.format {
                OutputFormat::Ndjson => (Framing::Lines, String::new()),
                OutputFormat::Csv => (Framing::Csv { delimiter: b',' }, csv_text::header(&self.context.views[view])),
            };
            let addition = Addition { file: self.file_of_view(view), framing, header, lines };
            self.append(addition, cut.from, &mut after)?;
        }
        let letters: Vec<String> = cut.dead_letters.iter().map(|l| dead_letter_line(&self.context, l)).collect();
        if !letters.is_empty() {
            let file = self.file_of_dead_letters();
            let addition = Addition { file, framing: Framing::Lines, header: String::new(), lines: letters };
            self.append(addition, cut.from, &mut after)?;
        }
        after.in_pages = cut.more;
        if !cut.more {
            after.epoch = cut.to;
            after.version = cut.version;
            let names = self.context.views.iter().map(|v| v.name.clone());
            after.views = names.zip(cut.progress.iter().map(view_until)).collect();
            after.mark();
        }
        progress::replace(&self.folder, &after)?;
        Ok(after)
    }

    /// Each view's lines, in the order of the cut.
    fn view_lines(&self, cut: &Cut) -> BTreeMap<usize, Vec<String>> {
        let mut lines = BTreeMap::<usize, Vec<String>>::new();
        for row in &cut.rows {
            let view = &self.context.views[row.view];
            let object = row_json(view, row);
            lines.entry(row.view).or_default().push(match self.config.format {
                OutputFormat::Ndjson => Json::Object(object).to_string() + "\n",
                OutputFormat::Csv => csv_text::row(view, &object),
            });
        }
        lines
    }

    /// Appends the lines that are not there yet, and syncs.
    fn append(&self, addition: Addition, from: Epoch, after: &mut Progress) -> io::Result<()> {
        let Addition { file: name, framing, header, lines } = addition;
        let path = self.folder.join(&name);
        let repeats = if from < after.epoch || self.pages_repeat {
            Repeats::read(&path, after.length_before(&name, from), self.config.gzip, framing)?
        } else {
            Repeats::default()
        };
        let counted = after.bytes.entry(name).or_default();
        let mut text = if *counted == 0 { header } else { String::new() };
        lines.iter().filter(|line| !repeats.holds(line)).for_each(|line| text.push_str(line));
        let bytes = if self.config.gzip { compressed(text.as_bytes())? } else { text.into_bytes() };
        let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        *counted += bytes.len() as u64;
        Ok(())
    }

    fn failed(&self, attempted: &str, error: &io::Error) -> SinkError {
        let folder = self.folder.display();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                SinkError::Retry(format!("no space left to {attempted} files in {folder}"))
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotADirectory => {
                SinkError::Stop(format!("not allowed to {attempted} files in {folder}: check its owner and mode ({error})"))
            }
            _ => SinkError::Retry(format!("cannot {attempted} files in {folder}: {error}")),
        }
    }
}

impl sink::Sink for Sink {
    fn prepare(&mut self) -> Result<(), SinkError> {
        self.progress = None;
        if self.context.views.iter().any(|v| v.name == "dead_letters") {
            return Err(SinkError::Stop(
                "files of dead letters have the name `dead_letters`: give the view another name".to_owned(),
            ));
        }
        fs::create_dir_all(&self.folder).map_err(|e| self.failed("make", &e))?;
        if self.lock.is_none() {
            self.lock = Some(self.acquire()?);
        }
        match self.settle() {
            Ok(progress) => {
                self.pages_repeat = progress.in_pages;
                self.progress = Some(progress);
            }
            Err(error) => {
                // Who refuses a folder must not keep its owner out.
                self.lock = None;
                return Err(error);
            }
        }
        Ok(())
    }

    fn write(&mut self, cut: &Cut) -> Result<Vec<SetAside>, SinkError> {
        let Some(progress) = &self.progress else {
            return Err(SinkError::Retry(format!("{} is not open yet", self.folder.display())));
        };
        if cut.to > progress.epoch {
            self.progress = Some(self.append_all(progress, cut).map_err(|e| self.failed("write", &e))?);
            self.pages_repeat &= cut.more;
        }
        Ok(Vec::new())
    }
}

/// A gzip member of its own: members that follow one another are one file.
fn compressed(text: &[u8]) -> io::Result<Vec<u8>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text)?;
    encoder.finish()
}

fn view_until(progress: &ViewProgress) -> ViewUntil {
    let shown = |time: EventTime| (time != EventTime::MIN).then(|| time.to_string());
    ViewUntil { complete_until: shown(progress.complete_until), final_until: shown(progress.final_until) }
}

/// A dead letter as one line; bytes that are no UTF-8 are shown as hex under another name.
fn dead_letter_line(context: &SinkContext, row: &DeadLetterRow) -> String {
    let letter = &row.dead_letter;
    let violations: Vec<Json> =
        letter.rejection.violations.iter().map(|v| json!({"path": v.path, "message": v.message})).collect();
    let headers: Vec<Json> =
        letter.headers.iter().map(|(name, value)| bytes_json(json!({"name": name}), "value", Some(value))).collect();
    let line = json!({
        "version": row.version.0,
        "stream": context.streams.get(letter.stream as usize),
        "topic": &*letter.partition.topic,
        "partition": letter.partition.number,
        "offset": letter.offset.0,
        "element": letter.element,
        "reason": letter.rejection.reason.name(),
        "violations": violations,
        "headers": headers,
        "broker_time_us": letter.broker_time_us,
    });
    let line = bytes_json(line, "key", letter.key.as_deref());
    bytes_json(line, "payload", letter.payload.as_deref()).to_string() + "\n"
}

fn bytes_json(mut object: Json, name: &str, bytes: Option<&[u8]>) -> Json {
    match bytes.map(|b| (b, std::str::from_utf8(b))) {
        None => object[name] = Json::Null,
        Some((_, Ok(text))) => object[name] = Json::from(text),
        Some((bytes, Err(_))) => {
            object[format!("{name}_hex")] = Json::from(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>());
        }
    }
    object
}
