//! The pool's table in nf_tables, spoken to directly: the `nft` program need not be installed.
//!
//! Deny by default: from tasks to other tasks of other networks, to this machine, to link-local addresses
//! (clouds answer there with the machine's credentials), and from outside to tasks. Tasks may go out, behind
//! the machine's address. The table is made whole or not at all: one batch is one transaction.

use super::netlink::{APPEND, CREATE, Failed, Request, Socket};
use rustix::io::Errno;
use std::net::Ipv4Addr;

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const DEL_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
/// `NFPROTO_INET`: IPv4 and IPv6 in one table.
const INET: u8 = 1;

const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// The first 16-byte register.
const REG: u32 = 1;
const HOOK_INPUT: u32 = 1;
const HOOK_FORWARD: u32 = 2;
const HOOK_POSTROUTING: u32 = 4;

/// What the table is made for.
pub(super) struct Rules<'a> {
    pub table: &'a str,
    /// Every bridge of the pool has a name that starts with this.
    pub links: &'a str,
    /// Bridges of every pool on the machine have names that start with this.
    pub all_links: &'a str,
    /// MAC address of every bridge of the pool.
    pub mac: [u8; 6],
    pub subnet: Ipv4Addr,
    pub prefix: u8,
    /// The link that leads out, when it forwards only because of the pools: then nothing may come in by it that
    /// was not asked for.
    pub guarded: Option<&'a str>,
}

fn head(family: u8) -> [u8; 4] {
    [family, 0, 0, 0]
}

fn batch(requests: Vec<Request>) -> Vec<Request> {
    // the subsystem is the resource of a batch, in network order
    let mark = |kind| Request::new(kind, 0, &[0, 0, 0, 10]).unacknowledged();
    std::iter::once(mark(BATCH_BEGIN)).chain(requests).chain(std::iter::once(mark(BATCH_END))).collect()
}

fn table(kind: u16, name: &str) -> Request {
    let flags = if kind == NEW_TABLE { CREATE } else { 0 };
    Request::new(kind, flags, &head(INET)).put_text(1, name)
}

/// Removes the table and all in it; fine when there is none.
pub(super) fn remove(socket: &mut Socket, name: &str) -> Result<(), Errno> {
    match socket.run(batch(vec![table(DEL_TABLE, name)])) {
        Ok(()) | Err((_, Errno::NOENT)) => Ok(()),
        Err((_, why)) => Err(why),
    }
}

/// Makes the table; one of the same name is replaced in the same transaction.
pub(super) fn install(socket: &mut Socket, rules: &Rules<'_>) -> Result<(), Failed> {
    let mut requests = vec![
        table(NEW_TABLE, rules.table),
        table(DEL_TABLE, rules.table),
        table(NEW_TABLE, rules.table),
        chain(rules.table, "forward", "filter", HOOK_FORWARD, 0),
        chain(rules.table, "input", "filter", HOOK_INPUT, 0),
        chain(rules.table, "outward", "nat", HOOK_POSTROUTING, 100),
    ];
    requests.extend(forward(rules));
    requests.extend(input(rules));
    requests.push(rule(rules.table, "outward", |r| {
        masquerade(link_differs(
            source_within(ipv4(r), rules.subnet, rules.prefix),
            META_OIFNAME,
            rules.links,
        ))
    }));
    socket.run(batch(requests))
}

fn forward(rules: &Rules<'_>) -> Vec<Request> {
    let (table, links) = (rules.table, rules.links);
    let from = |r| link_is(r, META_IIFNAME, links);
    let to = |r| link_is(r, META_OIFNAME, links);
    let to_any = |r| link_is(r, META_OIFNAME, rules.all_links);
    let mut made = vec![
        // with br_netfilter also what a bridge passes on between its own ports comes by here: within a gang;
        // what is routed from one bridge to another was sent to the bridge's own address
        rule(table, "forward", |r| verdict(not_sent_to(to_any(from(r)), rules.mac), ACCEPT)),
        rule(table, "forward", |r| verdict(to_any(from(r)), DROP)),
        rule(table, "forward", |r| verdict(to_link_local(ipv4(from(r))), DROP)),
        rule(table, "forward", |r| verdict(not_ipv4(from(r)), DROP)),
        rule(table, "forward", |r| verdict(from(r), ACCEPT)),
        rule(table, "forward", |r| verdict(answers(to(r)), ACCEPT)),
        rule(table, "forward", |r| verdict(to(r), DROP)),
    ];
    if let Some(uplink) = rules.guarded {
        // the closing zero makes it the whole name
        let in_by = |r| compare(meta(r, META_IIFNAME), CMP_EQ, format!("{uplink}\0").as_bytes());
        made.push(rule(table, "forward", |r| verdict(answers(in_by(r)), ACCEPT)));
        made.push(rule(table, "forward", |r| verdict(in_by(r), DROP)));
    }
    made
}

