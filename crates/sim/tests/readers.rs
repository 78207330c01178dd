//! Readers on what they may meet: other spellings, bad rows, files of another sort, files cut short, any bytes at all.

use flate2::Compression;
use flate2::write::GzEncoder;
use pond_core::engine::{Engine, Settings};
use pond_core::event::Exit;
use pond_core::model::{QueueSpec, RetryOn};
use pond_core::testkit::{Pool, cpus, gang, one};
use pond_core::units::{Millis, Timestamp};
use pond_sim::trace::profiles::{gavel, interference, pollux};
use pond_sim::trace::unpack::unpack;
use pond_sim::trace::{
    BadRow, Content, Format, Jobs, LeftOut, Note, TraceError, detect, helios, history, journal, open, openb,
    pai, philly, requests, serving, slurm, summary, swf, write,
};
use pond_sim::workload::Ending;
use proptest::prelude::*;
use std::fs;
use std::io::Write;

fn told(bad: &[BadRow]) -> Vec<String> {
    bad.iter().map(ToString::to_string).collect()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

const HELIOS: &str = "\u{feff}job_id,user,vc,jobname,gpu_num,cpu_num,node_num,state,submit_time,start_time,end_time,duration,queue\r\n\
    1,u1,vcA,\"train, \"\"big\"\"\",8,32,1,COMPLETED,2020-04-01 00:02:31,2020-04-01 00:02:41,2020-04-01 01:02:41,3600,10\r\n\
    \r\n\
    2,u2,vcB,\"two\r\nlines\",16,64,2,CANCELLED,2020/4/1 0:03,2020/4/1 0:03,2020/4/1 0:04,60.0,0\r\n\
    3,u2,vcB,x,0,8,1,FAILED,2020-04-01T00:05:00,2020-04-01T00:05:00,2020-04-01T00:06:00,,0\r\n\
    4,u3,vcB,x,1,4,1,CANCELLED,2020-04-01 00:07:00,,,0,0\r\n\
    5,u3,vcB,x,many,4,1,COMPLETED,2020-04-01 00:07:00,2020-04-01 00:07:00,2020-04-01 00:08:00,60,0\r\n\
    6,u3,vcB,x,1,4,1,COMPLETED,4/1/2020 0:07,2020-04-01 00:07:00,2020-04-01 00:08:00,60,0\r\n\
    7,u3,vcB,\"x,1,4,1,COMPLETED,2020-04-01 00:09:00,2020-04-01 00:09:00,2020-04-01 00:10:00,60,0\r\n\
    8,u3,vcB,x,12,4,1,NODE_FAIL,2020-04-01 00:09:30,2020-04-01 00:10:00,2020-04-01 00:11:00,60,30\r\n\
    8,u3,vcB,x,1,4,1,COMPLETED,2020-04-01 00:09:30,2020-04-01 00:10:00,2020-04-01 00:11:00,60,30\r\n";

#[test]
fn helios_as_published_with_marks_quotes_blank_lines_and_bad_rows() {
    let reading = helios::jobs_of(HELIOS.as_bytes());
    assert_eq!(
        told(&reading.bad),
        [
            "line 8: column `gpu_num` holds `many`, which is not a whole number from 0 to 4,294,967,295",
            "line 9: column `submit_time` holds `4/1/2020 0:07`, which is not a date and time, or microseconds",
            "line 10: a quote is opened and never closed",
        ]
    );
    let jobs = helios::jobs("h", &reading, &[], 0, helios::Pooling::Pooled);
    assert_eq!(
        told(&jobs.left_out),
        ["line 7: the job never ran", "line 12: an earlier row has the same number or name"]
    );
    let of = |id| jobs.workload.jobs.iter().find(|job| job.id == id).unwrap();
    assert_eq!((of(1).submit, of(1).duration, of(1).size.min), (Timestamp(151_000), Millis(3_600_000), 1));
    assert_eq!(
        (of(2).size.min, jobs.workload.devices_milli(of(2)), of(2).ending),
        (2, 16_000, Ending::Cancelled)
    );
    assert_eq!((of(3).duration, jobs.workload.devices_milli(of(3))), (Millis(60_000), 0));
    // Twelve devices do not fit on one node: two tasks of six.
    assert_eq!((of(8).size.min, of(8).ending), (2, Ending::Failed));
    assert_eq!(jobs.starts[&1], Timestamp(161_000));
    assert_eq!(jobs.zero_ms, Some(1_585_699_200_000));
    // At 00:03 24 devices were in use at once.
    assert_eq!(jobs.cluster.nodes.len(), 3);
}

#[test]
fn partitions_of_a_helios_cluster_over_days() {
    let text = "date,vcA,vcB,total\n2020-04-01,64,0,64\n2020-04-02,32,20,52\n";
    let parts = helios::partitions(text.as_bytes());
    let found: Vec<(&str, u32)> = parts.rows.iter().map(|part| (part.name.as_str(), part.nodes)).collect();
    assert_eq!(found, [("vcA", 8), ("vcB", 3)]);
    let cluster = helios::cluster(&parts.rows, 0, helios::Pooling::Apart);
    assert_eq!((cluster.nodes.len(), cluster.nodes[10].labels["partition"].as_str()), (11, "vcB"));
}

#[test]
fn swf_with_what_logs_have_in_them() {
    let text = "; MaxNodes: 4\n; MaxProcs: 16\n; UnixStartTime: 1000\n; TimeZone: 3600\n; Queue: 1 [batch]\n\
        1 0 5 100 8 -1 -1 8 200 1024 1 3 1 -1 1 -1 -1 -1\n\
        2 10 0 300 6 -1 -1 6 100 -1 0 4 1 -1 2 -1 1 20\n\
        3 20 -1 -1 4 -1 -1 4 100 -1 5 4 1 -1 1 -1 -1 -1\n\
        4 30 0 1.5 4 -1 -1 4 -1 -1 1 -1 -1 -1 -1 3 99 -1\n\
        5 40 0 9 -1 -1 -1 -1 100 -1 1 4 1 -1 1 -1 -1 -1\n\
        6 50 0 9 1 -1 -1 1 100 -1 3 4 1 -1 1 -1 -1 -1\n\
        7 60 zero 9\n\
        8 70 0 9 1 -1 -1 1 100 -1 1 4 1 -1 1 -1 -1 -1 77\n";
    let (header, reading) = swf::read(text.as_bytes());
    assert_eq!(
        told(&reading.bad),
        [
            "line 12: column `wait time` holds `zero`, which is not a number",
            "line 13: the row has 19 columns where the header names 18"
        ]
    );
    let jobs = swf::jobs("s", &header, &reading, swf::Layout::Nodes);
    assert_eq!(
        told(&jobs.left_out),
        [
            "line 8: the job never ran",
            "line 10: the job asks for nothing",
            "line 11: a part of a job that has a row of its own"
        ]
    );
    let [one, two, four] = jobs.workload.jobs.as_slice() else { panic!("{:?}", jobs.workload.jobs) };
    assert_eq!((one.size.min, one.limit, one.duration), (2, Some(Millis(200_000)), Millis(100_000)));
    assert_eq!(jobs.workload.shapes[one.shape as usize][0].request.memory.0, 4 << 20);
    // Six processors on nodes of four: two tasks of three. It ran longer than it asked for.
    assert_eq!((two.size.min, two.limit, two.after), (2, Some(Millis(300_000)), Some((1, Millis(20_000)))));
    assert_eq!((four.duration, four.limit, four.after), (Millis(1500), None, None));
    let queues: Vec<&str> = jobs.workload.queues.iter().map(|queue| queue.as_str()).collect();
    assert_eq!(queues, ["batch", "q2", "p3"]);
    assert_eq!((jobs.zero_ms, jobs.starts[&1]), (Some(4_600_000), Timestamp(5000)));
    assert_eq!((jobs.notes[&Note::LimitRaised], jobs.notes[&Note::LostDependency]), (1, 1));
    let flat = swf::jobs("s", &header, &reading, swf::Layout::Flat);
    assert_eq!((flat.cluster.nodes.len(), flat.workload.jobs[1].size.min), (1, 1));
}

const SACCT: &str = "JobID|JobName|User|Account|Partition|Submit|Start|End|Elapsed|Timelimit|State|NNodes|NCPUS|ReqTRES|AllocTRES\n\
    100|a|ann|phys|gpu|2024-03-01T10:00:00|2024-03-01T10:05:00|2024-03-02T11:05:00|1-01:00:00|2-00:00:00|COMPLETED|2|64|x=1|billing=64,cpu=64,gres/gpu:a100=8,gres/gpu=8,mem=512G,node=2\n\
    100.batch|batch||phys||2024-03-01T10:05:00|2024-03-01T10:05:00|2024-03-02T11:05:00|1-01:00:00||COMPLETED|1|32|||\n\
    100.0|srun||phys||2024-03-01T10:05:00|2024-03-01T10:05:00|2024-03-02T11:05:00|1-01:00:00||COMPLETED|2|64|||\n\
    101_4|b|bob|chem|cpu|2024-03-01T10:00:00|2024-03-01T10:00:01|2024-03-01T10:00:31|00:00:30|UNLIMITED|CANCELLED by 1003|1|4||cpu=4,mem=16000M,node=1\n\
    101_[5-9%2]|b|bob|chem|cpu|2024-03-01T10:00:00|Unknown|Unknown|00:00:00|01:00:00|PENDING|1|4|||\n\
    102|c|bob|chem|cpu|2024-03-01T10:00:00|None|2024-03-01T11:00:00|00:00:00|01:00:00|CANCELLED|1|4|||\n\
    103|d|bob|chem|cpu|2024-03-01T10:00:00|2024-03-01T10:00:01|2024-03-01T12:00:01|02:00:00|Partition_Limit|OUT_OF_MEMORY|1|4|||\n\
    104|e|f|bob|chem|cpu|2024-03-01T10:00:00|2024-03-01T10:00:01|2024-03-01T12:00:01|02:00:00|01:00:00|TIMEOUT|1|4|||\n\
    105|e|bob|chem|cpu|yesterday|2024-03-01T10:00:01|2024-03-01T12:00:01|02:00:00|01:00:00|TIMEOUT|1|4|||\n";

#[test]
fn sacct_with_arrays_steps_and_states() {
    let reading = slurm::jobs_of(SACCT.as_bytes());
    let jobs = slurm::jobs("s", &reading);
    let counts: Vec<(u64, u64)> =
        summary(&reading.bad).iter().map(|tally| (tally.count, tally.first.line)).collect();
    assert_eq!(counts, [(2, 3), (1, 9), (1, 10)], "{:?}", reading.bad);
    assert_eq!(told(&jobs.left_out), ["line 6: the job had not ended", "line 7: the job never ran"]);
    let ids: Vec<u64> = jobs.workload.jobs.iter().map(|job| job.id).collect();
    assert_eq!(ids, [100, 103, 1_000_000_101_000_004]);
    let [first, third, element] = jobs.workload.jobs.as_slice() else { panic!() };
    let shape = &jobs.workload.shapes[first.shape as usize][0];
    assert_eq!((first.size.min, shape.devices[0].count, shape.request.cpu.0), (2, 4, 32_000));
    assert_eq!((shape.devices[0].model.as_deref(), shape.request.memory.0), (Some("a100"), 256 << 30));
    assert_eq!((first.duration, first.limit), (Millis(90_000_000), Some(Millis(172_800_000))));
    assert_eq!((element.ending, element.limit), (Ending::Cancelled, None));
    assert_eq!((third.ending, third.limit), (Ending::Failed, None));
    let other = "JobIDRaw,State,Submit,Start,ElapsedRaw,TimelimitRaw,AllocCPUS,NNodes,ReqGRES,User,Partition\n\
        7,COMPLETED,1709287200,1709287260,60,10,8,1,gpu:v100:2,ann,gpu\n";
    let jobs = slurm::jobs("s", &slurm::jobs_of(other.as_bytes()));
    assert_eq!(
        (jobs.workload.jobs[0].limit, jobs.workload.devices_milli(&jobs.workload.jobs[0])),
        (Some(Millis(600_000)), 2000)
    );
}

#[test]
fn philly_with_attempts_and_without() {
    let entry = |id: u32, attempts: &str, status: &str| {
        format!(
            "{{\"status\": \"{status}\", \"vc\": \"v{{1\", \"jobid\": \"application_{id}\", \"attempts\": [{attempts}], \"submitted_time\": \"2017-10-07 01:11:39\", \"user\": \"u\"}}"
        )
    };
    let tries = "{\"start_time\": \"2017-10-07 01:12:00\", \"end_time\": \"2017-10-07 01:13:00\", \"detail\": [{\"ip\": \"m1\", \"gpus\": [\"gpu0\", \"gpu1\"]}]}, \
        {\"start_time\": \"2017-10-07 01:14:00\", \"end_time\": \"2017-10-07 01:16:00\", \"detail\": [{\"ip\": \"m1\", \"gpus\": [\"a\", \"b\"]}, {\"ip\": \"m2\", \"gpus\": [\"a\", \"b\"]}]}";
    let open_end = "{\"start_time\": \"2017-10-07 01:12:00\", \"end_time\": \"None\", \"detail\": [{\"ip\": \"m1\", \"gpus\": [\"gpu0\"]}]}";
    let text = format!(
        "[\n{},\n{},\n{},\n{{\"jobid\": 5}}\n]\n",
        entry(1, tries, "Killed"),
        entry(2, "", "Failed"),
        entry(3, open_end, "Pass")
    );
    let reading = philly::jobs_of(text.as_bytes());
    assert_eq!((reading.rows.len(), reading.bad.len(), reading.bad[0].line), (3, 1, 5));
    let jobs = philly::jobs("p", &reading, &[]);
    assert_eq!(told(&jobs.left_out), ["line 3: the job never ran", "line 4: the job had not ended"]);
    let job = jobs.workload.jobs[0];
    assert_eq!((job.duration, job.size.min, job.ending), (Millis(180_000), 2, Ending::Cancelled));
    assert_eq!(jobs.workload.queues[0].as_str(), "v_1");
    let machines =
        philly::machines("machineId, number of GPUs, single GPU mem\nm1,8, 24GB\nm2,2,12GB\n".as_bytes());
    assert_eq!(philly::jobs("p", &reading, &machines.rows).cluster.nodes[1].devices.len(), 2);
}

#[test]
fn pai_joins_jobs_with_their_tasks() {
    let jobs = "j1,i1,u1,Terminated,100.0,300.0\nj2,i2,u2,Failed,110,200\nj3,i3,u2,Running,120,\nj4,i4,u2,Terminated,130,140\nj5,i5,u2,What,130,140\n";
    let tasks = "j1,ps,1.0,Terminated,105.0,300.0,600.0,29.296875,,\n\
        j1,worker,2.0,Terminated,106.0,300.0,400.0,10,50.0,T4\n\
        j2,tensorflow,1.0,Failed,111,200,600.0,8,200.0,V100\n";
    let (rows, parts) = (pai::job_rows(jobs.as_bytes()), pai::task_rows(tasks.as_bytes()));
    assert_eq!((rows.bad.len(), parts.bad.len()), (1, 0), "{:?}", parts.bad);
    let jobs = pai::jobs("p", &rows, &parts, &[]);
    assert_eq!(told(&jobs.left_out), ["line 3: the job had not ended", "line 4: the job never ran"]);
    let [one, two] = jobs.workload.jobs.as_slice() else { panic!() };
    assert_eq!((one.size.min, jobs.workload.devices_milli(one), one.duration), (2, 1000, Millis(195_000)));
    assert_eq!((two.size.min, jobs.workload.devices_milli(two)), (1, 2000));
    assert_eq!(jobs.notes[&Note::MixedTasks], 1);
    assert_eq!(parts.rows[0].memory, 29_297 * (1 << 30) / 1000);
}

fn second() -> Millis {
    Millis(1000)
}

#[test]
fn the_pools_own_journal_is_a_trace() {
    let pool = Pool::new()
        .node("a", cpus(4))
        .queue(QueueSpec::new("lab"))
        .job("whole", gang(2).runs(Millis(60_000)).queue("lab"))
        .job(
            "fails once",
            one().runs(Millis(30_000)).exits(&[Exit::Code(1), Exit::Code(0)]).retry(&[RetryOn::Failed], 1),
        )
        .job("for ever", one())
        .run(Millis(300_000))
        .job("array", one().array(3, None).runs(second()))
        .job("too big", gang(9).runs(second()))
        .run(Millis(60_000))
        .stop("too big", true)
        .run(Millis(60_000));
    let history = journal::read(Engine::new(Settings::default()), pool.journal.records.clone());
    let spans: Vec<(u64, u64, u32)> = history
        .gangs
        .iter()
        .zip(&history.rows)
        .map(|(gang, row)| (gang.job.0, row.duration_ms.unwrap(), row.tasks))
        .collect();
    assert_eq!(spans, [(1, 60_000, 2), (2, 60_000, 1), (4, 1000, 1), (4, 1000, 1), (4, 1000, 1)]);
    let why: Vec<String> = history.left_out.iter().map(|row| row.reason.to_string()).collect();
    assert_eq!(why, [LeftOut::NeverRan.to_string(), LeftOut::NotEnded.to_string()]);
    assert_eq!((history.nodes.len(), history.queues.len(), history.refused), (1, 1, 0));
    let jobs = journal::jobs("mine", &history);
    assert_eq!((jobs.workload.jobs.len(), jobs.left_out.len()), (5, 2));
    assert_eq!(jobs.workload.queues[jobs.workload.jobs[0].queue as usize].as_str(), "lab");
    let mut file = Vec::new();
    history::write(&jobs, &mut file).unwrap();
    let again = history::jobs_of("x", &history::read(file.as_slice()));
    assert_eq!((again.workload, again.cluster), (jobs.workload, jobs.cluster));
}

fn sample() -> Jobs {
    let reading = helios::jobs_of(HELIOS.as_bytes());
    write::in_order(&helios::jobs("h", &reading, &[], 0, helios::Pooling::Pooled))
}

#[test]
fn what_is_written_is_read_back() {
    let jobs = sample();
    let mut file = Vec::new();
    history::write(&jobs, &mut file).unwrap();
    let mut again = history::jobs_of("", &history::read(file.as_slice()));
    assert_eq!(again.left_out, []);
    (again.left_out, again.notes) = (jobs.left_out.clone(), jobs.notes.clone());
    assert_eq!(again, jobs);
    let mut files = [("helios", Vec::new()), ("sacct", Vec::new())];
    write::helios(&jobs, &mut files[0].1).unwrap();
    write::sacct(&jobs, &mut files[1].1).unwrap();
    for (format, file) in files {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, packed(&file)).unwrap();
        let loaded = open(&path, None).unwrap();
        fs::write(&path, zstd::encode_all(file.as_slice(), 1).unwrap()).unwrap();
        let zstd = open(&path, Some(loaded.format)).unwrap();
        assert_eq!((zstd.rows, zstd.into_jobs()), (loaded.rows, loaded.clone().into_jobs()));
        assert_eq!(loaded.format.name(), format);
        let again = loaded.into_jobs().unwrap();
        let key = |jobs: &Jobs| -> Vec<_> {
            let line = |job: &pond_sim::workload::SimJob| {
                (
                    job.id,
                    job.submit,
                    job.duration,
                    job.ending,
                    jobs.workload.devices_milli(job),
                    jobs.starts[&job.id],
                )
            };
            jobs.workload.jobs.iter().map(line).collect()
        };
        assert_eq!(key(&again), key(&jobs), "{format}");
    }
}

