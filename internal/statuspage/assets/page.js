"use strict";
// Texts of services and registries are shown as text only, never as HTML. Characters that do not
// print are shown as escapes, so that no text can pretend to be something else.
const rowsShown = 100;
const $ = (id) => document.getElementById(id);
const clean = (s) => String(s ?? "").replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => "\\u{" + c.codePointAt(0).toString(16) + "}");
const number = new Intl.NumberFormat("en");
const nothing = { services: [], routes: { revision: "" } };
const state = { seen: nothing, tag: "", asked: "", read: 0, failed: "", open: "", handlers: [], revision: "", routesAfter: 0 };

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

const plural = (n, one, many) => `${number.format(n)} ${n === 1 ? one : many}`;

// judge says what is wrong with a service, the worst first.
function judge(u) {
	const found = [];
	const count = u.states;
	const serving = (count.READY || 0) + (count.held || 0);
	const total = Object.values(count).reduce((a, b) => a + b, 0) - (count.draining || 0);
	const example = u.worst ? `; ${u.worst.address}: ${u.worst.error || u.worst.state}` : "";
	if (u.down) found.push(["bad", "out", `no instance takes calls for ${ago(u.down_since)}: ${u.down}`]);
	else if (serving === 0 && total > 0) found.push(["bad", "not ready", "no instance takes calls" + example]);
	if (u.registry.error) {
		// Without the key, the trouble of all services of one etcd has one text, and is one line.
		const error = u.registry.error.replace(/^etcd \S+: /, "etcd: ");
		const last = total ? "the registry is in trouble, the last list stays in use" : "the registry is in trouble, no instance is known";
		found.push([u.down || !total ? "bad" : "warn", "registry lost", `${last}: ${error}`]);
	} else if (u.registry.snapshot) found.push(["warn", "snapshot", `the registry has not answered yet; the list on disk of ${ago(u.registry.snapshot)} ago is in use`]);
	if (serving === 0) { /* The schema cannot be read without an instance. */ }
	else if (u.schema.source && !u.schema.loaded) found.push(["bad", "no schema", "its methods are not known" + (u.schema.last_error ? ": " + u.schema.last_error : "")]);
	else if (u.schema.last_error) found.push(["warn", "old schema", "a newer schema cannot be read, the last one stays in use: " + u.schema.last_error]);
	if (u.held) found.push(["warn", "held", `${plural(u.held, "instance", "instances")} vanished from the registry at once and stay in use`]);
	if (count.ejected) found.push(["warn", "ejected", `${plural(count.ejected, "instance gets", "instances get")} no calls, because calls failed or hung there${example}`]);
	const lame = (count.TRANSIENT_FAILURE || 0) + (count.unhealthy || 0);
	if (lame && serving) found.push(["warn", "degraded", `${number.format(lame)} of ${plural(total, "instance", "instances")} cannot be called${count.ejected ? "" : example}`]);
	if (u.refused) found.push(["warn", "refused", `${plural(u.refused, "instance is", "instances are")} refused because of the address`]);
	if (u.registry.skipped) found.push(["warn", "skipped", `${plural(u.registry.skipped, "entry", "entries")} of the registry cannot be used`]);
	const [tone, word] = found.find((f) => f[0] === "bad") || found[0] || (serving ? ["ok", "ready"] : ["warn", "empty"]);
	if (word === "empty") found.push(["warn", "empty", u.registry.synced ? "the registry has no instance" : "the registry has not answered yet"]);
	return { tone: tone, word: word, found: found, serving: serving, total: total };
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
	return plural(s.methods, "method", "methods");
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

function opener(name, text = name) {
	const b = element("button", text, { type: "button", class: "link" });
	b.addEventListener("click", () => open(name));
	return b;
}

const severity = { bad: 0, warn: 1, idle: 2, ok: 3 };

function renderServices() {
	const live = state.seen.services.map((u) => ({ u: u, j: judge(u) }));
	live.sort((a, b) => severity[a.j.tone] - severity[b.j.tone] || a.u.name.localeCompare(b.u.name));
	const few = live.length < 20;
	document.querySelector("section .find").hidden = few;
	if (few) $("find-service").value = ""; // What cannot be seen must not hide anything.
	const shown = limited(matching(live, "find-service", (x) => x.u.name + " " + x.j.word), "services-more", "services");
	sync($("services").tBodies[0], shown, (x) => x.u.name, (x) => {
		const row = element("tr");
		row.appendChild(element("td", undefined, { class: "name" })).appendChild(opener(x.u.name));
		return row;
	}, (row, { u, j }) => {
		cells(row, [row.cells[0].firstElementChild, badge(j.word, j.tone), `${number.format(j.serving)} of ${number.format(j.total)}` + (u.states.draining ? `, ${number.format(u.states.draining)} draining` : ""), u.leases, u.picks, u.failures,
			registryText(u.registry), schemaText(u.schema)], ["name", "", "n", "n", "n", "n"]);
	});
	return live;
}

function renderTrouble(live) {
	const lines = [];
	for (const { u, j } of live) for (const [tone, word, text] of j.found) lines.push({ tone: tone, word: word, name: u.name, text: text });
	for (const c of state.seen.catalogs || []) for (const [tone, word, text] of judgeCatalog(c)) lines.push({ tone: tone, word: word, name: "", text: `catalog ${c.name}: ${text}` });
	const routes = state.seen.routes;
	for (const p of routes.problems || []) lines.push({ tone: "warn", word: "route", name: "", text: [p.route, p.rpc, p.reason].filter(Boolean).join(": ") });
	const hidden = (routes.problem_count || 0) - (routes.problems || []).length;
	if (hidden > 0) lines.push({ tone: "warn", word: "route", name: "", text: `${number.format(hidden)} more problems` });
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
	$("trouble").dataset.tone = shown.length ? shown[0][1].tone : "";
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
	if (bad) return badge(`${number.format(bad)} of ${plural(live.length, "service", "services")} out`, "bad");
	if (warn || shown.length) return badge(warn ? `${number.format(warn)} of ${plural(live.length, "service needs", "services need")} a look` : "something needs a look", "warn");
	return live.length ? badge("all well", "ok") : badge("no services", "idle");
}

function setVerdict(b) {
	// A screen reader speaks when the text changes, so it is not touched otherwise.
	if ($("verdict").firstElementChild.outerHTML !== b.outerHTML) $("verdict").replaceChildren(b);
	document.title = b.textContent + " · gRPC gateway";
}

const tones = { READY: "ok", held: "warn", ejected: "warn", unhealthy: "bad", TRANSIENT_FAILURE: "bad" };

function renderDetail() {
	const u = state.seen.detail;
	$("detail").hidden = !u || u.name !== state.open;
	if ($("detail").hidden) return;
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
	const rest = u.matching - u.endpoints.length;
	$("instances-more").textContent = rest > 0 ? `${number.format(rest)} more instances. Narrow the search to see them.` : u.matching ? "" : "No instance.";
	const shown = u.endpoints;
	sync($("instances").tBodies[0], shown, (e) => e.address, () => element("tr"), (row, e) => {
		const error = e.last_error ? e.last_error + (e.last_error_at ? ` (${ago(e.last_error_at)} ago)` : "") : e.state === "unhealthy" ? "health check: " + e.health : "";
		cells(row, [e.address, badge(e.state, tones[e.state] || "idle"), ago(e.since), e.weight || "", e.connections, e.in_flight, e.picks, e.failures, error],
			["name", "", "", "n", "n", "n", "n", "n", "wrap"]);
	});
}

function renderDraining() {
	const pools = state.seen.draining || [];
	$("draining").hidden = pools.length === 0;
	sync(document.querySelector("#draining ul"), pools, (u) => u.name + u.key, () => element("li"), (li, u) => {
		const text = clean(`${u.name} (${u.key}): ${plural(u.leases, "call", "calls")} in flight`);
		if (li.textContent !== text) li.textContent = text;
	});
}

const catalogTones = { serving: "ok", failed: "warn", waiting: "warn", reading: "idle", leaving: "idle" };

// judgeCatalog says what is wrong with a catalog. What is wrong with one of its services is not
// repeated for services that are open, which the list of services has.
function judgeCatalog(c) {
	const found = [];
	const r = c.registry;
	if (r.error) found.push(["warn", "registry", "the registry is in trouble: " + r.error]);
	else if (r.snapshot) found.push(["warn", "snapshot", `the registry has not answered yet; the list on disk of ${ago(r.snapshot)} ago is in use`]);
	const waiting = c.services.filter((s) => s.state === "waiting").length;
	if (waiting) found.push(["warn", "waiting", `${plural(waiting, "service waits", "services wait")}, because the limit of ${number.format(c.limit)} is reached`]);
	return found;
}

function renderCatalogs() {
	const catalogs = state.seen.catalogs || [];
	$("catalogs").hidden = catalogs.length === 0;
	sync(document.querySelector("#catalogs ul"), catalogs, (c) => c.name, () => element("li"), (li, c) => {
		const count = {};
		for (const s of c.services) count[s.state] = (count[s.state] || 0) + 1;
		const states = Object.keys(catalogTones).filter((s) => count[s]).map((s) => `${number.format(count[s])} ${s}`).join(", ");
		const parts = [`registry ${registryText(c.registry)}`, plural(c.services.length, "service", "services") + (states ? ` (${states})` : ""), `limit ${number.format(c.limit)}`];
		if (c.left_out) parts.push(`${number.format(c.left_out)} left out by the config`);
		if (c.registry.skipped) parts.push(`${plural(c.registry.skipped, "entry", "entries")} of the registry not used`);
		const text = clean(`${c.name} (${c.target}): ${parts.join(", ")}`);
		if (li.textContent !== text) li.textContent = text;
	});
	const all = catalogs.flatMap((c) => c.services.map((s) => ({ c: c.name, s: s, tone: catalogTones[s.state] || "idle" })));
	all.sort((a, b) => severity[a.tone] - severity[b.tone]); // Then the oldest first.
	const shown = limited(matching(all, "find-catalog", ({ c, s }) => [c, s.name, s.state, s.reason, ...(s.problems || [])].join(" ")), "catalog-more", "services");
	sync($("catalog").tBodies[0], shown, (x) => x.c + "\n" + x.s.name, () => element("tr"), (row, { c, s, tone }) => {
		const name = s.upstream ? (row.querySelector("button") || opener(s.upstream, s.name)) : s.name;
		cells(row, [name, c, badge(s.state + (s.resting ? ", resting" : ""), tone), s.instances, s.methods, [s.reason, ...(s.problems || [])].filter(Boolean).join("; ")],
			["name", "", "", "n", "n", "wrap"]);
	});
}

function renderRoutes() {
	const all = state.handlers.flatMap((h) => h.routes);
	const shown = limited(matching(all, "find-route", (r) => [r.method, r.template, r.rpc, r.upstream, r.source].join(" ")), "routes-more", "routes");
	sync($("routes").tBodies[0], shown.map((r, i) => ({ r: r, k: [r.method, r.template, r.rpc, r.upstream, i].join(" ") })), (x) => x.k, () => element("tr"), (row, { r }) => {
		cells(row, [r.method, r.template, r.rpc, r.upstream, r.source, r.shadowed_by || ""], ["", "name", "name", "", "", "wrap"]);
	});
}

async function open(name) {
	state.open = name;
	$("find-instance").value = "";
	await refresh();
	if (state.open === name && !$("detail").hidden) $("detail-title").focus();
}

function render() {
	const live = renderServices();
	setVerdict(renderTrouble(live));
	renderDetail();
	renderCatalogs();
	renderDraining();
	$("age").textContent = state.failed ? clean(state.failed) + (state.read ? `; last answer ${ago(new Date(state.read).toISOString())} ago` : "") : "";
}

// get asks for a view. The answer says how many milliseconds the gateway worked for it. The value
// is undefined if it is still what the tag stands for.
async function get(path, tag) {
	const response = await fetch(path, { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {}, signal: AbortSignal.timeout(5000) });
	const took = Number(/dur=([\d.]+)/.exec(response.headers.get("Server-Timing") || "")?.[1] || 0);
	if (response.status === 304) return { tag: tag, took: took };
	if (!response.ok) throw new Error(`${path} answers ${response.status}`);
	return { value: await response.json(), tag: response.headers.get("ETag") || "", took: took };
}

// patience is how many milliseconds to wait before a question is asked again, so that the gateway
// spends at most a hundredth of its time on it.
const patience = (took, least) => Math.min(Math.max(least, 100 * took), 10 * least);

const wanted = () => "overview" + (state.open ? "?" + new URLSearchParams({ upstream: state.open, find: $("find-instance").value }) : "");

// refresh brings everything up to date, and returns how long to wait before the next time.
async function refresh() {
	let pause = 1000;
	const asked = wanted();
	try {
		const { value, tag, took } = await get(asked, asked === state.asked ? state.tag : "");
		// Somebody may have opened another service meanwhile.
		if (value && asked === wanted()) Object.assign(state, { seen: value, tag: tag, asked: asked });
		state.read = Date.now();
		state.failed = "";
		pause = patience(took, pause);
		await refreshRoutes();
	} catch (e) {
		state.failed = e.message;
	}
	render();
	return pause;
}

// refreshRoutes reads the routes, if there are others than those that are shown.
async function refreshRoutes() {
	const revision = state.seen.routes.revision;
	if (revision === state.revision || Date.now() < state.routesAfter) return;
	const { value, took } = await get("routes");
	Object.assign(state, { handlers: value, revision: revision, routesAfter: Date.now() + patience(took, 1000) });
	renderRoutes();
}

// The page refreshes itself while it can be seen. The next time is counted from the end of the last
// one.
async function follow() {
	for (;;) {
		const pause = document.hidden ? 1000 : await refresh();
		await new Promise((done) => setTimeout(done, pause));
	}
}

$("close").addEventListener("click", () => { state.open = ""; $("detail").hidden = true; refresh(); });
$("find-service").addEventListener("input", render);
$("find-catalog").addEventListener("input", renderCatalogs);
$("find-instance").addEventListener("input", refresh);
$("find-route").addEventListener("input", renderRoutes);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
follow();
