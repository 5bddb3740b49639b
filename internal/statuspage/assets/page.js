"use strict";
// Texts of services and registries are shown as text only, never as HTML. Characters that do not
// print are shown as escapes, so that no text can pretend to be something else.
const rowsShown = 200;
const $ = (id) => document.getElementById(id);
const clean = (s) => String(s ?? "").replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => "\\u{" + c.codePointAt(0).toString(16) + "}");
const number = new Intl.NumberFormat("en");
const state = { upstreams: [], handlers: [], read: 0, failed: "", open: "" };

function ago(time) {
	if (!time) return "";
	let s = Math.max(0, Math.round((Date.now() - Date.parse(time)) / 1000));
	for (const [unit, size] of [["s", 60], ["min", 60], ["h", 48]]) {
		if (s < size) return s + " " + unit;
		s = Math.floor(s / (unit === "h" ? 24 : size));
	}
	return s + " d";
}

function element(tag, text, attributes = {}) {
	const e = document.createElement(tag);
	if (text !== undefined) e.textContent = clean(text);
	for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
	return e;
}
const badge = (text, tone) => element("span", text, { class: "badge", "data-tone": tone });

// sync makes the children of a parent match the items. It keeps the elements that stay, so that
// focus and selection survive a refresh.
function sync(parent, items, key, make, fill) {
	const old = new Map([...parent.children].map((e) => [e.dataset.key, e]));
	let place = parent.firstElementChild;
	for (const item of items) {
		const k = key(item);
		let e = old.get(k);
		old.delete(k);
		if (!e) {
			e = make(item);
			e.dataset.key = k;
		}
		if (e === place) place = place.nextElementSibling;
		else parent.insertBefore(e, place);
		fill(e, item);
	}
	for (const e of old.values()) e.remove();
}

// cells fills a row. A cell is a text, a number or an element; only what differs is touched.
function cells(row, values, classes = []) {
	values.forEach((v, i) => {
		const cell = row.cells[i] || row.appendChild(element("td", undefined, classes[i] ? { class: classes[i] } : {}));
		if (v instanceof Element) {
			if (!cell.firstElementChild || cell.firstElementChild.outerHTML !== v.outerHTML) cell.replaceChildren(v);
			return;
		}
		const text = typeof v === "number" ? number.format(v) : clean(v);
		if (cell.textContent !== text) cell.textContent = text;
	});
}

// judge says what is wrong with a service, the worst first.
function judge(u) {
	const found = [];
	const count = {};
	for (const e of u.endpoints) count[e.state] = (count[e.state] || 0) + 1;
	const serving = (count.READY || 0) + (count.held || 0);
	const total = u.endpoints.length - (count.draining || 0);
	if (u.down) found.push(["bad", "out", `no instance takes calls for ${ago(u.down_since)}: ${u.down}`]);
	else if (serving === 0 && total > 0) found.push(["bad", "not ready", "no instance takes calls"]);
	if (u.registry.error) found.push([u.down ? "bad" : "warn", "registry", `the registry is in trouble, its last list stays in use: ${u.registry.error}`]);
	else if (u.registry.snapshot) found.push(["warn", "snapshot", `the registry has not answered yet; the list on disk of ${ago(u.registry.snapshot)} ago is in use`]);
	if (u.down) { /* The schema cannot be read without an instance. */ }
	else if (u.schema && u.schema.source && !u.schema.loaded) found.push(["bad", "no schema", "its methods are not known" + (u.schema.last_error ? ": " + u.schema.last_error : "")]);
	else if (u.schema && u.schema.last_error) found.push(["warn", "old schema", "a newer schema cannot be read: " + u.schema.last_error]);
	if (u.held) found.push(["warn", "held", `${number.format(u.held)} instances vanished from the registry at once and stay in use`]);
	if (count.ejected) found.push(["warn", "ejected", `${number.format(count.ejected)} instances get no calls, because calls failed or hung there`]);
	const lame = (count.TRANSIENT_FAILURE || 0) + (count.unhealthy || 0);
	if (lame && !u.down) found.push(["warn", "degraded", `${number.format(lame)} of ${number.format(total)} instances cannot be called`]);
	if (u.refused) found.push(["warn", "refused", `${number.format(u.refused.length)} instances are refused because of their address`]);
	if (u.registry.skipped) found.push(["warn", "skipped", `${number.format(u.registry.skipped.length)} entries of the registry cannot be used`]);
	if (count.draining) found.push(["idle", "draining", ""]);
	const [tone, word] = found.find((f) => f[0] === "bad") || found[0] || ["ok", serving ? "ready" : "empty"];
	return { tone: tone, word: word, found: found.filter((f) => f[2]), serving: serving, total: total };
}

