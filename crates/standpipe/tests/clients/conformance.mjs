// Runs steps of the conformance tables with the AWS SDK for JavaScript v3; README.md describes the lines it reads and
// writes. Run it in the folder that holds node_modules.

import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

// The packages are looked up from the current folder, as they are installed apart from this file.
const require = createRequire(join(process.cwd(), "conformance.mjs"));
const sdk = require("@aws-sdk/client-firehose");

const clients = new Map();
let attempts = 0;

function clientFor(wanted) {
  const key = JSON.stringify(wanted);
  if (!clients.has(key)) {
    const client = new sdk.FirehoseClient({
      endpoint: wanted.endpoint,
      region: "us-east-1",
      credentials: {
        accessKeyId: wanted.access_key_id,
        secretAccessKey: wanted.secret_access_key,
        ...(wanted.session_token && { sessionToken: wanted.session_token }),
      },
      ...(wanted.attempts && { maxAttempts: wanted.attempts }),
    });
    // This step of the SDK's stack runs once for each attempt.
    const count = (next) => async (args) => {
      attempts += 1;
      return next(args);
    };
    client.middlewareStack.add(count, { step: "deserialize", priority: "low", name: "count" });
    clients.set(key, client);
  }
  return clients.get(key);
}

// The only blob of the API is Data.
const withBlobs = (name, value) => (name === "Data" && typeof value === "string" ? Buffer.from(value, "base64") : value);

// Dates turn into text before JSON.stringify hands them to its replacer.
function withNumbers(name, value) {
  return this[name] instanceof Date ? this[name].getTime() / 1000 : value;
}

async function run({ client, operation, input }) {
  attempts = 0;
  try {
    const command = new sdk[`${operation}Command`](input);
    const { $metadata, ...output } = await clientFor(client).send(command);
    return { output, attempts };
  } catch (error) {
    if (attempts === 0) return { refused: String(error), attempts };
    const status = error.$metadata?.httpStatusCode;
    return { error: { code: error.name, message: error.message, status }, attempts };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await run(JSON.parse(line, withBlobs)), withNumbers));
}
