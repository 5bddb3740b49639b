// Calls the gateway from a page of another origin, with the clients that people use in browsers, and reports to the page's own server
// what came of it. The types come from a descriptor set, so that no code has to be generated.
import { create, createFileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError, Code, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import grpcWeb from "grpc-web";

const gateway = new URLSearchParams(location.search).get("gateway");
const results = [];

// attempt runs one case. What it returns is reported; what it throws, too.
async function attempt(name, fn) {
  let outcome;
  try {
    outcome = await Promise.race([
      fn(),
      new Promise((_, reject) => setTimeout(() => reject(new Error("no answer in 20 s")), 20000)),
    ]);
  } catch (e) {
    outcome = "threw " + e;
  }
  results.push({ name, outcome: String(outcome) });
}

// Instructions to the backend: metadata to send back, and how to fail.
const metadata = { headers: { "x-h": "v" }, trailers: { "x-t": "w" } };
const failure = { failCode: 9, failMessage: "nicht jetzt: ü", failBadRequest: true, trailers: { "x-t": "w" } };

async function connectClients(registry) {
  const service = registry.getService("gateway.test.v1.Echo");
  const library = registry.getService("gateway.test.v1.Library");
  const transports = {
    "connect, JSON": createConnectTransport({ baseUrl: gateway }),
    "connect, binary": createConnectTransport({ baseUrl: gateway, useBinaryFormat: true, useHttpGet: true }),
    "gRPC-Web by connect-web": createGrpcWebTransport({ baseUrl: gateway }),
  };
  for (const [name, transport] of Object.entries(transports)) {
    const echo = createClient(service, transport);
    await attempt(name + ": unary", async () => {
      const seen = {};
      const answer = await echo.unary({ text: "hi", script: metadata }, {
        headers: { "x-custom": "c" },
        onHeader: (h) => (seen.header = h.get("x-h")),
        onTrailer: (t) => (seen.trailer = t.get("x-t")),
      });
      return [answer.text, answer.metadata["x-custom"], seen.header, seen.trailer].join(" ");
    });
    await attempt(name + ": stream", async () => {
      const texts = [];
      for await (const answer of echo.serverStream({ text: "s", count: 3 })) texts.push(answer.text);
      return texts.join(" ");
    });
    await attempt(name + ": error", async () => {
      try {
        await echo.unary({ script: failure });
      } catch (e) {
        const err = ConnectError.from(e);
        return [Code[err.code], err.rawMessage, err.details.length, err.metadata.get("x-t")].join("; ");
      }
      return "no error";
    });
    await attempt(name + ": method without side effects", async () =>
      (await createClient(library, transport).getBook({ name: "shelves/1/books/1" })).title);
  }
}

async function grpcWebClients(registry) {
  const request = registry.getMessage("gateway.test.v1.EchoRequest");
  const response = registry.getMessage("gateway.test.v1.EchoResponse");
  const method = (name, type) => new grpcWeb.MethodDescriptor(
    "/gateway.test.v1.Echo/" + name, type, Object, Object,
    (m) => toBinary(request, m), (b) => fromBinary(response, b));
  for (const format of ["binary", "text"]) {
    const client = new grpcWeb.GrpcWebClientBase({ format });
    const name = "grpc-web, " + format;
    const unary = (init) => new Promise((resolve, reject) => {
      const seen = {};
      const call = client.rpcCall(gateway + "/gateway.test.v1.Echo/Unary", create(request, init), { "x-custom": "c" },
        method("Unary", grpcWeb.MethodType.UNARY), (err, answer) => (err ? reject(err) : resolve({ answer, seen })));
      call.on("metadata", (md) => (seen.header = md["x-h"]));
      call.on("status", (st) => (seen.trailer = st.metadata && st.metadata["x-t"]));
    });
    await attempt(name + ": unary", async () => {
      const { answer, seen } = await unary({ text: "hi", script: metadata });
      await new Promise((resolve) => setTimeout(resolve, 100)); // The status comes after the answer.
      return [answer.text, answer.metadata["x-custom"], seen.header, seen.trailer].join(" ");
    });
    await attempt(name + ": error", async () => {
      try {
        await unary({ script: failure });
      } catch (err) {
        return [Code[err.code], err.message].join("; ");
      }
      return "no error";
    });
    await attempt(name + ": stream", () => new Promise((resolve, reject) => {
      const texts = [];
      const call = client.serverStreaming(gateway + "/gateway.test.v1.Echo/ServerStream", create(request, { text: "s", count: 3 }), {},
        method("ServerStream", grpcWeb.MethodType.SERVER_STREAMING));
      call.on("data", (answer) => texts.push(answer.text));
      call.on("error", reject);
      call.on("end", () => resolve(texts.join(" ")));
    }));
  }
}

try {
  const bytes = new Uint8Array(await (await fetch("/descriptors")).arrayBuffer());
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes));
  await connectClients(registry);
  await grpcWebClients(registry);
} catch (e) {
  results.push({ name: "the page", outcome: "threw " + e + "\n" + e.stack });
}
await fetch("/results", { method: "POST", body: JSON.stringify(results) });
