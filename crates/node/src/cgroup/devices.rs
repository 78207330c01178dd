//! Which device files a group may open: the v1 controller's lists, or a program in v2.
//!
//! v2 has no controller for devices. There a small eBPF program at the task's group is asked at every open
//! and `mknod` of a device file; it is written here from the rules, instruction by instruction, and lives as
//! long as the group. Programs of parent groups are asked too, so a group is never wider than its parents.

use crate::launcher::sys::{self, BpfInstruction};
use std::fs::File;
use std::io;
use std::path::Path;

/// Null, zero, full, random, urandom, tty, ptmx and the terminals of devpts.
pub(super) const BASE: [&str; 8] = [
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// One allowed device, or all of a major number: `c 195:0 rw`, `b 7:* r`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    kind: i32,
    major: i32,
    minor: Option<i32>,
    access: i32,
}

const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;
const ALL: i32 = MKNOD | READ | WRITE;

impl Rule {
    /// Reads a rule in the words of the v1 controller; `None` when it is not one.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let (kind, numbers, access) = (parts.next()?, parts.next()?, parts.next()?);
        let (major, minor) = numbers.split_once(':')?;
        let bit = |letter| match letter {
            'r' => Some(READ),
            'w' => Some(WRITE),
            'm' => Some(MKNOD),
            _ => None,
        };
        let kind = match kind {
            "b" => BLOCK,
            "c" => CHARACTER,
            _ => return None,
        };
        let number = |text: &str| text.parse::<u16>().ok().map(i32::from);
        Some(Self {
            kind,
            major: number(major)?,
            minor: if minor == "*" { None } else { Some(text_number(minor)?) },
            access: access.chars().try_fold(0, |all, letter| Some(all | bit(letter)?))?,
        })
        .filter(|_| parts.next().is_none())
    }
}

/// A minor number: 20 bits.
fn text_number(text: &str) -> Option<i32> {
    text.parse().ok().filter(|number| (0..1 << 20).contains(number))
}

/// Registers by their use.
mod register {
    pub const ANSWER: u8 = 0;
    pub const QUESTION: u8 = 1;
    pub const KIND: u8 = 2;
    pub const ACCESS: u8 = 3;
    pub const MAJOR: u8 = 4;
    pub const MINOR: u8 = 5;
}
use register::{ACCESS, ANSWER, KIND, MAJOR, MINOR, QUESTION};

const fn load(to: u8, offset: i16) -> BpfInstruction {
    BpfInstruction::new(0x61, to, QUESTION, offset, 0)
}

const fn copy(to: u8, from: u8) -> BpfInstruction {
    BpfInstruction::new(0xbf, to, from, 0, 0)
}

const fn and(to: u8, mask: i32) -> BpfInstruction {
    BpfInstruction::new(0x57, to, 0, 0, mask)
}

const fn shift_right(to: u8, bits: i32) -> BpfInstruction {
    BpfInstruction::new(0x77, to, 0, 0, bits)
}

/// Skips `skip` instructions when the register holds another value.
const fn skip_unless(register: u8, value: i32, skip: i16) -> BpfInstruction {
    BpfInstruction::new(0x55, register, 0, skip, value)
}

const fn answer(yes: bool) -> [BpfInstruction; 2] {
    [BpfInstruction::new(0xb7, ANSWER, 0, 0, yes as i32), BpfInstruction::new(0x95, 0, 0, 0, 0)]
}

