//! Environment: what was set outside of the program, in variables and in a file.
//!
//! A setting is a variable `GORUN_QUEUE_SLOTS` or a line `queue_slots = 1024` of the file; the variable is the stronger. The file is
//! `gorun.toml` in the current folder, if there is one, or the one that `GORUN_CONFIG` names, which must be there. Its values are
//! read as the variables' are: a number, a text, true and false for 1 and 0, or a list of numbers.

use crate::error::BuildError;
use gorun_worker::os::limits;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::str::FromStr;
use std::time::Duration;

const FILE: &str = "gorun.toml";
const FILE_VARIABLE: &str = "GORUN_CONFIG";
const PREFIX: &str = "GORUN_";
/// Names at least so much alike are taken for a slip of the pen.
const ALIKE: f64 = 0.6;

/// `0` or `1`.
pub(crate) struct Switch(pub(crate) bool);

impl FromStr for Switch {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "0" => Ok(Self(false)),
            "1" => Ok(Self(true)),
            _ => Err(()),
        }
    }
}

/// See the module's head.
pub(crate) struct Environment<F> {
    variable: F,
    file: SettingsFile,
    /// Every setting that was asked for.
    asked: RefCell<Vec<String>>,
}

/// The settings of a file, as text.
#[derive(Debug, Default)]
struct SettingsFile {
    path: String,
    values: BTreeMap<String, String>,
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    pub(crate) fn open(variable: F) -> Result<Self, BuildError> {
        let file = match variable(FILE_VARIABLE) {
            Some(path) => SettingsFile::read(&path)?.ok_or_else(|| BuildError::File {
                path,
                reason: format!("there is no such file; {FILE_VARIABLE} names it"),
            })?,
            None => SettingsFile::read(FILE)?.unwrap_or_default(),
        };
        Ok(Self { variable, file, asked: RefCell::default() })
    }

    /// The setting of the variable `key`, if it is set anywhere.
    pub(crate) fn parse<T: FromStr>(
        &self,
        key: &'static str,
        allowed: &str,
    ) -> Result<Option<T>, BuildError> {
        let name = key.trim_start_matches(PREFIX).to_ascii_lowercase();
        let of_file = self.file.values.get(&name);
        let bad = |value: String| BuildError::OutOfRange { key, value, allowed: allowed.to_owned() };
        let parsed = match ((self.variable)(key), of_file) {
            (Some(text), _) => Some(text.trim().parse().map_err(|_| bad(text))?),
            (None, Some(text)) => Some(text.trim().parse().map_err(|_| BuildError::File {
                path: self.file.path.clone(),
                reason: format!("{name} = {text} is not allowed; allowed: {allowed}"),
            })?),
            (None, None) => None,
        };
        self.asked.borrow_mut().push(name);
        Ok(parsed)
    }

    pub(crate) fn milliseconds(&self, key: &'static str) -> Result<Option<Duration>, BuildError> {
        Ok(self.parse(key, "1..=31536000000")?.map(Duration::from_millis))
    }

    /// To be called when every setting was asked for.
    ///
    /// # Errors
    /// [`BuildError::File`] if the file sets something that there is not.
    pub(crate) fn check_unused(&self) -> Result<(), BuildError> {
        let asked = self.asked.borrow();
        let Some(unknown) = self.file.values.keys().find(|key| !asked.contains(key)) else { return Ok(()) };
        let alike = |known: &String| strsim::jaro_winkler(unknown, known);
        let nearest = asked.iter().max_by(|one, other| alike(one).total_cmp(&alike(other)));
        let hint = match nearest {
            Some(nearest) if alike(nearest) >= ALIKE => format!("did you mean `{nearest}`?"),
            _ => format!("there are {}", asked.join(", ")),
        };
        let reason = format!("there is no setting `{unknown}`; {hint}");
        Err(BuildError::File { path: self.file.path.clone(), reason })
    }
}

