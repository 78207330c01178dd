//! Traces as they are found: in folders with other things beside them, in tar files, exported by a spreadsheet, cut short,
//! with words for what is missing.

use flate2::Compression;
use flate2::write::GzEncoder;
use pond_core::units::Millis;
use pond_sim::trace::{
    BadRow, Format, Jobs, Loaded, Note, Options, TraceError, helios, open, open_with, openb, pai, philly,
    requests, slurm, swf,
};
use pond_sim::workload::Ending;
use std::fs;
use std::path::{Path, PathBuf};

fn told(bad: &[BadRow]) -> Vec<String> {
    bad.iter().map(ToString::to_string).collect()
}

/// A packed tar file.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *bytes).expect("memory takes it");
    }
    archive.into_inner().and_then(GzEncoder::finish).expect("memory takes it")
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).expect("the folder takes it");
    path
}

fn jobs(path: &Path) -> Jobs {
    open(path, None).map(Loaded::into_jobs).expect("a trace").expect("with jobs")
}

const PAI_JOBS: &str = "j1,i1,u1,Terminated,4550879.0,4551416.0\nj2,i2,u2,Failed,4550900.0,4551000.0\n\
    j1,i1,u1,Terminated,4550879.0,4551416.0\n";
const PAI_TASKS: &str = "j1,tensorflow,1.0,Terminated,4550880.0,4551416.0,600.0,29.296875,50.0,MISC\n\
    j2,worker,2.0,Failed,4550901.0,4551000.0,400.0,10,200.0,V100\n";

#[test]
fn tables_of_pai_lie_beside_their_headers_or_are_packed_one_by_one() {
    let plain = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("pai_job_table.csv", PAI_JOBS),
        ("pai_task_table.csv", PAI_TASKS),
        ("pai_job_table.header", "job_name,inst_id,user,status,start_time,end_time\n"),
        ("README.md", "# Trace data\n"),
    ] {
        write(plain.path(), name, text);
    }
    let packed = tempfile::tempdir().unwrap();
    for (name, table, text) in [
        ("pai_job_table.tar.gz", "pai_job_table.csv", PAI_JOBS),
        ("pai_task_table.tar.gz", "pai_task_table.csv", PAI_TASKS),
    ] {
        write(packed.path(), name, tar(&[(table, text.as_bytes())]));
    }
    let (first, second) = (jobs(plain.path()), jobs(packed.path()));
    assert_eq!(first.workload.jobs.len(), 2);
    assert_eq!(told(&first.left_out), ["line 3: an earlier row has the same number or name"]);
    assert_eq!(first, second);
}

#[test]
fn hours_of_pai_are_those_of_shanghai() {
    let jobs =
        pai::jobs("p", &pai::job_rows(PAI_JOBS.as_bytes()), &pai::task_rows(PAI_TASKS.as_bytes()), &[]);
    // 4,550,879 s after 1970 it was 16:07:59 in Greenwich, and eight minutes past midnight there.
    assert_eq!(jobs.workload.jobs[0].submit.0, 7 * 60_000 + 59_000);
    assert_eq!(jobs.zero_ms.unwrap() % 86_400_000, 0);
}

const PHILLY: &str = r#"[
{"status": "Pass", "vc": null, "jobid": "a_1", "user": null, "submitted_time": "2017-10-07 01:11:39",
 "attempts": [{"start_time": null, "end_time": null, "detail": null},
  {"start_time": "2017-10-07 01:12:09", "end_time": "2017-10-07 01:13:09", "detail": [{"ip": "m1", "gpus": ["gpu0", "gpu1"]}]}]},
{"status": "Killed", "vc": "v", "jobid": "a_2", "user": "u", "submitted_time": "2017-10-07 01:11:39", "attempts": null},
{"status": "Evaporated", "vc": "v", "jobid": "a_3", "user": "u", "submitted_time": "2017-10-07 01:11:39",
 "attempts": [{"start_time": "2017-10-07 01:12:09", "end_time": "2017-10-07 01:13:09", "detail": [{"ip": "m1", "gpus": ["gpu0"]}]}]},
{"status": "Pass", "vc": "v", "jobid": "a_1", "user": "u", "submitted_time": "2017-10-07 01:11:39", "attempts": []},
{"status": "Pass", "vc": "v", "jobid": "a_4",
 "attempts": [{"start_time": 7}]}
]
"#;

