// The page of TestBrowser. It makes every call as a web application would, with the clients of connect-web and grpc-web, and posts
// what came of each to its own server, where the test compares it with what was to come. Nothing is judged here.
//
// There is no generated code: the messages are made from the descriptors at /schema.
import { fromBinary, toBinary, toJson, fromJson, createFileRegistry } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createClient, decodeBinaryHeader, encodeBinaryHeader, Code, ConnectError } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { GrpcWebClientBase, MethodDescriptor, MethodType, StatusCode } from "grpc-web";

const limit = 20_000; // milliseconds for each case
const nothing = () => undefined;

const { gateway, noCORS, otherOrigin } = await (await fetch("/config")).json();
const schema = createFileRegistry(fromBinary(FileDescriptorSetSchema, await bytes("/schema")));
const Echo = schema.getService("gateway.test.v1.Echo");
const Library = schema.getService("gateway.test.v1.Library");
const BadRequest = schema.getMessage("google.rpc.BadRequest");

async function bytes(path) {
  return new Uint8Array(await (await fetch(path)).arrayBuffer());
}

const binary = new Uint8Array([0, 1, 250, 255]);

// What every client asks the backend to do: answer with metadata, fail with details.
const script = { headers: { "x-head": "of the answer", "x-head-bin": btoa("\x00\xfe") }, trailers: { "x-tail": "after it" } };
const failure = { failCode: 5, failMessage: "no such thing: 100% ☃", failBadRequest: true, trailers: { "x-tail": "of the error" } };

// connectCases are the cases of a client of connect-web, whatever protocol its transport speaks.
function connectCases(transport) {
  const echo = createClient(Echo, transport);
  const stream = async (request, options = {}) => {
    const seen = { texts: [] };
    const signal = AbortSignal.timeout(limit);
    options = { signal, onHeader: (h) => (seen.head = h.get("x-head")), onTrailer: (h) => (seen.tail = h.get("x-tail")), ...options };
    try {
      for await (const answer of echo.serverStream(request, options)) seen.texts.push(`${answer.text} ${answer.number}`);
    } catch (err) {
      seen.error = connectError(err);
    }
    return seen;
  };
  return {
    unary: async () => {
      const seen = {};
      const answer = await echo.unary(fromJson(Echo.method.unary.input, { text: "grüße", big: "9007199254740993", script }), {
        headers: { "x-ask": "of the page", "x-ask-bin": encodeBinaryHeader(binary) },
        onHeader: (h) => Object.assign(seen, { head: h.get("x-head"), headBin: [...decodeBinaryHeader(h.get("x-head-bin"))] }),
        onTrailer: (h) => (seen.tail = h.get("x-tail")),
      });
      const { text, request, metadata } = answer;
      return { ...seen, text, big: String(request.big), ask: metadata["x-ask"], askBin: metadata["x-ask-bin"] };
    },
    deadline: async () => {
      const { deadlineMs } = await echo.unary({ text: "soon" }, { timeoutMs: 3000 });
      return { within: 0 < deadlineMs && deadlineMs <= 3000 };
    },
    error: () => echo.unary({ script: failure }).catch(connectError),
    "unknown method": () => createClient(withoutMethods(), transport).missing({}).catch((err) => Code[err.code]),
    stream: () => stream({ text: "s", count: 3, script }),
    "empty stream": () => stream({ count: 0, script }),
    "stream that fails": () => stream({ text: "s", count: 3, script: { ...failure, failAfter: 2 } }),
    "message of a stream before its end": async () => {
      const page = new AbortController();
      const request = { text: "first", count: 2, script: { interval: { seconds: 600n } } };
      for await (const { text } of echo.serverStream(request, { signal: page.signal })) {
        page.abort();
        return text;
      }
    },
  };
}

// withoutMethods is Echo with a method that it does not have, and none that it has.
function withoutMethods() {
  const missing = { ...Echo.method.unary, name: "Missing", localName: "missing" };
  return { ...Echo, methods: [missing], method: { missing } };
}

