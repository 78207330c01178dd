//! Readers on the real files: every row is accounted for. Without the files each test says so and passes.

use pond_sim::trace::unpack::unpack;
use pond_sim::trace::{Content, Format, Loaded, helios, open, openb, requests, serving, summary, swf};
use std::fs::File;
use std::io::Read;
use std::path::Path;

mod real;
use real::traces;

fn input(folder: &Path, name: &str) -> impl Read + use<> {
    unpack(File::open(folder.join(name)).expect(name)).expect(name)
}

#[test]
fn venus_gives_a_workload_and_the_nodes_of_its_virtual_clusters() {
    let Some(folder) = traces() else { return };
    let reading = helios::jobs_of(input(&folder, "helios/venus_jobs_apr_aug.csv.gz"));
    assert_eq!((reading.rows.len(), reading.bad.len()), (99_707, 0));
    let parts = helios::partitions(input(&folder, "helios/lucid_Venus_vc_config.csv"));
    assert_eq!((parts.rows.len(), parts.bad.len()), (15, 0));
    let earth = helios::partitions(input(&folder, "util/helios_earth_gpu_number.csv"));
    assert_eq!((earth.rows.len(), earth.bad.len()), (25, 0));
    let jobs = helios::jobs("venus", &reading, &parts.rows, 0, helios::Pooling::Pooled);
    assert_eq!((jobs.workload.jobs.len(), jobs.left_out.len()), (99_707, 0));
    assert_eq!((jobs.cluster.nodes.len(), jobs.cluster.queues.len()), (135, 15));
    let gpus: u64 = reading.rows.iter().map(|row| u64::from(row.gpus)).sum();
    let milli: u64 = jobs.workload.jobs.iter().map(|job| jobs.workload.devices_milli(job)).sum();
    assert_eq!(milli, gpus * 1000);
    // 2020-04-01 00:02:31 is second 0 of the column `sub_rel`.
    let old = helios::relative(input(&folder, "helios/venus_jobs_apr_aug.csv.gz"));
    assert!(
        old.rows
            .iter()
            .zip(&reading.rows)
            .all(|(old, new)| new.submit_ms == old.submit_s * 1000 + 1_585_699_351_000)
    );
    let august = jobs.between(1_596_240_000_000, 1_598_918_400_000).unwrap();
    assert!(august.workload.jobs.len() > 10_000, "{}", august.workload.jobs.len());
}

#[test]
fn two_virtual_clusters_give_a_workload_with_users_and_states() {
    let Some(folder) = traces() else { return };
    let reading = helios::jobs_of(input(&folder, "helios/venus_2vc_sept.csv"));
    assert_eq!((reading.rows.len(), reading.bad.len()), (1867, 0));
    let jobs = helios::jobs("two", &reading, &[], 22, helios::Pooling::Apart);
    assert_eq!((jobs.workload.jobs.len(), jobs.cluster.nodes.len()), (1867, 22));
    assert_eq!(jobs.workload.queues.len(), 2);
    assert_eq!(jobs.zero_ms, None);
}

#[test]
fn logs_of_the_parallel_workloads_archive_are_read_to_the_last_line() {
    let Some(folder) = traces() else { return };
    // Lines, and what the header promises: of KTH and HPC2N it counts what the cleaning took out too.
    let logs = [
        ("KTH-SP2-1996-2.1-cln", 27_992, 28_476, 100, 100),
        ("SDSC-BLUE-2000-4.2-cln", 243_306, 243_306, 144, 1152),
        ("HPC2N-2002-2.1-cln", 202_876, 527_371, 240, 240),
        ("NASA-iPSC-1993-3.1-cln", 18_239, 18_239, 128, 128),
        ("lublin_256", 10_000, 10_000, 256, 256),
    ];
    for (name, lines, records, nodes, processors) in logs {
        let (header, reading) = swf::read(input(&folder, &format!("swf/{name}.swf.gz")));
        assert_eq!((reading.rows.len(), reading.bad.len()), (lines, 0), "{name}");
        let jobs = swf::jobs(name, &header, &reading, swf::Layout::Nodes);
        eprintln!(
            "{name}: {} jobs, {:?}, {:?}",
            jobs.workload.jobs.len(),
            summary(&jobs.left_out),
            jobs.notes
        );
        assert_eq!(jobs.workload.jobs.len() + jobs.left_out.len(), reading.rows.len());
        assert_eq!(jobs.cluster.nodes.len(), nodes);
        let cores: u64 = jobs.cluster.nodes.iter().map(|node| node.capacity.cpu.0 / 1000).sum();
        assert_eq!(cores, processors);
        assert_eq!(header.records, Some(records));
    }
}

