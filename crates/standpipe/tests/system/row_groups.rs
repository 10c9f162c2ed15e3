//! Files that are made of many parts, encoded at once: read by another reader, they are as if made of one.

use serde_json::json;

use crate::formats::{download, duckdb};
use crate::lake::Lake;
use crate::support::{SOON, all_settled, start};
use crate::transform::put;

#[test]
fn a_file_of_many_row_groups_has_its_rows_in_order_and_says_where_they_are_from() {
    const ROWS: u64 = 5_000;
    let lake = Lake::with(&["lake"]);
    let daemon = start(format!(
        r#"stores: {{ lake: {store} }}
schemas: {{ lake.events: {{ columns: {{ id: bigint, text: string }} }} }}
streams:
  - name: events
    format: {{ parquet: {{ schema: lake.events, row_group_rows: 400 }} }}
    destination:
      s3: {{ bucket: lake, prefix: events/, error_output_prefix: errors/, buffering: {{ size: 64MiB, interval: 5s }} }}
"#,
        store = lake.yaml()
    ));
    for first in (0..ROWS).step_by(250) {
        let text = "x".repeat(700);
        let rows = first..first + 250;
        put(&daemon, "events", rows.map(|id| format!("{{\"id\":{id},\"text\":\"{text}\"}}").into_bytes()));
    }
    assert_eq!(all_settled(&daemon, "events", SOON).delivered, ROWS);
    let folder = tempfile::tempdir().unwrap();
    download(&lake, "", folder.path());
    let keys = lake.keys("lake");
    for key in &keys {
        // The file's rows as they stand in it, beside what its head says of them.
        let file = folder.path().join(key);
        let rows = duckdb("SELECT id FROM read_parquet('{}') ORDER BY file_row_number", &file);
        let ids: Vec<u64> = rows.as_array().unwrap().iter().map(|row| row[0].as_u64().unwrap()).collect();
        let head = "SELECT decode(key), decode(value) FROM parquet_kv_metadata('{}') \
                    WHERE decode(key) LIKE 'standpipe.%' ORDER BY 1";
        let head = duckdb(head, &file);
        let (first, last) = (ids[0], ids[ids.len() - 1]);
        assert_eq!(ids, (first..=last).collect::<Vec<_>>(), "{key}");
        assert_eq!(head[0][0], "standpipe.batch", "{head}");
        let rest = json!([
            ["standpipe.first-position", first.to_string()],
            ["standpipe.last-position", last.to_string()],
            ["standpipe.stream", "events"],
            ["standpipe.version", "1"],
        ]);
        assert_eq!(head.as_array().unwrap()[1..], *rest.as_array().unwrap());
        let groups =
            "SELECT max(row_group_num_rows), count(DISTINCT row_group_id) FROM parquet_metadata('{}')";
        let groups = duckdb(groups, &file);
        assert!(groups[0][0].as_u64().unwrap() <= 400, "{groups}");
        assert!(groups[0][1].as_u64().unwrap() >= ids.len() as u64 / 400, "{groups}");
    }
    assert!(keys.len() < 5, "files are large enough to have several row groups: {keys:?}");
}
