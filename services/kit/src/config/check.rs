//! What the configuration as a whole must fit, each rule with the key at fault in its sentence and never a value that may
//! be a secret.

use std::{collections::BTreeMap, time::Duration};

use super::{Config, ConfigError, PlatformConfig, RateConfig, RulesConfig, network};

impl Config {
    /// Checks what no single field can: refuse to boot wrong.
    ///
    /// # Errors
    /// [`ConfigError::Check`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let fail = |message: String| Err(ConfigError::Check(message));
        if self.log.delivery_timeout >= self.ingest.deadline {
            return fail("log.delivery_timeout must be below ingest.deadline".to_owned());
        }
        if self.log.replicas < 1 {
            return fail("log.replicas must be at least 1".to_owned());
        }
        self.check_edge().map_err(ConfigError::Check)?;
        platform(&self.auth.platform).map_err(ConfigError::Check)?;
        let mut redis: BTreeMap<&str, &str> = BTreeMap::new();
        for (slug, workspace) in &self.workspaces {
            let good = !slug.is_empty()
                && slug.len() <= 63
                && slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            if !good {
                return fail(format!("workspaces.{slug}: a slug is 1 to 63 of a-z, 0-9 and -"));
            }
            if let Some(other) = redis.insert(workspace.redis_url.reveal(), slug) {
                return fail(format!("workspaces.{slug}.redis_url is also that of {other}: each has its own"));
            }
        }
        Ok(())
    }

    /// What ingest, the accounts and the workspaces' doors must fit.
    fn check_edge(&self) -> Result<(), String> {
        let (log, spool) = (&self.log, &self.spool);
        if spool.after >= log.delivery_timeout {
            return Err("spool.after must be below log.delivery_timeout".to_owned());
        }
        if !["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].contains(&log.sasl.mechanism.as_str()) {
            return Err("log.sasl.mechanism must be SCRAM-SHA-256, SCRAM-SHA-512 or PLAIN".to_owned());
        }
        if log.sasl.mechanism.is_empty() != log.sasl.username.is_empty() {
            return Err("log.sasl: mechanism and username go together".to_owned());
        }
        if !log.sasl.mechanism.is_empty() && log.sasl.password.is_empty() {
            return Err("log.sasl: password must be set where a mechanism is".to_owned());
        }
        let tls = &log.tls;
        if tls.certificate.as_os_str().is_empty() != tls.key.as_os_str().is_empty() {
            return Err("log.tls: certificate and key go together".to_owned());
        }
        // Whoever names an authority means to be encrypted; a forgotten switch would send all in the clear.
        let named = [&tls.ca, &tls.certificate, &tls.key].iter().any(|file| !file.as_os_str().is_empty());
        if named && !tls.enabled {
            return Err("log.tls: it is not enabled, but ca or key is set".to_owned());
        }
        if self.ingest.connections == 0 {
            return Err("ingest.connections must be at least 1".to_owned());
        }
        if self.ingest.header_timeout.is_zero() {
            return Err("ingest.header_timeout must be above 0".to_owned());
        }
        networks("ingest.trusted_proxies", &self.ingest.trusted_proxies)?;
        // One secret opens one door: a second use of it would let one hospital in at another's.
        let accounts = self.accounts.iter().map(|(name, account)| (format!("accounts.{name}.key"), &account.key));
        let workspaces = self.workspaces.iter().flat_map(|(slug, workspace)| {
            let named = |key: &str| format!("workspaces.{slug}.{key}");
            [(named("webhook_key"), &workspace.webhook_key), (named("register_key"), &workspace.register_key)]
        });
        let mut keys: BTreeMap<&str, String> = BTreeMap::new();
        for (name, secret) in accounts.chain(workspaces) {
            if secret.reveal().len() < SHORTEST_KEY {
                return Err(format!("{name} must be set, to at least {SHORTEST_KEY} characters"));
            }
            if let Some(other) = keys.insert(secret.reveal(), name.clone()) {
                return Err(format!("{name} is also {other}: each has its own"));
            }
        }
        for (name, account) in &self.accounts {
            zone(&format!("accounts.{name}.zone"), &account.zone)?;
            networks(&format!("accounts.{name}.allowed_sources"), &account.allowed_sources)?;
            rate(&format!("accounts.{name}.rate"), account.rate)?;
        }
        for (slug, workspace) in &self.workspaces {
            zone(&format!("workspaces.{slug}.zone"), &workspace.zone)?;
            country_code(&format!("workspaces.{slug}.country_code"), &workspace.country_code)?;
            networks(&format!("workspaces.{slug}.allowed_sources"), &workspace.allowed_sources)?;
            rate(&format!("workspaces.{slug}.rate"), workspace.rate)?;
            rules(&format!("workspaces.{slug}.rules"), &workspace.rules)?;
            if workspace.account.as_ref().is_some_and(|account| !self.accounts.contains_key(account)) {
                return Err(format!("workspaces.{slug}.account is none of [accounts]"));
            }
            if workspace.account.is_none() && self.accounts.len() > 1 {
                return Err(format!("workspaces.{slug}.account must say which of [accounts] its callbacks come from"));
            }
            for (key, bound) in workspace.automation.bounds() {
                if bound.subsec_nanos() != 0 || bound > LONGEST_BOUND {
                    return Err(format!("workspaces.{slug}.automation.{key} is in whole seconds, at most a day"));
                }
            }
            if workspace.alerts.iter().any(|alert| alert.above.is_some() == alert.below.is_some()) {
                return Err(format!("workspaces.{slug}.alerts: each is either above or below a value"));
            }
            if let Some(forward) = &workspace.forward {
                if !(forward.url.starts_with("http://") || forward.url.starts_with("https://")) {
                    return Err(format!("workspaces.{slug}.forward.url is no http or https URL"));
                }
                if forward.timeout.is_zero() {
                    return Err(format!("workspaces.{slug}.forward.timeout must be above 0"));
                }
                if forward.concurrency == 0 {
                    return Err(format!("workspaces.{slug}.forward.concurrency must be at least 1"));
                }
            }
        }
        Ok(())
    }
}

