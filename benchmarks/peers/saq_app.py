"""SAQ behind FastAPI. Worker: saq saq_app.settings."""

import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from handler import handle
from saq import Queue

queue = Queue.from_url(os.environ["PATIENT_REDIS_URL"])


async def work(_, *, payload):
    return handle(payload)


settings = {"queue": queue, "functions": [work], "concurrency": int(os.environ.get("CONCURRENCY", "64"))}


@asynccontextmanager
async def connected(_):
    await queue.connect()
    yield
    await queue.disconnect()


app = FastAPI(lifespan=connected)


@app.post("/")
async def submit(request: Request):
    return {"id": (await queue.enqueue("work", payload=await request.json(), ttl=3600)).key}


@app.get("/{id}")
async def result(id: str):
    job = await queue.job(id)
    if job is None or job.status != "complete":
        return {"id": id, "status": "in_queue"}
    return {"id": id, "status": "completed", "result": job.result}