impl SettingsFile {
    /// None if there is no such file.
    fn read(path: &str) -> Result<Option<Self>, BuildError> {
        let bad = |reason: String| BuildError::File { path: path.to_owned(), reason };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) if limits::is_out_of_descriptors(&cause) => {
                return Err(bad(
                    "cannot be read: too many files are open; raise RLIMIT_NOFILE (ulimit -n)".into()
                ));
            }
            Err(cause) => return Err(bad(format!("cannot be read: {cause}"))),
        };
        let table: toml::Table = toml::from_str(&text).map_err(|cause| bad(cause.to_string()))?;
        let values = table.into_iter().map(|(key, value)| {
            let text = as_text(&value).ok_or_else(|| {
                let found = value.type_str();
                bad(format!(
                    "{key} is of type {found}; allowed: integer, string, boolean, or a list of integers"
                ))
            })?;
            Ok::<_, BuildError>((key, text))
        });
        Ok(Some(Self { path: path.to_owned(), values: values.collect::<Result<_, BuildError>>()? }))
    }
}

/// A value as it would stand in a variable.
fn as_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(on) => Some(u8::from(*on).to_string()),
        toml::Value::Array(list) => {
            let numbers: Option<Vec<_>> = list.iter().map(toml::Value::as_integer).collect();
            Some(numbers?.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Wishes};
    use crate::topology::Placement;

    /// A file with settings, gone with the test.
    struct Written(String);

    impl Written {
        fn new(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("gorun-settings-{}-{name}", std::process::id()));
            std::fs::write(&path, text).unwrap();
            Self(path.to_str().unwrap().to_owned())
        }

        fn resolve(&self, wishes: &Wishes, variables: &[(&str, &str)]) -> Result<Config, BuildError> {
            Config::resolve(wishes, |key| {
                let set =
                    variables.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned());
                if key == FILE_VARIABLE { Some(self.0.clone()) } else { set }
            })
        }

        fn error(&self) -> String {
            self.resolve(&Wishes::default(), &[]).unwrap_err().to_string()
        }
    }

    impl Drop for Written {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn a_file_is_weaker_than_a_variable_and_that_than_the_code() {
        let file = Written::new(
            "order",
            "workers = 3\nspares = 4\nqueue_slots = 128\nhealth_monitoring = true\nplacement = [0]\nmode = \"thread\"\n",
        );
        let wishes = Wishes { workers: Some(1), ..Wishes::default() };
        let config = file.resolve(&wishes, &[("GORUN_WORKERS", "2"), ("GORUN_SPARES", "5")]).unwrap();
        assert_eq!((config.workers, config.spares, config.queue_slots), (1, 5, 128));
        assert_eq!(config.placement, Placement::Cores(vec![0]));
        assert!(config.supervision.health_monitoring);
        assert_eq!(config.mode, crate::Mode::Thread);
    }

    #[test]
    fn what_is_wrong_in_a_file_is_said_with_its_place() {
        let error = Written::new("unknown", "worker = 3\n").error();
        assert!(error.contains("gorun-settings") && error.contains("did you mean `workers`?"), "{error}");
        let error = Written::new("strange", "qqq = 3\n").error();
        assert!(error.contains("there are workers, spares"), "{error}");
        let error = Written::new("value", "workers = \"many\"\n").error();
        assert!(error.contains("workers = many is not allowed; allowed: 1..=120"), "{error}");
        let error = Written::new("kind", "workers = 1.5\n").error();
        assert!(error.contains("workers is of type float"), "{error}");
        let error = Written::new("broken", "workers = = 2\n").error();
        assert!(error.contains("line 1"), "{error}");
        let error = Written::new("range", "workers = 0\n").error();
        assert!(error.contains("workers") && error.contains("1..=120"), "{error}");
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let named = |key: &str| (key == FILE_VARIABLE).then(|| "/nowhere/gorun.toml".to_owned());
        let error = Config::resolve(&Wishes::default(), named).unwrap_err().to_string();
        assert!(error.contains("/nowhere/gorun.toml: there is no such file"), "{error}");
        assert!(Config::resolve(&Wishes::default(), |_| None).is_ok());
    }

    #[test]
    fn a_folder_is_no_file() {
        let named = |key: &str| (key == FILE_VARIABLE).then(|| "/".to_owned());
        let error = Config::resolve(&Wishes::default(), named).unwrap_err().to_string();
        assert!(error.starts_with("/: cannot be read"), "{error}");
    }
}
