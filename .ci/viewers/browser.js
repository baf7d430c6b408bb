// Opens the page of a report in headless Chromium, at the sizes of a desktop and a phone and in both themes: takes a
// picture of each, looks for the result's numbers in the document, and lets axe-core look for what is not accessible.
//
//     node browser.js CHROMIUM FOLDER AXE_SCRIPT RUN_JSON
'use strict';
const { spawn } = require('child_process');
const fs = require('fs'), path = require('path'), url = require('url');
const [chromium, folder, axeScript, runJson] = process.argv.slice(2);

const browser = spawn(chromium, ['--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars',
  '--remote-debugging-pipe', '--user-data-dir=' + path.join(folder, 'profile')], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
let next = 0, buffered = '';
const waiting = new Map(), loaded = [];
browser.stdio[4].on('data', (data) => {
  const parts = (buffered + data).split('\0');
  buffered = parts.pop();
  for (const message of parts.map(JSON.parse)) {
    if (message.method === 'Page.loadEventFired') loaded.splice(0).forEach((done) => done());
    const done = waiting.get(message.id);
    if (done) { waiting.delete(message.id); done(message); }
  }
});
let session;
const call = (method, params = {}) => new Promise((resolve, reject) => {
  waiting.set(++next, (answer) => answer.error ? reject(new Error(method + ': ' + answer.error.message)) : resolve(answer.result));
  browser.stdio[3].write(JSON.stringify({ id: next, method, params, sessionId: session }) + '\0');
});
const evaluate = async (expression) => {
  const answer = await call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
  if (answer.exceptionDetails) throw new Error(answer.exceptionDetails.exception?.description ?? expression);
  return answer.result.value;
};
const open = async (file) => {
  const done = new Promise((resolve) => loaded.push(resolve));
  await call('Page.navigate', { url: url.pathToFileURL(file).href });
  await done;
};
const fail = (text) => { throw new Error(text); };
const significant = (v) => v < 9.995 ? v.toFixed(2) : v < 99.95 ? v.toFixed(1) : v.toFixed(0);

async function page() {
  const file = path.join(folder, 'a.html'), result = JSON.parse(fs.readFileSync(runJson));
  const size = fs.statSync(file).size;
  for (const [width, height, mobile] of [[1280, 800, false], [390, 844, true]]) for (const theme of ['light', 'dark']) {
    await call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile });
    await call('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: theme }] });
    const began = Date.now();
    await open(file);
    const took = Date.now() - began;
    const text = await evaluate('document.body.innerText');
    const rate = significant(result.summary.decode_tokens_per_s.median) + ' tok/s';
    for (const part of [rate, result.run_id, result.findings[0]?.reason ?? '']) {
      if (!text.includes(part)) fail(`the page does not say ${part}`);
    }
    if (await evaluate('document.documentElement.dataset.charts') < 1) fail('no chart was drawn');
    const wide = await evaluate('document.documentElement.scrollWidth - innerWidth');
    if (wide > 0) fail(`the page is ${wide} pixels wider than ${width}`);
    await evaluate(fs.readFileSync(axeScript, 'utf8') + ';0');
    const found = JSON.parse(await evaluate('axe.run().then((r) => JSON.stringify(r.violations.map((v) => [v.impact, v.id, v.nodes.length, v.nodes[0].html])))'));
    const serious = found.filter(([impact]) => impact === 'serious' || impact === 'critical');
    if (serious.length) fail('not accessible: ' + JSON.stringify(serious, null, 1));
    await call('Emulation.setDeviceMetricsOverride', { width, height: 0, deviceScaleFactor: 1, mobile });
    const { cssContentSize } = await call('Page.getLayoutMetrics');
    const clip = { x: 0, y: 0, width, height: Math.min(cssContentSize.height, 12000), scale: 1 };
    const { data } = await call('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true, clip });
    const picture = path.join(folder, `page-${width}-${theme}.png`);
    fs.writeFileSync(picture, Buffer.from(data, 'base64'));
    console.log(`${width} × ${height}, ${theme}: ${(size / 1e6).toFixed(2)} MB, open after ${took} ms; ${found.length} minor remarks; ${picture}`);
  }
}

async function graph() {
  await call('Emulation.clearDeviceMetricsOverride');
  await open(path.join(folder, 'a.svg'));
  const { data } = await call('Page.captureScreenshot', { format: 'png' });
  fs.writeFileSync(path.join(folder, 'flamegraph.png'), Buffer.from(data, 'base64'));
}

(async () => {
  const { targetId } = await call('Target.createTarget', { url: 'about:blank' });
  session = (await call('Target.attachToTarget', { targetId, flatten: true })).sessionId;
  await call('Page.enable');
  await page();
  await graph();
  browser.kill();
})().catch((error) => { console.error(error.message); browser.kill(); process.exit(1); });
