#!/usr/bin/env bash
# run.sh BINARY: starts standpipe with a folder as its store, sends it a file of flights and shows what was delivered.
# KEEP=1 leaves it running.
set -euo pipefail

binary=$(realpath "$1")
flights=$(realpath "$(dirname "$0")/../data/flights.ndjson")
rows=$(wc -l <"$flights")
dir=$(mktemp -d "${TMPDIR:-/tmp}/standpipe-demo.XXXXXX")
daemon=

clean_up() {
    local status=$?
    trap - EXIT
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    [ -z "$daemon" ] || wait "$daemon" 2>/dev/null || true
    rm -rf "$dir"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

give_up() {
    echo "$1 The log:" >&2
    tail -n 30 "$dir/log" >&2
    exit 1
}

# until_true SECONDS COMMAND...: polls until the command succeeds, the daemon ends or time runs out.
until_true() {
    local tries=$(($1 * 10))
    shift
    until "$@"; do
        kill -0 "$daemon" 2>/dev/null || give_up "standpipe ended."
        [ $((tries -= 1)) -gt 0 ] || return 1
        sleep 0.1
    done
}

objects() { find "$dir/delivered" -type f -name '*.gz' 2>/dev/null | sort; }
delivered() { objects | xargs -r gzip -dc 2>/dev/null | wc -l; }
all_delivered() { [ "$(delivered)" -ge "$rows" ]; }
address() { sed -nE "s/.*\"$1\" *: *\"([^\"]+)\".*/\1/p" "$dir/data/endpoints.json" 2>/dev/null; }
listens() { [ -n "$(address listen)" ]; }

export STANDPIPE_ACCESS_KEY_ID=demo STANDPIPE_SECRET_ACCESS_KEY=demo-secret
cat >"$dir/standpipe.yaml" <<YAML
listen: 127.0.0.1:0
admin: 127.0.0.1:0
region: us-east-1
account_id: "000000000000"
data_dir: ./data
credentials:
  - access_key_id: demo
    secret_access_key: demo-secret
stores:
  disk: { type: file, path: ./delivered }
default_store: disk
streams:
  - name: flights
    destination:
      s3:
        store: disk
        bucket: lake
        prefix: "flights/!{timestamp:yyyy/MM/dd}/"
        error_output_prefix: "errors/!{firehose:error-output-type}/"
        compression: gzip
        delimiter: newline
        buffering: { size: 256KiB, interval: 3s }
YAML

# In a session of its own, so that Ctrl-C reaches this script alone and a kept daemon survives the terminal.
setsid "$binary" serve --config "$dir/standpipe.yaml" >"$dir/log" 2>&1 </dev/null &
daemon=$!
until_true 10 listens || give_up "standpipe did not start."
endpoint=http://$(address listen)
echo "standpipe listens on $endpoint; a batch closes after 3 seconds or 256 KiB."

"$binary" put --endpoint "$endpoint" --stream flights "$flights"
echo "Sent $rows flights. Waiting for their objects ..."
until_true 12 all_delivered || give_up "Only $(delivered) of $rows flights were delivered."

echo "Delivered $(delivered) flights in $(objects | wc -l) objects:"
objects | while read -r object; do
    printf '%8d bytes  %s\n' "$(stat -c %s "$object")" "${object#"$dir/delivered/"}"
done
echo "The first lines of the first:"
gzip -dc "$(objects | head -n1)" | head -n3 || [ $? = 141 ]

if [ "${KEEP:-}" = 1 ]; then
    cat <<TEXT

standpipe runs on as process $daemon in $dir; admin: http://$(address admin)/metrics. To try:
  export AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo-secret AWS_DEFAULT_REGION=us-east-1 AWS_ENDPOINT_URL=$endpoint
  aws firehose put-record --delivery-stream-name flights --record Data=aGVsbG8K
  python3 -c 'import boto3; print(boto3.client("firehose").put_record(DeliveryStreamName="flights", Record={"Data": b"hello"}))'
To stop it: kill $daemon; rm -r $dir
TEXT
    trap - EXIT
fi
