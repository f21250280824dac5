import asyncio

import requests


class Handler:
    async def handle_async(self, payload):
        # All requests run at once, so a workload takes as long as its slowest URL.
        answers = await asyncio.gather(*(asyncio.to_thread(check, url) for url in payload["urls"]))
        return dict(zip(payload["urls"], answers))


def check(url):
    try:
        return {"status": requests.get(url, timeout=10).status_code}
    except requests.RequestException as error:
        return {"error": str(error)}