function registryText(r) {
	if (r.snapshot) return "from disk";
	if (!r.synced) return "not read yet";
	if (r.stale) return "stale" + (r.last_contact ? ", " + ago(r.last_contact) : "");
	return "in sync";
}

function schemaText(s) {
	if (!s || !s.source) return "";
	if (!s.loaded && !s.methods) return "unknown";
	return `${number.format(s.methods)} methods`;
}

function matching(list, filter, text) {
	const words = $(filter).value.toLowerCase().split(/\s+/).filter(Boolean);
	return words.length ? list.filter((x) => { const t = text(x).toLowerCase(); return words.every((w) => t.includes(w)); }) : list;
}

function limited(list, note, what) {
	const rest = list.length - rowsShown;
	$(note).textContent = rest > 0 ? `${number.format(rest)} more ${what}. Narrow the search to see them.` : "";
	return list.slice(0, rowsShown);
}

function opener(name) {
	const b = element("button", name, { type: "button", class: "link" });
	b.addEventListener("click", () => open(name));
	return b;
}

const severity = { bad: 0, warn: 1, idle: 2, ok: 3 };

function renderServices() {
	const live = state.upstreams.filter((u) => !u.retiring).map((u) => ({ u: u, j: judge(u) }));
	live.sort((a, b) => severity[a.j.tone] - severity[b.j.tone] || a.u.name.localeCompare(b.u.name));
	document.querySelector("section .find").hidden = live.length < 20;
	const shown = limited(matching(live, "find-service", (x) => x.u.name + " " + x.j.word), "services-more", "services");
	sync($("services").tBodies[0], shown, (x) => x.u.name, (x) => {
		const row = element("tr");
		row.appendChild(element("td", undefined, { class: "name" })).appendChild(opener(x.u.name));
		return row;
	}, (row, { u, j }) => {
		cells(row, [row.cells[0].firstElementChild, badge(j.word, j.tone), `${number.format(j.serving)} of ${number.format(j.total)}`, u.leases, u.picks, u.failures,
			registryText(u.registry), schemaText(u.schema)], ["name", "", "n", "n", "n", "n"]);
	});
	return live;
}

function renderTrouble(live) {
	const lines = [];
	for (const { u, j } of live) for (const [tone, word, text] of j.found) lines.push({ tone: tone, word: word, name: u.name, text: text });
	for (const h of state.handlers) for (const p of h.problems || []) lines.push({ tone: "warn", word: "route", name: "", text: [p.route, p.rpc, p.reason].filter(Boolean).join(": ") });
	lines.sort((a, b) => severity[a.tone] - severity[b.tone]);
	// The same trouble of many services is one line.
	const groups = new Map();
	for (const l of lines) {
		const key = l.word + "\n" + l.text.replace(/\d[\d.,:]*/g, "#");
		const group = groups.get(key);
		if (group && l.name) group.names.push(l.name);
		else groups.set(key, { ...l, names: l.name ? [l.name] : [] });
	}
	const shown = [...groups.entries()].slice(0, 30);
	$("trouble").hidden = shown.length === 0;
	sync(document.querySelector("#trouble ul"), shown, ([key]) => key, () => element("li"), (li, [, l]) => {
		const id = l.tone + l.names.slice(0, 4).join() + l.names.length + l.text;
		if (li.dataset.id === id) return;
		li.dataset.id = id;
		li.replaceChildren(badge(l.word, l.tone), " ");
		l.names.slice(0, 3).forEach((name, i) => li.append(...(i ? [", "] : []), opener(name)));
		if (l.names.length > 3) li.append(` and ${number.format(l.names.length - 3)} more`);
		li.append((l.names.length ? ": " : "") + clean(l.text));
	});
	const bad = live.filter((x) => x.j.tone === "bad").length;
	const warn = live.filter((x) => x.j.tone === "warn").length;
	if (state.failed) return badge("no answer from the gateway", "bad");
	if (bad) return badge(`${number.format(bad)} of ${number.format(live.length)} services out`, "bad");
	if (warn || shown.length) return badge(warn ? `${number.format(warn)} of ${number.format(live.length)} services need a look` : "problems with routes", "warn");
	return live.length ? badge("all well", "ok") : badge("no services", "idle");
}

function setVerdict(b) {
	// A screen reader speaks when the text changes, so it is not touched otherwise.
	if ($("verdict").firstElementChild.outerHTML !== b.outerHTML) $("verdict").replaceChildren(b);
	document.title = b.textContent + " · gRPC gateway";
}

const worth = { ejected: 0, unhealthy: 0, TRANSIENT_FAILURE: 1, held: 2, draining: 3, CONNECTING: 4, IDLE: 5, READY: 6 };
const tones = { READY: "ok", held: "warn", ejected: "warn", unhealthy: "bad", TRANSIENT_FAILURE: "bad" };

