"""Keeps connections busy until its standard input closes and for a while longer. Says "busy" when all of it goes on, and
at the end what it saw, in JSON. Runs in the machine."""

import asyncio
import json
import sys

CONNECTIONS = 64
# Longer than the proxy holds a request for an application that starts.
PATIENCE = 40
# Requests that are answered before it says that it is busy, and again after what is tried is over.
MARGIN = 500


async def answer(reader, writer, head):
    """The status of one exchange on a kept connection."""
    writer.write(head)
    received = await reader.readuntil(b"\r\n\r\n")
    lines = received.decode("latin-1").split("\r\n")
    fields = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines[1:])
    }
    await reader.readexactly(int(fields["content-length"]))
    return int(lines[0].split()[1]), fields.get("connection", "").lower() == "close"


async def visit(host, seen, stopping):
    """Makes one request after the other. A connection that is closed between two is made anew, as by browsers."""
    head = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    writer = None
    while not stopping.is_set():
        is_kept = writer is not None
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", 80)
                seen["connections"] += 1
            status, is_last = await asyncio.wait_for(answer(reader, writer, head), PATIENCE)
            seen["requests"] += 1
            if status != 200:
                seen["failed"].append(f"status {status}")
        except asyncio.IncompleteReadError as error:
            is_last = True
            if error.partial or not is_kept:
                seen["failed"].append(f"{type(error).__name__}: {error}")
        except (OSError, asyncio.TimeoutError, KeyError, ValueError) as error:
            is_last = True
            if not (is_kept and isinstance(error, ConnectionError)):
                seen["failed"].append(f"{type(error).__name__}: {error}")
        if is_last and writer:
            writer.close()
            writer = None


async def answered(count, seen):
    """Waits until so many more requests were answered, well or not."""

    def done():
        return seen["requests"] + len(seen["failed"])

    enough = done() + count
    while done() < enough:
        await asyncio.sleep(0.02)


async def main(host):
    seen, stopping = {"requests": 0, "connections": 0, "failed": []}, asyncio.Event()
    visitors = [asyncio.create_task(visit(host, seen, stopping)) for _ in range(CONNECTIONS)]
    await answered(MARGIN, seen)
    print("busy", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await answered(MARGIN, seen)
    stopping.set()
    await asyncio.gather(*visitors)
    print(json.dumps(seen | {"failed": seen["failed"][:10], "failures": len(seen["failed"])}))


asyncio.run(main(sys.argv[1]))
