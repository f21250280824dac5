"""streaq behind FastAPI. Worker: streaq run streaq_app:worker."""

import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from handler import handle
from streaq import Worker

worker = Worker(redis_url=os.environ["REDIS_URL"], concurrency=int(os.environ.get("CONCURRENCY", "64")))


@worker.task(ttl=3600)
async def work(payload: dict) -> dict:
    return handle(payload)


@asynccontextmanager
async def connected(_):
    async with worker:
        yield


app = FastAPI(lifespan=connected)


@app.post("/")
async def submit(request: Request):
    return {"id": (await work.enqueue(await request.json())).id}


@app.get("/{id}")
async def result(id: str):
    raw = await worker.redis.get(worker.results_key + id)  # result_by_id subscribes to a channel for each read
    if raw is None:
        return {"id": id, "status": "in_queue"}
    return {"id": id, "status": "completed", "result": (await worker.deserialize(raw))["r"]}
