"""Celery behind FastAPI. Worker: celery -A celery_app worker --pool solo."""

import os

from celery import Celery
from fastapi import FastAPI, Request
from handler import handle

URL = os.environ["REDIS_URL"]
celery = Celery("bench", broker=URL, backend=URL)
celery.conf.update(
    task_acks_late=True, worker_prefetch_multiplier=64, result_expires=3600, worker_hijack_root_logger=False
)


@celery.task(name="work")
def work(payload):
    return handle(payload)


app = FastAPI()


@app.post("/")
async def submit(request: Request):
    return {"id": work.delay(await request.json()).id}


@app.get("/{id}")
async def result(id: str):
    found = celery.backend.get_task_meta(id, cache=False)
    if found["status"] != "SUCCESS":
        return {"id": id, "status": "in_queue"}
    return {"id": id, "status": "completed", "result": found["result"]}
