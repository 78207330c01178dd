//! What holds for every text, in every format.

use pond_spec::{Context, Format, into_specs, lint, read};

/// No panic; `read` and `lint` agree; every error renders; what is read turns into jobs, and prints so that it reads
/// back as the same.
pub fn check(text: &str, name: &str, format: Format) {
    let report = lint(text, name, format);
    for error in &report.errors {
        assert!(error.report().lines().count() <= 6, "{}", error.report());
        assert!(!error.to_string().contains('\n'));
        serde_json::to_string(error).unwrap();
    }
    let reading = match read(text, name, format) {
        Err(error) => return assert_eq!(Some(&error), report.errors.first()),
        Ok(reading) => reading,
    };
    assert!(report.errors.is_empty());
    for job in &reading.jobs {
        let json = serde_json::to_string(job).unwrap();
        match read(&json, "again.json", Format::Json) {
            Ok(again) => {
                let mut again = again.jobs[0].clone();
                if job.name.is_none() {
                    again.name = None;
                }
                assert_eq!(&again, job);
            }
            // A name in `after` is of the whole file, and this is one job of it; a file at the cap grows past it.
            Err(why) => {
                let alone = !job.after.is_empty() || json.len() > pond_spec::MAX_BYTES;
                assert!(alone, "{}\n{json}", why.report());
            }
        }
    }
    let drafts = into_specs(reading.jobs, &Context::new("fuzz", "/work")).unwrap();
    for draft in drafts {
        let spec = draft.spec;
        assert!(!spec.indices.is_empty() && spec.indices.is_sorted());
        assert!(!spec.shapes.is_empty() && spec.size.min >= 1 && spec.size.min <= spec.size.max);
        for shape in &spec.shapes {
            assert!(shape.request.fits(&shape.burst));
            assert!(shape.devices.iter().all(|device| device.count >= 1));
        }
        for volume in &spec.run.volumes {
            assert!(volume.target.starts_with('/') && !volume.target.split('/').any(|part| part == ".."));
            assert!(volume.source.starts_with('/'));
        }
    }
}