function renderDetail() {
	const u = state.upstreams.find((x) => x.name === state.open && !x.retiring);
	$("detail").hidden = !u;
	if (!u) return;
	$("detail-title").textContent = clean(u.name);
	const r = u.registry, s = u.schema || {};
	const facts = [
		["Target", u.target],
		["Registry", registryText(r) + (r.error ? ": " + r.error : "")],
		["Schema", schemaText(s) + (s.source ? ` by ${s.source}` : "") + (s.last_error ? ": " + s.last_error : "")],
		["Services", (s.services || []).join(", ")],
		["Subset", u.subset ? `${u.subset.in_use} of ${u.subset.known} instances are used` : ""],
		["Skipped", (r.skipped || []).slice(0, 10).map((x) => `${x.id}: ${x.reason}`).join("; ")],
		["Refused", (u.refused || []).slice(0, 10).map((x) => `${x.address}: ${x.reason}`).join("; ")],
		["Retries, ejections", `${number.format(u.retries)}, ${number.format(u.ejections)}`],
	].filter(([, text]) => text);
	const list = document.querySelector("#detail dl");
	const pairs = facts.flatMap(([name, text]) => [["dt", name, name], ["dd", name, text]]);
	sync(list, pairs, ([tag, name]) => tag + name, ([tag]) => element(tag), (e, [, , text]) => {
		if (e.textContent !== clean(text)) e.textContent = clean(text);
	});
	const all = [...u.endpoints].sort((a, b) => (worth[a.state] ?? 3) - (worth[b.state] ?? 3) || a.address.localeCompare(b.address));
	const shown = limited(matching(all, "find-instance", (e) => e.address + " " + e.state + " " + (e.last_error || "")), "instances-more", "instances");
	sync($("instances").tBodies[0], shown, (e) => e.address, () => element("tr"), (row, e) => {
		const error = e.last_error ? e.last_error + (e.last_error_at ? ` (${ago(e.last_error_at)} ago)` : "") : e.state === "unhealthy" ? "health check: " + e.health : "";
		cells(row, [e.address, badge(e.state, tones[e.state] || "idle"), ago(e.since), e.weight, e.connections, e.in_flight, e.picks, e.failures, error],
			["name", "", "", "n", "n", "n", "n", "n", "wrap"]);
	});
}

function renderDraining() {
	const pools = state.upstreams.filter((u) => u.retiring);
	$("draining").hidden = pools.length === 0;
	sync(document.querySelector("#draining ul"), pools, (u) => u.name + u.key, () => element("li"), (li, u) => {
		const text = clean(`${u.name} (${u.key}): ${number.format(u.leases)} calls in flight`);
		if (li.textContent !== text) li.textContent = text;
	});
}

function renderRoutes() {
	const all = state.handlers.flatMap((h) => h.routes);
	const shown = limited(matching(all, "find-route", (r) => [r.method, r.template, r.rpc, r.upstream, r.source].join(" ")), "routes-more", "routes");
	sync($("routes").tBodies[0], shown.map((r, i) => ({ r: r, k: [r.method, r.template, r.rpc, r.upstream, i].join(" ") })), (x) => x.k, () => element("tr"), (row, { r }) => {
		cells(row, [r.method, r.template, r.rpc, r.upstream, r.source, r.shadowed_by || ""], ["", "name", "name", "", "", "wrap"]);
	});
}

function open(name) {
	state.open = name;
	$("find-instance").value = "";
	render();
	$("detail-title").focus();
}

function render() {
	const live = renderServices();
	setVerdict(renderTrouble(live));
	renderDetail();
	renderDraining();
	$("age").textContent = state.failed ? clean(state.failed) + (state.read ? `; last answer ${ago(new Date(state.read).toISOString())} ago` : "") : "";
}

async function get(path) {
	const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(5000) });
	if (!response.ok) throw new Error(`${path} answers ${response.status}`);
	return response.json();
}

async function refresh() {
	try {
		state.upstreams = await get("upstreams");
		state.read = Date.now();
		state.failed = "";
	} catch (e) {
		state.failed = e.message;
	}
	render();
}

async function refreshRoutes() {
	try {
		state.handlers = await get("routes");
		renderRoutes();
	} catch { /* refresh says that nothing answers */ }
}

// every repeats a task while the page is visible. A task begins only after the last one has ended.
async function every(milliseconds, task) {
	for (;;) {
		if (!document.hidden) await task();
		await new Promise((done) => setTimeout(done, milliseconds));
	}
}

$("close").addEventListener("click", () => { state.open = ""; render(); });
$("find-service").addEventListener("input", render);
$("find-instance").addEventListener("input", renderDetail);
$("find-route").addEventListener("input", renderRoutes);
every(1000, refresh);
every(10000, refreshRoutes);