/// Longest bound of automation: what lasts longer is the day end's business.
const LONGEST_BOUND: Duration = Duration::from_secs(24 * 3600);

/// Shortest secret that is taken, characters.
const SHORTEST_KEY: usize = 16;

/// Shortest time between two looks at the platform's keys: it is somebody else's server.
const SHORTEST_REFRESH: Duration = Duration::from_secs(30);

fn platform(platform: &PlatformConfig) -> Result<(), String> {
    if platform.url.is_empty() {
        // A set that nobody fetches asks nothing of a token.
        return match platform.issuer.is_empty() && platform.audience.is_empty() {
            true => Ok(()),
            false => Err("auth.platform: issuer and audience do nothing without url".to_owned()),
        };
    }
    if !(platform.url.starts_with("http://") || platform.url.starts_with("https://")) {
        return Err("auth.platform.url is no http or https URL".to_owned());
    }
    if platform.refresh < SHORTEST_REFRESH {
        return Err("auth.platform.refresh must be at least 30 s".to_owned());
    }
    Ok(())
}

fn zone(name: &str, text: &str) -> Result<(), String> {
    text.parse::<chrono_tz::Tz>().map(|_| ()).map_err(|_| format!("{name} {text:?} is no IANA time zone"))
}

/// Of a telephone number (ITU-T E.164): one to three digits, the first not 0.
fn country_code(name: &str, text: &str) -> Result<(), String> {
    let digits = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    match digits && !text.starts_with('0') {
        true => Ok(()),
        false => Err(format!("{name} is one to three digits, without + or 0 before them")),
    }
}

fn networks(name: &str, texts: &[String]) -> Result<(), String> {
    match texts.iter().find(|text| network(text).is_none()) {
        Some(text) => Err(format!("{name}: {text:?} is no address or network, as 203.0.113.7 or 203.0.113.0/24")),
        None => Ok(()),
    }
}

fn rate(name: &str, rate: RateConfig) -> Result<(), String> {
    if rate.per_second == 0 || rate.burst == 0 {
        Err(format!("{name}: per_second and burst are at least 1"))
    } else {
        Ok(())
    }
}

/// Seconds in a year, and beyond any use of a priority: what is larger is a slip, and sums stay far from overflow.
const LARGEST: i64 = 31_536_000;
/// ClickHouse's view keeps so many ends of attempts (015_missed_calls.sql).
const MOST_ATTEMPTS: i64 = 100;

fn rules(name: &str, rules: &RulesConfig) -> Result<(), String> {
    let priority = &rules.priority;
    let from_zero = [
        ("due_after_seconds", rules.due_after_seconds),
        ("priority.repeat", priority.repeat),
        ("priority.repeat_most", priority.repeat_most),
        ("priority.repeat_window_seconds", priority.repeat_window_seconds),
    ];
    if let Some((key, _)) = from_zero.into_iter().find(|(_, value)| !(0..=LARGEST).contains(value)) {
        return Err(format!("{name}.{key} must be from 0 to {LARGEST}"));
    }
    if !(0..=MOST_ATTEMPTS).contains(&rules.attempts) {
        return Err(format!("{name}.attempts must be from 0 to {MOST_ATTEMPTS}"));
    }
    // A call without a disposition would be found to be spam.
    if rules.spam_dispositions.iter().any(|word| word.trim().is_empty()) {
        return Err(format!("{name}.spam_dispositions has an empty word"));
    }
    let signed = [
        ("missed", priority.missed),
        ("short_abandon", priority.short_abandon),
        ("per_attempt", priority.per_attempt),
        ("spam", priority.spam),
    ];
    match signed.into_iter().find(|(_, value)| !(-LARGEST..=LARGEST).contains(value)) {
        Some((key, _)) => Err(format!("{name}.priority.{key} must be from -{LARGEST} to {LARGEST}")),
        None => Ok(()),
    }
}
