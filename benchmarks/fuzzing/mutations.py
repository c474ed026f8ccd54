"""Mutations of valid files that keep most of their structure, so that readers get past their first check."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_RAW = "@@raw:{}@@"
# JSON texts that json.dumps cannot or does not write; a value holds `_RAW` with their index in their place.
_RAW_TEXTS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-0.0",
    "9" * 5000,
    "-" + "1" * 400,
    "9223372036854775808",
    "1e-400",
    "[" * 100_000,
    "[" * 3000 + "]" * 3000,
    '{"a":' * 3000 + "1" + "}" * 3000,
    "[" * 900 + "]" * 900,
    '"\\ud800"',
    '"\\udc00x"',
    '"\\ud83d\\ude00"',
    '"\\u0000"',
    '{"id": 1, "id": 2}',
    '{"": {}}',
    "tru",
    "'a'",
    "",
    "/* */ 1",
    "[1,]",
    '"' + "x" * 70_000 + '"',
    '"\\x"',
    '"a\nb"',
    "\ufeff1",
    "1" + "0" * 350,
)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**63) - 1,
    10**30,
    0.5,
    1e308,
    "",
    " ",
    "0",
    "a\nb",
    "\r",
    "\x1b[2J",
    "\x00",
    "<image>",
    "<image>\n" * 50,
    "../../etc/passwd",
    "/etc/passwd",
    "https://example.org/a.png",
    "é" * 300,
    "\u202e",
    "=1+1",
    "None",
    "nan",
    "user",
    "assistant",
    "system",
    "human",
    "gpt",
    "tool",
    [],
    {},
    [None],
    [[]],
    [{}],
    {"type": "text"},
    {"type": "image_url", "image_url": {"url": "x"}},
    {"bytes": None, "path": None},
    ["a"] * 300,
)


def mutate_json(rng: random.Random, value: Any) -> bytes:
    """A JSON text of `value` in which one to three nodes are replaced, removed, repeated or wrapped."""
    holder = [json.loads(json.dumps(value))]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _mutate_node(rng, holder)
    text = json.dumps(holder[0], ensure_ascii=rng.random() < 0.5)
    for n, raw in enumerate(_RAW_TEXTS):
        text = text.replace(json.dumps(_RAW.format(n)), raw)
    return text.encode("utf-8", errors=rng.choice(("replace", "surrogatepass")))


def mutate_lines(rng: random.Random, rows: list[Any]) -> bytes:
    """JSONL of `rows` with one line mutated, and lines repeated, removed, blank or joined."""
    lines = [json.dumps(row).encode() for row in rows]
    at = rng.randrange(len(lines))
    action = rng.randrange(8)
    if action < 5:
        lines[at] = mutate_json(rng, rows[at]).replace(b"\n", b" ")
    elif action == 5:
        lines.insert(at, lines[at])
    elif action == 6:
        lines[at] = rng.choice((b"", b"null", b"[]", b"\xff", b"1", b'"x"', lines[at][: len(lines[at]) // 2]))
    else:
        del lines[at]
    return b"\n".join(lines) + rng.choice((b"\n", b"", b"\r\n", b"\n\n"))


def _mutate_node(rng: random.Random, holder: list[Any]) -> None:
    container, key = rng.choice(list(_nodes(holder)))
    node = container[key]
    action = rng.randrange(10)
    if action < 3:
        container[key] = json.loads(json.dumps(rng.choice(_VALUES)))
    elif action < 5:
        container[key] = _RAW.format(rng.randrange(len(_RAW_TEXTS)))
    elif action == 5 and isinstance(container, dict):
        del container[key]
    elif action == 6:
        container[key] = rng.choice(([node], {"a": node}, [node, node], str(node)[:1000]))
    elif action == 7 and isinstance(node, str):
        cut = rng.randrange(len(node) + 1)
        container[key] = node[:cut] + rng.choice(("\u0000", "\n", "<image>", "\ud83d\ude00", "é", "")) + node[cut:]
    elif action == 8 and isinstance(node, list) and node:
        node.insert(rng.randrange(len(node)), rng.choice(node))
    elif isinstance(container, dict):
        container[rng.choice(("id", "image", "images", "video", "audio", "source", "messages", "", "\u0000", "x"))] = (
            node
        )
    else:
        container[key] = {"value": node}


def _nodes(holder: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below `holder`."""
    found, todo = [], [holder]
    while todo:
        container = todo.pop()
        for key in list(container) if isinstance(container, dict) else range(len(container)):
            found.append((container, key))
            if isinstance(container[key], (dict, list)):
                todo.append(container[key])
    return found


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """Bytes with bits flipped, cut, repeated, inserted or overwritten."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(out) + 1)
        action = rng.randrange(8)
        if action < 3 and out:
            out[at % len(out)] ^= 1 << rng.randrange(8)
        elif action == 3:
            del out[at:]
        elif action == 4:
            del out[at : at + rng.choice((1, 4, 64))]
        elif action == 5:
            out[at:at] = rng.choice(
                (b"\x00", b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x00" * 512, bytes(out[at : at + 64]))
            )
        elif action == 6:
            piece = rng.choice((b"\xff" * 8, b"\x00" * 8, b"\xff\xff\xff\x7f", b"9999999999", b"-1", b"\xf0\x9f"))
            out[at : at + len(piece)] = piece
        else:
            out = bytearray() if rng.random() < 0.1 else out + out[at:]
    return bytes(out)


def mutate_text(rng: random.Random, text: str) -> bytes:
    """UTF-8 text with cells, lines and signs changed."""
    pieces = (
        "\t",
        "\n",
        '"',
        ",",
        "\x00",
        "\ufeff",
        "\r",
        "nan",
        "1e999",
        "9" * 5000,
        "[" * 5000,
        "['a', 'b'",
        "x" * 70_000,
        "+",
    )
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(text) + 1)
        end = rng.choice((at, at + 1, at + 10, len(text)))
        text = text[:at] + rng.choice((*pieces, "")) + text[end:]
    return text.encode()


def mutate_table(rng: random.Random, table: pa.Table) -> bytes:
    """Parquet of a table with columns of other types, nulls, other names, or values of other shapes."""
    columns = dict(zip(table.schema.names, table.columns, strict=True))
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(list(columns))
        columns = _mutate_column(rng, columns, name, table.num_rows) or columns
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, row_group_size=rng.choice((1, 100)))
    data = buffer.getvalue()
    return mutate_bytes(rng, data) if rng.random() < 0.3 else data


def _mutate_column(rng: random.Random, columns: dict[str, Any], name: str, rows: int) -> dict[str, Any]:
    column = columns[name]
    action = rng.randrange(7)
    if action == 0:
        return {k: v for k, v in columns.items() if k != name}
    if action == 1:
        return {(k if k != name else rng.choice(("id", "image", "x", "", "a\nb"))): v for k, v in columns.items()}
    if action == 2:
        values: Any = pa.nulls(rows, column.type)
    elif action == 3:
        values = pa.array([rng.choice(_COLUMN_VALUES)] * rows)
    elif action == 4:
        values = _cast(column, rng.choice(_TYPES))
    elif action == 5:
        values = column.take(pa.array([rng.randrange(rows) for _ in range(rows)]))
    else:
        values = pa.array([v if rng.random() < 0.6 else None for v in column.to_pylist()], column.type)
    return {**columns, name: values}


_COLUMN_VALUES: tuple[Any, ...] = (
    0,
    -5,
    2**62,
    float("nan"),
    float("inf"),
    1e300,
    "",
    "a\nb",
    "\x00",
    b"",
    b"\xff\xfe",
    True,
    [],
    ["a"],
    [["a"]],
    [1.5],
    {"bytes": b"", "path": "../x"},
    {"path": "x"},
    {"from": "gpt"},
    [{"from": "gpt", "value": None}],
    [None],
    "é" * 200,
)
_TYPES = (
    pa.large_string(),
    pa.string(),
    pa.binary(),
    pa.int64(),
    pa.int8(),
    pa.float64(),
    pa.float16(),
    pa.bool_(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.decimal128(38, 2),
    pa.timestamp("us"),
    pa.large_list(pa.string()),
)


def _cast(column: Any, kind: pa.DataType) -> Any:
    try:
        return column.cast(kind)
    except (pa.ArrowException, NotImplementedError):
        return pa.array([None] * len(column), kind)


def mutate_tar(
    rng: random.Random, members: Mapping[str, bytes], mutate: Mapping[str, Callable[[random.Random], bytes]]
) -> bytes:
    """A tar with a member of other content, name, kind or declared size; `mutate` makes content by the name's end."""
    buffer = io.BytesIO()
    chosen = rng.choice(list(members))
    action = rng.randrange(9)
    with tarfile.open(fileobj=buffer, mode="w", format=rng.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            if name == chosen:
                if action < 3:
                    made = mutate.get(name.rpartition(".")[2])
                    data = made(rng) if made is not None else mutate_bytes(rng, data)
                elif action == 3:
                    info.name = rng.choice(
                        (
                            "x",
                            ".",
                            "a.b.c.json",
                            "a/../b.jpg",
                            "/abs.json",
                            "é" * 120 + ".json",
                            "b.9999999999999.png",
                            "b..json",
                            "a.mp4",
                            "\u0000",
                            "a\nb.json",
                            ".json",
                            "b" * 300 + ".txt",
                        )
                    )
                elif action == 4:
                    info.type = rng.choice(
                        (tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
                    )
                    info.linkname = rng.choice(("", "a.json", "/etc/passwd", name))
                    data = b""
                elif action == 5:
                    info.pax_headers = {
                        "GNU.sparse.size": str(rng.choice((20 << 30, -1, 5))),
                        "GNU.sparse.map": rng.choice(("0,0", "0,5", "x", "5,9")),
                    }
                elif action == 6:
                    info.pax_headers = {"size": rng.choice(("99999999999", "-1", "x", ""))}
                elif action == 7:
                    continue
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    data = buffer.getvalue()
    return mutate_bytes(rng, data) if action == 8 else data
