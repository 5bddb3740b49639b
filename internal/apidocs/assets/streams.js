"use strict";
// The panel for streams: it shows messages as they arrive, over NDJSON, server-sent events or a
// WebSocket. Swagger UI shows an answer only when it is complete.

// streamsOf lists the calls of a document that stream.
function streamsOf(spec) {
  const calls = [];
  for (const [path, item] of Object.entries(spec.paths || {})) {
    for (const [method, operation] of Object.entries(item)) {
      const kind = operation && operation["x-grpc-stream"]; // "server", "client" or "both"
      if (kind) calls.push({ method: method.toUpperCase(), path, operation, kind });
    }
  }
  return calls;
}

// streamButton is a plugin of Swagger UI. Beside "Execute" of a call that streams it puts a button
// that brings the call into the panel.
function streamButton(panel) {
  return {
    wrapComponents: {
      execute: (Execute, { React }) =>
        function ExecuteOrWatch(props) {
          const execute = React.createElement(Execute, props);
          if (!panel.has(props.method, props.path)) return execute;
          const onClick = () => panel.open(props.method, props.path);
          return React.createElement(React.Fragment, null, execute, React.createElement("button", { className: "btn watch", onClick }, "Watch live"));
        },
    },
  };
}

class StreamPanel {
  // base is the URL that paths are relative to.
  constructor(calls, base) {
    this.calls = calls;
    this.base = base;
    this.running = null; // what runs: an object with a method stop
    this.wanted = "application/x-ndjson"; // the framing that the reader has chosen
    for (const name of ["form", "call", "framing", "path", "parameters", "message", "start", "send", "end", "stop", "state", "log"]) {
      this[name] = document.getElementById("stream-" + name);
    }
    calls.forEach((c, i) => this.call.add(new Option(`${c.method} ${c.path}`, String(i))));
    this.call.addEventListener("change", () => this.choose());
    this.framing.addEventListener("change", () => {
      this.wanted = this.framing.value;
      this.allow();
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin();
    });
    this.send.addEventListener("click", () => this.sendMessage(this.message.value));
    this.end.addEventListener("click", () => this.sendMessage(""));
    this.stop.addEventListener("click", () => this.finish(`Stopped after ${this.messages()}.`));
    // At first it is one that can be started at once.
    this.call.value = String(Math.max(0, calls.findIndex((c) => c.kind === "server" && !c.path.includes("{"))));
    this.choose();
    document.getElementById("streams").hidden = false;
  }

  index(method, path) {
    return this.calls.findIndex((c) => c.method === method.toUpperCase() && c.path === path);
  }

  has(method, path) {
    return this.index(method, path) >= 0;
  }

  // open brings a call into the panel, and the panel into view.
  open(method, path) {
    this.call.value = String(this.index(method, path));
    this.choose();
    this.form.scrollIntoView({ block: "start" });
    this.path.focus();
  }

  chosen() {
    return this.calls[Number(this.call.value)];
  }

  // choose shows the path of the chosen call, and allows the framings that it can have.
  choose() {
    const c = this.chosen();
    const onlySocket = c.kind !== "server"; // A page cannot stream what it sends in any other way.
    this.framing.querySelectorAll("option:not([value=websocket])").forEach((option) => (option.disabled = onlySocket));
    this.framing.value = onlySocket ? "websocket" : this.wanted;
    this.path.value = c.path;
    const query = (c.operation.parameters || []).filter((p) => p.in === "query").map((p) => p.name);
    const more = query.length > 12 ? ` and ${query.length - 12} more` : "";
    this.parameters.textContent = query.length === 0 ? "" : `Query parameters: ${query.slice(0, 12).join(", ")}${more}.`;
    this.allow();
  }

  // allow lets the reader write a message if the call takes one.
  allow() {
    this.message.disabled = !this.takesMessage();
  }

  takesMessage() {
    const c = this.chosen();
    return c.kind !== "server" || c.operation.requestBody !== undefined;
  }

  address() {
    const path = this.path.value;
    const prefix = this.base.pathname.replace(/\/$/, "");
    return new URL(prefix + (path.startsWith("/") ? path : "/" + path), this.base);
  }

