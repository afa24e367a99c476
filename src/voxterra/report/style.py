"""How the page looks, on a screen and on paper."""

STYLE = """
:root { --ink: #1c2b33; --quiet: #5b6b74; --line: #d9e0e4; --tint: #f3f6f7; --accent: #0b7285; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1060px; padding: 28px 24px 60px; color: var(--ink);
  background: #fff; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue",
  "DejaVu Sans", Arial, sans-serif; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
header { border-bottom: 3px solid var(--accent); margin-bottom: 18px; padding-bottom: 8px; }
h1 { font-size: 28px; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 34px 0 10px; padding-bottom: 4px;
  border-bottom: 1px solid var(--line); break-after: avoid; }
h3 { font-size: 13px; margin: 0 0 2px; color: var(--accent); break-after: avoid; }
h3.part { font-size: 15px; margin: 18px 0 6px; } dl + .plates { margin-top: 12px; }
p { margin: 6px 0 10px; }
.quiet, header p, figcaption { color: var(--quiet); font-size: 13px; }
header p { margin: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; }
.tiles div { background: var(--tint); border-radius: 6px; padding: 10px 12px; break-inside: avoid; }
.tiles strong { display: block; font-size: 20px; line-height: 1.25; }
.tiles span { color: var(--quiet); font-size: 12.5px; }
.warnings li { margin-bottom: 4px; overflow-wrap: anywhere; }
.warnings { border-left: 4px solid #f08c00; background: #fff9ec; margin: 0;
  padding: 10px 14px 8px 34px; border-radius: 0 6px 6px 0; }
dl { display: grid; grid-template-columns: minmax(120px, max-content) 1fr; gap: 4px 18px;
  margin: 0; break-inside: avoid; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; }
.table { overflow-x: auto; margin: 10px 0; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th { text-align: left; color: var(--quiet); font-weight: 600; }
th, td { padding: 4px 8px; border-bottom: 1px solid var(--line); vertical-align: top; }
td:first-child { overflow-wrap: anywhere; min-width: 11em; }
tbody tr:nth-child(even) { background: var(--tint); }
tr { break-inside: avoid; } thead { display: table-header-group; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.plates { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 20px 24px;
  align-items: start; }
.plates .wide { grid-column: 1 / -1; }
figure { margin: 0; break-inside: avoid; }
figure img, figure svg { width: 100%; height: auto; display: block; margin: 0 auto; }
figure img { max-height: 640px; object-fit: contain; }
figure svg.map { max-height: 520px; }
figcaption { margin-top: 4px; overflow-wrap: anywhere; }
svg text { font-size: 12px; fill: var(--quiet); font-family: inherit; }
.chart.bars { max-width: 640px; margin: 0; }
.chart .bar { fill: var(--accent); } .chart .bar:hover { fill: #f08c00; }
.chart .grid { stroke: var(--line); } .chart .axis { stroke: var(--quiet); }
.chart .mark { stroke: #f08c00; stroke-width: 1.5; } .chart .marktext { fill: #c76b00; }
.map .ground { fill: #f4f4f1; } .map .frame { fill: none; stroke: var(--quiet); }
.map .tick { stroke: var(--ink); } .map text { font-size: 11px; }
.map .footprint { fill: none; stroke-width: 1; stroke-opacity: .75; }
.map .footprint:hover { fill: #ffffff55; stroke-width: 2; }
.map .camera { stroke: #fff; stroke-width: 1; } .map .heading { stroke-width: 1.6; }
.map .failed { stroke: #e03131; stroke-width: 2.4; fill: none; }
.map polyline.graticule { fill: none; stroke: #c3cdd2; } .map text.graticule { font-size: 9px; }
.map .gap { stroke: #1c2b33; stroke-width: 1.6; stroke-dasharray: 6 4; }
.map .gaptext { fill: var(--ink); font-weight: 600; paint-order: stroke; stroke: #fff;
  stroke-width: 3px; }
.map line.residual { stroke: #9c36b5; stroke-width: 1.6; } .map circle.residual { fill: #9c36b5; }
.map .outlier { stroke-dasharray: 4 3; }
.map .plate { fill: #fff; fill-opacity: .85; } .map .bar-line { fill: none; stroke: var(--ink);
  stroke-width: 1.5; } .map .north { fill: var(--ink); } .map .scale text { fill: var(--ink); }
.legend { display: flex; flex-wrap: wrap; gap: 2px 14px; font-size: 12.5px; color: var(--quiet);
  margin-top: 5px; align-items: center; }
.legend i { display: inline-block; width: 12px; height: 12px; margin-right: 5px;
  vertical-align: -1px; border: 1px solid #0002; }
.legend .cross { color: #e03131; margin-right: 5px; }
.legend.scale { flex-wrap: nowrap; } .legend.scale span { white-space: nowrap; }
figure .legend img.ramp { flex: 1; width: auto; min-width: 0; height: 10px;
  object-fit: fill; margin: 0; }
.options { columns: 3; column-gap: 24px; font-size: 11.5px; color: var(--quiet); }
.options b { color: var(--ink); font-weight: 500; }
.options div { overflow-wrap: anywhere; } .group { break-inside: avoid; margin-bottom: 10px; }
a { color: var(--accent); }
@media (max-width: 760px) {
  .plates { grid-template-columns: minmax(0, 1fr); } .options { columns: 1; }
}
@page { size: A4; margin: 14mm 13mm; }
@media print {
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  h2 { margin-top: 20px; } .plates { grid-template-columns: repeat(2, minmax(0, 1fr));
    gap: 12px 16px; }
  table { font-size: 8.5pt; } th, td { padding: 2px 5px; } .table { overflow: visible; }
  .tiles { grid-template-columns: repeat(3, 1fr); } figure img { max-height: 360px; }
  .options { columns: 3; font-size: 7.5pt; } a { color: inherit; text-decoration: none; }
}
"""
