"""Sleeps for the seconds in its payload, on the event loop."""

import asyncio


class Handler:
    async def handle_async(self, payload):
        await asyncio.sleep(payload)
        return {"slept_s": payload}