fn input(rules: &Rules<'_>) -> Vec<Request> {
    let from = |r| link_is(r, META_IIFNAME, rules.links);
    vec![
        rule(rules.table, "input", |r| verdict(answers(from(r)), ACCEPT)),
        rule(rules.table, "input", |r| verdict(from(r), DROP)),
    ]
}

fn chain(table: &str, name: &str, kind: &str, hook: u32, priority: i32) -> Request {
    Request::new(NEW_CHAIN, CREATE, &head(INET))
        .put_text(1, table)
        .put_text(3, name)
        .nest(4, |r| r.put_be32(1, hook).put(2, &priority.to_be_bytes()))
        .put_be32(5, ACCEPT)
        .put_text(7, kind)
}

fn rule(table: &str, chain: &str, expressions: impl FnOnce(Request) -> Request) -> Request {
    Request::new(NEW_RULE, CREATE | APPEND, &head(INET))
        .put_text(1, table)
        .put_text(2, chain)
        .nest(4, expressions)
}

fn expression(request: Request, name: &str, data: impl FnOnce(Request) -> Request) -> Request {
    request.nest(1, |r| r.put_text(1, name).nest(2, data))
}

fn meta(request: Request, key: u32) -> Request {
    expression(request, "meta", |r| r.put_be32(1, REG).put_be32(2, key))
}

fn compare(request: Request, how: u32, value: &[u8]) -> Request {
    expression(request, "cmp", |r| r.put_be32(1, REG).put_be32(2, how).nest(3, |r| r.put(1, value)))
}

/// The link's name starts so: comparing fewer bytes than the register has is comparing a prefix.
fn link_is(request: Request, key: u32, prefix: &str) -> Request {
    compare(meta(request, key), CMP_EQ, prefix.as_bytes())
}

fn link_differs(request: Request, key: u32, prefix: &str) -> Request {
    compare(meta(request, key), CMP_NEQ, prefix.as_bytes())
}

fn ipv4(request: Request) -> Request {
    compare(meta(request, META_NFPROTO), CMP_EQ, &[2])
}

fn not_ipv4(request: Request) -> Request {
    compare(meta(request, META_NFPROTO), CMP_NEQ, &[2])
}

/// An address of the IPv4 header, at `offset`, lies in a network.
fn within(request: Request, offset: u32, network: Ipv4Addr, prefix: u8) -> Request {
    const NETWORK_HEADER: u32 = 1;
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    let loaded = expression(request, "payload", |r| {
        r.put_be32(1, REG).put_be32(2, NETWORK_HEADER).put_be32(3, offset).put_be32(4, 4)
    });
    let masked = and(loaded, mask);
    compare(masked, CMP_EQ, &(u32::from(network) & mask).to_be_bytes())
}

fn source_within(request: Request, network: Ipv4Addr, prefix: u8) -> Request {
    within(request, 12, network, prefix)
}

fn to_link_local(request: Request) -> Request {
    within(request, 16, Ipv4Addr::new(169, 254, 0, 0), 16)
}

/// The frame came for another MAC address.
fn not_sent_to(request: Request, mac: [u8; 6]) -> Request {
    const LINK_HEADER: u32 = 0;
    let loaded = expression(request, "payload", |r| {
        r.put_be32(1, REG).put_be32(2, LINK_HEADER).put_be32(3, 0).put_be32(4, 6)
    });
    compare(loaded, CMP_NEQ, &mac)
}

/// Belongs to a connection begun from the other side.
fn answers(request: Request) -> Request {
    const CT_STATE: u32 = 0;
    const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
    let loaded = expression(request, "ct", |r| r.put_be32(1, REG).put_be32(2, CT_STATE));
    let masked = expression(loaded, "bitwise", |r| {
        r.put_be32(1, REG)
            .put_be32(2, REG)
            .put_be32(3, 4)
            .nest(4, |r| r.put(1, &ESTABLISHED_OR_RELATED.to_ne_bytes()))
            .nest(5, |r| r.put(1, &[0; 4]))
    });
    compare(masked, CMP_NEQ, &[0; 4])
}

fn and(request: Request, mask: u32) -> Request {
    expression(request, "bitwise", |r| {
        r.put_be32(1, REG)
            .put_be32(2, REG)
            .put_be32(3, 4)
            .nest(4, |r| r.put(1, &mask.to_be_bytes()))
            .nest(5, |r| r.put(1, &[0; 4]))
    })
}

fn verdict(request: Request, code: u32) -> Request {
    const VERDICT_REGISTER: u32 = 0;
    expression(request, "immediate", |r| {
        r.put_be32(1, VERDICT_REGISTER).nest(2, |r| r.nest(2, |r| r.put_be32(1, code)))
    })
}

fn masquerade(request: Request) -> Request {
    expression(request, "masq", |r| r)
}
