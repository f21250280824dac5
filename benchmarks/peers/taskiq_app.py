"""taskiq behind FastAPI. Worker: taskiq worker taskiq_app:broker."""

import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from handler import handle
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

URL = os.environ["PATIENT_REDIS_URL"]
results = RedisAsyncResultBackend(URL, result_ex_time=3600)
broker = RedisStreamBroker(URL).with_result_backend(results)


@broker.task
async def work(payload: dict) -> dict:
    return handle(payload)


@asynccontextmanager
async def connected(_):
    await broker.startup()
    yield
    await broker.shutdown()


app = FastAPI(lifespan=connected)


@app.post("/")
async def submit(request: Request):
    return {"id": (await work.kiq(await request.json())).task_id}


@app.get("/{id}")
async def result(id: str):
    if not await results.is_result_ready(id):
        return {"id": id, "status": "in_queue"}
    return {"id": id, "status": "completed", "result": (await results.get_result(id)).return_value}
