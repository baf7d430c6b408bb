// Opens the pages of reports in headless Chromium, at the sizes of a desktop and a phone and in both themes: takes a
// picture of each, looks for the result's numbers in the document, and lets axe-core look for what is not accessible.
// Then prints each page, and opens the flame graph.
//
//     node browser.js CHROMIUM FOLDER AXE_SCRIPT RUN_JSON PAGE...
'use strict';
const fs = require('fs'), path = require('path'), url = require('url');
const { start } = require('./chromium.js');
const [chromium, folder, axeScript, runJson, ...pages] = process.argv.slice(2);

const fail = (text) => { throw new Error(text); };
const significant = (v) => v < 9.995 ? v.toFixed(2) : v < 99.95 ? v.toFixed(1) : v.toFixed(0);
const fileUrl = (name) => url.pathToFileURL(path.join(folder, name)).href;

async function page(browser, name) {
  const result = JSON.parse(fs.readFileSync(runJson));
  const size = fs.statSync(path.join(folder, name)).size, base = path.basename(name, '.html');
  if (size > 3e6) fail(`${name} has ${size} bytes`);
  for (const [width, height, mobile] of [[1280, 800, false], [390, 844, true]]) for (const theme of ['light', 'dark']) {
    await browser.view(width, height, mobile);
    await browser.call('Emulation.setEmulatedMedia', { media: '', features: [{ name: 'prefers-color-scheme', value: theme }] });
    await browser.open(fileUrl(name));
    // From the begin of the navigation until its scripts have drawn all charts.
    const took = await browser.evaluate('performance.getEntriesByType("navigation")[0].loadEventEnd');
    const text = await browser.evaluate('document.body.innerText');
    const rate = significant(result.summary.decode_tokens_per_s.median) + ' tok/s';
    for (const part of [rate, result.run_id, result.findings[0]?.reason ?? '']) {
      // A finding's first letter is a capital there.
      if (!text.toLowerCase().includes(part.toLowerCase())) fail(`${name} does not say ${part}`);
    }
    if (!(await browser.evaluate('document.documentElement.dataset.charts') > 0)) fail(`${name}: no chart was drawn`);
    const wide = await browser.evaluate('document.documentElement.scrollWidth - innerWidth');
    if (wide > 0) fail(`${name} is ${wide} pixels wider than ${width}`);
    await browser.evaluate(fs.readFileSync(axeScript, 'utf8') + ';0');
    const found = JSON.parse(await browser.evaluate('axe.run().then((r) => JSON.stringify(r.violations.map((v) => [v.impact, v.id, v.nodes.length, v.nodes[0].html])))'));
    const serious = found.filter(([impact]) => impact === 'serious' || impact === 'critical');
    if (serious.length) fail(`${name} is not accessible: ` + JSON.stringify(serious, null, 1));
    await browser.view(width, 0, mobile);
    const { cssContentSize } = await browser.call('Page.getLayoutMetrics');
    const picture = path.join(folder, `${base}-${width}-${theme}.png`);
    await browser.picture(picture, { x: 0, y: 0, width, height: Math.min(cssContentSize.height, 12000), scale: 1 });
    const remarks = found.map(([, id]) => id).join(', ') || 'no';
    console.log(`${name}, ${width} × ${height}, ${theme}: ${(size / 1e6).toFixed(2)} MB, open after ${took.toFixed(0)} ms; ${remarks} minor remarks; ${picture}`);
  }
  const { data } = await browser.call('Page.printToPDF', { printBackground: true, preferCSSPageSize: true });
  fs.writeFileSync(path.join(folder, `${base}.pdf`), Buffer.from(data, 'base64'));
}

(async () => {
  const browser = await start(chromium, folder);
  try {
    for (const name of pages) await page(browser, name);
    await browser.call('Emulation.clearDeviceMetricsOverride');
    await browser.open(fileUrl('a.svg'));
    await browser.picture(path.join(folder, 'flamegraph.png'));
  } finally {
    browser.stop();
  }
})().catch((error) => { console.error(error.message); process.exit(1); });
