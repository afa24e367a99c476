"""From photos to products through Python: the same as `voxterra run`.

python examples/01_run_demo.py [--photos demo/photos] [--out runs/demo]
"""

import argparse
from pathlib import Path

import voxterra as vt

REPO = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path, default=REPO / "demo" / "photos")
    parser.add_argument("--out", type=Path, default=REPO / "runs" / "demo")
    args = parser.parse_args()

    # A run yields typed events. Leaving the loop early stops it; running it again resumes.
    for event in vt.run(args.photos, args.out, vt.preset("preview")):
        match event:
            case vt.events.StageStarted():
                print(f"{event.stage} ...")
            case vt.events.StageFinished():
                print(f"{event.stage}: {event.summary} ({event.seconds:.0f} s)")
            case vt.events.StageSkipped():
                print(f"{event.stage} is up to date: {event.summary}")
            case vt.events.StageWarning():
                print(f"mind: {event.message}")
            case vt.events.ProductWritten():
                print(f"{event.path}: {event.description}, {event.bytes / 1e6:.1f} MB")
            case vt.events.RunFinished():
                print(event.accuracy)


if __name__ == "__main__":
    main()
