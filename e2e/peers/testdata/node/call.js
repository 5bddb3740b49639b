// What both servers of Node share: flags, the log, and waiting.
import { openSync, writeSync } from "node:fs";
import { parseArgs } from "node:util";

const option = { type: "string" };
export const { values: flags } = parseArgs({
  options: { port: option, log: option, "max-message": option, streams: option, pings: option },
});
const log = openSync(flags.log, "a", 0o600);

// write notes what happened to the call with this id.
export function write(what, id) {
  writeSync(log, `${what} ${id}\n`);
}

// wait resolves after this time, or when the call is cancelled. It says whether it was.
export async function wait(ms, cancelled) {
  for (const until = Date.now() + ms; Date.now() < until && !cancelled(); ) {
    await new Promise((done) => setTimeout(done, 5));
  }
  return cancelled();
}
