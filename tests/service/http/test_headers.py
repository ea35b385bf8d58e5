"""One header of a request, found as the framework finds it."""

from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from service.http.headers import header_of

NAMES = st.sampled_from([b"content-type", b"x-request-id", b"accept"])


@given(st.lists(st.tuples(NAMES, st.binary(max_size=8))), NAMES)
@example([(b"accept", b"one"), (b"accept", b"\xe9")], b"accept")
def test_it_finds_what_the_framework_does(headers: list[tuple[bytes, bytes]], name: bytes) -> None:
    assert header_of({"headers": headers}, name) == Headers(raw=headers).get(name.decode())
