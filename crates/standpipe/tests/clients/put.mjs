// Puts with the AWS SDK for JavaScript v3: a text, binary data, and a batch with both; prints a JSON summary.
//
//   node put.mjs ENDPOINT STREAM [h2]
//
// With h2 it speaks HTTP/2 and nothing else.
// Run it in the folder that holds node_modules. Credentials come from the usual AWS variables.

import { createRequire } from "node:module";
import { join } from "node:path";

// The packages are looked up from the current folder, as they are installed apart from this file.
const require = createRequire(join(process.cwd(), "put.mjs"));
const { FirehoseClient, PutRecordCommand, PutRecordBatchCommand } = require("@aws-sdk/client-firehose");

const [endpoint, DeliveryStreamName, protocol] = process.argv.slice(2);
const http2 = () => new (require("@smithy/node-http-handler").NodeHttp2Handler)();
const client = new FirehoseClient({
  endpoint,
  region: process.env.AWS_REGION ?? "us-east-1",
  ...(protocol === "h2" ? { requestHandler: http2() } : {}),
});

const text = Buffer.from('{"id":"js-text","é":"ü"}\n');
const binary = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
const single = async (Data) => client.send(new PutRecordCommand({ DeliveryStreamName, Record: { Data } }));

const puts = [await single(text), await single(binary)];
const batch = [text, binary, Buffer.from("x".repeat(100_000))];
const answer = await client.send(
  new PutRecordBatchCommand({ DeliveryStreamName, Records: batch.map((Data) => ({ Data })) }),
);

console.log(
  JSON.stringify({
    recordIds: [...puts.map((put) => put.RecordId), ...answer.RequestResponses.map((entry) => entry.RecordId)],
    failedPutCount: answer.FailedPutCount,
    requestIds: [...puts, answer].map((each) => each.$metadata.requestId),
    attempts: [...puts, answer].map((each) => each.$metadata.attempts),
    sentBase64: [text, binary, ...batch].map((data) => data.toString("base64")),
  }),
);
client.destroy();
