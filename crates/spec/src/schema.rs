//! The JSON Schema of the job file, from the same types that read it.

use crate::jobfile::JobFile;
use schemars::Schema;
use serde_json::{Value, json};

/// The JSON Schema (2020-12) of one document of a job file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(JobFile).to_value();
    // `queue` is an alias that serde reads and schemars does not see.
    if let Some(properties) = schema.pointer_mut("/properties").and_then(Value::as_object_mut) {
        let queue = json!({ "type": ["string", "null"], "description": "Another word for `project`." });
        properties.insert("queue".to_owned(), queue);
    }
    schema
}

/// Keys that start with `x-` are ignored wherever unknown ones are refused.
pub(crate) fn allow_ignored(schema: &mut Schema) {
    if let Some(object) = schema.as_object_mut() {
        object.insert("patternProperties".to_owned(), json!({ "^x-": true }));
    }
}
