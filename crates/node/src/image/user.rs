//! Who an image runs as: `user`, `uid`, `user:group`, `uid:gid`, looked up in the image's own files.

use super::error::ImageError;
use super::lower::Lowers;
use std::path::Path;

/// Longest passwd or group file read.
const MAX_FILE: u64 = 1 << 20;

/// A user of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    pub ids: Option<(u32, u32)>,
    /// Groups beside the first.
    pub groups: Vec<u32>,
    pub home: Option<String>,
}

/// Finds the user that an image's config names; nothing when it names none.
///
/// # Errors
/// A name that the image does not know. Numbers need not be known.
pub(super) fn look_up(image: &str, text: &str, lowers: &Lowers) -> Result<User, ImageError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let read = |path: &str| -> Result<String, ImageError> {
        let bytes = lowers.read(path, MAX_FILE).map_err(ImageError::io("read", Path::new(path)))?;
        Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
    };
    if user.is_empty() && group.is_none() {
        let passwd = read("etc/passwd")?;
        let root = passwd.lines().filter_map(Account::read).find(|account| account.uid == 0);
        return Ok(User { home: root.map(|account| account.home.to_owned()), ..User::default() });
    }
    let unknown = || ImageError::NoUser { image: image.to_owned(), user: text.to_owned() };
    let (passwd, groups) = (read("etc/passwd")?, read("etc/group")?);
    let wanted = if user.is_empty() { "0" } else { user };
    let number: Option<u32> = wanted.parse().ok();
    let account = passwd
        .lines()
        .filter_map(Account::read)
        .find(|account| account.name == wanted || number == Some(account.uid));
    let uid = account.as_ref().map(|account| account.uid).or(number).ok_or_else(unknown)?;
    let gid = match group {
        Some(group) => find_group(&groups, group).ok_or_else(unknown)?,
        None => account.as_ref().map_or(0, |account| account.gid),
    };
    // as container runtimes do: an explicit group stands alone
    let more = match (&account, group) {
        (Some(account), None) => member_of(&groups, account.name).filter(|&other| other != gid).collect(),
        _ => Vec::new(),
    };
    Ok(User { ids: Some((uid, gid)), groups: more, home: account.map(|account| account.home.to_owned()) })
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Account<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1)?;
        Some(Self { name, uid, gid, home })
    }
}

fn find_group(groups: &str, wanted: &str) -> Option<u32> {
    let known = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid: u32 = fields.nth(1)?.parse().ok()?;
        (name == wanted || wanted.parse() == Ok(gid)).then_some(gid)
    });
    known.or_else(|| wanted.parse().ok())
}

fn member_of<'a>(groups: &'a str, user: &'a str) -> impl Iterator<Item = u32> + 'a {
    groups.lines().filter_map(move |line| {
        let mut fields = line.split(':');
        let gid = fields.nth(2)?.parse().ok()?;
        fields.next()?.split(',').any(|member| member == user).then_some(gid)
    })
}
