// Makes a component of the function: `npm run build`.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const { component } = await componentize(await readFile("clean-events.js", "utf8"), {
  witPath: "wit",
  worldName: "transform",
  // Nothing but what the world has: no clock, no randomness, no files, no network.
  disableFeatures: ["random", "stdio", "clocks", "http", "fetch-event"],
});
await mkdir("build", { recursive: true });
await writeFile("build/clean-events.wasm", component);
