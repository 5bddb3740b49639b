// The test service of this package with @grpc/grpc-js. doc.go says what it does.
import grpc from "@grpc/grpc-js";
import { flags, wait, write } from "./call.js";

class Call {
  constructor(call) {
    this.call = call;
    this.id = this.get("x-id") ?? "";
    write("start", this.id);
    const header = this.echo();
    call.sendMetadata(header);
  }

  get(name) {
    return this.call.metadata.get(name)[0];
  }

  number(name) {
    return Number(this.get(name) ?? 0);
  }

  echo() {
    const echo = new grpc.Metadata();
    for (const name of Object.keys(this.call.metadata.getMap())) {
      if (name.startsWith("x-echo-")) {
        for (const value of this.call.metadata.get(name)) echo.add(name, value);
      }
    }
    return echo;
  }

  // end waits as long as the call says. It returns an error or undefined, and the trailer.
  async end(messages) {
    const trailer = this.echo();
    trailer.set("x-messages", String(messages));
    const cancelled = await wait(this.number("x-wait-ms"), () => this.call.cancelled);
    write(cancelled ? "cancelled" : "end", this.id);
    const code = this.number("x-code");
    if (code === 0) return [undefined, trailer];
    if (this.get("x-details-bin")) trailer.set("grpc-status-details-bin", this.get("x-details-bin"));
    return [{ code, details: this.get("x-message-bin")?.toString() ?? "", metadata: trailer }, trailer];
  }

  // finish ends a call that streams its answer.
  async finish(messages) {
    const [error, trailer] = await this.end(messages);
    if (error) this.call.emit("error", error);
    else this.call.end(trailer);
  }
}

async function unary(call, answer) {
  const [error, trailer] = await new Call(call).end(1);
  answer(error, call.request, trailer);
}

async function download(stream) {
  const call = new Call(stream);
  for (let i = call.number("x-times"); i > 0 && !stream.cancelled; i--) {
    if (!stream.write(stream.request)) await new Promise((done) => stream.once("drain", done).once("cancelled", done));
  }
  await call.finish(1);
}

// read calls take with each message, and resolves at the end of the request. A loop with "for await"
// would destroy the stream at its end.
function read(stream, take) {
  return new Promise((done) => {
    stream.on("data", take);
    stream.on("end", done);
    stream.on("cancelled", done);
    stream.on("error", done);
  });
}

async function upload(stream, answer) {
  const call = new Call(stream);
  let messages = 0;
  let last = Buffer.alloc(0);
  await read(stream, (message) => {
    messages++;
    last = message;
  });
  const [error, trailer] = await call.end(messages);
  answer(error, last, trailer);
}

async function chat(stream) {
  const call = new Call(stream);
  let messages = 0;
  await read(stream, (message) => {
    messages++;
    stream.write(message);
  });
  await call.finish(messages);
}

const bytes = { requestSerialize: (b) => b, requestDeserialize: (b) => b, responseSerialize: (b) => b, responseDeserialize: (b) => b };
const method = (name, requestStream, responseStream) => ({ path: "/peers.Peer/" + name, requestStream, responseStream, ...bytes });
const options = { "grpc.max_receive_message_length": Number(flags["max-message"]), "grpc.max_send_message_length": -1 };
if (Number(flags.streams) > 0) options["grpc.max_concurrent_streams"] = Number(flags.streams);
const server = new grpc.Server(options);
server.addService(
  {
    unary: method("Unary", false, false),
    download: method("Download", false, true),
    upload: method("Upload", true, false),
    chat: method("Chat", true, true),
  },
  { unary, download, upload, chat },
);
server.bindAsync("127.0.0.1:" + flags.port, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
process.on("SIGTERM", () => server.tryShutdown(() => process.exit(0)));
