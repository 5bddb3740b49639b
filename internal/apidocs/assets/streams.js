"use strict";
// The panel for streams: it shows messages as they arrive, over NDJSON, server-sent events or a
// WebSocket. Swagger UI shows an answer only when it is complete.

// offerStreams fills the panel with the calls of a document that stream.
function offerStreams(spec, documentURL) {
  const calls = [];
  const server = (spec.servers && spec.servers[0] && spec.servers[0].url) || "/";
  for (const [path, item] of Object.entries(spec.paths || {})) {
    for (const [method, operation] of Object.entries(item)) {
      if (operation && operation["x-grpc-stream"]) {
        calls.push({ method: method.toUpperCase(), path, operation, kind: operation["x-grpc-stream"] });
      }
    }
  }
  if (calls.length === 0) return;
  new StreamPanel(calls, new URL(server, documentURL));
}

class StreamPanel {
  constructor(calls, base) {
    this.calls = calls;
    this.base = base;
    for (const name of ["form", "call", "framing", "path", "message", "start", "send", "end", "stop", "state", "log"]) {
      this[name] = document.getElementById("stream-" + name);
    }
    calls.forEach((c, i) => this.call.add(new Option(`${c.method} ${c.path}`, String(i))));
    this.call.addEventListener("change", () => this.choose());
    this.framing.addEventListener("change", () => this.choose());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin();
    });
    this.send.addEventListener("click", () => this.sendMessage(this.message.value));
    this.end.addEventListener("click", () => this.sendMessage(""));
    this.stop.addEventListener("click", () => this.finish("Stopped."));
    this.choose();
    document.getElementById("streams").hidden = false;
  }

  chosen() {
    return this.calls[Number(this.call.value)];
  }

  // choose shows the path of the chosen call, and allows the framings that it can have.
  choose() {
    const c = this.chosen();
    const http = this.framing.querySelectorAll("option:not([value=websocket])");
    const onlySocket = c.kind === "client" || c.kind === "both";
    http.forEach((option) => (option.disabled = onlySocket));
    if (onlySocket) this.framing.value = "websocket";
    this.path.value = c.path;
    this.message.disabled = c.method === "GET" && this.framing.value !== "websocket";
  }

  address() {
    const path = this.path.value;
    const prefix = this.base.pathname.replace(/\/$/, "");
    return new URL(prefix + (path.startsWith("/") ? path : "/" + path), this.base);
  }

  async begin() {
    this.finish("");
    this.log.replaceChildren();
    this.count = 0;
    this.setRunning(true);
    this.say("Connecting …");
    try {
      if (this.framing.value === "websocket") this.openSocket();
      else await this.fetchStream();
    } catch (error) {
      this.finish(error.name === "AbortError" ? "Stopped." : "Failed: " + error.message);
    }
  }

  async fetchStream() {
    const c = this.chosen();
    const controller = (this.controller = new AbortController());
    const request = { method: c.method, headers: { Accept: this.framing.value }, signal: controller.signal };
    if (c.method !== "GET") {
      request.headers["Content-Type"] = "application/json";
      request.body = this.message.value;
    }
    const response = await fetch(this.address(), request);
    this.say(`HTTP ${response.status}, ${response.headers.get("Content-Type") || "no content type"}`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      lines.filter((line) => line !== "").forEach((line) => this.show(line, !response.ok || line.startsWith('{"error"') || line === "event: error"));
    }
    if (rest !== "") this.show(rest, !response.ok);
    this.finish(`Ended after ${this.count} lines.`);
  }

  openSocket() {
    const address = this.address();
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = (this.socket = new WebSocket(address));
    socket.addEventListener("open", () => {
      this.say("Open.");
      this.send.disabled = this.end.disabled = false;
      if (this.chosen().kind === "server" && this.message.value.trim() !== "" && this.chosen().method !== "GET") this.sendMessage(this.message.value);
    });
    socket.addEventListener("message", (event) => this.show(typeof event.data === "string" ? event.data : "(binary data)", false));
    socket.addEventListener("close", (event) => {
      if (this.socket !== socket) return;
      const text = event.code === 1000 ? "Closed: the call succeeded." : `Closed: ${event.code} ${event.reason}`;
      if (event.code !== 1000) this.show(text, true);
      this.finish(text);
    });
  }

  sendMessage(text) {
    if (!this.socket || this.socket.readyState !== WebSocket.OPEN) return;
    this.socket.send(text);
    this.show(text === "" ? "→ (no more messages)" : "→ " + text, false);
  }

  // show adds a line. Old lines go, so that an endless stream does not fill the page.
  show(text, failed) {
    this.count++;
    const item = document.createElement("li");
    item.textContent = text;
    if (failed) item.className = "failed";
    this.log.append(item);
    while (this.log.childElementCount > 500) this.log.firstElementChild.remove();
    this.log.scrollTop = this.log.scrollHeight;
  }

  say(text) {
    this.state.textContent = text;
  }

  setRunning(running) {
    this.start.disabled = running;
    this.stop.disabled = !running;
    if (!running) this.send.disabled = this.end.disabled = true;
  }

  finish(text) {
    const { socket, controller } = this;
    this.socket = this.controller = null;
    if (controller) controller.abort();
    if (socket) socket.close();
    this.setRunning(false);
    if (text) this.say(text);
  }
}
