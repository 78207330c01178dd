//! Nothing is lost on the way in: every line is a job, told with its reason, or no row at all; and what Slurm prints in all its manners.

use pond_sim::simulator::{Control, SimSettings, simulate};
use pond_sim::trace::{Content, Format, Jobs, Loaded, Note, TraceError, open, slurm};
use pond_sim::workload::Ending;
use proptest::prelude::*;
use std::fs;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Job,
    Bad,
    Silent,
}

const JOB: Kind = Kind::Job;
const BAD: Kind = Kind::Bad;
const SILENT: Kind = Kind::Silent;

/// Lines of three formats, each with what it is; `N` stands for a number of its own.
const SWF: &[(Kind, &str)] = &[
    (JOB, "N 10 5 100 8 -1 -1 8 200 -1 1 3 1 -1 1 -1 -1 -1"),
    (JOB, "N\t-10\t5\t1.5\t-1\t-1\t-1\t8\t-1\t-1\t0\t3\t1\t-1\t1\t-1\t-1\t-1"),
    (JOB, "  N 10 5 100 8 -1 -1 8 200 -1 1"),
    (BAD, "N 10 -1 -1 8 -1 -1 8 200 -1 5 3 1 -1 1 -1 -1 -1"),
    (BAD, "N 10 5 100 4294967295 -1 -1 8 200 -1 1 3 1 -1 1 -1 -1 -1"),
    (BAD, "N 99999999999999999999 5 100 8 -1 -1 8 200 -1 1 3 1 -1 1 -1 -1 -1"),
    (BAD, "N 10 five 100 8 -1 -1 8 200 -1 1 3 1 -1 1 -1 -1 -1"),
    (BAD, "N"),
    (BAD, "0 10 5 100 8 -1 -1 8 200 -1 1 3 1 -1 1 -1 -1 -1 77"),
    (SILENT, "; a comment"),
    (SILENT, ""),
    (SILENT, "   "),
];
const SACCT: &[(Kind, &str)] = &[
    (
        JOB,
        "N|COMPLETED|2024-05-01T10:00:00|2024-05-01T10:01:00|01:00:00|4|cpu=4,gres/gpu:a100=2,gres/gpu=2,mem=62.50G,node=1",
    ),
    (JOB, "N_7|CANCELLED by 0|2024-05-01T10:00:00|2024-05-01T10:01:00|1-01:00:00|4|"),
    (JOB, "N+1|NEVER_HEARD_OF|2024-05-01T10:00:00|2024-05-01T10:01:00|02:00|4|"),
    (BAD, "N.batch|COMPLETED|2024-05-01T10:00:00|2024-05-01T10:01:00|01:00:00|4|"),
    (BAD, "N|PENDING|2024-05-01T10:00:00|Unknown|00:00:00|4|"),
    (BAD, "N|COMPLETED|2024-05-01T10:00:00|2024-05-01T09:01:00|01:00:00|4|"),
    (BAD, "N|COMPLETED|2024-05-01T10:00:00|2024-05-01T10:01:00|01:00:00|4|gres/gpu=4294967295"),
    (BAD, "N|COMPLETED|01/05/2024|2024-05-01T10:01:00|01:00:00|4|"),
    (BAD, "N|a|name|COMPLETED|2024-05-01T10:00:00|2024-05-01T10:01:00|01:00:00|4|"),
    (BAD, "words"),
    (SILENT, ""),
];
const HELIOS: &[(Kind, &str)] = &[
    (JOB, "N,ann,8,COMPLETED,2020-04-01 00:02:31,60"),
    (JOB, "N,\"ann, \"\"b\"\"\",1.0,FAILED,2020-04-01T00:02:31Z,60.5"),
    (BAD, "N,ann,8,CANCELLED,2020-04-01 00:02:31,0"),
    (BAD, "N,ann,4294967295,COMPLETED,2020-04-01 00:02:31,60"),
    (BAD, "N,ann,8,COMPLETED,2020-04-01 00:02:31,-60"),
    (BAD, "N,ann,8,COMPLETED,4/1/2020,60"),
    (BAD, "N,ann,8"),
    (BAD, "N,ann,8,COMPLETED,2020-04-01 00:02:31,60,more,and more"),
    (SILENT, "# a comment"),
    (SILENT, ""),
];

