"""Draw what came out: a chart as SVG in the workspace, which any browser shows."""

import argparse
import json
import os
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--confusion", required=True)
parser.add_argument("--accuracy", type=float, required=True)
parser.add_argument("--accuracies", type=json.loads, required=True)
parser.add_argument("--seeds", type=json.loads, required=True)
options = parser.parse_args()

workspace = Path(os.environ["CUBE_WORKSPACE"])
confusion = json.loads((workspace / options.confusion).read_text())
most = max(max(row) for row in confusion)
drawn = [
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 400" font-family="sans-serif" font-size="13">',
    '<rect width="720" height="400" fill="#fff"/>',
    f'<text x="24" y="32" font-size="18">Digits: {options.accuracy:.1%} on new ones</text>',
    '<text x="24" y="66">What was read (across) for what was written (down)</text>',
]
for written, row in enumerate(confusion):
    drawn.append(f'<text x="30" y="{102 + 28 * written}">{written}</text>')
    drawn.append(f'<text x="{62 + 28 * written}" y="388" text-anchor="middle">{written}</text>')
    for read, count in enumerate(row):
        colour, strength = ("#0d7685", count / most) if written == read else ("#c42b30", min(1, count / 4))
        place = f'x="{48 + 28 * read}" y="{82 + 28 * written}" width="27" height="27"'
        drawn.append(f'<rect {place} fill="{colour}" fill-opacity="{strength:.2f}"/>')
drawn.append('<text x="400" y="66">Accuracy while training, by seed</text>')
for number, (seed, accuracy) in enumerate(zip(options.seeds, options.accuracies, strict=True)):
    y = 86 + 34 * number
    drawn.append(f'<text x="400" y="{y + 17}">{seed}</text>')
    drawn.append(f'<rect x="430" y="{y}" width="{220 * accuracy:.0f}" height="24" rx="4" fill="#1f92a3"/>')
    drawn.append(f'<text x="{438 + 220 * accuracy:.0f}" y="{y + 17}">{accuracy:.3f}</text>')
drawn.append("</svg>")

chart = Path(options.confusion).parent / "report.svg"
(workspace / chart).write_text("\n".join(drawn))
print(f"wrote {chart}")
with open(os.environ["CUBE_OUTPUTS"], "w") as file:
    json.dump({"chart": str(chart), "accuracy": options.accuracy}, file)