#[test]
fn what_philly_does_not_know_is_null() {
    let reading = philly::jobs_of(PHILLY.as_bytes());
    assert_eq!(
        told(&reading.bad),
        ["line 9: not an entry of this format: invalid type: integer `7`, expected a string, in its line 2"]
    );
    let jobs = philly::jobs("p", &reading, &[]);
    assert_eq!(
        told(&jobs.left_out),
        ["line 5: the job never ran", "line 8: an earlier row has the same number or name"]
    );
    assert_eq!((jobs.workload.jobs.len(), jobs.notes[&Note::UnknownState]), (2, 1));
    assert_eq!(jobs.workload.queues[0].as_str(), "default");
}

#[test]
fn a_tar_file_is_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let machines = "machineId,number of GPUs, single GPU mem\nm1,8, 24GB\nm2,2, 12GB\n";
    let files: [(&str, &[u8]); 4] = [
        ("trace-data/._cluster_job_log", b"\0\x05\x16\x07\0"),
        ("trace-data/cluster_gpu_util", b"time,machineId,gpu0_util\n2017-10-03 00:08:00 PDT,m29,60.8\n"),
        ("trace-data/cluster_machine_list", machines.as_bytes()),
        ("trace-data/cluster_job_log", PHILLY.as_bytes()),
    ];
    let path = write(folder.path(), "trace-data.tar.gz", tar(&files));
    let loaded = open(&path, None).unwrap();
    assert_eq!(loaded.format, Format::Philly);
    assert_eq!(loaded.bad[0].0, path.join("trace-data/cluster_job_log"));
    let jobs = loaded.into_jobs().unwrap();
    assert_eq!((jobs.workload.name.as_str(), jobs.workload.jobs.len()), ("cluster_job_log", 2));
    let devices: Vec<usize> = jobs.cluster.nodes.iter().map(|node| node.devices.len()).collect();
    assert_eq!(devices, [8, 2]);
    // A table in it may be packed once more, and the file may lie in a folder with others.
    let inner = tar(&[("cluster_job_log.gz", &{
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        std::io::Write::write_all(&mut packer, PHILLY.as_bytes()).unwrap();
        packer.finish().unwrap()
    })]);
    fs::remove_file(&path).unwrap();
    write(folder.path(), "inner.tar.gz", inner);
    write(folder.path(), "notes.txt", "hello\n");
    assert_eq!(self::jobs(folder.path()).workload.jobs.len(), 2);
}

const HELIOS: &str = "job_id,user,vc,gpu_num,cpu_num,node_num,state,submit_time,start_time,end_time,duration,queue\n\
    1,u1,vcA,8,32,1,COMPLETED,2020-04-01 00:02:31,2020-04-01 00:02:41,2020-04-01 01:02:41,3600,10\n\
    2,u2,vcB,16,64,2,SUSPENDED,2020-04-01 00:03:00,2020-04-01 00:03:00,2020-04-01 00:04:00,60,0\n\
    3,u2,vcB,1,6,1,VANISHED,2020-04-01 00:05:00,2020-04-01 00:05:00,2020-04-01 00:06:00,60,0\n\
    4,u2,vcB,8,48,1,FAILED,2020-04-01 00:06:00,2020-04-01 00:06:00,2020-04-01 10:06:00,36000,0\n";

#[test]
fn tables_out_of_spreadsheets_have_semicolons_or_tabs() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "log.csv", HELIOS);
    let plain = jobs(&path);
    for separator in [";", "\t"] {
        fs::write(&path, HELIOS.replace(',', separator)).unwrap();
        assert_eq!(jobs(&path), plain, "{separator:?}");
    }
}

#[test]
fn a_row_that_the_file_ends_in_is_not_taken_for_shorter_than_it_was() {
    let cut = HELIOS.trim_end().strip_suffix("00,0").unwrap();
    let reading = helios::jobs_of(cut.as_bytes());
    assert_eq!(told(&reading.bad), ["line 5: the file ends within this row"]);
    // The last row may lack its line's end, and a row that is whole may have fewer columns than the header.
    let whole = HELIOS.trim_end();
    assert_eq!(helios::jobs_of(whole.as_bytes()).bad, []);
    let narrow = format!("{cut}00\n");
    assert_eq!(helios::jobs_of(narrow.as_bytes()).rows[3].duration_ms, Some(36_000_000));
}

