//! The style of the picture: colours for light and dark pages, and the patterns and arrow heads that they fill.
//!
//! Colour is never the only sign: bars differ in height and filling, an abort is hatched, the critical path is
//! numbered.

/// The content of the element `style`. It refers to nothing outside the file.
pub(crate) const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#17202a;font-variant-numeric:tabular-nums}\
.page{fill:#ffffff}.title{font-size:16px;font-weight:600}.dim{fill:#55616d}.tick{font-size:12px}\
.grid{stroke:#6e7a86;stroke-opacity:.25}.zero{stroke:#6e7a86}\
.seg,.family{stroke:#6e7a86;stroke-width:1}\
.run{fill:#b9d3ea}.body{fill:#e69f00}.teardown{fill:#0072b2}.end{fill:#6e7a86}.queue{fill:none}\
.wait,.family{fill:#6e7a86}.decile{stroke:#17202a;stroke-width:1.5}\
.hatched{fill:#7a1fa2}.hatch{stroke:#ffffff;stroke-width:2}.aborted{fill:url(#hatch)}\
.open{stroke-dasharray:3 2}.critical{stroke:#c4161c;stroke-width:2.5}\
.arrow{fill:none;stroke:#6e7a86}.explicit{stroke-dasharray:2 2;stroke-width:1}\
.arrow.critical{stroke:#c4161c}.head{fill:#c4161c}.number{fill:#c4161c;font-weight:600}\
.mark path{fill:none;stroke:#17202a;stroke-dasharray:6 3}.failed{fill:#b3171d}\
@media (prefers-color-scheme:dark){\
text{fill:#e6ebf0}.page{fill:#0f1419}.dim{fill:#9aa7b4}.grid,.zero{stroke:#7f8c99}\
.seg,.family{stroke:#7f8c99}.run{fill:#27465f}.teardown{fill:#56b4e9}.end,.wait,.family{fill:#7f8c99}.queue{fill:none}\
.decile{stroke:#e6ebf0}.hatched{fill:#d9a4f5}.hatch{stroke:#0f1419}.aborted{fill:url(#hatch)}\
.critical,.arrow.critical{stroke:#ff7b72}.arrow{stroke:#7f8c99}.head,.number{fill:#ff7b72}\
.mark path{stroke:#e6ebf0}.failed{fill:#ff7b72}}";

/// The content of the element `defs`.
pub(crate) const DEFINITIONS: &str = "\
<pattern id=\"hatch\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect class=\"hatched\" width=\"6\" height=\"6\"/><line class=\"hatch\" x1=\"0\" y1=\"0\" x2=\"0\" y2=\"6\"/></pattern>\
<marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"head\" d=\"M0 0L8 4L0 8z\"/></marker>";
