//! Looks again and again how the devices of this machine are, and tells. What follows, the engine decides.

use super::Inner;
use crate::folder::Folder;
use crate::probe::signs::signs;
use crate::probe::vitals::{self, Told, Vitals};
use pond_core::event::{Exit, Report, Sign};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// So many looks after the last trouble follow each other ten times as quickly.
const QUICK: u32 = 100;

/// Between two looks at the least, when tasks fail.
const LEAST: Duration = Duration::from_secs(1);

impl Inner {
    /// A task ended: if it failed and had devices, these are looked at now, so that who judges its failure knows how they are.
    pub(super) fn doubt_devices(&self, folder: &Folder, exit: Exit) {
        let failed = matches!(exit, Exit::Code(1..) | Exit::Signal(_));
        if failed && super::adopt::read_spec(folder).is_some_and(|spec| !spec.limits.devices.is_empty()) {
            self.doubted.store(true, Ordering::Release);
        }
    }
}

/// The thread: until the agent closes. What drivers tell by themselves comes from a thread beside it.
pub(super) fn run(inner: Arc<Inner>) {
    let (tell, told) = mpsc::channel();
    let listening = {
        let inner = inner.clone();
        let listen = move || {
            let wanted = || !inner.closing();
            vitals::listen(&inner.node.devices, &wanted, &|sign| crate::tolerate(tell.send(sign)));
        };
        std::thread::Builder::new().name("pond-drivers".to_owned()).spawn(listen)
    };
    look(&inner, &told);
    if let Ok(thread) = listening {
        crate::tolerate(thread.join());
    }
}

fn look(inner: &Inner, told: &Receiver<Told>) {
    let every = Duration::from_millis(inner.config.health_every.0);
    let (mut due, mut quick, mut last) = (Instant::now(), 0_u32, Instant::now());
    let mut gpus = Vitals::default();
    while !inner.closing() {
        let news: Vec<Told> = told.try_iter().collect();
        if inner.partitions.had_trouble() || !news.is_empty() {
            (quick, due) = (QUICK, due.min(Instant::now() + every / 10));
        }
        news.into_iter().for_each(|sign| report(inner, sign));
        if inner.doubted.swap(false, Ordering::AcqRel) {
            due = due.min(last + LEAST);
        }
        if Instant::now() < due {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        (quick, last) = (quick.saturating_sub(1), Instant::now());
        for said in
            signs(&inner.node.devices, &inner.listed).into_iter().chain(gpus.look(&inner.node.devices))
        {
            if said.1 != Sign::Well {
                quick = QUICK;
            }
            report(inner, said);
        }
        for (device, wear) in gpus.worn() {
            let node = inner.config.node.clone();
            inner.report(Report::DeviceWear { node, device, wear });
        }
        for device in inner.partitions.signs() {
            report(inner, (device, Sign::Well, String::new()));
        }
        due = Instant::now() + if quick > 0 { every / 10 } else { every };
    }
}

fn report(inner: &Inner, (device, sign, message): Told) {
    let node = inner.config.node.clone();
    inner.report(Report::DeviceSign { node, device, sign, message });
}
