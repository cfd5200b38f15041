// npm's rpc-websockets speaks to the daemon unaided: its own framing, ids and events.
// Usage: node stranger.mjs SOCKET_URL ORIGIN COOKIE SESSION FILE_ID; prints a JSON line a step.
import { Client } from "rpc-websockets";

const [url, origin, cookie, session, fileId] = process.argv.slice(2);
const say = (step, value) => console.log(JSON.stringify({ step, value }));

const client = new Client(url, { headers: { Origin: origin, Cookie: cookie }, reconnect: false });
client.on("error", (error) => {
  say("error", String(error.message));
  process.exit(1);
});
client.on("document.changed", (params) => {
  say("changed", params);
  client.close();
});
client.on("open", async () => {
  say("opened", await client.call("session.open", { session }));
  say("files", await client.call("drive.files.list", { fields: "files(id,name)" }));
  say("refused", await client.call("drive.files.get", { fileId: "../x" }).catch((error) => error));
  say("watching", await client.call("documents.watch", { fileId }));
});
