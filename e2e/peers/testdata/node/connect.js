// The test service of this package with @connectrpc/connect-node. doc.go says what it does.
import http2 from "node:http2";
import { create, createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import {
  BytesValueSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
  FileDescriptorProtoSchema,
  file_google_protobuf_any as any,
  file_google_protobuf_wrappers as wrappers,
} from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { flags, wait, write } from "./call.js";

// connect needs messages that it knows. The messages of the tests are BytesValue.
const value = ".google.protobuf.BytesValue";
const method = (name, clientStreaming, serverStreaming) => ({ name, inputType: value, outputType: value, clientStreaming, serverStreaming });
const dependencies = { [wrappers.proto.name]: wrappers, [any.proto.name]: any };
const registry = createFileRegistry(
  create(FileDescriptorProtoSchema, {
    name: "peers.proto",
    package: "peers",
    syntax: "proto3",
    dependency: [wrappers.proto.name, any.proto.name],
    service: [
      {
        name: "Peer",
        method: [method("Unary", false, false), method("Download", false, true), method("Upload", true, false), method("Chat", true, true)],
      },
    ],
    messageType: [
      {
        name: "Status", // google.rpc.Status without what its other fields say
        field: [{ name: "details", number: 3, label: Label.REPEATED, type: Type.MESSAGE, typeName: ".google.protobuf.Any" }],
      },
    ],
  }),
  (name) => dependencies[name],
);

// details are those of a google.rpc.Status.
function details(bytes) {
  const schema = registry.getMessage("peers.Status");
  return fromBinary(schema, bytes).details.map((detail) => ({ type: detail.typeUrl.split("/").pop(), value: detail.value }));
}

class Call {
  constructor(context) {
    this.context = context;
    this.id = this.get("x-id") ?? "";
    write("start", this.id);
    context.signal.addEventListener("abort", () => this.ended || write("cancelled", this.id));
    for (const fields of [context.responseHeader, context.responseTrailer]) {
      context.requestHeader.forEach((value, name) => {
        if (name.startsWith("x-echo-")) fields.set(name, value);
      });
    }
  }

  get(name) {
    return this.context.requestHeader.get(name) ?? undefined;
  }

  bytes(name) {
    return Buffer.from(this.get(name) ?? "", "base64");
  }

  number(name) {
    return Number(this.get(name) ?? 0);
  }

  // end waits as long as the call says, and throws its error.
  async end(messages) {
    this.context.responseTrailer.set("x-messages", String(messages));
    if (await wait(this.number("x-wait-ms"), () => this.context.signal.aborted)) {
      throw ConnectError.from(this.context.signal.reason);
    }
    this.ended = true;
    write("end", this.id);
    const code = this.number("x-code");
    if (code === 0) return;
    const error = new ConnectError(this.bytes("x-message-bin").toString(), code, this.context.responseTrailer);
    error.details = details(this.bytes("x-details-bin"));
    throw error;
  }
}

async function unary(request, context) {
  await new Call(context).end(1);
  return request;
}

async function* download(request, context) {
  const call = new Call(context);
  for (let i = call.number("x-times"); i > 0; i--) yield request;
  await call.end(1);
}

async function upload(requests, context) {
  const call = new Call(context);
  let messages = 0;
  let last = create(BytesValueSchema);
  for await (const message of requests) {
    messages++;
    last = message;
  }
  await call.end(messages);
  return last;
}

async function* chat(requests, context) {
  const call = new Call(context);
  let messages = 0;
  for await (const message of requests) {
    messages++;
    yield message;
  }
  await call.end(messages);
}

const routes = (router) => router.service(registry.getService("peers.Peer"), { unary, download, upload, chat });
const settings = Number(flags.streams) > 0 ? { maxConcurrentStreams: Number(flags.streams) } : {};
const adapter = connectNodeAdapter({ routes, readMaxBytes: Number(flags["max-message"]) });
const server = http2.createServer({ settings }, adapter);
const sessions = new Set();
server.on("session", (session) => {
  sessions.add(session);
  session.on("close", () => sessions.delete(session));
});
server.listen(Number(flags.port), "127.0.0.1");
process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  for (const session of sessions) session.close(); // with GOAWAY, after the streams
});
