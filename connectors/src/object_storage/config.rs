//! Where in object storage, and how it is reached.

use super::error::ConfigError;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use std::fmt;
use std::time::Duration;

/// How an address in object storage begins.
pub const SCHEME: &str = "s3://";

/// A prefix in a bucket, and the variables that say how to get there.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    bucket: String,
    prefix: String,
    /// `AWS_…` in lower case, as the client library knows them.
    variables: Vec<(String, String)>,
}

impl Config {
    /// Reads `s3://BUCKET/PREFIX`. Of `variables` those count whose names begin with `AWS_`: `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP` and so on.
    pub fn parse(address: &str, variables: impl IntoIterator<Item = (String, String)>) -> Result<Config, ConfigError> {
        let wrong = |why| ConfigError::Address { address: address.to_owned(), why };
        let rest = address.strip_prefix(SCHEME).ok_or(wrong("it begins with s3://"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let legal = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(legal) {
            return Err(wrong("a bucket's name is 3 to 63 of a-z, 0-9, `-` and `.`"));
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        // The library would pass over a slash at the beginning.
        if !prefix.is_empty() && (prefix.starts_with('/') || Path::parse(prefix).is_err()) {
            return Err(wrong("a prefix has parts between slashes, none of them empty, `.` or `..`"));
        }
        let variables = variables.into_iter().filter(|(name, _)| name.starts_with("AWS_"));
        let variables = variables.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        Ok(Config { bucket: bucket.to_owned(), prefix: prefix.to_owned(), variables })
    }

    /// The same with `part` below it.
    pub fn below(&self, part: &str) -> Config {
        let prefix = if self.prefix.is_empty() { part.to_owned() } else { format!("{}/{part}", self.prefix) };
        Config { prefix, ..self.clone() }
    }

    /// What every object's key begins with; empty, or without a slash at its end.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The bucket's name.
    pub(super) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The client. It makes each request once: what is tried again, and for how long, is decided where a call's meaning
    /// is known.
    pub(super) fn client(&self) -> Result<AmazonS3, ConfigError> {
        let wrong = |cause: String| ConfigError::Client { place: self.to_string(), cause };
        if let Some(endpoint) = self.open_endpoint() {
            return Err(wrong(format!("{endpoint} is without TLS")));
        }
        let once = RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: Duration::ZERO };
        let options = ClientOptions::new().with_timeout_disabled().with_connect_timeout(Duration::from_secs(5));
        let mut builder = AmazonS3Builder::new().with_client_options(options);
        for (name, value) in &self.variables {
            match name.parse::<AmazonS3ConfigKey>() {
                // It would stand for the bucket of the address.
                Ok(AmazonS3ConfigKey::Bucket) | Err(_) => {}
                Ok(key) => builder = builder.with_config(key, value),
            }
        }
        builder
            .with_bucket_name(&self.bucket)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // One at a time, which every storage can.
            .with_disable_bulk_delete(true)
            .with_retry(once)
            .build()
            .map_err(|error| wrong(error.to_string()))
    }

    /// An endpoint without TLS, unless that is allowed: the client would refuse it at each request.
    fn open_endpoint(&self) -> Option<&str> {
        let allowed = |(name, value): &(String, String)| name == "aws_allow_http" && value.eq_ignore_ascii_case("true");
        let open = |(name, value): &&(String, String)| name.starts_with("aws_endpoint") && value.starts_with("http://");
        let found = self.variables.iter().find(open).map(|(_, endpoint)| endpoint.as_str());
        found.filter(|_| !self.variables.iter().any(allowed))
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// Without the variables, some of which are secret.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (address, shown, below) in [
            ("s3://state", "s3://state", "s3://state/wind"),
            ("s3://state/", "s3://state", "s3://state/wind"),
            ("s3://my.state-1/a/B_c/", "s3://my.state-1/a/B_c", "s3://my.state-1/a/B_c/wind"),
        ] {
            let config = Config::parse(address, []).unwrap();
            assert_eq!((config.to_string(), config.below("wind").to_string()), (shown.to_owned(), below.to_owned()));
        }
        for (address, why) in [
            ("gs://state", "begins with s3://"),
            ("s3://", "3 to 63"),
            ("s3://State/a", "3 to 63"),
            ("s3://state//a", "none of them empty"),
            ("s3://state/a/../b", "none of them empty"),
        ] {
            let said = Config::parse(address, []).unwrap_err().to_string();
            assert!(said.contains(why) && said.contains(address), "{said}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = ("AWS_SECRET_ACCESS_KEY".to_owned(), "hush".to_owned());
        let config = Config::parse("s3://state/a", [secret, ("HOME".to_owned(), "hush".to_owned())]).unwrap();
        assert_eq!(format!("{config:?}"), "s3://state/a");
        assert_eq!(config.variables.len(), 1);
    }
}
