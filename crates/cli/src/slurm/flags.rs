//! Flags the way Slurm's commands take them: `-u me`, `-ume`, `--user me`, `--user=me`, lists with commas.

use crate::error::CliError;

/// One flag: its short letter, its long name, and whether a value follows.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// `u`, or a space for none.
    pub short: char,
    /// `user`.
    pub long: &'static str,
    /// Whether a value follows.
    pub value: bool,
}

/// A flag with a value.
#[must_use]
pub const fn with_value(short: char, long: &'static str) -> Flag {
    Flag { short, long, value: true }
}

/// A flag without.
#[must_use]
pub const fn switch(short: char, long: &'static str) -> Flag {
    Flag { short, long, value: false }
}

/// What was given.
#[derive(Debug, Default)]
pub struct Given {
    flags: Vec<(&'static str, String)>,
    /// The words that are no flags.
    pub rest: Vec<String>,
}

impl Given {
    /// Reads the words of a command line; `--` ends the flags.
    ///
    /// # Errors
    /// A flag that is not known, or one whose value is missing.
    pub fn read(command: &str, known: &[Flag], args: &[String]) -> Result<Self, CliError> {
        let unknown = |arg: &str| CliError::Usage {
            what: format!("`{arg}` means nothing to this {command}"),
            next: Some(format!("`{command} --help` lists what does")),
        };
        let mut given = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--" {
                given.rest.extend(args.by_ref().cloned());
                break;
            }
            let (flag, inline) = if let Some(long) = arg.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                // A unique beginning will do, as with getopt.
                let exact = known.iter().find(|flag| flag.long == name);
                let mut begun = known.iter().filter(|flag| flag.long.starts_with(name));
                let only = || begun.next().filter(|_| begun.next().is_none() && !name.is_empty());
                (exact.or_else(only).ok_or_else(|| unknown(arg))?, value)
            } else if let Some(letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                let mut rest = letters;
                loop {
                    let letter = rest.chars().next().ok_or_else(|| unknown(arg))?;
                    let flag = known.iter().find(|flag| flag.short == letter).ok_or_else(|| unknown(arg))?;
                    rest = rest.get(letter.len_utf8()..).unwrap_or_default();
                    if flag.value || rest.is_empty() {
                        break (flag, (!rest.is_empty()).then(|| rest.trim_start_matches('=').to_owned()));
                    }
                    given.flags.push((flag.long, String::new()));
                }
            } else {
                given.rest.push(arg.clone());
                continue;
            };
            let value = match (flag.value, inline) {
                (true, Some(value)) => value,
                (true, None) => args
                    .next()
                    .cloned()
                    .ok_or_else(|| CliError::usage(format!("--{} needs a value", flag.long)))?,
                (false, None) => String::new(),
                (false, Some(_)) => return Err(unknown(arg)),
            };
            given.flags.push((flag.long, value));
        }
        if let Some(other) = given.get("clusters").filter(|name| !matches!(*name, "all" | "pond")) {
            return Err(CliError::Usage {
                what: format!("there is no cluster `{other}` here"),
                next: Some("leave -M out; another pool is named by POND_SERVER".to_owned()),
            });
        }
        Ok(given)
    }

    /// As if a flag had been given with this value.
    pub fn add(&mut self, long: &'static str, value: String) {
        self.flags.push((long, value));
    }

    /// Whether a switch is there.
    #[must_use]
    pub fn has(&self, long: &str) -> bool {
        self.flags.iter().any(|(name, _)| *name == long)
    }

    /// The last value of a flag.
    #[must_use]
    pub fn get(&self, long: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// The values of a flag as they are.
    pub fn texts(&self, long: &str) -> impl Iterator<Item = &str> {
        self.flags.iter().filter(move |(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// The values of a flag, lists taken apart.
    #[must_use]
    pub fn list(&self, long: &str) -> Vec<String> {
        let parts = self.texts(long).flat_map(|value| value.split(','));
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }
}

/// A list of jobs or nodes taken apart: commas inside brackets do not part them.
#[must_use]
pub fn ids(list: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut inside = false;
    for letter in list.chars() {
        inside = match letter {
            '[' => true,
            ']' => false,
            _ => inside,
        };
        match parts.last_mut() {
            Some(part) if letter != ',' || inside => part.push(letter),
            _ => parts.push(String::new()),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Given, CliError> {
        let known = [with_value('u', "user"), switch('h', "noheader"), switch('l', "long")];
        Given::read("squeue", &known, &args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn every_spelling_is_the_same_flag() {
        for args in
            [&["-u", "me"][..], &["-ume"], &["--user", "me"], &["--user=me"], &["-hu", "me"], &["-hlume"]]
        {
            assert_eq!(read(args).unwrap().get("user"), Some("me"), "{args:?}");
        }
        let given = read(&["-hl", "12", "--", "-x"]).unwrap();
        assert!(given.has("noheader") && given.has("long"));
        assert_eq!(given.rest, ["12", "-x"]);
        assert_eq!(read(&["-u", "a,b", "-u", "c"]).unwrap().list("user"), ["a", "b", "c"]);
        assert_eq!(read(&["--us", "a", "--noh"]).unwrap().get("user"), Some("a"));
        assert_eq!(super::ids("12,13_[1-3,7],,14"), ["12", "13_[1-3,7]", "14"]);
        for wrong in [&["-x"][..], &["--users=a"], &["-u"], &["--noheader=1"], &["-hx"], &["--=a"]] {
            assert_eq!(read(wrong).unwrap_err().exit_code(), 64, "{wrong:?}");
        }
    }
}
