"""A client of stayd in Python: `pip install websockets`. docs/protocol.md explains each step.

    STAYD_TOKEN=… python client.py NAME        STAYD_URL: the server, default http://127.0.0.1:7829

It attaches to the session NAME, or starts it (profile STAYD_PROFILE, default shell), types
standard input into it, prints the output, and exits with the session's exit code. It reconnects
when the server restarts: every byte is typed once and printed once.
"""

import asyncio
import json
import os
import sys
import threading
import uuid
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

URL = os.environ.get("STAYD_URL", "http://127.0.0.1:7829")
HEADERS = {"Authorization": f"Bearer {os.environ['STAYD_TOKEN']}"}
RETRY = {None, 1001, 1005, 1006, 1011, 1012, 1013}  # after other codes, it is of no use


class Client:
    def __init__(self, name, profile):
        self.name, self.profile = name, profile
        self.client = f"example-{uuid.uuid4()}"  # the same over reconnects
        self.session = None  # the session's id, once it is known
        self.offset = 0  # bytes of output that were printed
        self.kept = bytearray()  # input that is not accepted yet
        self.accepted = 0  # offset of its first byte
        self.sent = 0  # how much of it was sent on this connection
        self.window = 0
        self.restarts = 0  # how often the command was restarted
        self.socket = self.code = None

    def url(self):
        query = {"client": self.client}
        if self.session:  # continue after the last printed byte
            query |= {"session": self.session, "offset": self.offset}
        else:
            query["create"] = self.profile
        name = quote(self.session or self.name, safe="")
        return f"{URL.replace('http', 'ws', 1)}/api/v1/sessions/{name}/attach?{urlencode(query)}"

    def record(self):
        request = Request(f"{URL}/api/v1/sessions/{self.session}", headers=HEADERS)
        return json.load(urlopen(request))

    async def type(self, data):
        self.kept += data
        await self.send_typed()

    async def send_typed(self):
        """Sends what the window allows, in pieces of at most 16 KiB."""
        while self.socket and self.sent < min(len(self.kept), self.window):
            end = min(len(self.kept), self.window, self.sent + 16384)
            piece, self.sent = bytes(self.kept[self.sent : end]), end
            await self.socket.send(piece)

    def accept(self, received):
        """The server has accepted `received` bytes in total, so they are no longer kept."""
        done = max(0, min(received - self.accepted, len(self.kept)))
        del self.kept[:done]
        self.sent = max(0, self.sent - done)
        self.accepted = received

    def attached(self, session, received):
        restarted = self.session and session.get("restarts", 0) != self.restarts
        self.session, self.restarts = session["id"], session.get("restarts", 0)
        if restarted:  # what was sent was for the previous run of the command
            del self.kept[: self.sent]
            self.accepted = received
        if received < self.accepted:  # the server has started a new count
            self.accepted = received
        self.sent = 0
        self.accept(received)

    async def read(self):
        """Reads one connection until it closes."""
        snapshot, acked = None, self.offset
        async for message in self.socket:
            if isinstance(message, bytes):
                sys.stdout.buffer.write(message)
                sys.stdout.buffer.flush()
                if snapshot is not None:  # a redrawn screen is not output
                    self.offset = acked = snapshot
                    snapshot = None
                    continue
                self.offset += len(message)
                if self.offset - acked >= 65536:
                    acked = self.offset
                    await self.socket.send(json.dumps({"type": "ack", "offset": acked}))
                continue
            message = json.loads(message)
            match message["type"]:
                case "attached":
                    # Its offset is ours, or else a snapshot follows.
                    self.attached(message["session"], message["input"])
                    self.window = message["input_window"]
                    await self.send_typed()
                case "snapshot":
                    snapshot = message["offset"]
                    sys.stdout.buffer.write(b"\x18\x1b\\\x1bc")  # resets the terminal
                case "input":
                    self.accept(message["received"])
                    await self.send_typed()
                case "exit":
                    self.code = exit_code(message["code"], message["signal"])
                case "error":
                    print(f"{message['code']}: {message['message']}", file=sys.stderr)

    async def run(self):
        wait = 0.05
        while True:
            code, reason = None, ""
            try:
                async with connect(self.url(), subprotocols=["stayd.v1"],
                                   additional_headers=HEADERS) as self.socket:
                    wait = 0.05
                    await self.read()
                    code, reason = self.socket.close_code, self.socket.close_reason
            except ConnectionClosed as closed:
                if closed.rcvd:
                    code, reason = closed.rcvd.code, closed.rcvd.reason
            except InvalidStatus as refused:  # 401, 403: not authorized; 5xx: from a proxy
                if refused.response.status_code < 500:
                    return f"refused: {refused.response.status_code}"
            except (OSError, EOFError, TimeoutError):
                pass  # the server is not (yet) there
            self.socket = None
            if code == 4410 and self.session:  # it ended while we were disconnected
                session = await asyncio.to_thread(self.record)
                return exit_code(session["exit_code"], session["exit_signal"])
            if self.code is not None:
                return self.code
            if code not in RETRY:
                return f"closed: {code} {reason}"
            await asyncio.sleep(wait)
            wait = min(wait * 2, 1)


def exit_code(code, signal):
    return code if code is not None else 128 + (signal or 0)


def read_stdin(client, loop):
    while data := os.read(0, 4096):
        asyncio.run_coroutine_threadsafe(client.type(data), loop)


async def main():
    client = Client(sys.argv[1], os.environ.get("STAYD_PROFILE", "shell"))
    loop = asyncio.get_running_loop()
    threading.Thread(target=read_stdin, args=(client, loop), daemon=True).start()
    return await client.run()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
