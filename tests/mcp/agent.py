"""An agent with the official client of MCP, against a server that dies under it.

    agent.py http URL SESSION COUNT ERA     the token is in STAYD_TOKEN
    agent.py stdio STAYD STATE_DIR SESSION COUNT ERA
    agent.py tools URL ERA                  calls every tool once

It types COUNT lines into SESSION, whose program says `got LINE` to each, and waits for that. What fails
is repeated with the same key, and every fourth line has no key and is not repeated. It prints `sent N`
for each line that was answered, and in the end what became of each as JSON.
"""

import json
import os
import sys

import anyio
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client


def over_http(url):
    headers = {"Authorization": "Bearer " + os.environ["STAYD_TOKEN"]}
    return lambda: streamable_http_client(url, http_client=create_mcp_http_client(headers=headers))


def over_stdio(stayd, state_dir):
    server = StdioServerParameters(command=stayd, args=["mcp", "--state-dir", state_dir])
    return lambda: stdio_client(server)


def say(text):
    print(text, flush=True)


class Agent:
    """Keeps one client as long as that goes on."""

    def __init__(self, transport, era):
        self.transport, self.era = transport, era
        self.clients, self.failures = 0, []

    async def run(self, lines):
        """`lines`: functions of a client, which return whether they are done."""
        lines = list(lines)
        with anyio.fail_after(100):
            while lines:
                self.clients += 1
                try:
                    async with Client(self.transport(), mode=self.era) as client:
                        while lines:
                            if await lines[0](client):
                                lines.pop(0)
                except Exception as error:  # The server is away: a new client, when it is back.
                    self.failures.append(repr(error)[:200])
                    await anyio.sleep(0.05)


async def type_lines(transport, session, count, era):
    agent, outcomes = Agent(transport, era), {}

    def line(number):
        text, keyed = f"line {number}", number % 4 != 3
        arguments = {
            "session": session,
            "text": text,
            "keys": ["Enter"],
            "wait": {"regex": f"^got {text}$"},
            "timeout_ms": 2000,
        }
        if keyed:
            arguments["idempotency_key"] = f"key-{number}"

        async def once(client):
            try:
                result = await client.call_tool("session_send", arguments)
            except Exception as error:
                agent.failures.append(repr(error)[:200])
                if not keyed:
                    outcomes[number] = "unknown"
                    return True
                await anyio.sleep(0.05)
                return False
            told = result.structured_content
            if result.is_error and told.get("code") == "unavailable" and told.get("typed", 0) == 0:
                agent.failures.append(told["detail"])
                return False
            if result.is_error:
                raise SystemExit(f"{number}: {told}")
            # Repeated, it may have been answered while nobody listened: then its screen shows it.
            shows = told["waited"] == "held" or f"got {text}" in told["screen"]
            outcomes[number] = "answered" if shows else told["waited"]
            say(f"sent {number}")
            return True

        return once

    await agent.run(line(number) for number in range(count))
    say(json.dumps({"outcomes": outcomes, "clients": agent.clients, "failures": agent.failures}))


async def every_tool(transport, era):
    async with Client(transport(), mode=era) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        told = {}

        async def call(tool, **arguments):
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, (tool, result)
            # What is told as text is the same.
            assert json.loads(result.content[0].text) == result.structured_content, tool
            told[tool] = result.structured_content
            return result.structured_content

        session = await call("session_create", command=["cat"], name=f"cat-{era}")
        await call("session_list", name=f"cat-{era}")
        wait = {"text": "hello\nhello"}
        await call("session_send", session=session["id"], text="hello", keys=["Enter"], wait=wait)
        await call("session_screen", session=session["id"])
        await call("session_wait", session=session["id"], wait={"quiet_ms": 50})
        await call("session_end", session=session["id"])
        await call("command_run", command="echo out; echo err >&2; exit 3")
        wrong = await client.call_tool("session_screen", {"session": "nobody"})
        assert wrong.is_error and wrong.structured_content["code"] == "not_found", wrong
        say(json.dumps({"tools": tools, "told": told, "version": client.protocol_version}))


how, *rest = sys.argv[1:]
if how == "http":
    url, session, count, era = rest
    anyio.run(type_lines, over_http(url), session, int(count), era)
elif how == "stdio":
    stayd, state_dir, session, count, era = rest
    anyio.run(type_lines, over_stdio(stayd, state_dir), session, int(count), era)
else:
    url, era = rest
    anyio.run(every_tool, over_http(url), era)
