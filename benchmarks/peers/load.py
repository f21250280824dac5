"""The callers: sends requests to one system and measures from outside. Runs in the peers' environment.

    load.py submit URL N CONNECTIONS IDS      POST N payloads; write their ids to the file IDS
    load.py fetch URL IDS CONNECTIONS         GET each id once; all must be completed
    load.py drained URL IDS PIDS              let the stopped workers PIDS go on; wait until every id is completed
    load.py closed URL N                      one caller: POST, then GET until the result is there
    load.py open URL RATE SECONDS             callers that arrive at random times, RATE a second on average
    load.py end_to_end URL N CONNECTIONS      each caller: POST, then GET until the result is there

Prints one JSON object. All times are in seconds. Latencies of `open` start when the caller should have arrived.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import deque
from pathlib import Path
from urllib.parse import urlsplit

import httptools
import uvloop

PAYLOAD = json.dumps({"key": "x" * 200}).encode()
POLL_S = 0.002
"""Pause of a caller between two GETs of its workload."""
OPEN_CONNECTIONS = 64
LAST = 128
"""A worker runs at most 100 workloads at once, so when the last 128 are completed, all are. `fetch` checks this."""
TIMEOUT_S = 120


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self):
        self._parser = httptools.HttpResponseParser(self)
        self._body = []
        self._answer = None

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        self._parser.feed_data(data)

    def connection_lost(self, error):
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(str(error)))

    def on_body(self, piece):
        self._body.append(piece)

    def on_message_complete(self):
        status, body = self._parser.get_status_code(), b"".join(self._body)
        self._body = []
        if status != 200:
            self._answer.set_exception(ConnectionError(f"HTTP {status}: {body[:200]!r}"))
        else:
            self._answer.set_result(body)

    async def ask(self, request):
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer


class Caller:
    """Calls one system over several connections."""

    def __init__(self, url):
        found = urlsplit(url)
        self._host, self._port, self._path = found.hostname, found.port, found.path.rstrip("/")
        head = f"POST {self._path or '/'} HTTP/1.1\r\nhost: {found.netloc}\r\ncontent-type: application/json\r\n"
        self._post = f"{head}content-length: {len(PAYLOAD)}\r\n\r\n".encode() + PAYLOAD
        self._netloc = found.netloc

    async def connections(self, number):
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(Connection, self._host, self._port) for _ in range(number)]
        return [protocol for _, protocol in made]

    async def submit(self, connection):
        return str(json.loads(await connection.ask(self._post))["id"])

    async def look(self, connection, id):
        """GET a workload. Return whether it is completed. Raises ValueError for a wrong result."""
        request = f"GET {self._path}/{id} HTTP/1.1\r\nhost: {self._netloc}\r\n\r\n".encode()
        found = json.loads(await connection.ask(request))
        if found["status"] == "completed" and found["result"]["echo"] != "x" * 200:
            raise ValueError(f"a wrong result: {found}")
        return found["status"] == "completed"

    async def run(self, connection):
        """Submit, and wait for the result."""
        id = await self.submit(connection)
        while not await self.look(connection, id):
            await asyncio.sleep(POLL_S)


def latencies(found_s):
    ordered = sorted(found_s)
    at = lambda share: ordered[min(len(ordered) - 1, int(share * len(ordered)))]  # noqa: E731
    return {"p50_s": at(0.5), "p99_s": at(0.99), "worst_s": ordered[-1], "n": len(ordered)}


async def each(connections, items, call):
    """Call `call(connection, item)` for all items, one at a time on each connection. Return the times."""
    waiting, found_s = deque(items), []

    async def serve(connection):
        while waiting:
            item, began = waiting.popleft(), time.perf_counter()
            await call(connection, item)
            found_s.append(time.perf_counter() - began)

    await asyncio.gather(*(serve(connection) for connection in connections))
    return found_s


async def submit(url, n, connections, ids_file):
    caller, ids = Caller(url), []

    async def post(connection, _):
        ids.append(await caller.submit(connection))

    made = await caller.connections(int(connections))
    began = time.perf_counter()
    found_s = await each(made, range(int(n)), post)
    took_s = time.perf_counter() - began
    Path(ids_file).write_text("\n".join(ids))
    return {"seconds": took_s, "per_s": len(ids) / took_s, **latencies(found_s)}


async def fetch(url, ids_file, connections):
    caller, ids = Caller(url), Path(ids_file).read_text().split()

    async def get(connection, id):
        if not await caller.look(connection, id):
            sys.exit(f"{id} is not completed")

    made = await caller.connections(int(connections))
    began = time.perf_counter()
    found_s = await each(made, ids, get)
    took_s = time.perf_counter() - began
    return {"seconds": took_s, "per_s": len(ids) / took_s, **latencies(found_s)}


async def drained(url, ids_file, pids):
    """Continue the stopped workers, and wait until all workloads are completed. Return the time and the rate.

    GETs the last LAST workloads only, one at a time, every 20 ms: GETs of all would slow the system down.
    """
    caller, ids = Caller(url), Path(ids_file).read_text().split()
    [connection] = await caller.connections(1)
    began = time.perf_counter()
    for pid in pids.split(","):
        os.kill(int(pid), signal.SIGCONT)
    for id in ids[: -LAST - 1 : -1]:
        while not await caller.look(connection, id):
            await asyncio.sleep(0.02)
        if id == ids[-1]:
            took_s = time.perf_counter() - began
    return {"seconds": took_s, "per_s": len(ids) / took_s}


async def closed(url, n):
    caller = Caller(url)
    [connection] = await caller.connections(1)
    found_s = await each([connection], range(int(n)), lambda one, _: caller.run(one))
    return latencies(found_s)


async def open_loop(url, rate, seconds):
    caller, chance = Caller(url), random.Random(1)
    free = asyncio.Queue()
    for connection in await caller.connections(OPEN_CONNECTIONS):
        free.put_nowait(connection)
    found_s, callers = [], []

    async def call(arrival):
        connection = await free.get()
        await caller.run(connection)
        found_s.append(time.perf_counter() - arrival)
        free.put_nowait(connection)

    arrival, end = time.perf_counter(), time.perf_counter() + float(seconds)
    while arrival < end:
        arrival += chance.expovariate(float(rate))
        await asyncio.sleep(max(0.0, arrival - time.perf_counter()))
        callers.append(asyncio.create_task(call(arrival)))
    await asyncio.gather(*callers)
    return latencies(found_s)


async def end_to_end(url, n, connections):
    caller = Caller(url)
    made = await caller.connections(int(connections))
    began = time.perf_counter()
    found_s = await each(made, range(int(n)), lambda connection, _: caller.run(connection))
    took_s = time.perf_counter() - began
    return {"seconds": took_s, "per_s": len(found_s) / took_s, **latencies(found_s)}


SCENARIOS = {
    "submit": submit,
    "fetch": fetch,
    "drained": drained,
    "closed": closed,
    "open": open_loop,
    "end_to_end": end_to_end,
}


async def main(scenario, *arguments):
    try:
        async with asyncio.timeout(TIMEOUT_S):
            print(json.dumps(await SCENARIOS[scenario](*arguments)))
    except TimeoutError:
        sys.exit(f"{scenario} takes more than {TIMEOUT_S} s, as when a workload is lost")


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