#[test]
fn a_file_of_another_format_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let path = file("log.csv", HELIOS.as_bytes());
    let why = open(&path, Some(Format::Sacct)).unwrap_err().to_string();
    assert!(why.contains("is not sacct: expected a header with `JobID` and `State`"), "{why}");
    assert!(why.contains("found `\u{feff}job_id,user") || why.contains("found `job_id,user"), "{why}");
    assert!(why.ends_with("it looks like helios"), "{why}");
    let path = file("noise", b"\x7fELF something else\n");
    let why = open(&path, None).unwrap_err().to_string();
    assert!(why.contains("is no trace that is known") && why.contains("helios"), "{why}");
    assert!(matches!(open(&folder.path().join("gone"), None), Err(TraceError::Read { .. })));
    let path = file("bad.csv", b"name,cpu_milli,memory_mib,num_gpu,gpu_milli\na,1,1,1,1\n");
    let why = open(&path, None).unwrap_err().to_string();
    assert!(why.contains("no usable row of openb; 1 rows are bad, the first: line 2"), "{why}");
    for format in Format::ALL {
        assert_eq!(format.name().parse(), Ok(format));
    }
    assert!("slrm".parse::<Format>().unwrap_err().to_string().contains("sacct"));
}

#[test]
fn a_file_cut_short_is_an_error_with_what_was_read() {
    let mut text = "job_id,submit_time,gpu_num,duration\n".to_owned();
    for id in 0..20_000_u32 {
        text.push_str(&format!(
            "{id},2020-04-01 00:02:{:02},1,{}\n",
            id % 60,
            id.wrapping_mul(2_654_435_761) >> 8
        ));
    }
    let packed = packed(text.as_bytes());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.csv.gz");
    fs::write(&path, &packed[..packed.len() / 2]).unwrap();
    let Err(TraceError::Broken { broken, loaded }) = open(&path, None) else { panic!("it is cut") };
    assert!(loaded.rows > 5000 && loaded.rows < 15_000, "{}", loaded.rows);
    assert!(broken.line >= loaded.rows, "{broken}");
    let Content::Jobs(jobs) = loaded.content else { panic!() };
    assert_eq!(jobs.workload.jobs.len() as u64, loaded.rows);
}

