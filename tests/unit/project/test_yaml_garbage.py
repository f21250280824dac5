"""For any file, the reader returns specs or raises ProjectInvalid."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from insula.errors import ProjectInvalid
from insula.project.configuration.cortex_yaml import parse
from insula.project.env_file import parse_env
from tests.unit.project.entries import MINIMAL

YAML = st.text(st.sampled_from("-:?*&!|>{}[],#'\"%@` \n\tab1.0_~<=x\\uU\x00\ud800é") | st.characters(), max_size=60)


@settings(max_examples=2000)
@given(st.binary(max_size=120) | YAML.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_garbage_never_crashes_the_reader(data: bytes) -> None:
    with contextlib.suppress(ProjectInvalid):
        parse(data, "cortex.yaml")


@settings(max_examples=2000)
@given(YAML, st.integers(0, len(MINIMAL)), st.integers(0, 10))
def test_a_damaged_file_never_crashes_the_reader(garbage: str, at: int, cut: int) -> None:
    damaged = MINIMAL[:at] + garbage + MINIMAL[at + cut :]
    with contextlib.suppress(ProjectInvalid):
        parse(damaged.encode("utf-8", "surrogatepass"), "cortex.yaml")


@settings(max_examples=2000)
@given(st.binary(max_size=120) | st.text("AB=\"'\\\n\r #$export\x00", max_size=60).map(str.encode))
def test_garbage_never_crashes_the_env_reader(data: bytes) -> None:
    with contextlib.suppress(ProjectInvalid):
        variables = parse_env(data)
        assert all("\0" not in name + value for name, value in variables.items())