#[test]
fn openb_gives_nodes_pods_and_their_lives() {
    let Some(folder) = traces() else { return };
    let all = openb::nodes(input(&folder, "openb/openb_node_list_all_node.csv.gz"));
    assert_eq!((all.rows.len(), all.bad.len()), (1523, 0));
    let gpu = openb::nodes(input(&folder, "openb/openb_node_list_gpu_node.csv.gz"));
    assert_eq!((gpu.rows.len(), gpu.bad.len()), (1213, 0));
    let cluster = openb::cluster(&gpu.rows);
    assert_eq!(cluster.nodes.iter().map(|node| node.devices.len()).sum::<usize>(), 6212);
    for name in [
        "default",
        "cpu050",
        "gpushare40",
        "gpushare100",
        "gpuspec10",
        "gpuspec33",
        "multigpu20",
        "multigpu50",
    ] {
        let file = format!("openb/openb_pod_list_{name}.csv.gz");
        let pods = openb::pods(input(&folder, &file));
        assert_eq!(pods.bad.len(), 0, "{name}");
        let lives = openb::lives(input(&folder, &file));
        let timed = !name.starts_with("multigpu");
        assert_eq!(
            (lives.rows.len(), lives.bad.len()),
            if timed { (pods.rows.len(), 0) } else { (0, pods.rows.len()) }
        );
        let jobs = openb::jobs(name, &lives, &all.rows);
        assert_eq!(jobs.workload.jobs.len() + jobs.left_out.len(), lives.rows.len());
        eprintln!(
            "{name}: {} pods, {} jobs, {:?}",
            pods.rows.len(),
            jobs.workload.jobs.len(),
            summary(&jobs.left_out)
        );
        if name == "default" {
            assert_eq!(pods.rows.len(), 8152);
        }
    }
}

fn loaded(folder: &Path, name: &str, format: Format) -> Loaded {
    let loaded = open(&folder.join(name), None).unwrap_or_else(|why| panic!("{name}: {why}"));
    assert_eq!(loaded.format, format, "{name}");
    for tally in loaded.summary() {
        eprintln!("{name}: {tally}");
    }
    loaded
}

#[test]
fn every_file_is_told_and_loaded_by_its_first_bytes() {
    let Some(folder) = traces() else { return };
    let jobs = [
        ("helios/venus_jobs_apr_aug.csv.gz", Format::Helios, 99_707),
        ("helios/venus_2vc_sept.csv", Format::Helios, 1867),
        ("swf/NASA-iPSC-1993-3.1-cln.swf.gz", Format::Swf, 18_239),
        ("openb/openb_pod_list_default.csv.gz", Format::Openb, 8152),
        ("openb", Format::Openb, 8152 + 1523),
        ("serving/v2025_disaggregated_DLRM_trace.csv.gz", Format::Dlrm, 23_871),
    ];
    for (name, format, rows) in jobs {
        let loaded = loaded(&folder, name, format);
        assert_eq!(loaded.rows, rows, "{name}");
        let jobs = loaded.into_jobs().expect(name);
        let devices: usize = jobs.cluster.nodes.iter().map(|node| node.devices.len()).sum();
        eprintln!(
            "{name}: {} jobs, {} nodes, {devices} devices, {:?}",
            jobs.workload.jobs.len(),
            jobs.cluster.nodes.len(),
            jobs.notes
        );
        assert!(!jobs.workload.jobs.is_empty() && !jobs.cluster.nodes.is_empty());
    }
    for (name, format, rows) in [
        ("serving/AzureLLMInferenceTrace_conv.csv.gz", Format::Azure, 19_366),
        ("serving/mooncake_conversation_trace.jsonl.gz", Format::Mooncake, 12_031),
    ] {
        let Content::Requests(requests) = loaded(&folder, name, format).content else { panic!("{name}") };
        assert_eq!(requests.len(), rows, "{name}");
        let rates = requests::rates(&requests, 60_000);
        assert_eq!(rates.iter().map(|rate| rate.requests).sum::<u64>(), rows as u64);
        let (known, blocks) =
            rates.iter().fold((0, 0), |(k, b), rate| (k + rate.known_blocks, b + rate.blocks));
        eprintln!("{name}: {} minutes, {known} of {blocks} blocks known", rates.len());
    }
    for (name, rows) in [
        ("serving/v2026_genai_qps.tar.gz", 24_627),
        ("serving/v2026_genai_pod_gpu_duty_cycle_anon.tar.gz", 157_417),
    ] {
        let loaded = loaded(&folder, name, Format::Genai);
        assert_eq!(loaded.rows, rows, "{name}");
        let Content::Series(values) = loaded.content else { panic!("{name}") };
        assert!(!serving::totals(&values, 3_600_000).is_empty());
    }
}

#[test]
fn speeds_become_profiles_and_pairs() {
    let Some(folder) = traces() else { return };
    let speeds = |name: &str, format| match loaded(&folder, name, format).content {
        Content::Speeds { profiles, pairs } => (profiles, pairs),
        _ => panic!("{name}"),
    };
    let (_, pairs) = speeds("helios/pair_interference.csv", Format::Interference);
    assert_eq!(pairs.len(), 1388);
    assert_eq!((pairs[0].first_milli, pairs[0].second_milli, pairs[0].device_busy), (983, 1034, 647));
    let (profiles, pairs) = speeds("throughput/gavel_throughputs.json.gz", Format::Gavel);
    assert_eq!(profiles.len(), 26);
    let resnet = profiles.iter().find(|profile| profile.name == "ResNet-18 (batch size 16)").unwrap();
    eprintln!("{resnet:?}, {} pairs", pairs.len());
    assert_eq!(resnet.speed.models.keys().collect::<Vec<_>>(), ["k80", "p100", "v100"]);
    assert!(resnet.speed.models["k80"] < 500 && resnet.speed.models.values().max() == Some(&1000));
    assert_eq!(resnet.speed.ranks[0], (1, 1000));
    for (name, models) in [
        ("throughput/pollux_workloads_and_profiles.tar.gz", 6),
        ("throughput/sia_workloads_and_profiles.tar.gz", 7),
    ] {
        let (profiles, _) = speeds(name, Format::Pollux);
        assert_eq!(profiles.len(), models);
        for profile in &profiles {
            eprintln!("{profile:?}");
            assert!(profile.speed.ranks.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}
