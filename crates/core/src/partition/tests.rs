//! Every configuration that a known layout can reach, enumerated by a search that knows runs of slices and nothing of bits.

use super::*;
use crate::units::Bytes;
use std::collections::BTreeSet;

const GIB: u64 = 1 << 30;

/// Models whose layouts are known, with their memory in GiB.
pub(crate) const MODELS: [(&str, u64); 8] = [
    ("NVIDIA A30", 24),
    ("NVIDIA A100-SXM4-40GB", 40),
    ("NVIDIA A100-SXM4-80GB", 80),
    ("NVIDIA H100 80GB HBM3", 80),
    ("NVIDIA H200", 141),
    ("AMD Instinct MI300X", 192),
    ("AMD Instinct MI325X", 256),
    ("AMD Instinct MI300A", 128),
];

fn layouts() -> impl Iterator<Item = (&'static str, Bytes, Layout)> {
    let known = |(model, gib): (&'static str, u64)| {
        let memory = Bytes(gib * GIB);
        (model, memory, known::layout(model, memory).expect("a known model"))
    };
    MODELS.into_iter().map(known)
}

/// Whether two parts may stand together, from their runs of slices.
fn together(layout: &Layout, one: Part, other: Part) -> bool {
    let of = |part: Part| &layout.profiles[usize::from(part.profile)];
    let apart = one.start + of(one).size <= other.start || other.start + of(other).size <= one.start;
    let media = of(one).media && of(other).media;
    apart && !media && (!layout.uniform || one.profile == other.profile)
}

/// Every set of parts that stand together, the empty one first.
pub(crate) fn configurations(layout: &Layout) -> Vec<Vec<Part>> {
    let parts: Vec<Part> = layout.parts().collect();
    let mut all: Vec<Vec<Part>> = vec![Vec::new()];
    for part in parts {
        let able = all.iter().filter(|set| set.iter().all(|other| together(layout, part, *other)));
        let with: Vec<Vec<Part>> = able.map(|set| set.iter().copied().chain([part]).collect()).collect();
        all.extend(with);
    }
    all
}

fn stand(layout: &Layout, parts: &[Part]) -> Occupied {
    parts.iter().fold(Occupied::NOTHING, |occupied, part| layout.with(occupied, *part))
}

fn free_starts(layout: &Layout, parts: &[Part], profile: u8) -> Vec<Part> {
    let starts = layout.profiles[usize::from(profile)].starts.iter();
    let all = starts.map(|start| Part { profile, start: *start });
    all.filter(|part| parts.iter().all(|other| together(layout, *part, *other))).collect()
}

#[test]
fn bits_say_what_runs_of_slices_say() {
    for (model, memory, layout) in layouts() {
        assert_eq!(layout.check(memory), Ok(()), "{model}");
        for parts in configurations(&layout) {
            let occupied = stand(&layout, &parts);
            for part in layout.parts() {
                let fits = parts.iter().all(|other| together(&layout, part, *other));
                assert_eq!(layout.fits(occupied, part), fits, "{model} {parts:?} {part:?}");
            }
            for gone in &parts {
                let left: Vec<Part> = parts.iter().copied().filter(|part| part != gone).collect();
                assert_eq!(
                    layout.without(occupied, *gone),
                    stand(&layout, &left),
                    "{model} {parts:?} {gone:?}"
                );
            }
            let sum = |of: fn(&Profile) -> u64| -> u64 {
                parts.iter().map(|part| of(layout.profile_of(*part).unwrap())).sum()
            };
            assert!(sum(|profile| profile.compute.0) <= 1000, "{model} {parts:?}");
            assert!(sum(|profile| profile.memory.0) <= memory.0, "{model} {parts:?}");
        }
    }
}

