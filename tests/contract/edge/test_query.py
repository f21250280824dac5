"""No spelling of a query parameter sets a field of a request. Only the path, the host and the body do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import chain

import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.descriptor import Descriptor

from insula.v1.results_service_pb2 import DownloadWorkloadRequest
from insula.v1.submit_service_pb2 import UploadWorkloadRequest
from tests.contract.edge.conftest import WAYS
from tests.contract.edge.running_edge import Listener
from tests.contract.edge.scripted_services import ScriptedServices

pytestmark = WAYS

VALUE = "ZXZpbA=="  # valid base64, so that a field of bytes could accept it


def field_paths(message: Descriptor, prefix: str = "") -> Iterator[str]:
    """Yield each path of fields that a query parameter could name, with both names of each field."""
    for field in message.fields:
        for name in {field.name, field.json_name}:
            yield prefix + name
            if field.message_type is not None:
                yield from field_paths(field.message_type, f"{prefix}{name}.")


NAMES = sorted({*field_paths(UploadWorkloadRequest.DESCRIPTOR), *field_paths(DownloadWorkloadRequest.DESCRIPTOR)})


def escaped(text: str, hexadecimal: str) -> str:
    return "".join(f"%{ord(character):{hexadecimal}}" for character in text)


SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "plain": lambda name: f"{name}={VALUE}",
    "first letter escaped": lambda name: f"{escaped(name[0], '02x')}{name[1:]}={VALUE}",
    "last letter escaped": lambda name: f"{name[:-1]}{escaped(name[-1], '02X')}={VALUE}",
    "escaped": lambda name: f"{escaped(name, '02x')}={VALUE}",
    "escaped in upper case": lambda name: f"{escaped(name, '02X')}={VALUE}",
    "escaped twice": lambda name: f"{escaped(escaped(name, '02x'), '02x')}={VALUE}",
    "dot escaped": lambda name: f"{name.replace('.', '%2E')}={VALUE}",
    "equals sign escaped": lambda name: f"{name}%3D{VALUE}",
    "value escaped": lambda name: f"{name}={escaped(VALUE, '02x')}",
    "upper case": lambda name: f"{name.upper()}={VALUE}",
    "capitalised": lambda name: f"{name.title()}={VALUE}",
    "repeated": lambda name: f"{name}={VALUE}&{name}={VALUE}",
    "repeated in two spellings": lambda name: f"{name}=x&{escaped(name, '02x')}={VALUE}",
    "with an index": lambda name: f"{name}[0]={VALUE}&{name}%5B%5D={VALUE}&{name}.0={VALUE}",
    "after a semicolon": lambda name: f"a=b;{name}={VALUE}",
    "after a second question mark": lambda name: f"a=b?{name}={VALUE}",
    "after an empty parameter": lambda name: f"&&=&{name}={VALUE}",
    "between spaces": lambda name: f"+{name}+={VALUE}&%20{name}%20={VALUE}&%00{name}%00={VALUE}",
    "without a value": lambda name: f"{name}&{name}=",
    "as something else": lambda name: f"{name}.x={VALUE}&x.{name}={VALUE}&{name}=%ff&%ff{name}=1&{name}=%zz",
}


@pytest.fixture(params=["public", "internal"])
def caller(request: pytest.FixtureRequest, public: Listener, internal: Listener) -> tuple[Listener, str, str]:
    """A listener, and the path and the Host that select the API `predict` there."""
    return (public, "/predict", "localhost") if request.param == "public" else (internal, "", "api-predict:8888")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_query_parameter_reaches_a_field(
    caller: tuple[Listener, str, str], services: ScriptedServices, spelling: str
) -> None:
    """The query of a POST and of a GET names each field alone, then all fields together."""
    listener, path, host = caller
    upload = UploadWorkloadRequest(payload=HttpBody(content_type="text/plain", data=b"body"))
    read = DownloadWorkloadRequest()
    if path:
        upload.endpoint, read.path = "predict", "predict/1"
    else:
        upload.api, read.api, read.id = "predict", "predict", "1"
    each = [SPELLINGS[spelling](name) for name in NAMES]
    for query in chain(each, ["&".join(each)]):
        posted = listener.post(f"{path or '/'}?{query}", b"body", content_type="text/plain", host=host)
        fetched = listener.get(f"{path}/1?{query}", host=host)
        assert (posted.status, fetched.status) == (200, 200), query
    assert [one.first for one in services.submit.uploads] == [upload] * (len(NAMES) + 1)
    assert services.results.downloads == [read] * (len(NAMES) + 1)


@pytest.mark.parametrize("target", ["/predict%3Fendpoint=other", "/predict%3fapi=other%26endpoint=other"])
def test_an_escaped_question_mark_belongs_to_the_path(
    public: Listener, services: ScriptedServices, target: str
) -> None:
    """A question mark that is escaped as `%3F` does not begin a query."""
    assert public.post(target).status == 200
    [upload] = services.submit.uploads
    assert upload.first.endpoint.startswith("predict%3")
    assert upload.first.api == ""


def test_a_native_call_ignores_a_query(public: Listener, services: ScriptedServices) -> None:
    """Only the path selects the method."""
    target = "/insula.v1.SubmitService/SubmitWorkload?api=other"
    reply = public.post(target, b"\0\0\0\0\0", content_type="application/grpc-web+proto")
    assert reply.status == 200
    assert [submit.api for submit in services.submit.submits] == [""]