#[test]
fn states_of_helios_that_are_no_end_or_not_known() {
    let jobs = helios::jobs("h", &helios::jobs_of(HELIOS.as_bytes()), &[], 0, helios::Pooling::Pooled);
    assert_eq!(told(&jobs.left_out), ["line 3: the job had not ended"]);
    assert_eq!((jobs.workload.jobs.len(), jobs.notes[&Note::UnknownState]), (3, 1));
    // One job of eight devices and one of one at once, then two of eight: three nodes never, two sometimes.
    let devices: Vec<usize> = jobs.cluster.nodes.iter().map(|node| node.devices.len()).collect();
    assert_eq!((devices, jobs.notes[&Note::MadeUpMachines]), (vec![8, 8], 1));
    // A count among dates is no moment of 1970.
    let text = HELIOS.replace("FAILED,2020-04-01 00:06:00", "FAILED,36000000");
    let jobs = helios::jobs("h", &helios::jobs_of(text.as_bytes()), &[], 0, helios::Pooling::Pooled);
    assert_eq!(
        told(&jobs.left_out),
        ["line 3: the job had not ended", "line 5: the job's times are not known"]
    );
    assert_eq!(jobs.workload.jobs.len(), 2);
}

const SACCT: &str = "JobIDRaw|User|Partition|Submit|Start|End|Elapsed|Timelimit|State|NNodes|NCPUS|AllocTRES\n\
    7|ann|cpu|2026-03-01T10:00:00|2026-03-01T10:01:00|2026-03-01T10:02:00|00:01:00|Partition+|NODE_FAIL|1|4|\n\
    8|bob|cpu|2026-03-01T10:00:00|2026-03-01T10:01:00|2026-03-01T10:02:00|00:01:00|01:00:00|REQUEUED|1|4|\n\
    7|ann|cpu|2026-03-01T10:02:00|2026-03-01T10:05:00|2026-03-01T10:35:00|00:30:00|01:00:00|REQUEUED|1|4|\n\
    7|ann|cpu|2026-03-01T10:35:00|2026-03-01T11:00:00|2026-03-01T11:10:00|00:10:00|01:00:00|COMPLETED|1|4|\n\
    7|ann|cpu|2026-03-01T10:35:00|2026-03-01T11:00:00|2026-03-01T11:10:00|00:10:00|01:00:00|COMPLETED|1|4|\n\
    8|eve|cpu|2026-03-01T12:00:00|2026-03-01T12:01:00|2026-03-01T12:02:00|00:01:00|01:00:00|COMPLETED|1|4|\n\
    9|bob|cpu|2026-03-01T10:00:00|2026-03-01T10:01:00|2026-03-01T10:02:00|00:01:00|01:00:00|PREEMPTED|1|4|\n\
    9|bob|cpu|2026-03-01T10:02:00|2026-03-01T10:05:00|Unknown|00:30:00|01:00:00|RUNNING|1|4|\n";

#[test]
fn attempts_of_a_job_that_slurm_queued_again_are_one_job() {
    let reading = slurm::jobs_of(SACCT.as_bytes());
    assert_eq!(reading.bad, []);
    let jobs = slurm::jobs("s", &reading);
    // The second row of 8 is somebody else's job under the same number, and the first had not ended.
    assert_eq!(
        told(&jobs.left_out),
        [
            "line 3: the job had not ended",
            "line 6: an earlier row has the same number or name",
            "line 9: the job had not ended"
        ]
    );
    let [seven, eight] = jobs.workload.jobs.as_slice() else { panic!("{:?}", jobs.workload.jobs) };
    assert_eq!((seven.id, seven.duration, seven.ending), (7, Millis(41 * 60_000), Ending::Completed));
    assert_eq!(jobs.starts[&7].0 - seven.submit.0, 60_000);
    assert_eq!((eight.id, eight.duration), (8, Millis(60_000)));
    assert_eq!(jobs.notes[&Note::Attempts], 1);
}

#[test]
fn nobody_ran_for_a_century() {
    let text = HELIOS.replace(",36000,", ",9000000000000000,");
    let jobs = helios::jobs("h", &helios::jobs_of(text.as_bytes()), &[], 0, helios::Pooling::Pooled);
    assert_eq!(
        told(&jobs.left_out),
        ["line 3: the job had not ended", "line 5: it ran for more than a hundred years"]
    );
}

