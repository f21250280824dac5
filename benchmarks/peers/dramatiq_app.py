"""dramatiq behind FastAPI. Worker: dramatiq dramatiq_app."""

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from dramatiq.results.errors import ResultMissing
from fastapi import FastAPI, Request
from handler import handle

URL = os.environ["PATIENT_REDIS_URL"]
backend = RedisBackend(url=URL)
broker = RedisBroker(url=URL)
broker.add_middleware(Results(backend=backend, result_ttl=3_600_000, store_results=True))
dramatiq.set_broker(broker)


@dramatiq.actor
def work(payload):
    return handle(payload)


app = FastAPI()


@app.post("/")
async def submit(request: Request):
    return {"id": work.send(await request.json()).message_id}


@app.get("/{id}")
async def result(id: str):
    message = work.message()
    try:
        value = backend.get_result(message.copy(message_id=id))
    except ResultMissing:
        return {"id": id, "status": "in_queue"}
    return {"id": id, "status": "completed", "result": value}
