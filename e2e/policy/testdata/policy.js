// The page of TestClients. It calls GetBook in every way that a page can, once each, and posts what came of it to its own server, where
// the test compares it with what was to come. Nothing is judged here.
import { fromBinary, toBinary, toJson, fromJson, createFileRegistry } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createClient, Code, ConnectError } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { GrpcWebClientBase, MethodDescriptor, MethodType, StatusCode } from "grpc-web";

const { gateway, book, authorization } = await (await fetch("/config")).json();
const schema = createFileRegistry(fromBinary(FileDescriptorSetSchema, new Uint8Array(await (await fetch("/schema")).arrayBuffer())));
const Library = schema.getService("gateway.test.v1.Library");
const RetryInfo = schema.getMessage("google.rpc.RetryInfo");
const headers = authorization ? { authorization } : {};

// seconds reports whether a wait is one of a limit of an hour.
const anHour = (seconds) => 3000 < seconds && seconds <= 3601;

async function rest(path, options = {}) {
  const answer = await fetch(gateway + path, { ...options, headers: { ...headers, ...options.headers } });
  const body = await answer.json();
  if (answer.ok) return body.title;
  const seen = { status: answer.status, code: body.code, message: body.message };
  if (answer.status === 429) {
    seen.retryAfter = anHour(Number(answer.headers.get("retry-after")));
    seen.retryInfo = body.details.some((d) => d["@type"].endsWith("/google.rpc.RetryInfo") && anHour(parseFloat(d.retryDelay)));
  }
  if (answer.status === 401) seen.challenge = answer.headers.get("www-authenticate");
  return seen;
}

async function connect(transport) {
  try {
    return (await createClient(Library, transport).getBook({ name: book }, { headers })).title;
  } catch (err) {
    const { code, rawMessage: message } = ConnectError.from(err);
    const retryInfo = err.findDetails(RetryInfo).some(({ retryDelay }) => anHour(Number(retryDelay.seconds)));
    return { code: Code[code], message, retryInfo };
  }
}

function grpcWeb(format) {
  const { input, output } = Library.method.getBook;
  const method = new MethodDescriptor(
    `/${Library.typeName}/GetBook`, MethodType.UNARY, Object, Object,
    (request) => toBinary(input, fromJson(input, request)),
    (message) => toJson(output, fromBinary(output, message)),
  );
  return new Promise((resolve) => {
    new GrpcWebClientBase({ format }).rpcCall(gateway + method.getName(), { name: book }, headers, method, (err, answer) => {
      if (!err) return resolve(answer.title);
      const [code] = Object.entries(StatusCode).find(([, number]) => number === err.code) ?? [err.code];
      const details = err.metadata?.["grpc-status-details-bin"] ?? "";
      resolve({ code, message: err.message, retryInfo: atob(details).includes("google.rpc.RetryInfo") });
    });
  });
}

function socket() {
  return new Promise((resolve) => {
    const ws = new WebSocket(`${gateway}/v1/${book}`.replace(/^http/, "ws"));
    ws.onmessage = ({ data }) => resolve(JSON.parse(data).title);
    ws.onerror = () => resolve("failed");
  });
}

const byName = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ name: book }) };
const transport = (create, options) => create({ baseUrl: gateway, ...options });
const calls = {
  "fetch, a route": () => rest(`/v1/${book}`),
  "fetch, JSON by name": () => rest(`/${Library.typeName}/GetBook`, byName),
  "connect-web, Connect, JSON": () => connect(transport(createConnectTransport, { useBinaryFormat: false })),
  "connect-web, Connect, binary": () => connect(transport(createConnectTransport, { useBinaryFormat: true })),
  "connect-web, Connect, GET": () => connect(transport(createConnectTransport, { useHttpGet: true })),
  "connect-web, gRPC-Web, binary": () => connect(transport(createGrpcWebTransport, { useBinaryFormat: true })),
  "connect-web, gRPC-Web, JSON": () => connect(transport(createGrpcWebTransport, { useBinaryFormat: false })),
  "grpc-web, binary": () => grpcWeb("binary"),
  "grpc-web, text": () => grpcWeb("text"),
  "a WebSocket": socket,
};

const results = {};
for (const [name, call] of Object.entries(calls)) results[name] = await call().catch((err) => `threw ${err}`);
await fetch("/results", { method: "POST", body: JSON.stringify(results) });