/// Every reader on the same bytes; what they give is not looked at, only that they come back.
fn read_all(bytes: &[u8]) -> usize {
    let (header, log) = swf::read(bytes);
    let accounts = slurm::jobs_of(bytes);
    let clusters = helios::jobs_of(bytes);
    let lives = openb::lives(bytes);
    let (pai_jobs, pai_tasks) = (pai::job_rows(bytes), pai::task_rows(bytes));
    let nodes = openb::nodes(bytes).rows;
    let parts = helios::partitions(bytes).rows;
    let parts: Vec<_> = parts.into_iter().filter(|part| part.nodes < 1000).collect();
    let rows = requests::mooncake(bytes).rows;
    let series = serving::values(bytes).rows;
    let jobs = [
        swf::jobs("", &header, &log, swf::Layout::Flat),
        slurm::jobs("", &accounts),
        helios::jobs("", &clusters, &parts, 0, helios::Pooling::Apart),
        openb::jobs("", &lives, &[]),
        philly::jobs("", &philly::jobs_of(bytes), &[]),
        pai::jobs("", &pai_jobs, &pai_tasks, &[]),
        serving::jobs("", &serving::instances(bytes)),
        history::jobs_of("", &history::read(bytes)),
    ];
    let speeds = gavel::read(bytes).map_or(0, |gavel| gavel.profiles.len());
    let archive = pollux::archive(bytes).map_or(0, |archive| archive.profiles().len());
    let total: usize = jobs.iter().map(|jobs| jobs.workload.jobs.len()).sum();
    let others = [
        speeds,
        archive,
        nodes.len(),
        requests::azure(bytes).rows.len(),
        requests::rates(&rows, 1000).len(),
        serving::totals(&series, 1000).len(),
        interference::pairs(bytes).rows.len(),
        pollux::steps(bytes).rows.len(),
        pai::machine_rows(bytes).rows.len(),
        pai::instance_rows(bytes).rows.len(),
        philly::machines(bytes).rows.len(),
        usize::from(detect(bytes).is_some()),
    ];
    total + others.iter().sum::<usize>()
}