/// As Slurm 21.08 prints it, and as 23.11 does.
const SACCT_JSON: &str = r#"{
 "meta": {"plugin": {"name": "jobs", "type": "openapi"}, "Slurm": {"release": "21.08", "words": ["jobs", {"jobs": []}]}},
 "errors": [],
 "jobs": [
  {"account": "phys", "allocation_nodes": 2, "array": {"job_id": 0, "task_id": null}, "job_id": 11, "user": "ann", "partition": "gpu",
   "state": {"current": "COMPLETED", "reason": "None"}, "steps": [{"time": {"elapsed": 3}}],
   "time": {"elapsed": 3600, "eligible": 1772359200, "start": 1772359260, "submission": 1772359200, "end": 1772362860, "limit": 120},
   "tres": {"allocated": [{"type": "cpu", "name": null, "id": 1, "count": 64}, {"type": "mem", "name": null, "id": 2, "count": 16384},
    {"type": "node", "name": null, "id": 4, "count": 2}, {"type": "gres", "name": "gpu", "id": 1001, "count": 8}, {"type": "gres", "name": "gpu:a100", "id": 1002, "count": 8}],
    "requested": []}},
  {"allocation_nodes": 1, "job_id": 12, "user": "bob", "partition": "cpu", "state": {"current": ["FAILED", "REQUEUED"]},
   "time": {"elapsed": 60, "start": 1772359260, "submission": 1772359200, "eligible": -1, "limit": {"set": true, "infinite": true, "number": 0}},
   "tres": {"allocated": [{"type": "cpu", "name": "", "count": 4}]}},
  {"allocation_nodes": 4294967294, "job_id": 13, "user": "bob", "state": {"current": ["CANCELLED"]}, "time": {"elapsed": 0, "start": 0, "submission": 1772359200},
   "tres": {"allocated": [], "requested": [{"type": "cpu", "count": {"set": true, "infinite": false, "number": 4}}]}},
  {"allocation_nodes": 1, "job_id": "14", "state": {"current": ["FAILED"]}, "time": {}}
 ],
 "warnings": [{"jobs": [1]}]
}
"#;

#[test]
fn what_sacct_prints_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "log.json", SACCT_JSON);
    let loaded = open(&path, None).unwrap();
    assert_eq!(loaded.format, Format::Sacct);
    let bad: Vec<BadRow> = loaded.bad.iter().map(|(_, row)| row.clone()).collect();
    assert_eq!(
        told(&bad),
        ["line 16: not an entry of this format: invalid type: string \"14\", expected u64, at its column 38"]
    );
    let jobs = loaded.into_jobs().unwrap();
    assert_eq!(told(&jobs.left_out), ["line 14: the job never ran"]);
    let [first, second] = jobs.workload.jobs.as_slice() else { panic!("{:?}", jobs.workload.jobs) };
    let shape = &jobs.workload.shapes[first.shape as usize][0];
    assert_eq!((first.id, first.size.min, shape.request.cpu.0, shape.devices[0].count), (11, 2, 32_000, 4));
    assert_eq!((shape.request.memory.0, shape.devices[0].model.as_deref()), (8 << 30, Some("a100")));
    assert_eq!((first.duration, first.limit), (Millis(3_600_000), Some(Millis(7_200_000))));
    assert_eq!((second.id, second.ending, second.limit), (12, Ending::Failed, None));
    assert_eq!(jobs.starts[&11].0 - first.submit.0, 60_000);
    let cut = SACCT_JSON.find("  {\"allocation_nodes\": 4").unwrap();
    fs::write(&path, &SACCT_JSON[..cut]).unwrap();
    let Err(TraceError::Broken { broken, loaded }) = open(&path, None) else { panic!("it is cut") };
    assert_eq!((broken.why.as_str(), loaded.rows), ("the list `jobs` is not closed", 2));
}

