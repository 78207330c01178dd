"""Makes `types.py` and `_api.py` from the pool's OpenAPI document: `python3 generate.py` writes, `--check` compares."""

import json
import keyword
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
DOCUMENT = HERE / "../../docs/openapi.json"
OUT = HERE / "src/millpond"
# They are not one question and one answer.
STREAMS = {"tasks_exec", "tasks_attach", "tasks_forward", "tasks_copy_out", "tasks_copy_in", "jobs_logs", "money_ledger"}
HEAD = '"""{}. Made by generate.py from docs/openapi.json; change that."""\n\n'


def name_of(ref):
    return ref.rsplit("/", 1)[1]


def typed(schema, prefix="t."):
    """A schema as a Python type."""
    if "$ref" in schema:
        return prefix + name_of(schema["$ref"])
    if "enum" in schema:
        return "Literal[" + ", ".join(repr(value) for value in schema["enum"]) + "]"
    for joined in ("oneOf", "anyOf"):
        if joined in schema:
            return " | ".join(dict.fromkeys(typed(part, prefix) for part in schema[joined]))
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(typed({**schema, "type": part}, prefix) for part in kind)
    if kind == "array":
        return f"list[{typed(schema.get('items', {}), prefix)}]"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"dict[str, {typed(schema['additionalProperties'], prefix)}]"
    return {
        "string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None", "object": "dict[str, Any]",
    }.get(kind, "Any")


def words(text, indent):
    lines = [line.strip() for line in (text or "").strip().splitlines()]
    return f'{indent}"""' + f"\n{indent}".join(lines).replace("\\", "\\\\").replace('"""', "'''") + '"""\n'


def parts_of(schema, known):
    """Properties and required names of an object, with what it takes over from others."""
    properties, required, based = {}, set(), []
    for part in schema.get("allOf", [schema]):
        if "$ref" in part:
            based.append(name_of(part["$ref"]))
        properties |= part.get("properties", {})
        required |= set(part.get("required", []))
    return properties, required, based


def types(document):
    known = document["components"]["schemas"]
    text = HEAD.format("What goes over the wire") + "from __future__ import annotations\n\n"
    text += "from typing import Any, Literal, NotRequired, TypedDict\n"
    plain, objects = [], []
    for name in sorted(known):
        is_object = "properties" in known[name] or "allOf" in known[name]
        (objects if is_object else plain).append(name)
    for name in plain:
        text += f"\n{name} = {typed(known[name], '')}\n" + words(known[name].get("description"), "")
    done = set()

    def write(name):
        nonlocal text
        if name in done:
            return
        done.add(name)
        properties, required, based = parts_of(known[name], known)
        for base in based:
            write(base)
        text += f"\n\nclass {name}({', '.join(based) or 'TypedDict'}):\n" + words(known[name].get("description") or name, "    ")
        for field, schema in sorted(properties.items()):
            kind = typed(schema, "")
            kind = kind if field in required else f"NotRequired[{kind}]"
            if keyword.iskeyword(field) or not field.isidentifier():
                text += f"    # `{field}`: {kind}\n"
                continue
            text += f"    {field}: {kind}\n" + words(schema.get("description"), "    ") * bool(schema.get("description"))

    for name in objects:
        write(name)
    return text


def operations(document):
    for path, methods in sorted(document["paths"].items()):
        for method, operation in sorted(methods.items()):
            if operation["operationId"] not in STREAMS:
                yield path, method, operation


def signature(path, operation):
    """Arguments of the method, and how they are handed on."""
    inside, query = [], []
    for given in operation.get("parameters", []):
        field = given["name"]
        safe = field + "_" if keyword.iskeyword(field) else field
        if given["in"] == "path":
            inside.append((field, safe, typed(given["schema"])))
        elif given["in"] == "query":
            query.append((field, safe, typed(given["schema"]).removesuffix(" | None")))
    arguments = [f"{safe}: {kind}" for _, safe, kind in inside]
    content = operation.get("requestBody", {}).get("content", {})
    body = content.get("application/json", {}).get("schema")
    if body is not None:
        kind = typed(body)
        optional = "None" in kind
        arguments.append(f"body: {kind}" + (" = None" if optional else ""))
    if query:
        arguments += ["*"] + [f"{safe}: {kind} | None = None" for _, safe, kind in query]
    place = re.sub(r"\{(\w+)\}", lambda found: "{_part(" + found[1] + ")}", path)
    handed = f'f"{place}"' if inside else f'"{place}"'
    if query:
        handed += ", query={" + ", ".join(f'"{field}": {safe}' for field, safe, _ in query) + "}"
    if body is not None:
        handed += ", body=body"
    return arguments, handed


def answer(operation):
    for status, response in sorted(operation["responses"].items()):
        if status.startswith("2"):
            schema = response.get("content", {}).get("application/json", {}).get("schema")
            return "None" if schema is None else typed(schema)
    return "None"


def api(document):
    text = HEAD.format("Every operation of the API") + "from __future__ import annotations\n\n"
    text += "from typing import Any, Awaitable, Literal, Protocol, cast\nfrom urllib.parse import quote\n\nfrom . import types as t\n\n\n"
    text += 'def _part(value: object) -> str:\n    return quote(str(value), safe="")\n'
    for kind, wrap in (("Api", "{}"), ("AsyncApi", "Awaitable[{}]")):
        text += f"""

class {kind}:
    \"\"\"A method an operation, called by its tag and its name.\"\"\"

    def __init__(self, ask: Any) -> None:
        self._ask = ask
"""
        for path, method, operation in operations(document):
            arguments, handed = signature(path, operation)
            gives = wrap.format(answer(operation))
            name = operation["operationId"]
            text += f"\n    def {name}(self{''.join(', ' + one for one in arguments)}) -> {gives}:\n"
            text += words(operation.get("summary") or operation.get("description") or name, "        ")
            text += f"        return cast(\"{gives}\", self._ask(\"{method.upper()}\", {handed}))\n"
    return text.replace("Protocol, ", "")


def main():
    document = json.loads(DOCUMENT.read_text())
    old = False
    for file, text in ((OUT / "types.py", types(document)), (OUT / "_api.py", api(document))):
        if "--check" not in sys.argv:
            file.write_text(text)
        elif not file.is_file() or file.read_text() != text:
            print(f"{file.relative_to(HERE)} is old: run python3 clients/python/generate.py")
            old = True
    sys.exit(1 if old else 0)


if __name__ == "__main__":
    main()
