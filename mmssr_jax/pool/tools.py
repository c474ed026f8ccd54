"""Tools of a record as text of its turns: the functions offered, the calls, and what they returned.

The form is that of the chat templates of Qwen2.5, Qwen3 and Qwen3-VL (after Hermes):

    record["tools"]                        instructions that end the system message
    {"role": "assistant", "tool_calls"}    <tool_call> and a JSON object each, after the message's text
    {"role": "tool", "content"}            <tool_response>, from the user; one turn for those that follow each other
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mmssr_jax.pool.media import short
from mmssr_jax.pool.reasons import Reason, RejectedError

_INSTRUCTIONS = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""


def offered(system: str | None, tools: Any) -> str:
    """The system message of a record with tools.

    Args:
      system: the record's own system message.
      tools: a list of objects, or its JSON text; empty or None for no tools.

    Raises:
      RejectedError: `tools` is something else.
    """
    value = tools
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise RejectedError(Reason.BAD_TURN, f"its 'tools' is {short(tools)}, expected a list of objects")
    if not value:
        return system or ""
    lines = "\n".join(_json(tool) for tool in value)
    return f"{system}\n\n{_INSTRUCTIONS.format(tools=lines)}" if system else _INSTRUCTIONS.format(tools=lines)


def with_calls(text: str, calls: Any, number: int) -> str:
    """The text of the assistant's turn `number` with its `tool_calls`.

    Raises:
      RejectedError: the calls are not a list of objects with a name and arguments.
    """
    if not isinstance(calls, list):
        raise RejectedError(Reason.BAD_TURN, f"the 'tool_calls' of turn {number} is {short(calls)}, expected a list")
    return "\n".join([*filter(None, [text]), *(_call(call, number) for call in calls)])


def responses(texts: Sequence[str]) -> str:
    """The user's turn that holds what functions returned, [n] texts in the order of the calls."""
    return "\n".join(f"<tool_response>\n{text}\n</tool_response>" for text in texts)


def _call(call: Any, number: int) -> str:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or "arguments" not in function:
        raise RejectedError(
            Reason.BAD_TURN,
            f"a tool call of turn {number} is {short(call)}, expected a function with name and arguments",
        )
    arguments = function["arguments"]
    text = arguments if isinstance(arguments, str) else _json(arguments)
    return f'<tool_call>\n{{"name": "{function["name"]}", "arguments": {text}}}\n</tool_call>'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