#[test]
fn attempts_of_a_job_are_one_job_as_json_too() {
    let entry = |state: &str, start: u64| {
        format!(
            "{{\"allocation_nodes\": 1, \"job_id\": 7, \"user\": \"ann\", \"state\": {{\"current\": {state}}}, \"time\": {{\"elapsed\": 60, \
            \"start\": {start}, \"submission\": 1772359200}}, \"tres\": {{\"allocated\": [{{\"type\": \"cpu\", \"count\": 4}}]}}}}"
        )
    };
    let (first, second) =
        (entry("[\"FAILED\", \"REQUEUED\"]", 1_772_359_260), entry("[\"COMPLETED\"]", 1_772_359_560));
    // Some editors put a byte order mark in front.
    let text = format!("\u{feff}{{\"jobs\": [{first}, {second}]}}\n");
    let reading = slurm::jobs_of(text.as_bytes());
    assert_eq!(reading.bad, []);
    let jobs = slurm::jobs("s", &reading);
    assert_eq!(told(&jobs.left_out), [""; 0]);
    let [job] = jobs.workload.jobs.as_slice() else { panic!("{:?}", jobs.workload.jobs) };
    assert_eq!((job.id, job.duration, job.ending), (7, Millis(120_000), Ending::Completed));
}

#[test]
fn a_tar_file_that_is_cut_short_gives_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = String::from(HELIOS);
    let row = HELIOS.lines().last().unwrap();
    for at in 0..20_000 {
        rows.push_str(&row.replacen(row.split(',').next().unwrap(), &(100 + at).to_string(), 1));
        rows.push('\n');
    }
    let whole = tar(&[("log.csv", rows.as_bytes())]);
    let path = write(folder.path(), "log.tar.gz", &whole[..whole.len() / 2]);
    let Err(TraceError::Broken { loaded, .. }) = open(&path, None) else { panic!("it is cut") };
    assert!((1_000..20_000).contains(&loaded.rows), "{}", loaded.rows);
}

#[test]
fn a_job_on_gpus_of_two_models_asks_for_none() {
    let text = "JobIDRaw|State|Submit|Start|Elapsed|NNodes|AllocTRES\n\
        1|COMPLETED|2026-03-01T10:00:00|2026-03-01T10:00:00|00:10:00|2|cpu=8,gres/gpu:a100=2,gres/gpu:v100=4,node=2\n";
    let jobs = slurm::jobs("s", &slurm::jobs_of(text.as_bytes()));
    let devices = &jobs.workload.shapes[0][0].devices;
    assert_eq!((devices[0].count, devices[0].model.as_deref()), (3, None));
}

#[test]
fn what_sacct_prints_unless_told_otherwise_has_no_times() {
    let folder = tempfile::tempdir().unwrap();
    let text = "JobID           JobName  Partition    Account  AllocCPUS      State ExitCode \n\
        ------------ ---------- ---------- ---------- ---------- ---------- -------- \n\
        12                train        gpu       phys          4  COMPLETED      0:0 \n\
        12.batch          batch                  phys          4  COMPLETED      0:0 \n";
    let why = open(&write(folder.path(), "log", text), None).unwrap_err().to_string();
    assert!(why.ends_with("2 rows are bad, the first: line 3: the row has no column `Elapsed`"), "{why}");
}

#[test]
fn comments_of_a_log_may_be_in_another_code() {
    let mut text = b"; Installation: Z\xfcrich\n; MaxNodes: 2\n".to_vec();
    text.extend_from_slice(
        b"1 0 5 100 1 -1 -1 1 200 -1 1 3 1 -1 1 -1 -1 -1\n-1 M\xfcller 5\n-7 0 5 100 1 -1 -1 1 200 -1 1\n",
    );
    let (header, reading) = swf::read(text.as_slice());
    assert_eq!((header.nodes, reading.rows.len()), (Some(2), 1));
    assert_eq!(
        told(&reading.bad),
        [
            "line 4: the line is not text",
            "line 5: column `job number` holds `-7`, which is not a number of 0 or more"
        ]
    );
}

#[test]
fn words_for_nothing_in_pods_and_nodes() {
    let nodes = "sn,cpu_milli,memory_mib,gpu,model\nn0,32000,262144,0,nan\nn1,64000,262144,2,T4\n";
    let pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n\
        p0,1000,1024,1,500,nan,BE,Succeeded,0,100,10\n\
        p1,1000,1024,1,500,T4|V100M16,BE,Pending,0,100,nan\n\
        p0,1000,1024,1,500,,BE,Succeeded,0,100,10\n";
    let jobs = openb::jobs("o", &openb::lives(pods.as_bytes()), &openb::nodes(nodes.as_bytes()).rows);
    let [job] = jobs.workload.jobs.as_slice() else { panic!("{:?}", jobs.left_out) };
    assert_eq!(jobs.workload.shapes[job.shape as usize][0].devices[0].model, None);
    assert_eq!(
        told(&jobs.left_out),
        ["line 3: the job never ran", "line 4: an earlier row has the same number or name"]
    );
}

