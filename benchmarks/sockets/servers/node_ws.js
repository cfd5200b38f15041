// The package ws on node: the plain way, `send` to everybody.
const { WebSocketServer } = require(process.argv[3]);

const rooms = new Map();
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  perMessageDeflate: false,
  backlog: 4096,
});
server.on("connection", (socket, request) => {
  const path = request.url;
  const room = path.slice(5);
  if (path.startsWith("/sub/")) {
    if (!rooms.has(room)) rooms.set(room, new Set());
    rooms.get(room).add(socket);
  }
  socket.on("message", (data) => {
    if (path === "/ask") socket.send(data, { binary: false });
    else if (path.startsWith("/pub/"))
      for (const each of rooms.get(room) ?? []) each.send(data, { binary: false });
  });
  socket.on("close", () => rooms.get(room)?.delete(socket));
  socket.on("error", () => {});
});
