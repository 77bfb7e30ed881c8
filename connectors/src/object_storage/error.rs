//! Why state cannot be kept in a bucket, each with its remedy.

/// What was written does not say where the state is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The address.
    #[error("{address} is no place for state: {why}; write s3://BUCKET/PREFIX")]
    Address {
        /// As it was written.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The variables.
    #[error(
        "cannot reach {place}: {cause}; it is reached as AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, \
         AWS_SECRET_ACCESS_KEY and, without TLS, AWS_ALLOW_HTTP=true say"
    )]
    Client {
        /// Where.
        place: String,
        /// What the client says.
        cause: String,
    },
}

/// Why a bucket's state cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectStorageError {
    /// What was written is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no such bucket.
    #[error("there is no bucket {bucket}: make it, or name another one with --state")]
    NoBucket {
        /// Its name.
        bucket: String,
    },
    /// The storage does not let us.
    #[error(
        "not allowed to use {place}: {cause}; the login in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be allowed to get, \
         put, delete and list there"
    )]
    Denied {
        /// Where.
        place: String,
        /// What it says.
        cause: String,
    },
    /// The prefix holds the state of another job.
    #[error("{place} belongs to the job `{found}`, not to `{wanted}`: give this job a prefix of its own")]
    OtherJob {
        /// Where.
        place: String,
        /// Whose it is.
        found: String,
        /// Who asked for it.
        wanted: String,
    },
    /// The prefix holds objects which are not ours.
    #[error("{place} is no job's state and is not empty (it holds `{found}`): name an empty or a new prefix")]
    Foreign {
        /// Where.
        place: String,
        /// One of its objects.
        found: String,
    },
    /// Two processes could create the same name, and each believe it was the one.
    #[error(
        "{place} takes a put with `If-None-Match: *` though the object exists: state can be kept only where such a put is refused, \
         as S3 does"
    )]
    NotConditional {
        /// Where.
        place: String,
    },
    /// It does not answer, or fails.
    #[error("cannot use {place}: {cause}")]
    Away {
        /// Where.
        place: String,
        /// What happened.
        cause: String,
    },
}

impl ObjectStorageError {
    /// Whether the same start may succeed later without anyone changing the job or its storage.
    pub fn restart_may_help(&self) -> bool {
        matches!(self, ObjectStorageError::Away { .. })
    }
}