#[test]
fn a_file_packed_or_coded_otherwise_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for (bytes, then) in [
        (b"\xfd7zXZ\0\0\x04".as_slice(), "is packed with xz, which is not read; unpack it with `unxz` first"),
        (b"BZh91AY&SY", "is packed with bzip2, which is not read; unpack it with `bunzip2` first"),
        (b"PK\x03\x04\x14\0", "is a zip file, which is not read; unpack it with `unzip` first"),
        (
            b"\xff\xfej\0o\0b\0",
            "is text in UTF-16, which is not read; make it UTF-8 with `iconv -f UTF-16 -t UTF-8` first",
        ),
    ] {
        let path = write(folder.path(), "log", bytes);
        for format in [None, Some(Format::Helios)] {
            let why = open(&path, format).unwrap_err().to_string();
            assert!(why.ends_with(then), "{why}");
        }
        let why = open(folder.path(), None).unwrap_err().to_string();
        assert!(why.ends_with(then), "{why}");
    }
}

#[test]
fn other_files_of_a_folder_do_no_harm_and_several_traces_are_named() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a_broken.gz", b"\x1f\x8b\x08\0garbage");
    assert!(matches!(open(folder.path(), None), Err(TraceError::Read { .. })));
    write(folder.path(), "log.csv", HELIOS);
    assert_eq!(jobs(folder.path()).workload.jobs.len(), 3);
    write(folder.path(), "more.csv", HELIOS);
    let why = open(folder.path(), None).unwrap_err().to_string();
    assert!(
        why.ends_with("holds 2 traces where one was looked for (log.csv, more.csv); name the file"),
        "{why}"
    );
}

#[test]
fn a_file_that_has_no_machines_is_not_replaced_by_made_up_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "log.csv", HELIOS);
    let options = |name: &str| Options { machines: Some(folder.path().join(name)), ..Options::default() };
    let why = open_with(&path, None, &options("log.csv")).unwrap_err().to_string();
    assert!(why.contains("log.csv has no machine of helios; 4 rows are bad, the first: line 2"), "{why}");
    write(folder.path(), "empty.csv", "");
    let why = open_with(&path, None, &options("empty.csv")).unwrap_err().to_string();
    assert!(why.contains("empty.csv has no machine of helios; no row is in it"), "{why}");
    std::fs::write(folder.path().join("packed.csv"), b"\xfd7zXZ\0rest").unwrap();
    let why = open_with(&path, None, &options("packed.csv")).unwrap_err().to_string();
    assert!(why.contains("packed with xz") && why.contains("unxz"), "{why}");
    let Err(TraceError::Read { path, .. }) = open_with(&path, None, &options("gone")) else {
        panic!("it is not there")
    };
    assert!(path.ends_with("gone"));
}

#[test]
fn where_a_line_of_json_is_wrong_is_told_within_it() {
    let reading = requests::mooncake(b"{\"timestamp\": 1, \"input_length\": \"many\"}\n".as_slice());
    assert_eq!(
        told(&reading.bad),
        [
            "line 1: not an entry of this format: invalid type: string \"many\", expected u32, at its column 39"
        ]
    );
}

#[test]
fn a_pipe_gives_all_its_rows() {
    // More than is looked at to tell the format, and nothing in its rows that would tell of a lost beginning.
    let rows: String =
        (1..=5000).map(|id| format!("{id} {id} 0 60 1 -1 -1 1 90 -1 1 1 1 -1 1 -1 -1 -1\n")).collect();
    let log = format!("; MaxProcs: 7\n{rows}");
    let (reader, mut writer) = std::io::pipe().unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader)));
    let writes = std::thread::spawn(move || std::io::Write::write_all(&mut writer, log.as_bytes()).unwrap());
    let jobs = jobs(&path);
    writes.join().unwrap();
    assert_eq!(jobs.workload.jobs.len(), 5000);
    assert_eq!(
        jobs.cluster.nodes.iter().map(|node| node.capacity.cpu.0).sum::<u64>(),
        7000,
        "its header, too"
    );
}

