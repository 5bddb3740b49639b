// Lists the tools of a server and calls some, with the official TypeScript client. It prints what it
// got as one JSON object. The arguments are the URL, and a list of [tool, arguments] as JSON.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, calls] = process.argv.slice(2);
const client = new Client({ name: "judge", version: "1" });
await client.connect(new StreamableHTTPClientTransport(new URL(url)));
const tools = [];
for (let cursor; ; ) {
	const page = await client.listTools({ cursor });
	tools.push(...page.tools);
	cursor = page.nextCursor;
	if (!cursor) break;
}
const results = [];
for (const [name, args] of JSON.parse(calls)) {
	try {
		// The client judges each result by the output schema of its tool, and throws.
		results.push({ name, result: await client.callTool({ name, arguments: args }) });
	} catch (error) {
		results.push({ name, error: String(error) });
	}
}
console.log(JSON.stringify({ server: client.getServerVersion(), tools, results }));
await client.close();
