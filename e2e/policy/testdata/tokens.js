// The page of the recipe for WebSockets with tokens. It opens one in each way that a page can, and posts what it saw.
const { gateway, token } = await (await fetch("/config")).json();

function socket(query, protocols = []) {
  return new Promise((resolve) => {
    const ws = new WebSocket(`${gateway}/v1/stream/1?text=hello${query}`.replace(/^http/, "ws"), protocols);
    ws.onmessage = ({ data }) => resolve(JSON.parse(data).text);
    ws.onerror = () => resolve("failed");
  });
}

const results = {
  subprotocol: await socket("", ["bearer", token]),
  "wrong subprotocol": await socket("", ["bearer", "wrong-token"]),
  query: await socket(`&access_token=${token}`),
};
await fetch("/results", { method: "POST", body: JSON.stringify(results) });