function connectError(err) {
  const { code, rawMessage: message, metadata } = ConnectError.from(err);
  const details = err.findDetails?.(BadRequest).map(({ fieldViolations: [v] }) => `${v.field}: ${v.description}`);
  return { code: Code[code], message, details, tail: metadata.get("x-tail") };
}

// grpcWebClient makes calls with a client of grpc-web, and with messages as generated code would make them.
function grpcWebClient(format) {
  const client = new GrpcWebClientBase({ format });
  const describe = ({ name, parent, input, output, methodKind }) =>
    new MethodDescriptor(
      `/${parent.typeName}/${name}`,
      methodKind === "unary" ? MethodType.UNARY : MethodType.SERVER_STREAMING,
      Object, Object,
      (request) => toBinary(input, fromJson(input, request)),
      (message) => toJson(output, fromBinary(output, message)),
    );
  const path = (method) => `${gateway}/${Echo.typeName}/${method.name}`;
  const unary = (request, metadata = {}) =>
    new Promise((resolve) => {
      const seen = {};
      const call = client.rpcCall(path(Echo.method.unary), request, metadata, describe(Echo.method.unary), (err, answer) => {
        if (err) return resolve(grpcWebError(err));
        // The status comes after the answer.
        setTimeout(() => resolve({ ...seen, answer }), 100);
      });
      call.on("metadata", (m) => (seen.head = m["x-head"]));
      call.on("status", ({ metadata: m }) => (seen.tail = m?.["x-tail"]));
    });
  const serverStream = (request, onMessage = nothing) =>
    new Promise((resolve) => {
      const seen = { texts: [] };
      const call = client.serverStreaming(path(Echo.method.serverStream), request, {}, describe(Echo.method.serverStream));
      const end = () => setTimeout(() => resolve(seen), 100);
      call.on("metadata", (m) => (seen.head ??= m["x-head"]));
      call.on("status", ({ metadata: m }) => (seen.tail = m?.["x-tail"]));
      call.on("data", (answer) => {
        seen.texts.push(`${answer.text} ${answer.number}`);
        onMessage(call, () => resolve(seen));
      });
      call.on("error", (err) => { seen.error = grpcWebError(err); end(); });
      call.on("end", end);
    });
  return { unary, serverStream };
}

function grpcWebCases({ unary, serverStream }) {
  return {
    unary: async () => {
      const { head, tail, answer } = await unary({ text: "grüße", big: "9007199254740993", script }, { "x-ask": "of the page" });
      return { head, tail, text: answer.text, big: answer.request.big, ask: answer.metadata["x-ask"] };
    },
    deadline: async () => {
      const { answer } = await unary({ text: "soon" }, { deadline: String(Date.now() + 3000) });
      return { within: 0 < answer.deadlineMs && answer.deadlineMs <= 3000 };
    },
    error: () => unary({ script: failure }),
    stream: () => serverStream({ text: "s", count: 3, script }),
    "stream that fails": () => serverStream({ text: "s", count: 3, script: { ...failure, failAfter: 2 } }),
  };
}

function grpcWebError({ code, message, metadata }) {
  const [name] = Object.entries(StatusCode).find(([, number]) => number === code) ?? [code];
  return { code: name, message, details: "grpc-status-details-bin" in (metadata ?? {}), tail: metadata?.["x-tail"] };
}

