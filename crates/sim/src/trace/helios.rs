//! The Helios traces (Hu et al., "Characterization and Prediction of Deep Learning Workloads in Large-Scale
//! GPU Datacenters", SC 2021) in the two shapes they are passed around in.

use super::table::read;
use super::{Reading, TraceJob};
use std::io::Read;

/// Columns `job_id, submit_time, sub_rel, gpu_num, duration_s, …`: submit times already relative to the trace's epoch.
///
/// Has neither partition nor user.
pub fn relative(input: impl Read) -> Reading<TraceJob> {
    read(input, |row| {
        Ok(TraceJob {
            id: row.number("job_id")?,
            partition: String::new(),
            user: String::new(),
            submit_s: row.signed("sub_rel")?,
            duration_s: row.number("duration_s")?,
            gpus: row.small("gpu_num")?,
        })
    })
}

/// Columns `job_id, user, tenant, …, submit_time, num_chips, …, duration_s, …`: submit times in microseconds from
/// the start of a window, which stands `window_start_s` after the trace's epoch.
pub fn windowed(input: impl Read, window_start_s: i64) -> Reading<TraceJob> {
    read(input, |row| {
        Ok(TraceJob {
            id: row.number("job_id")?,
            partition: row.text("tenant")?.to_owned(),
            user: row.text("user")?.to_owned(),
            submit_s: window_start_s.saturating_add(row.signed("submit_time")?.div_euclid(1_000_000)),
            duration_s: row.whole_seconds("duration_s")?,
            gpus: row.small("num_chips")?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_rows_are_told_with_their_line() {
        let text = "# a comment\njob_id,submit_time,sub_rel,gpu_num,duration_s\n\
                    1,x,-5,8,100\n2,x,soon,8,100\n3,x,7,8\n4,x,9,1,30\n";
        let reading = relative(text.as_bytes());
        assert_eq!(
            reading.rows.iter().map(|job| (job.id, job.submit_s)).collect::<Vec<_>>(),
            [(1, -5), (4, 9)]
        );
        let told: Vec<String> = reading.bad.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "line 4: column `sub_rel` holds `soon`, which is not a whole number",
                "line 5: the row has no column `duration_s`"
            ]
        );
    }

    #[test]
    fn windowed_times_count_from_the_epoch() {
        let text = "job_id,user,tenant,class,submit_time,num_chips,duration_s\n\
                    7,u1,vcA,x,5835000000,128,24.0\n8,u1,vcA,x,1,1,2.5\n";
        let reading = windowed(text.as_bytes(), 1000);
        assert_eq!((reading.rows[0].submit_s, reading.rows[0].duration_s), (6835, 24));
        assert_eq!(reading.bad.len(), 1);
    }
}
