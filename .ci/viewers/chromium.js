// Headless Chromium, spoken to over a pipe in the DevTools protocol.
'use strict';
const { spawn } = require('child_process');
const fs = require('fs'), path = require('path');

// Starts it with a profile in `folder`, and if that is asked for with WebGL, in software; its pages are one after the other
// the same tab.
exports.start = async (chromium, folder, withWebGl = false) => {
  const profile = path.join(folder, 'profile');
  // What another browser left there may keep this one waiting for it.
  fs.rmSync(profile, { recursive: true, force: true });
  const browser = spawn(chromium, ['--headless=new', '--no-sandbox', '--hide-scrollbars', '--allow-file-access-from-files',
    ...(withWebGl ? ['--use-angle=swiftshader', '--enable-unsafe-swiftshader'] : ['--disable-gpu']), '--remote-debugging-pipe', '--user-data-dir=' + profile],
  { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
  process.on('exit', () => browser.kill());
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));
  let next = 0, buffered = '', session;
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
  const call = (method, params = {}) => new Promise((resolve, reject) => {
    waiting.set(++next, (answer) => answer.error ? reject(new Error(method + ': ' + answer.error.message)) : resolve(answer.result));
    browser.stdio[3].write(JSON.stringify({ id: next, method, params, sessionId: session }) + '\0');
  });
  const evaluate = async (expression) => {
    const answer = await call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (answer.exceptionDetails) throw new Error(answer.exceptionDetails.exception?.description ?? expression);
    return answer.result.value;
  };
  const open = async (url) => {
    const done = new Promise((resolve) => loaded.push(resolve));
    const { errorText } = await call('Page.navigate', { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await done;
  };
  // Waits until an expression is true, asking ten times a second.
  const until = async (expression, seconds = 60) => {
    for (let tries = 0; tries < seconds * 10; tries++) {
      if (await evaluate(expression)) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`after ${seconds} s it is still not true that ${expression}; the page says: ${await evaluate('document.body.innerText.slice(0, 500)')}`);
  };
  const view = (width, height, mobile = false) =>
    call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile });
  // A picture of what is in view, or of `clip`.
  const picture = async (file, clip) => {
    const format = file.endsWith('.webp') ? { format: 'webp', quality: 70 } : { format: 'png' };
    const { data } = await call('Page.captureScreenshot', { ...format, ...(clip && { captureBeyondViewport: true, clip }) });
    fs.writeFileSync(file, Buffer.from(data, 'base64'));
  };
  const { targetId } = await call('Target.createTarget', { url: 'about:blank' });
  session = (await call('Target.attachToTarget', { targetId, flatten: true })).sessionId;
  await call('Page.enable');
  return { call, evaluate, open, until, view, picture, stop: () => browser.kill() };
};