/// Texts that are nearly right: lines of the formats with pieces cut, doubled and exchanged.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let seeds = vec![
        HELIOS.to_owned(),
        SACCT.to_owned(),
        "; MaxNodes: 4\n; MaxProcs: 16\n1 0 5 100 8 -1 -1 8 200 1024 1 3 1 -1 1 -1 -1 -1\n".to_owned(),
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\na,1,1,1,500,A|B,LS,Running,0,99999,7\n".to_owned(),
        "{\"timestamp\": 0, \"input_length\": 6758, \"output_length\": 500, \"hash_ids\": [0, 1]}\n".to_owned(),
        "[{\"jobid\":\"a\",\"attempts\":[{\"start_time\":\"2017-10-07 01:12:00\",\"end_time\":\"2017-10-07 01:13:00\",\"detail\":[{\"gpus\":[\"a\"]}]}],\"submitted_time\":\"2017-10-07 01:11:39\"}]".to_owned(),
        "{\"job\":{\"id\":1,\"submit_ms\":5,\"duration_ms\":7,\"user\":\"u\",\"shapes\":[{\"cpu_milli\":1000,\"devices\":[{\"count\":2}]}]}}\n".to_owned(),
        "j1,i1,u1,Terminated,100.0,300.0\n".to_owned(),
        "j1,worker,2.0,Terminated,106.0,300.0,400.0,10,50.0,T4\n".to_owned(),
    ];
    let odd = prop::sample::select(vec![
        "18446744073709551615",
        "-9223372036854775808",
        "1e308",
        "-1",
        "0",
        "99999999999999999999",
        "\"",
        "|",
        ",",
        "\n",
        "\r",
        "NaN",
        "2020-02-30 00:00:00",
        "9999-12-31 23:59:59",
        "9-99:99:99",
        "\u{feff}",
        "{",
        "}",
        "4294967295",
    ]);
    (
        prop::sample::select(seeds),
        prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, odd), 0..6),
    )
        .prop_map(|(text, edits)| {
            let mut bytes = text.into_bytes();
            for (at, length, piece) in edits {
                let at = at.index(bytes.len() + 1);
                let end = (at + length).min(bytes.len());
                bytes.splice(at..end, piece.bytes());
            }
            bytes
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read_all(&bytes);
        if let Ok(mut whole) = unpack(bytes.as_slice()) {
            let mut unpacked = Vec::new();
            // A broken pack is an error, not a panic.
            let read = std::io::Read::read_to_end(&mut whole, &mut unpacked);
            prop_assert!(read.is_err() || read.is_ok_and(|count| count == unpacked.len()));
        }
    }

    #[test]
    fn nearly_right_texts_come_back(bytes in nearly()) {
        read_all(&bytes);
    }

    #[test]
    fn swf_round_trip(rows in prop::collection::vec((0_u64..1_000_000, 0_u64..5000, 0_u64..100_000, 1_u32..64, 0_u64..200_000, 0_u32..3, 0_u32..20), 1..40)) {
        let mut text = "; MaxNodes: 16\n; MaxProcs: 64\n".to_owned();
        for (id, (submit, wait, run, processors, limit, status, user)) in (1_u64..).zip(rows) {
            let status = [1, 0, 5][status as usize];
            text.push_str(&format!("{id} {submit} {wait} {run} {processors} -1 -1 {processors} {limit} -1 {status} {user} -1 -1 {} -1 -1 -1\n", user % 3));
        }
        let load = |text: &str| {
            let (header, reading) = swf::read(text.as_bytes());
            prop_assert_eq!(&reading.bad, &[]);
            Ok(write::in_order(&swf::jobs("swf", &header, &reading, swf::Layout::Nodes)))
        };
        let first = load(&text)?;
        let mut written = Vec::new();
        write::swf(&first, &mut written).unwrap();
        let second = load(&String::from_utf8(written).unwrap())?;
        prop_assert_eq!(&second.workload.jobs.iter().map(|job| (job.id, job.submit, job.duration, job.limit, job.size, job.shape, job.ending)).collect::<Vec<_>>(),
            &first.workload.jobs.iter().map(|job| (job.id, job.submit, job.duration, job.limit, job.size, job.shape, job.ending)).collect::<Vec<_>>());
        prop_assert_eq!(second.workload.queues, first.workload.queues);
        prop_assert_eq!(second.starts, first.starts);
        prop_assert_eq!(second.cluster, first.cluster);
    }
}