#[test]
fn what_lies_beside_a_trace_and_cannot_be_read_is_told_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let told = |path: &Path| {
        let loaded = open(path, None).unwrap();
        loaded.passed_over.iter().map(ToString::to_string).collect::<Vec<String>>()
    };
    write(folder.path(), "log.csv", HELIOS);
    write(folder.path(), "README.md", "# not a part\n");
    assert_eq!(told(folder.path()), Vec::<String>::new());
    write(folder.path(), "cluster_gpu_number.csv.gz", b"\x1f\x8b\x08\0garbage");
    write(folder.path(), "vc.csv.bz2", b"BZh91AY");
    let [broken, foreign] = told(folder.path()).try_into().unwrap();
    assert!(broken.starts_with(&at("cluster_gpu_number.csv.gz cannot be read (")), "{broken}");
    assert_eq!(
        foreign,
        at("vc.csv.bz2 is packed with bzip2, which is not read; unpack it with `bunzip2` first")
    );
    // A part that is whole at its begin alone, and is no part that is known.
    let mut cut = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut cut, b"what,ever\n1,2\n").unwrap();
    let mut cut = cut.finish().unwrap();
    cut.truncate(cut.len() - 9);
    write(folder.path(), "half.csv.gz", cut);
    assert_eq!(told(folder.path()).len(), 3);
}

#[test]
fn what_of_a_tar_file_cannot_be_read_is_told_too() {
    let folder = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 3] = [
        ("t/log.csv", HELIOS.as_bytes()),
        ("t/vc.csv.xz", b"\xfd7zXZ\0rest"),
        ("t/vc.csv.gz", b"\x1f\x8b\x08\0no"),
    ];
    let path = write(folder.path(), "t.tar", tar(&files));
    let loaded = open(&path, None).unwrap();
    let told: Vec<String> = loaded.passed_over.iter().map(ToString::to_string).collect();
    let inside = |name: &str| path.join("t").join(name).display().to_string();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        told[0],
        inside("vc.csv.xz is packed with xz, which is not read; unpack it with `unxz` first")
    );
    assert!(told[1].starts_with(&inside("vc.csv.gz cannot be read (")), "{told:?}");
    // With nothing else in it, that is why there is no trace.
    let path = write(folder.path(), "u.tar", tar(&files[1..]));
    assert!(matches!(open(&path, None), Err(TraceError::Foreign { .. })));
}

#[test]
fn rows_are_told_by_the_file_they_are_in() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "pods.csv",
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,qos,pod_phase,creation_time,deletion_time,scheduled_time\np,1,1,0,0,LS,Running,0,9,1\np,1,1,0,0,LS,Running,0,9,1\nq,1,1,0,0,LS,Running,0,,1\n",
    );
    write(folder.path(), "nodes.csv", "sn,cpu_milli,memory_mib,gpu,model\nn,1000,1000,0,\nn,1000,1000,0,\n");
    let loaded = open(folder.path(), None).unwrap();
    let told: Vec<(String, Vec<String>)> = loaded
        .by_file()
        .into_iter()
        .map(|(path, kinds)| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, kinds.iter().map(ToString::to_string).collect())
        })
        .collect();
    let double = "an earlier row has the same number or name";
    assert_eq!(told[0].0, "pods.csv");
    assert_eq!(
        told[0].1,
        [format!("1 × like line 3: {double}"), "1 × like line 4: the job had not ended".to_owned()]
    );
    assert_eq!(told[1], ("nodes.csv".to_owned(), vec![format!("1 × like line 3: {double}")]));
}

#[test]
fn memory_of_sacct_is_for_each_cpu_or_node_of_any_column() {
    let memory = |nodes: &str, cpus: &str, asked: &str, tres: &str| {
        let text = format!(
            "JobID|State|Submit|Elapsed|{nodes}|{cpus}|ReqMem|AllocTRES\n7|COMPLETED|2021-02-03T09:59:00|01:00:00|2|16|{asked}|{tres}\n"
        );
        let reading = slurm::jobs_of(text.as_bytes());
        assert_eq!(told(&reading.bad), [""; 0]);
        reading.rows[0].memory >> 30
    };
    assert_eq!(memory("NNodes", "NCPUS", "4Gc", ""), 64);
    assert_eq!(memory("AllocNodes", "AllocCPUS", "16Gn", ""), 32);
    assert_eq!(memory("NNodes", "NCPUS", "16G", ""), 16);
    assert_eq!(memory("NNodes", "NCPUS", "4Gc", "cpu=8,node=1"), 64, "the larger of both");
    assert_eq!(memory("NNodes", "NCPUS", "4Gc", "cpu=8,mem=5G,node=1"), 5, "what it got");
}