/// The program that says yes to these rules and no to all else.
fn program(rules: &[Rule]) -> Vec<BpfInstruction> {
    // the question is three numbers: access wanted and kind of device in one, major, minor
    let mut all = vec![
        load(KIND, 0),
        copy(ACCESS, KIND),
        and(KIND, 0xffff),
        shift_right(ACCESS, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules {
        let mut body = vec![copy(ANSWER, ACCESS), and(ANSWER, ALL & !rule.access), skip_unless(ANSWER, 0, 2)];
        body.extend(answer(true));
        let mut checks = vec![(KIND, rule.kind), (MAJOR, rule.major)];
        checks.extend(rule.minor.map(|minor| (MINOR, minor)));
        let ends = checks.len() + body.len();
        all.extend(checks.iter().enumerate().map(|(at, (register, value))| {
            skip_unless(*register, *value, i16::try_from(ends - at - 1).unwrap_or(i16::MAX))
        }));
        all.extend(body);
    }
    all.extend(answer(false));
    all
}

/// A v2 group and the program that will watch over its device files.
#[derive(Debug)]
pub struct DeviceGuard {
    group: File,
    program: Vec<BpfInstruction>,
}

impl DeviceGuard {
    /// For the group `dir`: the base devices and what is granted, nothing else.
    ///
    /// # Errors
    /// A rule that is none, or the group is not there.
    pub(super) fn new(dir: &Path, granted: &[String]) -> io::Result<Self> {
        let read = |text: &str| {
            let wrong =
                || io::Error::new(io::ErrorKind::InvalidInput, format!("`{text}` is no rule for a device"));
            Rule::read(text).ok_or_else(wrong)
        };
        let rules = BASE.into_iter().chain(granted.iter().map(String::as_str)).map(read);
        let program = program(&rules.collect::<io::Result<Vec<_>>>()?);
        Ok(Self { group: File::open(dir)?, program })
    }

    /// From now on no process of the group can open or make another device file, nor can one that joins. What
    /// is open stays open.
    ///
    /// # Errors
    /// The kernel's reason: no right (`CAP_BPF`, or `CAP_SYS_ADMIN`), or no such programs in this kernel.
    pub fn attach(&self) -> io::Result<()> {
        sys::attach_device_program(&self.group, &self.program)
    }
}

/// Whether a program is taken by a group made below `parent` for this trial.
pub(super) fn works_below(parent: &Path) -> bool {
    let trial = parent.join(format!("trial-devices-{}", std::process::id()));
    let guarded = || DeviceGuard::new(&trial, &[])?.attach();
    let works = std::fs::create_dir(&trial).is_ok() && guarded().is_ok();
    crate::tolerate(std::fs::remove_dir(&trial));
    works
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the program answers, by an interpreter of the eight instructions it uses.
    fn asked(program: &[BpfInstruction], access: u32, kind: u32, major: u32, minor: u32) -> bool {
        let question = [access << 16 | kind, major, minor];
        let mut registers = [0_u64; 11];
        let mut at = 0;
        loop {
            let BpfInstruction { code, registers: names, offset, value } = program[at];
            let (to, from) = (usize::from(names & 15), usize::from(names >> 4));
            at += 1;
            match code {
                0x61 => registers[to] = u64::from(question[offset as usize / 4]),
                0xbf => registers[to] = registers[from],
                0x57 => registers[to] &= value as u64,
                0x77 => registers[to] >>= value,
                0xb7 => registers[to] = value as u64,
                0x55 if registers[to] != value as u64 => at += offset as usize,
                0x55 => {}
                0x95 => return registers[0] == 1,
                other => panic!("{other:#x} is not used"),
            }
        }
    }

    #[test]
    fn the_program_says_what_the_rules_say() {
        let rules: Vec<Rule> = ["c 1:3 rwm", "c 195:0 rw", "b 7:* r"]
            .into_iter()
            .map(|text| Rule::read(text).unwrap())
            .collect();
        let program = program(&rules);
        for access in 1..8_u32 {
            for kind in 1..=2_u32 {
                for major in [0, 1, 7, 8, 195, 196] {
                    for minor in [0, 1, 3, 255, 1_048_575] {
                        let granted = rules.iter().any(|rule| {
                            rule.kind as u32 == kind
                                && rule.major as u32 == major
                                && rule.minor.is_none_or(|known| known as u32 == minor)
                                && access & !(rule.access as u32) == 0
                        });
                        let said = asked(&program, access, kind, major, minor);
                        assert_eq!(said, granted, "access {access}, kind {kind}, {major}:{minor}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_rule_is_none() {
        for text in [
            "",
            "c",
            "c 1:3",
            "a 1:3 rwm",
            "c 1 rwm",
            "c 1:x r",
            "c 70000:1 r",
            "c 1:3 rx",
            "c 1:3 r r",
            "c -1:3 r",
        ] {
            assert_eq!(Rule::read(text), None, "{text}");
        }
    }
}
