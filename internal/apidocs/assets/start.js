"use strict";
// The page shows the document that the body names. It asks no other host for anything.
window.addEventListener("load", async () => {
  followTheme();
  const here = document.body.dataset;
  try {
    const spec = await readDocument(new URL(here.document, location.href));
    callHere(spec, new URL(here.base, location.href));
    showDocument(spec);
  } catch (error) {
    notice("The description of the API cannot be shown: " + error.message);
  }
});

// followTheme makes Swagger UI dark when the reader's system is. It looks for a class.
function followTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
  dark.addEventListener("change", follow);
  follow();
}

async function readDocument(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`HTTP ${response.status}: ${(await response.text()).trim()}`);
  return response.json();
}

// callHere leaves only those base URLs that the page may call: those of its own origin. If the
// document has none, it is where the page came from. A proxy that the gateway does not know may
// have changed the scheme or the host, for example.
function callHere(spec, base) {
  const own = [];
  for (const server of spec.servers || []) {
    if (!URL.canParse(server.url, base)) continue;
    const url = new URL(server.url, base);
    if (url.origin === location.origin) own.push({ ...server, url: withoutSlash(url) });
  }
  spec.servers = own.length > 0 ? own : [{ url: withoutSlash(base) }];
}

function withoutSlash(url) {
  return url.href.replace(/\/$/, "");
}

function showDocument(spec) {
  const title = (spec.info && spec.info.title) || "API";
  document.title = title;
  document.getElementById("title").textContent = title;
  if (spec["x-pending"]) notice(`Not known yet: ${spec["x-pending"].join(", ")}. Load the page again in a moment.`);
  const plugins = [plainLinks];
  const streams = streamsOf(spec);
  if (streams.length > 0) plugins.push(streamButton(new StreamPanel(streams, new URL(spec.servers[0].url))));
  labelControls(document.getElementById("swagger-ui"));
  SwaggerUIBundle({
    spec,
    dom_id: "#swagger-ui",
    plugins,
    deepLinking: true,
    docExpansion: Object.keys(spec.paths || {}).length > 200 ? "none" : "list", // Many would take seconds to draw.
    defaultModelsExpandDepth: 0,
    validatorUrl: null,
    queryConfigEnabled: false,
    tryItOutEnabled: true,
    persistAuthorization: false,
    displayRequestDuration: true,
  });
}

// notice says something above everything else.
function notice(text) {
  const place = document.getElementById("notice");
  place.textContent = text;
  place.hidden = false;
}
