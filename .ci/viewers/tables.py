"""Reads tables, results, metrics, speedscope and Firefox files with the tools that they are for, and compares their sums.

    python3 tables.py FOLDER SPEEDSCOPE_PACKAGE
"""

import gzip
import json
import pathlib
import sys

import duckdb
import jsonschema
import pandas
import polars
from prometheus_client.openmetrics import parser

folder = pathlib.Path(sys.argv[1])
package = pathlib.Path(sys.argv[2])
result = json.loads((folder / "run.json").read_text())
should = {
    name: sum(op[name] for op in result["ops"]) for name in ("count", "time_ns", "bytes", "flops")
}


def check(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found} instead of {expected}")
    print(f"{what}: {found}")


for kind in ("csv", "parquet"):
    file = folder / f"ops.{kind}"
    sums = duckdb.sql(f"select sum(count), sum(time_ns), sum(bytes), sum(flops) from '{file}'").fetchall()[0]
    check(f"DuckDB, ops.{kind}", [int(one) for one in sums], list(should.values()))
    file = folder / f"events.{kind}"
    sums = duckdb.sql(
        f"select count(*), sum(duration_ns), sum(bytes), sum(flops) from '{file}' where phase in ('prefill', 'decode')"
    ).fetchall()[0]
    check(f"DuckDB, events.{kind}", [int(one) for one in sums], list(should.values()))
    walls = duckdb.sql(f"select sum(wall_ns)::bigint from '{folder}/phases.{kind}'").fetchall()[0][0]
    check(f"DuckDB, phases.{kind}", walls, sum(phase["wall_ns"] for phase in result["phases"]))
for table in ("events", "ops", "phases", "tokens", "channels", "memory", "runs"):
    with_pandas = pandas.read_parquet(folder / f"{table}.parquet")
    with_polars = polars.read_parquet(folder / f"{table}.parquet")
    as_text = pandas.read_csv(folder / f"{table}.csv")
    check(f"pandas and polars, {table}", (len(with_pandas), with_polars.height), (len(as_text), len(as_text)))
    check(f"columns of {table}", list(with_pandas.columns), list(as_text.columns))

if json.loads((folder / "a.json").read_text()) != result:
    sys.exit("the exported result is not what `run --json` printed")

schema = next(package.rglob("file-format-schema.json"), None)
if schema:
    jsonschema.validate(json.loads((folder / "a.speedscope.json").read_text()), json.loads(schema.read_text()))
    print("speedscope's schema: valid")

families = list(parser.text_string_to_metric_families((folder / "a.om").read_text()))
check("has metric families", len(families) > 3, True)


def tables_of(value):
    """The tables in a Firefox profile: objects with a length, whose lists are columns."""
    if isinstance(value, dict):
        if isinstance(value.get("length"), int):
            yield value
        for part in value.values():
            yield from tables_of(part)
    elif isinstance(value, list):
        for part in value:
            yield from tables_of(part)


profile = json.loads(gzip.decompress((folder / "a.firefox.json.gz").read_bytes()))
tables = list(tables_of(profile))
for table in tables:
    for name, column in table.items():
        if isinstance(column, list) and len(column) != table["length"]:
            sys.exit(f"Firefox profile: column {name} has {len(column)} values instead of {table['length']}")
print(f"Firefox profile: the columns of {len(tables)} tables are as long as these say")
texts = profile["shared"]["stringArray"]
weights = {}
for thread in profile["threads"]:
    stacks, frames, functions = thread["stackTable"], thread["frameTable"]["func"], thread["funcTable"]["name"]
    for stack, weight in zip(thread["samples"]["stack"], thread["samples"]["weight"]):
        if stack is None:
            continue
        inner = texts[functions[frames[stacks["frame"][stack]]]]
        outer = stack
        while stacks["prefix"][outer] is not None:
            outer = stacks["prefix"][outer]
        phase = texts[functions[frames[stacks["frame"][outer]]]]
        count, sum_ns = weights.get((phase, inner.startswith("(")), (0, 0))
        weights[phase, inner.startswith("(")] = (count + 1, sum_ns + round(weight * 1e6))
ops = [weights.get((phase, False), (0, 0)) for phase in ("prefill", "decode")]
check("Firefox profile, ops", [sum(part) for part in zip(*ops)], [should["count"], should["time_ns"]])
