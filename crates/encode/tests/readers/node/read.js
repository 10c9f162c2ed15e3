// Reads every object of a folder the way Node programs do and compares it with its `.raw` file.
// Usage: node read.js <folder>. Objects of more than 1 GiB are left to the other readers: Node's buffers end there.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const zlib = require("node:zlib");
const fzstd = require("fzstd");
const snappy = require("kafkajs-snappy");
const yauzl = require("yauzl");

const LARGE = 2 ** 30;

function zipEntry(file) {
  return new Promise((resolve, reject) => {
    yauzl.open(file, { lazyEntries: true }, (error, archive) => {
      if (error) return reject(error);
      if (archive.entryCount !== 1) return reject(new Error(`${archive.entryCount} entries`));
      archive.on("error", reject);
      archive.on("entry", (entry) => {
        archive.openReadStream(entry, (error, stream) => {
          if (error) return reject(error);
          const pieces = [];
          stream.on("data", (piece) => pieces.push(piece));
          stream.on("error", reject);
          stream.on("end", () => {
            const data = Buffer.concat(pieces);
            if (zlib.crc32 && zlib.crc32(data) !== entry.crc32) return reject(new Error("other CRC"));
            resolve(data);
          });
        });
      });
      archive.readEntry();
    });
  });
}

const readers = {
  ".gz": async (file) => zlib.gunzipSync(fs.readFileSync(file)),
  ".zip": zipEntry,
  ".xerial": async (file) => snappy().decompress(fs.readFileSync(file)),
  ".zst": async (file) => Buffer.from(fzstd.decompress(fs.readFileSync(file))),
};

async function main(folder) {
  let checked = 0;
  for (const name of fs.readdirSync(folder).sort()) {
    const { name: stem, ext } = path.parse(name);
    const raw = path.join(folder, `${stem}.raw`);
    if (!(ext in readers) || fs.statSync(raw).size > LARGE) continue;
    const data = await readers[ext](path.join(folder, name)).catch((error) => {
      throw new Error(`${name}: ${error.stack}`);
    });
    if (!data.equals(fs.readFileSync(raw))) throw new Error(`${name}: other bytes`);
    checked += 1;
  }
  console.log(`checked ${checked}`);
}

main(process.argv[2]).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