#[test]
fn sacct_cuts_states_and_writes_large_counts_in_short() {
    let text = "JobID|State|Submit|Elapsed|AllocNodes|NCPUS|ReqGRES\n\
        1|REQUEUE_H+|2021-02-03T09:59:00|01:00:00|1|1|\n2|CONFIGURI+|2021-02-03T09:59:00|01:00:00|1|1|\n\
        3|SPECIAL_E+|2021-02-03T09:59:00|01:00:00|1|1|\n4|OUT_OF_ME+|2021-02-03T09:59:00|01:00:00|2K|4096|PER_NODE:gpu:2\n\
        5|COMPLET+|2021-02-03T09:59:00|01:00:00|1|1|PER_JOB:gpu:v100:3\n6|CANCELLED by 7|2021-02-03T09:59:00|01:00:00|2.50K|1|\n";
    let reading = slurm::jobs_of(text.as_bytes());
    assert_eq!(told(&reading.bad), [""; 0]);
    let ends: Vec<(Option<Ending>, bool)> =
        reading.rows.iter().map(|job| (job.ending, job.strange)).collect();
    let (failed, cancelled) = (Some(Ending::Failed), Some(Ending::Cancelled));
    // What is cut so far that it may go on or have ended is taken to have ended, and told.
    let either = (Some(Ending::Completed), true);
    assert_eq!(
        ends,
        [(None, false), (None, false), (failed, false), (failed, false), either, (cancelled, false)]
    );
    assert!(reading.rows[0].again);
    let sizes: Vec<(u32, u32)> = reading.rows[3..].iter().map(|job| (job.nodes, job.gpus)).collect();
    assert_eq!(sizes, [(2048, 4096), (1, 3), (2560, 0)]);
    assert_eq!(reading.rows[4].model.as_deref(), Some("v100"));
}

#[test]
fn a_log_that_names_no_machine_gets_the_smallest_that_could_have_run_it() {
    // Two of 4 processors at once, a third after them.
    let log = "1 0 0 100 4 -1 -1 4 200 -1 1 1 1 -1 -1 -1 -1 -1\n2 0 10 100 4 -1 -1 4 200 -1 1 1 1 -1 -1 -1 -1 -1\n\
        3 50 60 100 6 -1 -1 6 200 -1 1 1 1 -1 -1 -1 -1 -1\n4 0 0 900 50 -1 -1 50 200 -1 3 1 1 -1 -1 -1 -1 -1\n";
    let (header, reading) = swf::read(log.as_bytes());
    for layout in [swf::Layout::Nodes, swf::Layout::Flat] {
        let jobs = swf::jobs("s", &header, &reading, layout);
        let cores: u64 = jobs.cluster.nodes.iter().map(|node| node.capacity.cpu.0 / 1000).sum();
        assert_eq!((cores, jobs.notes[&Note::MadeUpMachines]), (8, 1), "{layout:?}");
    }
}

#[test]
fn a_mistyped_name_in_our_own_form_is_told() {
    let text = "{\"head\":{\"name\":\"x\"}}\n{\"job\":{\"id\":1,\"submit\":5,\"duration_ms\":9}}\n\
        {\"job\":{\"id\":2,\"duration_ms\":9,\"shapes\":[{\"gpus\":4}]}}\n\
        {\"job\":{\"id\":3,\"duration_ms\":9,\"shapes\":[{\"devices\":[{\"modle\":\"A100\"}]}]}}\n";
    let reading = pond_sim::trace::history::read(text.as_bytes());
    let told = told(&reading.bad);
    assert_eq!((reading.rows.len(), told.len()), (1, 3));
    for (told, name) in told.iter().zip(["submit", "gpus", "modle"]) {
        assert!(told.contains(&format!("unknown field `{name}`")), "{told}");
    }
}