// refusals are calls that the browser keeps from the page. Each asks the backend to count it.
function refusals() {
  const connect = (baseUrl, options = {}) => createConnectTransport({ baseUrl, ...options });
  const outcome = (promise) => promise.then((answer) => `answered ${answer.text ?? answer.title}`, (err) => Code[ConnectError.from(err).code]);
  const post = (transport, id) => outcome(createClient(Echo, transport).unary({ script: { id } }));
  return {
    "no cors: connect": () => post(connect(noCORS), "refused-1"),
    "no cors: grpc-web": () => post(createGrpcWebTransport({ baseUrl: noCORS }), "refused-2"),
    "no cors: connect get": () =>
      outcome(createClient(Library, connect(noCORS, { useHttpGet: true })).getBook({ name: "shelves/1/books/1" })),
    "cors for another origin: connect": () => post(connect(otherOrigin), "refused-3"),
    "cors for another origin: grpc-web": () => post(createGrpcWebTransport({ baseUrl: otherOrigin }), "refused-4"),
    // The browser sends these without asking first. The page never sees the answer.
    "no cors: a POST without a content type": () => simple(noCORS, "refused-5"),
    "cors for another origin: a POST without a content type": () => simple(otherOrigin, "refused-6"),
    "no cors: a WebSocket": () => socket(`${noCORS}/v1/stream/1?script.id=refused-7`),
    "cors for another origin: a WebSocket": () => socket(`${otherOrigin}/v1/stream/1?script.id=refused-8`),
  };
}

// simple makes a POST that browsers send to any site, with its cookies.
async function simple(baseUrl, id) {
  const body = new Blob([JSON.stringify({ script: { id } })]);
  const answer = await fetch(`${baseUrl}/v1/echo`, { method: "POST", mode: "no-cors", credentials: "include", body });
  return answer.type;
}

// socket opens a WebSocket and returns its first message.
function socket(url, protocols = []) {
  return new Promise((resolve) => {
    const ws = new WebSocket(url.replace(/^http/, "ws"), protocols);
    ws.onmessage = ({ data }) => {
      resolve(JSON.parse(data).text);
      ws.close();
    };
    ws.onerror = () => resolve("failed");
  });
}

const transport = (create, options) => create({ baseUrl: gateway, defaultTimeoutMs: limit, ...options });
const groups = {
  "connect-web, Connect, JSON": connectCases(transport(createConnectTransport, { useBinaryFormat: false })),
  "connect-web, Connect, binary": connectCases(transport(createConnectTransport, { useBinaryFormat: true })),
  "connect-web, gRPC-Web, binary": connectCases(transport(createGrpcWebTransport, { useBinaryFormat: true })),
  "connect-web, gRPC-Web, JSON": connectCases(transport(createGrpcWebTransport, { useBinaryFormat: false })),
  "grpc-web, binary": grpcWebCases(grpcWebClient("binary")),
  "grpc-web, text": grpcWebCases(grpcWebClient("text")),
  // In binary, grpc-web itself holds messages back until the answer has ended.
  "grpc-web, text stream": {
    "message before the end": async () => {
      const request = { text: "first", count: 2, script: { interval: "600s" } };
      const { texts } = await grpcWebClient("text").serverStream(request, (call, done) => {
        call.cancel();
        done();
      });
      return texts;
    },
  },
  "connect-web, Connect, GET": {
    unary: async () => {
      const transportOfGets = transport(createConnectTransport, { useHttpGet: true });
      const { title, pages } = await createClient(Library, transportOfGets).getBook({ name: "shelves/1/books/1" });
      return { title, pages: String(pages) };
    },
  },
  WebSocket: {
    "from a listed origin": () => socket(`${gateway}/v1/stream/1?text=hi`),
    "with a subprotocol": () => socket(`${gateway}/v1/stream/1?script.id=refused-9`, ["bearer", "token"]),
    "for gRPC-Web": () => socket(`${gateway}/gateway.test.v1.Echo/ServerStream`, "grpc-websockets"),
  },
  refused: refusals(),
};

async function observe(run) {
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(() => resolve({ value: `nothing after ${limit} ms` }), limit + 5000)));
  const done = (async () => {
    try {
      return { value: (await run()) ?? null };
    } catch (err) {
      return { value: `threw ${err}` };
    }
  })();
  const seen = await Promise.race([done, late]);
  clearTimeout(timer);
  return seen.value;
}

const results = {};
await Promise.all(
  Object.entries(groups).map(async ([group, cases]) => {
    for (const [name, run] of Object.entries(cases)) results[`${group}: ${name}`] = await observe(run);
  }),
);
await fetch("/results", { method: "POST", body: JSON.stringify(results) });