  begin() {
    this.finish("");
    this.log.replaceChildren();
    this.count = 0;
    const variable = /\{[^}]*\}/.exec(this.path.value.split("?")[0]);
    if (variable) {
      this.say(`Write a value for ${variable[0]} into the path.`);
      this.path.focus();
      this.path.setSelectionRange(variable.index, variable.index + variable[0].length);
      return;
    }
    this.say("Connecting …");
    try {
      if (this.framing.value === "websocket") this.openSocket();
      else this.readAnswer();
    } catch (error) {
      this.finish("Failed: " + error.message);
    }
  }

  // readAnswer makes the call, and shows its answer line by line.
  async readAnswer() {
    const controller = new AbortController();
    const run = this.started({ stop: () => controller.abort() });
    const request = { method: this.chosen().method, headers: { Accept: this.framing.value }, signal: controller.signal };
    if (this.takesMessage()) {
      request.headers["Content-Type"] = "application/json";
      request.body = this.message.value;
    }
    try {
      const response = await fetch(this.address(), request);
      const status = `HTTP ${response.status}`;
      this.say(`${status}, ${response.headers.get("Content-Type") || "no content type"}`);
      const failed = (await this.readLines(run, response)) || !response.ok;
      if (this.running === run) this.finish(`${status}: ${failed ? "failed" : "ended"} after ${this.messages()}.`);
    } catch (error) {
      if (this.running === run) this.finish(`Failed after ${this.messages()}: ${error.message}`);
    }
  }

  // readLines shows the lines of an answer, and reports whether one of them says that the call has
  // failed.
  async readLines(run, response) {
    const events = (response.headers.get("Content-Type") || "").startsWith("text/event-stream");
    let rest = "";
    let failure = !response.ok;
    let failed = failure;
    const read = (line) => {
      if (events) failure = line === "event: error" || (failure && line !== "");
      else if (response.ok) failure = isFailure(line);
      failed = failed || failure;
      if (line === "" || this.running !== run) return;
      if (response.ok && !failure && (!events || line.startsWith("data:"))) this.count++;
      this.show(line, failure);
    };
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      lines.forEach(read);
    }
    if (rest !== "") read(rest);
    return failed;
  }

  openSocket() {
    const address = this.address();
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    const run = this.started({ socket, stop: () => socket.close() });
    let opened = false;
    socket.addEventListener("open", () => {
      if (this.running !== run) return;
      opened = true;
      this.say("Open.");
      this.send.disabled = this.end.disabled = !this.takesMessage();
      // Such a call takes one message only.
      if (this.chosen().kind === "server" && this.takesMessage()) this.sendMessage(this.message.value);
    });
    socket.addEventListener("message", (event) => {
      if (this.running !== run) return;
      this.count++;
      this.show(typeof event.data === "string" ? event.data : `(${event.data.size} bytes)`, false);
    });
    socket.addEventListener("close", (event) => {
      if (this.running !== run) return;
      if (event.code === 1000) return this.finish(`Closed after ${this.messages()}: the call succeeded.`);
      // 1006 is what browsers say if there was no closing frame.
      if (event.code !== 1006) this.show(`${event.code} ${event.reason}`, true);
      else this.show(opened ? "The connection broke." : "The WebSocket was refused. Browsers do not say why.", true);
      this.finish(`Closed after ${this.messages()}: ${event.code} ${event.reason}`);
    });
  }

  // sendMessage sends text over the WebSocket. No text says that there is no more.
  sendMessage(text) {
    const socket = this.running && this.running.socket;
    if (!socket || socket.readyState !== WebSocket.OPEN) return;
    socket.send(text);
    this.show(text === "" ? "→ (no more messages)" : "→ " + text, false);
    if (text === "") this.send.disabled = this.end.disabled = true;
  }

  // show adds a line. Old lines go, so that an endless stream does not fill the page. The list
  // follows its end, unless the reader has scrolled away from there.
  show(text, failed) {
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 8;
    const item = document.createElement("li");
    item.textContent = text;
    if (failed) item.className = "failed";
    this.log.append(item);
    while (this.log.childElementCount > 500) this.log.firstElementChild.remove();
    if (atEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  messages() {
    return this.count === 1 ? "1 message" : `${this.count} messages`;
  }

  say(text) {
    this.state.textContent = text;
  }

  // started notes what runs now, and returns it.
  started(run) {
    this.running = run;
    this.start.disabled = true;
    this.stop.disabled = false;
    return run;
  }

  // finish ends what runs, if anything does.
  finish(text) {
    const run = this.running;
    this.running = null;
    if (run) run.stop();
    this.start.disabled = false;
    this.stop.disabled = this.send.disabled = this.end.disabled = true;
    if (text) this.say(text);
  }
}

// isFailure reports whether a line is the last one of a stream that has failed: {"error":<Status>}.
function isFailure(line) {
  if (!line.startsWith('{"error"')) return false;
  try {
    const value = JSON.parse(line);
    return Object.keys(value).length === 1 && typeof value.error?.code === "number";
  } catch {
    return false;
  }
}