/// A file: its format, its header, its lines.
fn files() -> impl Strategy<Value = (Format, Vec<u8>, usize, usize)> {
    let one = |format: Format, header: &'static str, lines: &'static [(Kind, &'static str)]| {
        (prop::collection::vec(prop::sample::select(lines), 0..40), any::<bool>(), any::<bool>()).prop_map(
            move |(lines, carriage, mark)| {
                let end = if carriage { "\r\n" } else { "\n" };
                let mut text = format!("{}{header}{end}", if mark { "\u{feff}" } else { "" });
                for (at, (_, line)) in (1000..).zip(&lines) {
                    text.push_str(&line.replacen('N', &at.to_string(), 1));
                    text.push_str(end);
                }
                let of = |kind: Kind| lines.iter().filter(|(of, _)| *of == kind).count();
                (format, text.into_bytes(), of(JOB), of(BAD))
            },
        )
    };
    prop_oneof![
        one(Format::Swf, "; MaxProcs: 64", SWF),
        one(Format::Sacct, "JobID|State|Submit|Start|Elapsed|NCPUS|AllocTRES", SACCT),
        one(Format::Helios, "job_id,user,gpu_num,state,submit_time,duration", HELIOS),
    ]
}

fn load(bytes: &[u8], format: Option<Format>) -> Result<Loaded, TraceError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    fs::write(&path, bytes).expect("a file");
    open(&path, format)
}

fn jobs(loaded: Loaded) -> Jobs {
    loaded.into_jobs().expect("jobs")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn every_line_is_a_job_or_told_or_no_row((format, bytes, good, bad) in files()) {
        let loaded = match load(&bytes, Some(format)) {
            Ok(loaded) => loaded,
            Err(TraceError::Nothing { count, .. }) => {
                prop_assert!(good == 0 && count <= bad, "{count} of {bad}");
                return Ok(());
            }
            Err(why) => return Err(TestCaseError::fail(why.to_string())),
        };
        let told: u64 = loaded.summary().iter().map(|tally| tally.count).sum();
        let jobs = jobs(loaded);
        prop_assert_eq!((jobs.workload.jobs.len(), told), (good, bad as u64), "{:?}", jobs.left_out);
        prop_assert!(jobs.workload.jobs.is_sorted_by_key(|job| (job.submit, job.id)));
        let outcome = simulate(&jobs.cluster, &jobs.workload, &SimSettings::default(), &mut |_| Control::Go);
        prop_assert!(outcome.is_ok_and(|outcome| outcome.counts.violations == 0));
    }
}

const COLUMNS: &str = "\
JobID           JobName      State              Submit               Start    Elapsed  AllocCPUS  AllocTRES
------------ ---------- ---------- ------------------- ------------------- ---------- ---------- ----------
12345              bash  COMPLETED 2024-05-01T10:00:00 2024-05-01T10:01:00   01:00:00          4
12345.batch       batch  COMPLETED 2024-05-01T10:01:00 2024-05-01T10:01:00   01:00:00          4
12346_7        tra in+  CANCELLED+ 2024-05-01T10:00:00 2024-05-01T10:02:00   01:59:00          8
12347              bash  COMPLETED 2024-05-01T10:00:00 2024-05-01T10:02:00   01:59:00          8 billing=8+
";

#[test]
fn what_sacct_shows_people_is_read_by_its_dashes_and_what_it_cut_is_told() {
    let loaded = load(COLUMNS.as_bytes(), None).unwrap();
    let told: Vec<String> = loaded.summary().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "1 × like line 4: a part of a job that has a row of its own",
            "1 × like line 6: column `AllocTRES` holds `billing=8+`, which is not whole: `sacct` cut it to the width of its column"
        ]
    );
    let jobs = jobs(loaded);
    let [first, second] = jobs.workload.jobs.as_slice() else { panic!("{:?}", jobs.workload.jobs) };
    assert_eq!((first.id, first.ending), (12_345, Ending::Completed));
    assert_eq!((second.id, second.ending), (1_000_012_346_000_007, Ending::Cancelled));
    assert_eq!((second.duration.0, jobs.starts[&second.id].0), (7_140_000, 36_120_000));
}

