"""docket behind FastAPI. Worker: docket worker --tasks docket_app:tasks."""

import os
from contextlib import asynccontextmanager
from datetime import timedelta

from docket import Docket
from docket.execution import ExecutionState
from fastapi import FastAPI, Request
from handler import handle

docket = Docket(name="bench", url=os.environ["DOCKET_URL"], execution_ttl=timedelta(hours=1))


async def work(payload: dict) -> dict:
    return handle(payload)


tasks = [work]


@asynccontextmanager
async def connected(_):
    async with docket:
        docket.register(work)
        yield


app = FastAPI(lifespan=connected)


@app.post("/")
async def submit(request: Request):
    return {"id": (await docket.add(work)(await request.json())).key}


@app.get("/{id}")
async def result(id: str):
    execution = await docket.get_execution(id)
    if execution is None or execution.state is not ExecutionState.COMPLETED:
        return {"id": id, "status": "in_queue"}
    return {"id": id, "status": "completed", "result": await execution.get_result()}