/// Gate 3, the search: printed by `cargo xtask gates devices`.
#[test]
fn a_place_that_exists_is_found_and_keeps_the_most_reachable() {
    for (model, _, layout) in layouts() {
        let reach = Reach::new(&layout);
        let all = configurations(&layout);
        let states: BTreeSet<Occupied> = all.iter().map(|parts| stand(&layout, parts)).collect();
        assert_eq!(reach.states(), states.len(), "{model}");
        let mut tried = 0;
        for parts in &all {
            let occupied = stand(&layout, parts);
            let plain = |part: &Part| !layout.profiles[usize::from(part.profile)].media;
            let holds = |other: &&Vec<Part>| {
                parts.iter().all(|part| other.contains(part))
                    && other.iter().all(|part| plain(part) || parts.contains(part))
            };
            let futures = all.iter().filter(holds).count() as u64;
            assert_eq!(reach.futures(occupied), futures, "{model} {parts:?}");
            for (profile, _) in layout.numbered() {
                let free = free_starts(&layout, parts, profile);
                let placed = reach.place(occupied, profile);
                assert_eq!(placed.is_some(), !free.is_empty(), "{model} {parts:?} {profile}");
                let Some(placed) = placed else { continue };
                assert!(free.contains(&placed), "{model} {parts:?} {placed:?}");
                let then = |part: Part| layout.with(occupied, part);
                let kept = |part: Part| (layout.copies(then(part), profile), reach.futures(then(part)));
                assert!(free.iter().all(|part| kept(*part) <= kept(placed)), "{model} {parts:?}");
                tried += 1;
            }
        }
        eprintln!(
            "  pass  {model}: {} configurations, {} states, {tried} placements: each that exists is found",
            all.len(),
            states.len()
        );
    }
}

#[test]
fn tasks_that_are_alike_stand_as_many_as_can() {
    for (model, _, layout) in layouts() {
        let reach = Reach::new(&layout);
        for parts in configurations(&layout) {
            for (profile, _) in layout.numbered() {
                let most = most_alike(&layout, &mut parts.clone(), profile);
                let mut occupied = stand(&layout, &parts);
                assert_eq!(layout.copies(occupied, profile), most, "{model} {parts:?} {profile}");
                let mut placed = 0;
                while let Some(part) = reach.place(occupied, profile) {
                    occupied = layout.with(occupied, part);
                    placed += 1;
                }
                assert_eq!(placed, most, "{model} {parts:?} {profile}");
            }
        }
    }
}

fn most_alike(layout: &Layout, parts: &mut Vec<Part>, profile: u8) -> u32 {
    let mut most = 0;
    for part in free_starts(layout, parts, profile) {
        parts.push(part);
        most = most.max(1 + most_alike(layout, parts, profile));
        parts.pop();
    }
    most
}

#[test]
fn the_nineteen_configurations_of_the_makers_table() {
    let mut layout = known::layout("NVIDIA A100-SXM4-40GB", Bytes(40 * GIB)).unwrap();
    layout.profiles.retain(|profile| !profile.media && profile.name != "1g.10gb");
    let all = configurations(&layout);
    let full = |parts: &&Vec<Part>| layout.parts().all(|part| !layout.fits(stand(&layout, parts), part));
    assert_eq!(all.iter().filter(full).count(), 19, "as in NVIDIA's table of the A100");
}

#[test]
fn one_choice_of_start_cannot_be_right_for_every_future() {
    let layout = known::layout("NVIDIA A100-SXM4-40GB", Bytes(40 * GIB)).unwrap();
    let at = |name: &str| layout.find(name).unwrap();
    let single = |start| layout.with(Occupied::NOTHING, Part { profile: at("1g.5gb"), start });
    let then = |mut occupied, names: &[&str]| {
        names.iter().all(|name| {
            let profile = at(name);
            let starts = layout.profiles[usize::from(profile)].starts.iter().rev();
            let part =
                starts.map(|start| Part { profile, start: *start }).find(|part| layout.fits(occupied, *part));
            part.inspect(|part| occupied = layout.with(occupied, *part)).is_some()
        })
    };
    assert!(then(single(4), &["4g.20gb", "1g.10gb", "1g.5gb"]) && !then(single(4), &["4g.20gb", "2g.10gb"]));
    assert!(then(single(6), &["4g.20gb", "2g.10gb"]) && !then(single(6), &["4g.20gb", "1g.10gb", "1g.5gb"]));
}

