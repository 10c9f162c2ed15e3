// Events of a mobile app on their way into a warehouse: what is there for developers goes, what is nested becomes flat,
// and the app is the partition key.

import { log } from "standpipe:transform/host@1.0.0";

const text = new TextDecoder("utf-8", { fatal: true });
const bytes = new TextEncoder();

/** What becomes of one event. */
function outcome(record) {
  let event;
  try {
    event = JSON.parse(text.decode(record.data));
  } catch (error) {
    return { tag: "failed", val: `no JSON: ${error.message}` };
  }
  if (typeof event?.app !== "string" || event.app === "") {
    return { tag: "failed", val: "the event has no app" };
  }
  if (event.debug === true) {
    return { tag: "dropped" };
  }
  const { device = {}, debug, ...flat } = event;
  for (const [name, value] of Object.entries(device)) {
    flat[`device_${name}`] = value;
  }
  flat.received_at = new Date(Number(record.arrivedAt)).toISOString();
  return {
    tag: "ok",
    val: { data: bytes.encode(JSON.stringify(flat)), partitionKeys: [["app", event.app]], headers: [] },
  };
}

export function process(batch) {
  const outcomes = batch.map(outcome);
  const failed = outcomes.filter(({ tag }) => tag === "failed").length;
  if (failed > 0) {
    log("warn", `${failed} of ${batch.length} events are none`);
  }
  return outcomes;
}