#[test]
fn states_in_all_their_spellings() {
    let ends = |state: &str| {
        let text = format!("JobID|State|Start|ElapsedRaw|NCPUS\n1|{state}|2024-05-01T10:00:00|60|1\n");
        let row = &slurm::jobs_of(text.as_bytes()).rows[0];
        (row.ending, row.strange)
    };
    for state in
        ["PREEMPTED", "TIMEOUT", "NODE_FAIL", "OUT_OF_ME+", "DEADLINE", "BOOT_FAIL", "failed", "SPECIAL_EXIT"]
    {
        assert_eq!(ends(state), (Some(Ending::Failed), false), "{state}");
    }
    for state in ["REQUEUED", "REQUEUE_HOLD", "RUNNING", "CG", "STOPPED", "SUSPENDED"] {
        assert_eq!(ends(state), (None, false), "{state}");
    }
    assert_eq!(ends("CANCELLED by 1003"), (Some(Ending::Cancelled), false));
    assert_eq!(ends("EATEN"), (Some(Ending::Completed), true));
    let text = "JobID|State|Start|ElapsedRaw|NCPUS\n1|EATEN|2024-05-01T10:00:00|60|1\n";
    let jobs = slurm::jobs("s", &slurm::jobs_of(text.as_bytes()));
    assert_eq!(jobs.notes.get(&Note::UnknownState), Some(&1));
}

#[test]
fn a_format_that_was_named_is_tried_though_the_head_does_not_look_like_it() {
    let text = b"9 10 5 100 8 -1 -1 8 soon\n1 10 5 100 8 -1 -1 8 200 -1 1 3 1 -1 1 -1 -1 -1\n";
    assert!(matches!(load(text, None), Err(TraceError::Unknown { .. })));
    let loaded = load(text, Some(Format::Swf)).unwrap();
    assert_eq!((loaded.rows, loaded.bad.len()), (1, 1));
    let why = load(b"\x7fELF\n", Some(Format::Swf)).unwrap_err().to_string();
    assert!(why.contains("is not swf: expected lines of 18 numbers"), "{why}");
    assert!(load(b"", None).unwrap_err().to_string().ends_with("is empty"));
}

#[test]
fn machines_that_none_can_be_and_names_that_are_taken_are_told() {
    let text = "{\"node\":{\"name\":\"a\",\"capacity\":{\"cpu\":99999999999999,\"memory\":1,\"disk\":0},\"devices\":[],\"labels\":{}}}\n\
        {\"node\":{\"name\":\"b\",\"capacity\":{\"cpu\":4000,\"memory\":1,\"disk\":0},\"devices\":[],\"labels\":{}}}\n\
        {\"node\":{\"name\":\"b\",\"capacity\":{\"cpu\":4000,\"memory\":1,\"disk\":0},\"devices\":[],\"labels\":{}}}\n\
        {\"job\":{\"id\":1,\"duration_ms\":5,\"shapes\":[{\"cpu_milli\":1000}],\"user\":\"u\",\"profile\":{\"speed\":{\"ranks\":[[2,1000],[1,900]]}}}}\n\
        {\"job\":{\"id\":2,\"duration_ms\":5,\"shapes\":[{\"cpu_milli\":1000}],\"user\":\"u\"}}\n";
    let loaded = load(text.as_bytes(), None).unwrap();
    assert!(matches!(loaded.content, Content::Jobs(_)));
    let jobs = jobs(loaded);
    let told: Vec<String> = jobs.left_out.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "line 1: its amounts are beyond any machine",
            "line 3: an earlier row has the same number or name",
            "line 4: its speeds are out of range or out of order"
        ]
    );
    assert_eq!((jobs.cluster.nodes.len(), jobs.workload.jobs.len()), (1, 1));
}