#[test]
fn sizes_and_names_are_answered_by_the_smallest_that_will_do() {
    let asked = |profile: Option<&str>, compute: u64, gigabytes: u64| DeviceRequest {
        mode: crate::model::ShareMode::Space,
        profile: profile.map(str::to_owned),
        compute: Thousandths(compute),
        memory: Bytes(gigabytes * 1_000_000_000),
        ..crate::plan::world::gpus(1)
    };
    let answer = |layout: &Layout, asked: &DeviceRequest| {
        layout.answer(asked).map(|at| layout.profiles[usize::from(at)].name.clone())
    };
    let a100 = known::layout("A100-SXM4-40GB", Bytes(40 * GIB)).unwrap();
    for (profile, compute, gigabytes, name) in [
        (None, 0, 5, Some("1g.5gb")),
        (None, 0, 6, Some("1g.10gb")),
        (None, 200, 6, Some("2g.10gb")),
        (None, 300, 0, Some("3g.20gb")),
        (None, 500, 0, Some("4g.20gb")),
        (None, 0, 40, Some("7g.40gb")),
        (None, 0, 60, None),
        (Some("3G.20GB"), 0, 0, Some("3g.20gb")),
        (Some("1g.5gb+me"), 0, 0, Some("1g.5gb+me")),
        (Some("3g.40gb"), 0, 0, None),
        (Some("1g.5gb"), 0, 10, None),
    ] {
        assert_eq!(answer(&a100, &asked(profile, compute, gigabytes)).as_deref(), name);
    }
    let mi300x = known::layout("AMD Instinct MI300X", Bytes(192 * GIB)).unwrap();
    assert_eq!(answer(&mi300x, &asked(Some("cpx"), 0, 0)).as_deref(), Some("cpx-nps1"));
    assert_eq!(answer(&mi300x, &asked(Some("CPX-NPS4"), 0, 0)).as_deref(), Some("cpx-nps4"));
    assert_eq!(answer(&mi300x, &asked(None, 0, 80)).as_deref(), Some("dpx-nps1"));
}

#[test]
fn idle_parts_make_way_and_busy_ones_stay() {
    let layout = known::layout("A100-SXM4-40GB", Bytes(40 * GIB)).unwrap();
    let part = |name: &str, start| Part { profile: layout.find(name).unwrap(), start };
    let has = |part, busy| Instance { part, busy };
    let (single, double, half) = (part("1g.5gb", 0), part("2g.10gb", 2), part("3g.20gb", 0));
    let idle = [has(single, false), has(double, false), has(part("3g.20gb", 4), true)];
    let way = [Step::Destroy(single), Step::Destroy(double), Step::Create(half)];
    assert_eq!(steps(&layout, &idle, half), Some(way.to_vec()));
    assert_eq!(steps(&layout, &idle, double), Some(Vec::new()), "it stands as it is wanted");
    assert_eq!(steps(&layout, &idle, part("2g.10gb", 4)), None, "a busy one is in the way");
    assert_eq!(steps(&layout, &[has(half, true)], half), None, "it is somebody else's");
    // Every state of idle and busy parts: what is left afterwards stands together and has the busy ones in it.
    for parts in configurations(&layout) {
        for busy in 0_u32..1 << parts.len() {
            let is_busy = |at: usize| busy >> at & 1 == 1;
            let has: Vec<Instance> =
                parts.iter().enumerate().map(|(at, part)| has(*part, is_busy(at))).collect();
            for wanted in layout.parts().filter(|part| part.start % 2 == 0) {
                let stays: Vec<Part> = has.iter().filter(|one| one.busy).map(|one| one.part).collect();
                let free = stays.iter().all(|part| together(&layout, *part, wanted));
                let steps = steps(&layout, &has, wanted);
                assert_eq!(steps.is_some(), free, "{has:?} {wanted:?}");
                let mut left: Vec<Part> = parts.clone();
                for step in steps.into_iter().flatten() {
                    match step {
                        Step::Destroy(part) => left.retain(|other| *other != part),
                        Step::Create(part) => {
                            assert!(left.iter().all(|other| together(&layout, *other, part)));
                            left.push(part);
                        }
                    }
                }
                assert!(stays.iter().all(|part| left.contains(part)) && (!free || left.contains(&wanted)));
            }
        }
    }
}

#[test]
fn a_layout_that_cannot_be_is_refused() {
    let good = known::layout("A100-SXM4-40GB", Bytes(40 * GIB)).unwrap();
    let with = |change: fn(&mut Layout)| {
        let mut layout = good.clone();
        change(&mut layout);
        layout.check(Bytes(40 * GIB))
    };
    assert_eq!(with(|_| {}), Ok(()));
    assert_eq!(with(|layout| layout.slices = 7), Err(Flaw::Shape));
    assert_eq!(with(|layout| layout.slices = 40), Err(Flaw::Shape));
    assert_eq!(with(|layout| layout.profiles[0].starts = vec![1, 0]), Err(Flaw::Shape));
    assert_eq!(with(|layout| layout.profiles[1].name = "1G.5GB".to_owned()), Err(Flaw::Names));
    assert_eq!(with(|layout| layout.profiles[0].compute = Thousandths(200)), Err(Flaw::More));
    assert_eq!(good.check(Bytes(39 * GIB)), Err(Flaw::More));
}
