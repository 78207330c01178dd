//! The Helios traces (Hu et al., "Characterization and Prediction of Deep Learning Workloads in Large-Scale
//! GPU Datacenters", SC 2021) in the two shapes they are passed around in.

use super::{BadRow, BadRowReason, Reading, TraceJob};
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

struct Row<'a> {
    header: &'a csv::StringRecord,
    record: &'a csv::StringRecord,
}

impl Row<'_> {
    fn text(&self, column: &'static str) -> Result<&str, BadRowReason> {
        let at = self.header.iter().position(|name| name == column);
        at.and_then(|at| self.record.get(at)).ok_or(BadRowReason::Missing(column))
    }

    fn parsed<T: std::str::FromStr>(
        &self,
        column: &'static str,
        wanted: &'static str,
    ) -> Result<T, BadRowReason> {
        let text = self.text(column)?.trim();
        text.parse().map_err(|_why| BadRowReason::Malformed { column, text: text.to_owned(), wanted })
    }

    fn number(&self, column: &'static str) -> Result<u64, BadRowReason> {
        self.parsed(column, "a whole number of 0 or more")
    }

    fn signed(&self, column: &'static str) -> Result<i64, BadRowReason> {
        self.parsed(column, "a whole number")
    }

    fn small(&self, column: &'static str) -> Result<u32, BadRowReason> {
        self.parsed(column, "a count of at most 4,294,967,295")
    }

    /// Seconds that may be written with a decimal point (`46520.0`); a fraction of a second is refused.
    fn whole_seconds(&self, column: &'static str) -> Result<u64, BadRowReason> {
        let text = self.text(column)?.trim();
        let malformed =
            || BadRowReason::Malformed { column, text: text.to_owned(), wanted: "a whole number of seconds" };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.bytes().any(|digit| digit != b'0') {
            return Err(malformed());
        }
        whole.parse().map_err(|_why| malformed())
    }
}

fn read(input: impl Read, job: impl Fn(&Row) -> Result<TraceJob, BadRowReason>) -> Reading<TraceJob> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).flexible(true).from_reader(input);
    let mut reading = Reading { rows: Vec::new(), bad: Vec::new() };
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(why) => {
            reading.bad.push(BadRow { line: 1, reason: BadRowReason::NotCsv(why.to_string()) });
            return reading;
        }
    };
    for result in reader.records() {
        match result {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                match job(&Row { header: &header, record: &record }) {
                    Ok(row) => reading.rows.push(row),
                    Err(reason) => reading.bad.push(BadRow { line, reason }),
                }
            }
            Err(why) => {
                let line = why.position().map_or(0, csv::Position::line);
                let fatal = why.is_io_error();
                reading.bad.push(BadRow { line, reason: BadRowReason::NotCsv(why.to_string()) });
                if fatal {
                    break;
                }
            }
        }
    }
    reading
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
