import gzip

import pytest

from offline.data.byte_streams import ByteStream


@pytest.mark.parametrize("n_bytes", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    "content", [b"plain", "é€😀 a".encode(), b"a\xc3", b"a\xc3b\xff c", b"\xe2\x82a\xac"]
)
def test_utf_8_read_in_parts_is_what_it_is_as_a_whole(tmp_path, content, n_bytes):
    path = tmp_path / "text"
    path.write_bytes(content)
    parts = []
    with ByteStream(path, "utf-8") as stream:
        while part := stream.read(n_bytes):
            parts.append(part)
    # Of a character that the file's end cuts off nothing is left.
    whole = content.removesuffix(b"\xc3").decode(errors="replace").encode()
    assert b"".join(parts) == whole


@pytest.mark.parametrize("name", ["lines.txt", "lines.txt.gz"])
@pytest.mark.parametrize("n_bytes", [1, 4, 9, 1000])
def test_lines_are_cut_only_where_one_is_longer_than_asked_for(tmp_path, name, n_bytes):
    content = b"one\ntwo\n\na longer one\nend"
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    parts, is_last = [], False
    with ByteStream(path) as stream:
        while not is_last:
            lines, is_last = stream.read_lines(n_bytes, b"\n")
            parts.append(lines)
    assert b"".join(parts) == content
    assert all(len(part) <= n_bytes for part in parts)
    assert all(part.endswith(b"\n") or len(part) == n_bytes for part in parts[:-1])
