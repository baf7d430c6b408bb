"use strict";
(function () {
  var data = JSON.parse(document.getElementById("data").textContent);
  var style = getComputedStyle(document.documentElement);
  var colour = function (name) { return style.getPropertyValue(name).trim(); };
  // null has no value and does not interrupt a line, which is undefined to uPlot; false interrupts it, which is null.
  var values = function (y) { return y.map(function (v) { return v === false ? null : v === null ? undefined : v; }); };
  var drawn = [];
  function draw() {
    style = getComputedStyle(document.documentElement);
    drawn.forEach(function (chart) { chart.destroy(); });
    drawn = data.charts.map(function (chart) {
      var place = document.getElementById(chart.id);
      var axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
      var series = [{ label: "s", value: function (u, v) { return v == null ? "—" : v.toFixed(3) + " s"; } }];
      chart.series.forEach(function (one, at) {
        series.push({
          label: one, stroke: colour("--c" + at % 8), width: 1, points: { show: chart.x.length < 60 },
          value: function (u, v) { return v == null ? "—" : v.toPrecision(4) + " " + chart.unit; }
        });
      });
      var font = "12px system-ui, sans-serif";
      var wide = Math.max(280, place.clientWidth);
      return new uPlot({
        width: wide, height: 240, series: series, scales: { x: { time: false } }, cursor: { sync: { key: "time" } },
        axes: [Object.assign({ label: "s", labelSize: 18, labelFont: font, font: font }, axis),
          Object.assign({ label: chart.unit, size: 60, labelSize: 18, labelFont: font, font: font }, axis)]
      }, [chart.x].concat(chart.y.map(values)), place);
    });
  }
  draw();
  var waiting = 0;
  window.addEventListener("resize", function () { clearTimeout(waiting); waiting = setTimeout(draw, 150); });
  ["(prefers-color-scheme: dark)", "print"].forEach(function (query) { matchMedia(query).addEventListener("change", draw); });
  document.documentElement.dataset.charts = String(drawn.length);
})();
