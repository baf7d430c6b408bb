"""JSON Schemas of what commands print with --json.

    python3 schemas.py check FOLDER SAMPLE...    each sample against the schema of its name in FOLDER
    python3 schemas.py write FOLDER SAMPLE...    schemas by samples: run.json and run-2.json make FOLDER/run.json

A schema says which keys there are and what kind of value each has. What is absent is null, so every number, text and
object may be. New keys come by addition, so others than the known ones are allowed. After `write`, read the difference.
"""

import json
import pathlib
import re
import sys

import jsonschema

# Objects whose keys are data: each may lack any.
MAPS = {"messages"}

KINDS = {bool: "boolean", int: "integer", float: "number", str: "string"}


def merge(values, is_map=False):
    """The schema of values that stand in the same place."""
    present = [value for value in values if value is not None]
    if not present:
        return {}
    if any(isinstance(value, dict) for value in present):
        objects = [value for value in present if isinstance(value, dict)]
        if len(objects) < len(present):
            return {}
        keys = list(dict.fromkeys(key for value in objects for key in value))
        if is_map:
            return {"type": "object", "additionalProperties": merge([one for value in objects for one in value.values()])}
        properties = {key: merge([value[key] for value in objects if key in value], key in MAPS) for key in keys}
        required = [key for key in keys if all(key in value for value in objects)]
        return {"type": ["object", "null"], "properties": properties, "required": required}
    if any(isinstance(value, list) for value in present):
        if not all(isinstance(value, list) for value in present):
            return {}
        items = merge([item for value in present for item in value])
        return {"type": "array", "items": items} if items else {"type": "array"}
    kinds = sorted({KINDS[type(value)] for value in present})
    if kinds == ["integer", "number"]:
        kinds = ["number"]
    return {"type": [*kinds, "null"]}


def name_of(sample):
    return re.sub(r"-\d+$", "", sample.stem)


def write(folder, samples):
    by_name = {}
    for sample in samples:
        by_name.setdefault(name_of(sample), []).append(json.loads(sample.read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in by_name.items():
        schema = merge(values)
        schema["type"] = "object"
        schema["properties"]["schema"] = {"const": values[0]["schema"]}
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"slmscope {name} --json"}
        (folder / f"{name}.json").write_text(json.dumps(head | schema, indent=1, ensure_ascii=False) + "\n")


def check(folder, samples):
    for sample in samples:
        schema = json.loads((folder / f"{name_of(sample)}.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(json.loads(sample.read_text()), schema)
        print(f"{sample.name}: valid")


if __name__ == "__main__":
    what, folder, *files = sys.argv[1:]
    {"check": check, "write": write}[what](pathlib.Path(folder), [pathlib.Path(file) for file in files])
