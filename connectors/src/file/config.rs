//! What a job says about files, resolved.

/// A stream read from files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// Paths, in the order given; each is one partition. `.gz` is decompressed.
    pub paths: Vec<String>,
    /// How records are told apart.
    pub framing: Framing,
}

/// How records are told apart within a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One record a line.
    Lines,
    /// CSV: the first record names the columns; a quoted field may hold line breaks.
    Csv {
        /// Between fields.
        delimiter: u8,
    },
}

/// Results written to files: one NDJSON or CSV file a view in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkConfig {
    /// The folder, made if missing.
    pub folder: String,
    /// The format of the files.
    pub format: OutputFormat,
    /// Whether files are compressed with gzip.
    pub gzip: bool,
}

/// The format of an output file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// One JSON object a line.
    Ndjson,
    /// RFC 4180 with a header.
    Csv,
}
