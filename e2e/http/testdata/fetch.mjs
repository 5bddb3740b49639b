// What Node's fetch sees of the gateway at the address in argv[2], as JSON on stdout.
const base = process.argv[2];
const results = {};

const unary = await fetch(base + "/v1/echo/a%2Fb?count=3");
results.unary = (await unary.json()).request;

const missing = await fetch(base + "/v1/nowhere");
results.missing = { status: missing.status, body: await missing.json() };

async function* lines(stream) {
  let rest = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    rest += chunk;
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
      yield rest.slice(0, end);
      rest = rest.slice(end + 1);
    }
  }
  if (rest) yield rest;
}

const stream = await fetch(base + "/v1/stream/1000?script.fail_code=9&script.fail_message=late&script.fail_after=500");
results.numbers = 0;
for await (const line of lines(stream.body)) {
  const message = JSON.parse(line);
  if (message.error) results.error = message.error;
  else if (message.number === results.numbers + 1) results.numbers++;
}

const upload = await fetch(base + "/v1/collect", {
  method: "POST",
  duplex: "half",
  headers: { "Content-Type": "application/x-ndjson" },
  body: new ReadableStream({
    start(controller) {
      for (const text of ["a", "b", "c"]) controller.enqueue(new TextEncoder().encode(JSON.stringify({ text }) + "\n"));
      controller.close();
    },
  }),
});
results.upload = (await upload.json()).text;

const leaving = new AbortController();
const left = await fetch(base + "/v1/stream", {
  method: "POST",
  signal: leaving.signal,
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ count: 2, script: { interval: "300s" } }),
});
await left.body.getReader().read();
leaving.abort();

const array = await fetch(base + "/v1/stream/5?script.fail_code=9&script.fail_after=2", { headers: { Accept: "application/json" } });
results.array = await array.json().then(() => "parsed", () => "rejected");

console.log(JSON.stringify(results));
